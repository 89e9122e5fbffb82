"""`journal fit`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

import journal
from journal.cli.options import Home, Json, size
from journal.cli.render import echo
from journal.errors import UsageError

if TYPE_CHECKING:
    from journal.host.fit import Fit
    from journal.theory.headroom import Choice


def fit(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A model on the hub, or its folder."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="NAME", help="A GPU, such as L40S or 4090.")
    ] = None,
    vram: Annotated[
        str | None,
        typer.Option("--vram", metavar="SIZE", help="Its memory instead: 24GiB, 24GB; 24 is GiB."),
    ] = None,
    context: Annotated[
        int | None, typer.Option("--context", min=1, help="Tokens of a sequence, output included.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Sequences at once.")] = 1,
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", min=1, help="GPUs that share every layer.")
    ] = 1,
    pipeline_parallel: Annotated[
        int, typer.Option("--pipeline-parallel", min=1, help="Stages that share out the layers.")
    ] = 1,
    share: Annotated[
        float | None, typer.Option("--share", help="Part of the memory for the engine, 0 to 1.")
    ] = None,
    max_num_seqs: Annotated[
        int | None,
        typer.Option("--max-num-seqs", min=1, help="The engine's most sequences at once."),
    ] = None,
    max_num_batched_tokens: Annotated[
        int | None,
        typer.Option("--max-num-batched-tokens", min=1, help="The engine's most tokens in a step."),
    ] = None,
    kv_cache_dtype: Annotated[
        str | None, typer.Option("--kv-cache-dtype", help="Type of the KV cache, such as fp8.")
    ] = None,
    users: Annotated[
        int | None,
        typer.Option("--users", min=1, help="Users at once; says how many at which context."),
    ] = None,
    score: Annotated[
        bool, typer.Option("--score", help="Set predictions against the engines of the journal.")
    ] = False,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Say whether a model fits on a GPU, and which build of it to take, before you rent or
    download anything.

    Without --gpu or --vram: on the GPU of this host, or where it has none on every known one. The
    sizes come from a folder, the hub's cache, a table of well-known models, or the hub itself: its
    config.json and the headers of its files, some kilobytes. What the engine takes beside weights
    and KV cache is a range, and so is the room that is left: a build fits where the least room
    holds what was asked for. Where several GPUs share the model, all sizes are those of one GPU,
    the fullest.

    Examples:

    - `journal fit mistralai/Mistral-7B-Instruct-v0.2 --gpu 4090 --context 16384 --batch 8`
    - `journal fit Llama-3.1-70B-Instruct --gpu A100-80GB --tensor-parallel 4`
    - `journal fit Qwen/Qwen3-30B-A3B --gpu H100-SXM --users 40 --kv-cache-dtype fp8`
    - `journal fit ./my-model`
    - `journal fit unsloth/Qwen3-8B-GGUF:Q4_K_M --vram 12GiB`
    - `journal fit --score`
    """
    from journal.cli.fit_scored import learned_bytes, print_score
    from journal.cli.render import print_json
    from journal.serve.engines.vllm.defaults import GPU_MEMORY_UTILIZATION

    if score:
        print_score(home, as_json=json)
        return
    if model is None:
        raise UsageError("name a model, or ask how predictions did here with --score")
    vram_bytes = None if vram is None else size(vram, "--vram")
    advice = journal.fit(
        model,
        gpu=gpu,
        vram_bytes=vram_bytes,
        context=context,
        batch=batch if users is None else users,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        share=GPU_MEMORY_UTILIZATION if share is None else share,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        kv_cache_dtype=kv_cache_dtype,
        correction_bytes=learned_bytes(home) if gpu is None and vram is None else 0.0,
    )
    if json:
        print_json(_as_json(advice))
    else:
        _print(advice, with_rooms=users is not None)


