"""A model as GGUF files, in a folder or on the hub: its config and its tensors, by the headers."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from journal.errors import NotFound, SpecError
from journal.host.hub import get_file, get_files, hub_is_off, refusal, shown_endpoint
from journal.measure.bounded_http import Unbounded, parsed_json
from journal.paths import anything_is_at, file_is_at, folder_is_at
from journal.theory.checkpoint import Tensor
from journal.theory.gguf import GgufHeader, Unfinished, gguf_config, gguf_header, growing

FIRST_BYTES, MOST_BYTES = 2**20, 2**26  # the vocabulary is in the header
# "owner/name:Q4_K_M", as vLLM names one file of a repository, or "owner/name/file.gguf".
ON_HUB = re.compile(r"([\w.-]+/[\w.-]+)(?::([\w.-]+)|/([\w./-]+\.gguf))")
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


@dataclass(frozen=True, slots=True)
class GgufModel:
    """The config of a model and the tensors of its GGUF files; `where` they lie."""

    config: dict[str, Any]
    tensors: tuple[Tensor, ...]
    where: str


def read_gguf(name: str) -> GgufModel | None:
    """The model that `name` says as a GGUF file, a folder of such files, or one on the hub; None
    where it says none. Raises SpecError or NotFound, with what to do, where its sizes cannot be
    read."""
    path = Path(name).expanduser()
    if file_is_at(path) and path.suffix == ".gguf":
        return _of_folder(path.parent, path)
    if folder_is_at(path) and not any(path.glob("*.safetensors")) and any(path.glob("*.gguf")):
        return _of_folder(path, None)
    match = ON_HUB.fullmatch(name)
    if match is None or anything_is_at(path):
        return None
    if hub_is_off():
        raise SpecError(f"HF_HUB_OFFLINE forbids asking the hub for {name}: unset it")
    try:
        return _of_hub(match[1], match[2] or match[3])
    except HTTPError as error:
        raise refusal(match[1], error.code) from error
    except (URLError, TimeoutError, OSError, ValueError, Unbounded) as error:
        raise SpecError(
            f"{shown_endpoint()} does not give the files of {name} ({error}): give the file itself"
        ) from error


def gguf_hint(repository: str) -> str:
    """What to ask for instead of `repository` where that holds GGUF files; empty where it does
    not."""
    try:
        files = [name for name in get_files(repository) if name.endswith(".gguf")]
    except (URLError, TimeoutError, OSError, ValueError, Unbounded):
        return ""
    return f". It holds GGUF files: name one, such as {repository}/{files[0]}" if files else ""


def _of_folder(folder: Path, file: Path | None) -> GgufModel:
    asked = None if file is None else file.name
    names = _chosen(sorted(one.name for one in folder.glob("*.gguf")), asked, folder)

    def first(name: str, count: int) -> bytes:
        with (folder / name).open("rb") as opened:
            return opened.read(count)

    config = folder / "config.json"
    own = parsed_json(config.read_bytes()) if config.is_file() else None
    return _model(names, first, own, str(folder))


def _of_hub(repository: str, asked: str) -> GgufModel:
    names = [name for name in get_files(repository) if name.endswith(".gguf")]
    where = f"{shown_endpoint()}/{repository}"
    files = _chosen(names, asked, where)
    try:
        own = parsed_json(get_file(repository, "main", "config.json"))
    except HTTPError:
        own = None
    return _model(files, lambda name, count: get_file(repository, "main", name, count), own, where)


def _chosen(names: Sequence[str], asked: str | None, where: Path | str) -> list[str]:
    """The files of one model: those whose name is or holds `asked`, all parts of it."""
    kept = [name for name in names if not Path(name).name.startswith("mmproj")]
    if asked is not None:
        exact = [name for name in kept if name == asked]
        word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(asked)}(?![A-Za-z0-9_])", re.IGNORECASE)
        kept = exact or [name for name in kept if word.search(name)]
    wholes = {_PART.sub("", name) for name in kept}
    if len(wholes) != 1:
        shown = ", ".join(sorted(names)[:8]) or "no GGUF file"
        raise NotFound(f"{where} holds {shown}: name one of them, with its whole name")
    whole = wholes.pop()
    files = [name for name in names if _PART.sub("", name) == whole]
    part = _PART.search(files[0])
    if part is not None and len(files) < int(part[1]):
        raise NotFound(f"{where} holds {len(files)} of the {int(part[1])} parts of {whole}")
    return files


def _model(
    names: Sequence[str],
    first: Callable[[str, int], bytes],
    own: dict[str, Any] | None,
    where: str,
) -> GgufModel:
    headers = [_header(name, first) for name in names]
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    whole = GgufHeader(headers[0].values, tensors)
    config = gguf_config(whole, names[0]) if own is None else own
    config |= {"quantization_config": {"quant_method": "gguf"}}
    return GgufModel(config, tensors, where)


def _header(name: str, first: Callable[[str, int], bytes]) -> GgufHeader:
    for count in growing(FIRST_BYTES, MOST_BYTES):
        raw = first(name, count)
        try:
            return gguf_header(raw, name)
        except Unfinished:
            if len(raw) < count:
                break
    raise SpecError(f"{name} is not a complete GGUF file: download it again")
