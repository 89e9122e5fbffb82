"""`journal run`."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import journal
from journal.cli.cell_options import (
    Burstiness,
    Concurrency,
    Convoy,
    FindCapacity,
    LengthSpread,
    NeededVram,
    OutputTokens,
    Processes,
    PromptTokens,
    Rate,
    Repeats,
    Requests,
    Seed,
    Timeout,
    Url,
    Warmup,
    asked_by_options,
)
from journal.cli.options import (
    Body,
    Header,
    Home,
    Json,
    Model,
    Name,
    Python,
    SloE2e,
    SloTpot,
    SloTtft,
    api_key,
    headers,
)
from journal.cli.predicting import Predict, predicted
from journal.cli.render import echo
from journal.cli.workload_options import (
    AbandonAfter,
    Api,
    Cycle,
    DurationS,
    From,
    MaxInFlight,
    Mix,
    NaturalEnd,
    Prefixes,
    Prompts,
    SharedPrefix,
    Shuffle,
    Speed,
    ThinkS,
    TraceFile,
    Turns,
    Until,
)
from journal.errors import UsageError

if TYPE_CHECKING:
    from journal.records.as_json import SearchesJson
    from journal.records.engine import Endpoint
    from journal.records.experiment import Experiment
    from journal.run.stages import Result

Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Refuse a disturbed machine, and exit with 1 when a cell is flagged."
    ),
]

Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with the last try of this experiment: only the cells it lacks."
    ),
]

ParallelGpus = Annotated[
    int | None,
    typer.Option(
        "--parallel-gpus",
        metavar="N",
        help="Measure N engines at a time, each on GPUs of its own. They disturb each other: every "
        "run says what was beside it.",
    ),
]

On = Annotated[
    Literal["ray"] | None,
    typer.Option(
        "--on",
        help="Measure each engine on a host of the Ray cluster at RAY_ADDRESS (of this host alone "
        "without it), with as many GPUs as it needs.",
    ),
]


def run(
    experiment: Name = None,
    endpoint: Url = None,
    model: Model = None,
    concurrency: Concurrency = None,
    rate: Rate = None,
    burstiness: Burstiness = None,
    max_in_flight: MaxInFlight = None,
    prompt_tokens: PromptTokens = None,
    output_tokens: OutputTokens = None,
    length_spread: LengthSpread = None,
    prompts: Prompts = None,
    shuffle: Shuffle = None,
    cycle: Cycle = None,
    shared_prefix: SharedPrefix = None,
    prefixes: Prefixes = None,
    trace: TraceFile = None,
    speed: Speed = None,
    from_s: From = None,
    until_s: Until = None,
    mix: Mix = None,
    api: Api = None,
    natural_end: NaturalEnd = None,
    turns: Turns = None,
    think_s: ThinkS = None,
    convoy: Convoy = None,
    requests: Requests = None,
    duration: DurationS = None,
    abandon_after: AbandonAfter = None,
    warmup: Warmup = None,
    repeats: Repeats = None,
    seed: Seed = None,
    timeout: Timeout = None,
    processes: Processes = None,
    slo_ttft_ms: SloTtft = None,
    slo_tpot_ms: SloTpot = None,
    slo_e2e_ms: SloE2e = None,
    find_capacity: FindCapacity = None,
    needed_vram: NeededVram = False,
    predict: Predict = None,
    python: Python = None,
    resume: Resume = False,
    strict: Strict = False,
    parallel_gpus: ParallelGpus = None,
    on: On = None,
    header: Header = None,
    body: Body = None,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Measure every cell of an experiment, record it, and write today's log.

    Options go over what the experiment's file says.

    Ctrl-C stores what was measured, writes the log and ends the engine; a second one stops at
    once. After it, or after a power cut, the same command with `--resume` goes on.

    `--strict` refuses to measure while other programs use the GPUs or processors, or the host
    swaps, and calls a cell with a doubt a failure.

    Exit code: 0 all cells measured, 1 some cell failed, 2 nothing was started, 130 stopped.

    Examples:

    - `journal run`
    - `journal run experiments/batch-size.toml --home ~/lab`
    - `journal run quickstart --model mistralai/Mistral-7B-Instruct-v0.2 --concurrency 1,8,32`
    - `journal run experiments/batch-size.toml --home ~/lab --resume`
    - `journal run --endpoint http://127.0.0.1:8000/v1 --model NAME --prompt-tokens 64,1024`
    - `journal run --endpoint http://127.0.0.1:8000/v1 --rate 2,4,8 --slo-ttft-ms 200`
    - `journal run --endpoint http://127.0.0.1:8000/v1 --rate 20 --max-in-flight 64`
    - `journal run --endpoint http://127.0.0.1:8000/v1 --prompts questions.jsonl --api chat`
    - `journal run quickstart --prompts text:en --natural-end --output-tokens 256`
    - `journal run quickstart --trace conversations.jsonl --speed 2 --until 600`
    - `journal run quickstart --concurrency 4 --turns 6 --think-s 2`
    - `journal run quickstart --mix 3:128:32..96 --mix 1:1024~0.5:16`
    - `journal run prefix-cache --shared-prefix 0,512 --prefixes 4`
    - `journal run quickstart --slo-tpot-ms 50 --find-capacity concurrency`
    - `journal run quickstart --concurrency 4 --prompt-tokens 128,1024 --needed-vram`
    - `journal run quickstart --predict output_tokens_per_s@batch=4=120`
    - `journal run experiments/quantisation.toml --parallel-gpus 2`
    - `RAY_ADDRESS=10.0.0.1:6379 journal run experiments/quantisation.toml --on ray`
    """
    given = locals()
    asked = asked_by_options(given)
    if header and endpoint is None:
        raise UsageError("--header goes with --endpoint: an engine that is started here needs none")
    server = None if endpoint is None else _attached(endpoint, model, header, asked)
    asked = predicted(asked, predict, model, ask=not (json or resume))
    asked = replace(asked, command=() if endpoint else _as_typed())
    how = {"resume": resume, "strict": strict, "parallel_gpus": parallel_gpus, "on": on}
    result = _measured(asked, home, json, endpoint=server, **how)
    raise typer.Exit(0 if result.ok else 1)


