"""The experiment that `run` and `plan` are asked for: a file or a name, with options over it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from journal.records.experiment import Experiment


Options = Mapping[str, Any]


def asked_experiment(
    name: str | None,
    *,
    at_endpoint: bool = False,
    grid: Options | None = None,
    load: Options | None = None,
    engine: Options | None = None,
    slo: Options | None = None,
    workload: Options | None = None,
    find_capacity: Literal["rate", "concurrency"] | None = None,
    needed_vram: bool = False,
) -> "Experiment":
    """The experiment of that name or file, with the options (by field; None: not given) over it.
    Without a name it is the default one of this host, or a bare one `at_endpoint`; a name may mean
    a twin with a small model. Raises SpecError for options that do not go together."""
    from journal.plan.experiment_file import load_experiment, validated
    from journal.records.experiment import Experiment, Slo
    from journal.serve.models import default_experiment

    parts = (grid or {}, load or {}, engine or {}, slo or {}, workload or {})
    given = [{k: v for k, v in part.items() if v is not None} for part in parts]
    if name is None and at_endpoint:
        asked = Experiment(name="endpoint")
    else:
        own = at_endpoint or "model" in given[2]
        asked = load_experiment(_chosen(name, own) if name else default_experiment())
    if find_capacity is not None:
        _check_search(find_capacity, given[0], given[1])
    _settle(asked, *given)
    if at_endpoint:
        asked = asked.at_endpoint()
    return validated(
        replace(
            asked,
            engines=tuple(replace(each, **given[2]) for each in asked.engines),
            grid=replace(asked.grid, **given[0]),
            load=replace(asked.load, **given[1]),
            slo=replace(asked.slo or Slo(), **given[3]) if given[3] else asked.slo,
            workload=replace(asked.workload, **given[4]),
            find_capacity=find_capacity or asked.find_capacity,
            needed_vram=needed_vram or asked.needed_vram,
            **({} if asked.price else _price_here()),
        )
    )


def _chosen(name: str, own_model: bool) -> str:
    """The experiment that `name` means on this host, which stderr names where it is another; `name`
    itself for a model of one's own."""
    import sys

    from journal.cli.render import echo
    from journal.serve.models import suited_experiment

    chosen = name if own_model else suited_experiment(name)
    if chosen != name:
        echo(
            f"{chosen} is taken for {name}: no GPU here holds its model (--model takes another)",
            file=sys.stderr,
        )
    return chosen


def _settle(
    asked: "Experiment",
    grid: dict[str, Any],
    load: dict[str, Any],
    _engine: dict[str, Any],
    _slo: dict[str, Any],
    workload: dict[str, Any],
) -> None:
    """Add to the options what follows from them together and from `asked`, which they go over."""
    if "prompts" in workload:
        workload.setdefault("all_lines", "requests" not in load)
    elif "requests" in load:
        workload.setdefault("all_lines", False)
    if "prompts" in workload or ("output_tokens" in grid and asked.workload.is_built_in):
        sent = replace(asked.workload, **workload)
        workload["line_lengths"] = not sent.is_built_in or "output_tokens" not in grid
    if "rate" in grid or "batch" in grid:
        load.setdefault("ramp", None)
    if "batch" in grid:
        grid.setdefault("rate", ())  # the load that was asked for now, not the file's
    if "body" in load:
        load["body"] = {**asked.load.body, **load["body"]}


def with_expected(asked: "Experiment", expected: Mapping[str, float]) -> "Experiment":
    """`asked` with what the user expects beside the predictions of its file. Raises SpecError for a
    metric or a cell that there is not."""
    from journal.plan.experiment_file import check_predictions

    check_predictions(expected, "--predict")
    return replace(asked, predict={**asked.predict, **expected}) if expected else asked


def _check_search(of: str, grid: dict[str, Any], load: dict[str, Any]) -> None:
    """Refuse (SpecError) options that a search for capacity has no use for."""
    from journal.errors import SpecError

    named = {"batch": "--concurrency", "rate": "--rate"}
    own = "rate" if of == "rate" else "batch"
    for other in (named.keys() - {own}) & grid.keys():
        raise SpecError(
            f"{named[other]} has no place in a search for a {of}: leave it out, or say with "
            f"{named[own]} where to begin"
        )
    if "repeats" in load:
        raise SpecError(
            "--repeats has no place in a search for capacity, which tries each load as often as "
            "it needs: leave it out"
        )


def _price_here() -> dict[str, Any]:
    """What this machine costs, by the setting JOURNAL_PRICE_PER_HOUR, or by its old name
    JOURNAL_USD_PER_HOUR, as fields of an experiment."""
    import os

    from journal.plan.experiment_file import price_fields

    for name in ("JOURNAL_PRICE_PER_HOUR", "JOURNAL_USD_PER_HOUR"):
        if text := os.environ.get(name, "").strip():
            return price_fields(text, name)
    return {}
