"""`journal fit`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

import journal
from journal.cli.options import Json, size

if TYPE_CHECKING:
    from journal.host.fit import Fit


def fit(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A well-known model, or the folder of a config.json."),
    ],
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
    json: Json = False,
) -> None:
    """Say whether a model fits on a GPU, and which build of it to take, before you rent or
    download anything.

    Without --gpu or --vram: on the GPU of this host, or where it has none on every known one.
    The sizes come from a config.json that is here already, or from a table of well-known models.
    Where several GPUs share the model, all sizes are those of one GPU, the fullest.

    Examples:

    - `journal fit mistralai/Mistral-7B-Instruct-v0.2 --gpu 4090 --context 16384 --batch 8`
    - `journal fit Llama-3.1-70B-Instruct --gpu A100-80GB --tensor-parallel 4`
    - `journal fit ./my-model`
    """
    from journal.cli.render import print_json

    vram_bytes = None if vram is None else size(vram, "--vram")
    advice = journal.fit(
        model,
        gpu=gpu,
        vram_bytes=vram_bytes,
        context=context,
        batch=batch,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
    )
    if json:
        print_json(_as_json(advice))
    else:
        _print(advice)


def _print(advice: "Fit") -> None:
    from journal import units
    from journal.cli.render import plain, print_table
    from journal.host.fit import choice_verdict
    from journal.theory.headroom import build_name

    print(plain(advice.answer))
    if len(advice.places) == 1:
        columns = ["precision", "weights", "KV per token", "KV asked for", "left for KV"]
        columns += ["longest at that batch", "fits", "build"]
        rows = [
            [
                build_name(choice.precision),
                units.data_size(choice.weight_bytes),
                f"{advice.kv_bytes_per_token:,} B",
                units.data_size(choice.kv_bytes),
                units.data_size(max(0, choice.pool_bytes)),
                f"{choice.longest:,}",
                choice_verdict(choice),
                plain(advice.builds.get(choice.precision, units.ABSENT)),
            ]
            for choice in advice.places[0].fit.choices
        ]
        spare = ("KV per token", "KV asked for", "left for KV", "weights")
        print_table(columns, rows, left=("precision", "fits", "build"), spare=spare)
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
    print(_assumptions(advice))


def _assumptions(advice: "Fit") -> str:
    from journal import units
    from journal.serve.engines.vllm.defaults import GPU_MEMORY_UTILIZATION
    from journal.theory.headroom import OVERHEAD_BYTES

    of_one = " Sizes are those of one GPU." if advice.places[0].fit.gpu_count > 1 else ""
    return (
        f"Computed from {advice.known_from}: {units.percent(GPU_MEMORY_UTILIZATION)} of the memory "
        f"for the engine, {units.data_size(OVERHEAD_BYTES)} of it for activations, CUDA graphs and "
        f"the driver.{of_one}"
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
        "builds": dict(advice.builds),
        "places": [
            {
                "name": place.name,
                "here": place.here,
                "vram_bytes": place.fit.vram_bytes,
                "advice": place.fit.advice,
                "choices": [
                    {
                        "precision": choice.precision,
                        "fits": choice.fits,
                        "weight_bytes": choice.weight_bytes,
                        "kv_bytes": choice.kv_bytes,
                        "pool_bytes": choice.pool_bytes,
                        "needed_bytes": choice.needed_bytes,
                        "sequences": choice.sequences,
                        "longest": choice.longest,
                    }
                    for choice in place.fit.choices
                ],
            }
            for place in advice.places
        ],
    }
