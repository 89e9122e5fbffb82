"""The quality check of the real engine: a coarsely rounded copy of the embedded model is found, and
two starts of the model itself are the same."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from journal.compare.flips import flips
from journal.records.engine import Endpoint, Quality
from journal.records.experiment import Engine
from journal.serve import models
from journal.serve import start as engines
from journal.serve.quality_check import check_quality

pytestmark = pytest.mark.engine

BITS = 3
GROUP = 64  # weights of a row that share a scale


def rounded(whole: Path, copy: Path) -> Path:
    """A copy of the model in `whole`, with the matrices of its layers rounded to 2**BITS steps from
    the least to the greatest of each GROUP."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(whole, copy)
    tensors = load_file(copy / "model.safetensors")
    for name, tensor in tensors.items():
        if "layers." in name and tensor.ndim == 2:
            groups = tensor.float().reshape(-1, GROUP)
            least, greatest = groups.min(1, keepdim=True)[0], groups.max(1, keepdim=True)[0]
            step = (greatest - least).clamp(min=1e-12) / (2**BITS - 1)
            steps = ((groups - least) / step).round()
            tensors[name] = (least + steps * step).reshape(tensor.shape).to(tensor.dtype)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


@contextmanager
def served(model: str, folder: Path) -> Iterator[Endpoint]:
    engine = Engine(model=model, dtype="float32", max_model_len=2048)
    with engines.start(engine, folder / "engine.log") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def sound(engine_endpoint: Endpoint) -> Quality:
    return check_quality(engine_endpoint)


def test_a_second_start_of_a_model_gives_no_flips(
    sound: Quality, embedded_cache: Path, tmp_path: Path
) -> None:
    with served(models.EMBEDDED, tmp_path) as endpoint:
        again = check_quality(endpoint)
    found = flips(sound, again)
    assert found is not None
    assert (found.verdict, found.flips, found.noise) == ("same", (), (0, 0))


def test_a_coarsely_rounded_copy_is_found(
    sound: Quality, embedded_cache: Path, tmp_path: Path
) -> None:
    copy = rounded(models.embedded_dir(), tmp_path / "rounded")
    with served(str(copy), tmp_path) as endpoint:
        coarse = check_quality(endpoint)
    found = flips(sound, coarse)
    assert found is not None
    assert found.noise == (0, 0)
    assert found.verdict in ("worse", "changed"), found
    assert len(found.flips) > 10
    assert sound.perplexity is not None and coarse.perplexity is not None
    assert coarse.perplexity > sound.perplexity
