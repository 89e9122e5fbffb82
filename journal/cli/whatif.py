"""`journal whatif`."""

from typing import TYPE_CHECKING, Annotated

import typer

import journal
from journal import units
from journal.cli.options import Home, Json, SloE2e, SloTpot, SloTtft
from journal.cli.render import echo
from journal.errors import UsageError

if TYPE_CHECKING:
    from journal.compare.whatif import Supposed


def whatif(
    slo_ttft_ms: SloTtft = None,
    slo_tpot_ms: SloTpot = None,
    slo_e2e_ms: SloE2e = None,
    good_fraction: Annotated[
        float, typer.Option("--good-fraction", help="The part of requests that has to be good.")
    ] = 0.95,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Say what every stored setup would give under another SLO, from raw samples, without a run.

    For each setup: the good requests/s and the part of good requests at each load, the highest load
    that is shown to hold the SLO, and the price and energy there. The cheapest that holds it comes
    first.

    Examples:

    - `journal whatif --slo-ttft-ms 300 --slo-tpot-ms 40`
    - `journal whatif --slo-e2e-ms 2000 --good-fraction 0.99 --json`
    """
    from pydantic import ValidationError

    from journal.cli.render import print_json

    limits = {"ttft_ms": slo_ttft_ms, "tpot_ms": slo_tpot_ms, "e2e_ms": slo_e2e_ms}
    if all(limit is None for limit in limits.values()):
        raise UsageError("an SLO has a limit at least: give --slo-ttft-ms, -tpot-ms or -e2e-ms")
    try:
        slo = journal.Slo(**limits, good_fraction=good_fraction)
    except (ValidationError, ValueError) as error:
        raise UsageError(f"the SLO is not one: {error}") from error
    found = journal.whatif(slo, home)
    if json:
        print_json([each.as_json() for each in found])
        return
    for number, each in enumerate(found):
        if number:
            print()
        _print(each)


def _print(supposed: "Supposed") -> None:
    from rich.text import Text

    from journal.cli.render import plain
    from journal.cli.tables import print_table

    capacity, cell = supposed.capacity, supposed.capacity.cell
    build = f" {supposed.setup.quantisation}" if supposed.setup.quantisation else ""
    version = supposed.setup.get("version")
    echo(
        plain(
            f"{supposed.setup.model}{build}{f', {version}' if version else ''}: "
            f"{cell.lengths_label}"
        )
    )
    unit = "requests/s" if capacity.of == "rate" else "requests in flight"
    held, broken = capacity.holds_up_to, capacity.breaks_from
    parts = [f"holds up to {held:g} {unit}" if held is not None else "no load is shown to hold"]
    if broken is not None:
        parts.append(f"breaks from {broken:g}")
    if (price := supposed.price_per_million_output_tokens) is not None:
        parts.append(f"{price.amount:.3g} {price.currency} for a million output tokens there")
    if supposed.energy_per_output_token_j is not None:
        parts.append(f"{units.number(supposed.energy_per_output_token_j)} J for a token there")
    echo(", ".join(parts))
    rows: list[list[str | Text]] = [
        [
            Text(f"{probe.load:g}"),
            Text(units.rate(supposed.goodput_per_s.get(probe.load), "good/s")),
            Text(units.percent(probe.good.value)),
            Text(probe.verdict),
        ]
        for probe in capacity.probes
    ]
    print_table([unit, "goodput", "good", "verdict"], rows, left=("verdict",))