def _as_typed() -> tuple[str, ...]:
    """The words of the command line; none where the command was not called by one, or where a
    secret is among them."""
    import sys

    words = sys.argv[1:]
    return tuple(words) if words[:1] == ["run"] and _without_secrets(words) == words else ()


def _attached(
    url: str, model: str | None, header: list[str] | None, asked: "Experiment"
) -> "Endpoint":
    """The server at `url`, probed with requests as `asked` will send them."""
    return journal.attach(
        url,
        model,
        api_key(),
        headers=headers(header),
        output_tokens=min(asked.grid.output_tokens),
        body=asked.load.body,
    )


def _measured(asked: "Experiment", home: Path, json: bool, **how: Any) -> "Result":
    """The run, with its progress shown, and its result before MLflow has it: as JSON, which names
    MLflow's runs, after that. Where it is stopped, stderr says how to go on."""
    from journal.cli.progress import showing
    from journal.cli.run_tables import print_result, print_tracking_error
    from journal.cli.signals import like_ctrl_c
    from journal.errors import StoreError, StoreLost

    with like_ctrl_c() as signals:
        try:
            with ExitStack() as shown:
                listener = shown.enter_context(showing(quiet=json))

                def on_result(result: "Result") -> None:
                    shown.close()
                    if not json:
                        print_result(result)

                result = journal.run(asked, home, listener=listener, on_result=on_result, **how)
        except KeyboardInterrupt:
            _say_how_to_resume()
            raise typer.Exit(signals.exit_code) from None
        except StoreError as error:
            if not isinstance(error, StoreLost):
                _say_how_to_resume()
            raise
    if json:
        _print_json(result)
    else:
        print_tracking_error(result)
    return result


def _print_json(result: "Result") -> None:
    from journal.cli.render import print_json
    from journal.report.run_json import run_json
    from journal.report.sections.needed import needed_json
    from journal.report.sections.searches import capacity_json

    asked, runs = result.experiment.experiment, [run_json(record) for record in result.records]
    searched: SearchesJson = {}
    if asked.find_capacity is not None:
        searched["capacity"] = [capacity_json(search) for search in result.capacities]
    if asked.needed_vram:
        searched["needed_vram"] = [needed_json(search) for search in result.needed]
    print_json({**searched, "runs": runs} if searched else runs)


def _say_how_to_resume() -> None:
    import shlex
    import sys

    words = _without_secrets([word for word in sys.argv[1:] if word != "--resume"])
    again = shlex.join(["journal", *words, "--resume"])
    kept = "the runs that were reported are stored"
    echo(f"journal: stopped; {kept}. Go on with: {again}", file=sys.stderr)


def _without_secrets(words: list[str]) -> list[str]:
    """The words of a command line with *** in the place of the value of each header, and of the
    secrets that stand in a URL or behind a name that means one."""
    from journal.redaction import hidden, in_text, in_url, pattern, shown_url

    shown = []
    for before, word in zip(["", *words], words, strict=False):
        if word.startswith("--header="):
            word = f"--header={_without_value(word.removeprefix('--header='))}"
        elif before == "--header":
            word = _without_value(word)
        elif before == "--endpoint":
            word = shown_url(word)
        shown.append(hidden(word, pattern([*in_url(word), *in_text(word)])))
    return shown


def _without_value(header: str) -> str:
    return f"{header.partition(':')[0]}: ***"