def _print(advice: "Fit", *, with_rooms: bool) -> None:
    from journal import units
    from journal.cli.render import plain
    from journal.cli.tables import print_table
    from journal.host.fit import choice_verdict
    from journal.theory.headroom import build_name

    echo(plain(advice.answer))
    if len(advice.places) == 1:
        columns = ["precision", "weights", "KV per token", "KV asked for", "left for KV"]
        columns += ["longest at that batch", "fits", "build"]
        rows = [
            [
                build_name(choice.precision),
                units.data_size(choice.weight_bytes),
                f"{advice.kv_bytes_per_token:,} B",
                units.data_size(choice.kv_bytes),
                _between(choice.pool_bytes, choice.pool_most_bytes, units.data_size),
                _between(choice.longest, choice.longest_most, "{:,}".format),
                choice_verdict(choice),
                plain(advice.builds.get(choice.precision, units.ABSENT)),
            ]
            for choice in advice.places[0].fit.choices
        ]
        print_table(columns, rows, left=("precision", "fits", "build"), kept=("precision",))
        if with_rooms:
            _print_rooms(advice)
    else:
        precisions = [build_name(choice.precision) for choice in advice.places[0].fit.choices]
        rows = [
            [
                place.name,
                units.data_size(place.fit.vram_bytes),
                *(choice_verdict(choice) for choice in place.fit.choices),
            ]
            for place in advice.places
        ]
        print_table(["GPU", "memory", *precisions], rows, left=("GPU", *precisions))
    echo(_assumptions(advice))


def _between(low: int, high: int, shown: Callable[[int], str]) -> str:
    """A range of sizes, which a negative end leaves at nothing."""
    least, most = shown(max(0, low)), shown(max(0, high))
    return least if least == most else f"{least} to {most}"


def _print_rooms(advice: "Fit") -> None:
    from journal.cli.tables import print_table

    rows = [
        [f"{room.context:,}", _between(room.users, room.users_most, "{:,}".format)]
        for room in advice.rooms
    ]
    print_table(["context of each", "users at once"], rows, left=())


def _assumptions(advice: "Fit") -> str:
    from journal import units

    fit = advice.places[0].fit
    best = fit.best or fit.choices[-1]
    of_one = " Sizes are those of one GPU." if fit.gpu_count > 1 else ""
    mixed = (
        " Some layers keep a window or a state only, so tokens are no rate: a sequence keeps less"
        " than its tokens times the KV per token."
        if advice.mixed
        else ""
    )
    overhead = _between(best.overhead.low, best.overhead.high, units.data_size)
    learned = advice.served.correction_bytes
    more = f", {units.data_size(learned)} of it learned from engines here" if learned else ""
    where = f" on {advice.places[0].name}" if len(advice.places) > 1 else ""
    return (
        f"Computed from {advice.known_from}: {units.percent(advice.served.share)} of the memory "
        f"for the engine; beside weights and KV cache it takes {overhead}{where}, for a step of "
        f"{fit.load.batched_tokens:,} tokens and {fit.load.sequences:,} sequences, CUDA graphs and "
        f"libraries{more}.{of_one}{mixed}"
    )


def _as_json(advice: "Fit") -> dict[str, Any]:
    return {
        "model": advice.model,
        "answer": advice.answer,
        "known_from": advice.known_from,
        "context": advice.context,
        "batch": advice.batch,
        "tensor_parallel": advice.tensor_parallel,
        "pipeline_parallel": advice.pipeline_parallel,
        "kv_bytes_per_token": advice.kv_bytes_per_token,
        "state_bytes": advice.state_bytes,
        "tokens_are_a_rate": not advice.mixed,
        "share": advice.served.share,
        "builds": dict(advice.builds),
        "places": [
            {
                "name": place.name,
                "here": place.here,
                "vram_bytes": place.fit.vram_bytes,
                "advice": place.fit.advice,
                "batched_tokens": place.fit.load.batched_tokens,
                "max_num_seqs": place.fit.load.sequences,
                "choices": [_choice_json(choice) for choice in place.fit.choices],
            }
            for place in advice.places
        ],
        "rooms": [
            {"context": room.context, "users": room.users, "users_most": room.users_most}
            for room in advice.rooms
        ],
    }


def _choice_json(choice: "Choice") -> dict[str, Any]:
    return {
        "precision": choice.precision,
        "fits": choice.fits,
        "may_fit": choice.may_fit,
        "weight_bytes": choice.weight_bytes,
        "kv_bytes": choice.kv_bytes,
        "overhead_bytes": [choice.overhead.low, choice.overhead.high],
        "pool_bytes": choice.pool_bytes,
        "pool_most_bytes": choice.pool_most_bytes,
        "pool_tokens": choice.tokens,
        "pool_tokens_most": choice.tokens_most,
        "needed_bytes": choice.needed_bytes,
        "sequences": choice.sequences,
        "sequences_most": choice.sequences_most,
        "longest": choice.longest,
        "longest_most": choice.longest_most,
    }
