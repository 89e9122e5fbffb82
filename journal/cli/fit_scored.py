"""`journal fit --score`: how well predictions of memory did on this host."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from journal import units
from journal.cli.render import echo

if TYPE_CHECKING:
    from journal.host.fit_score import FitScore


def print_score(home: Path, *, as_json: bool) -> None:
    """Print the score of the engines that the journal in `home` holds."""
    from journal.cli.render import plain, print_json
    from journal.cli.tables import print_table

    score = _score(home)
    if as_json:
        print_json(_as_json(score))
        return
    rows = [
        [
            plain(one.reported.model),
            plain(one.reported.gpu),
            units.data_size(one.reported.weights_bytes),
            units.data_size(one.weights_bytes),
            _percent(one.weights_error),
            units.data_size(one.reported.pool_bytes),
            _pool(one.pool.low, one.pool.high) if one.pool is not None else units.ABSENT,
            {None: units.ABSENT, True: "yes", False: "no"}[one.within],
        ]
        for one in score.starts
    ]
    columns = ["model", "GPU", "weights", "predicted", "error", "KV pool", "predicted", "within"]
    if rows:
        print_table(columns, rows, left=("model", "GPU"))
    echo(_sentence(score))


def learned_bytes(home: Path) -> float:
    """What engines on this host took beyond the estimate, by the journal in `home`; 0 where there
    is none, or too little in it."""
    if not home.is_dir():
        return 0.0
    learned = _score(home).correction_bytes
    return 0.0 if learned is None else learned


def _score(home: Path) -> "FitScore":
    from journal.host.fit_score import fit_score
    from journal.store.store import open_store

    with open_store(home) as store:
        return fit_score(store.runs(metrics=()))


def _sentence(score: "FitScore") -> str:
    if not score.starts:
        return "No engine in this journal has reported its memory yet: run an experiment first."
    parts = [f"{len(score.starts)} engine starts"]
    if score.weights_error is not None:
        parts.append(f"weights within {_percent(score.weights_error).lstrip('+')} in the median")
    if score.token_error is not None:
        parts.append(f"KV per token within {_percent(score.token_error).lstrip('+')}")
    if score.ranged:
        parts.append(f"{score.within} of {score.ranged} pools in their range")
    if score.correction_bytes is None:
        parts.append("no correction learned: it takes three starts on a GPU")
    else:
        parts.append(
            f"engines here took {units.data_size(score.correction_bytes)} beyond the estimate, "
            "which journal fit adds for this host"
        )
    return "; ".join(parts) + "."


def _percent(error: float | None) -> str:
    return units.ABSENT if error is None else f"{100 * error:+.2f}%"


def _pool(low: int, high: int) -> str:
    return f"{units.data_size(low)} to {units.data_size(high)}"


def _as_json(score: "FitScore") -> dict[str, Any]:
    return {
        "starts": [
            {
                "model": one.reported.model,
                "gpu": one.reported.gpu,
                "engine_version": one.reported.engine,
                "weights_bytes": one.reported.weights_bytes,
                "weights_bytes_predicted": one.weights_bytes,
                "weights_error": one.weights_error,
                "kv_token_error": one.token_error,
                "pool_bytes": one.reported.pool_bytes,
                "pool_bytes_predicted": None if one.pool is None else [one.pool.low, one.pool.high],
                "within": one.within,
            }
            for one in score.starts
        ],
        "weights_error": score.weights_error,
        "kv_token_error": score.token_error,
        "within": score.within,
        "ranged": score.ranged,
        "correction_bytes": score.correction_bytes,
    }
