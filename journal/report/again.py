"""The command that runs an experiment again: as it was typed, with other options."""

from collections.abc import Container, Iterator, Sequence
from shlex import join

from journal.records.experiment import Experiment

LOADS = ("--concurrency", "--batch", "--rate", "--find-capacity")
# The options that make room for one that is added, beside itself.
REPLACED = {
    "--concurrency": LOADS,
    "--repeats": ("--find-capacity",),
    "--find-capacity": (*LOADS, "--repeats", "--slo-tpot-ms"),
}
OF_ONE_TIME = ("--resume", "--json")
PREDICTIONS = "--predict"  # are of the cells that were asked for then


def again(experiment: Experiment, *options: str) -> str | None:
    """The command that runs `experiment` with `options` (names and values in turn, or one flag)
    over it; None where it is not known how it was asked for, as of one made by a script."""
    if not experiment.engines:
        return " ".join(("journal run --endpoint URL", *options))
    if not experiment.command:
        return None
    added = [option for option in options if option.startswith("--")]
    replaced = {PREDICTIONS, *added, *(other for one in added for other in REPLACED.get(one, ()))}
    words = [word for word in experiment.command if word not in OF_ONE_TIME]
    return join(("journal", *_without(words, replaced), *options))


def _without(words: Sequence[str], options: Container[str]) -> Iterator[str]:
    """`words` without `options` and their values."""
    before = ""
    for word in words:
        if before not in options and word.partition("=")[0] not in options:
            yield word
        before = word
