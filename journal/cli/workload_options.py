"""The options of `journal run` on what is sent."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from journal.cli.options import rates

if TYPE_CHECKING:
    from journal.records.workload import Part

Prompts = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="Prompts of your own in place of random tokens: JSON lines with a prompt, messages or "
        "a batch body, CSV, or ShareGPT's JSON; text:en and text:zh are built in, and "
        "hub:OWNER/NAME is a data set. Each line is sent once, unchanged.",
    ),
]

Shuffle = Annotated[
    bool | None,
    typer.Option(
        "--shuffle/--in-order", help="Send lines in an order of the seed.", show_default=False
    ),
]

Cycle = Annotated[
    bool | None,
    typer.Option(
        "--cycle/--once",
        help="Begin again at the first line where --requests asks for more than there are.",
        show_default=False,
    ),
]

SharedPrefix = Annotated[
    str | None,
    typer.Option(
        "--shared-prefix",
        metavar="N,N",
        help="Tokens at the beginning of each random prompt that others share; each beginning is "
        "sent once before the load.",
    ),
]

Prefixes = Annotated[
    int | None, typer.Option("--prefixes", help="Shared beginnings, which prompts take in turn.")
]

TraceFile = Annotated[
    str | None,
    typer.Option(
        "--trace",
        metavar="FILE",
        help="Send requests when a trace says, and as long: Mooncake's JSON lines, BurstGPT's or "
        "Azure's CSV, or JSON lines with at_s.",
    ),
]

Speed = Annotated[
    float | None, typer.Option("--speed", metavar="X", help="The pace of a trace: 2 is twice.")
]

From = Annotated[
    float | None, typer.Option("--from", metavar="S", help="Where in the trace to begin.")
]

Until = Annotated[float | None, typer.Option("--until", metavar="S", help="Where to end.")]

MaxInFlight = Annotated[
    int | None,
    typer.Option(
        "--max-in-flight",
        metavar="N",
        help="The most requests in flight in open loop; others wait, and their latency counts from "
        "when they were due.",
    ),
]

DurationS = Annotated[
    float | None,
    typer.Option("--duration", metavar="S", help="Send requests for so long, not so many."),
]

AbandonAfter = Annotated[
    float | None,
    typer.Option(
        "--abandon-after", metavar="S", help="The patience of users: they leave after so long."
    ),
]

Api = Annotated[
    Literal["chat", "completions"] | None,
    typer.Option("--api", help="The part of the API to ask; chosen from the prompts by default."),
]

Mix = Annotated[
    list[str] | None,
    typer.Option(
        "--mix",
        metavar="WEIGHT:PROMPT:OUTPUT",
        help="A part of a mix of lengths, each a number, 64..256 (uniform), 2048~0.5 (log-normal: "
        "mean and coefficient of variation) or @FILE (one on each line). Give it for each part.",
    ),
]

Turns = Annotated[
    int | None,
    typer.Option(
        "--turns",
        metavar="N",
        help="Hold conversations of N turns, each with all that was said before; --concurrency "
        "counts users.",
    ),
]

ThinkS = Annotated[
    float | None,
    typer.Option("--think-s", metavar="S", help="From an answer to its user's next turn."),
]

NaturalEnd = Annotated[
    bool | None,
    typer.Option(
        "--natural-end/--exact-length",
        help="Let the model end its answers; --output-tokens is then the longest.",
        show_default=False,
    ),
]


def parts_of_mix(mix: list[str] | None) -> "tuple[Part, ...] | None":
    """The parts of a mix as the options give them; None where there are none. Raises SpecError for
    one that is not WEIGHT:PROMPT:OUTPUT."""
    from journal.errors import SpecError
    from journal.records.workload import Part

    parts = []
    for text in mix or ():
        weight, *lengths = text.split(":", maxsplit=2)
        try:
            prompt, output = (int(one) if one.isdecimal() else one for one in lengths)
            parts.append(Part(weight=float(weight), prompt_tokens=prompt, output_tokens=output))
        except ValueError:
            raise SpecError(f"--mix {text[:60]} is not WEIGHT:PROMPT:OUTPUT") from None
    return tuple(parts) or None


def ramp_given(text: str | None) -> str | None:
    """The profile of a rate that changes; None where --rate gives rates."""
    from journal.plan.ramp import is_profile

    return text if text is not None and is_profile(text) else None


def rates_given(text: str | None) -> tuple[float, ...] | None:
    """The rates of --rate, or the mean of its profile. Raises SpecError for another text."""
    from journal.plan.ramp import mean_rate

    profile = ramp_given(text)
    return rates(text, "--rate") if profile is None else (mean_rate(profile),)
