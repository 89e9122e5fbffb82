"""Predictions of memory set against the engines of a journal."""

from dataclasses import replace
from pathlib import Path

import pytest
from builders import a_cell, a_record

from journal.cli.fit_scored import learned_bytes, print_score
from journal.host.fit_score import FEWEST_STARTS, fit_score
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.run import Record
from journal.store.store import open_store
from journal.theory.model_table import find_model

GIB = 2**30
MISTRAL = find_model("Mistral-7B-Instruct-v0.2")
FACTS = EngineFacts(
    version="0.32.0",
    config={**MISTRAL.config, "max_position_embeddings": 32768},
    card="NVIDIA L40S",
    dtype="bfloat16",
    weights_bytes=round(13.5 * GIB),
    kv_pool_bytes=26 * GIB + GIB // 2,
    kv_pool_tokens=53 * GIB // 2 // 131_072,
)
TOTAL = {"gpu_0_total_bytes": 46068 * 2**20}


def start(number: int = 0, **changes: object) -> Record:
    engine = Engine(model="mistral", gpu_memory_utilization=0.92)
    facts = replace(FACTS, start_s=float(number), **changes)
    return replace(a_record(), cell=a_cell(engine=engine), facts=facts, environment=TOTAL)


def test_a_start_is_set_against_its_predictions() -> None:
    score = fit_score([start(), start()])  # two runs of one start count once
    (one,) = score.starts
    assert one.weights_error == pytest.approx(0.0, abs=0.002)
    assert score.token_error == pytest.approx(0.0, abs=1e-3)
    assert (score.within, score.ranged, score.correction_bytes) == (1, 1, None)


def test_a_correction_is_learned_from_several_starts() -> None:
    less = [start(n, kv_pool_bytes=22 * GIB, kv_pool_tokens=180_224) for n in range(FEWEST_STARTS)]
    score = fit_score(less)
    assert score.within == 0
    room = 0.92 * (46068 * 2**20 - GIB / 2) - 13.5 * GIB - 22 * GIB
    overhead = score.starts[0].overhead
    assert overhead is not None
    assert score.correction_bytes == pytest.approx(room - overhead)
    assert fit_score(less[:2]).correction_bytes is None


@pytest.mark.parametrize(
    ("changes", "starts", "ranged"),
    [
        ({"card": None}, 1, 0),  # on the CPU
        ({"config": None}, 0, 0),
        ({"kv_cache_dtype": "unheard-of"}, 0, 0),
        ({"weights_bytes": None}, 1, 1),
        ({"weights_bytes": None, "kv_pool_bytes": None}, 0, 0),
        ({"config": {"model_type": "new"}}, 0, 0),
    ],
)
def test_what_is_not_known_is_left_out(
    changes: dict[str, object], starts: int, ranged: int
) -> None:
    score = fit_score([start(**changes)])
    assert (len(score.starts), score.ranged) == (starts, ranged)


def test_the_command_prints_the_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(tmp_path):
        pass
    print_score(tmp_path, as_json=False)
    assert "No engine in this journal has reported its memory yet" in capsys.readouterr().out
    print_score(tmp_path, as_json=True)
    assert '"starts": []' in capsys.readouterr().out
    assert learned_bytes(tmp_path) == learned_bytes(tmp_path / "none") == 0.0
