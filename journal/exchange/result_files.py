"""Result files as documents: JSON, JSON lines, lists and gzip, and the files that a folder of
results holds. They are untrusted: sizes and numbers are bounded, and a fault ends in a sentence."""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journal.errors import UsageError
from journal.load.other_apis import objects
from journal.paths import file_is_at, folder_is_at

MOST_BYTES = 256 * 2**20
MOST_DOCUMENTS = 10_000
MOST_FILES = 2_000
GZIP = b"\x1f\x8b"
ADVICE = "give a result file as its tool wrote it"

# The files that a folder of results holds, best first: those of one group stand for all after it.
SWEEP = ("*/summary.json", "summary.json", "*/run=*.json", "run=*.json")
STAGES = ("stage_*_lifecycle_metrics.json", "summary_lifecycle_metrics.json")
# Files of any name that may be results: those that a reader knows are taken, others passed over.
ANY = ("*.json", "*.jsonl", "*.json.gz", "*.jsonl.gz")
PYTORCH = ".pytorch.json"  # what `vllm bench serve` writes a second time in another form
RECORDS = "records"  # the field under which a list of such records is one document
# What some tools write beside their JSON, by the beginning or the end of the file.
OTHER_FORMS = {".csv": "CSV", ".yaml": "YAML", ".yml": "YAML", ".html": "HTML", ".db": "a database"}


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON object of a result file, and `where` it is: the file, and the line or the item of it
    where it has several."""

    path: Path
    where: str
    data: Mapping[str, Any]


def documents(path: Path, known: Callable[[Mapping[str, Any]], bool]) -> list[Document]:
    """The documents of a file, or of the files of a folder of results, of which those are taken
    whose objects are `known`. Raises UsageError."""
    if folder_is_at(path):
        found = _of_folder(path, known)
    else:
        export = path.with_name(f"{path.stem}_aiperf.json")  # AIPerf's, of these requests
        found = _of_file(export if path.suffix == ".jsonl" and file_is_at(export) else path)
    if len(found) > MOST_DOCUMENTS:
        raise UsageError(
            f"{path} holds {len(found)} results, and {MOST_DOCUMENTS} are read at once: import "
            "parts of it"
        )
    return found


def content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is gzip; at most MOST_BYTES. Raises UsageError."""
    if not file_is_at(path):
        raise UsageError(f"there is no file {path}: name a result file, or a folder of them")
    try:
        with path.open("rb") as file:
            read = file.read(MOST_BYTES + 1)
        if read.startswith(GZIP):
            with gzip.open(io.BytesIO(read)) as packed:
                read = packed.read(MOST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path} is gzip that cannot be unpacked ({error}): {ADVICE}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): make it readable") from error
    if len(read) > MOST_BYTES:
        raise UsageError(f"{path} is larger than {MOST_BYTES >> 20} MiB: import a smaller one")
    if read.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as a shell of Windows writes
        return read.decode("utf-16", "replace").encode("utf-8", "replace")
    return read


def json_beside(path: Path) -> Any:
    """The JSON of the file beside a result; None where there is no such file. Raises UsageError."""
    return _json(path, content(path)) if path.is_file() else None


def _of_file(path: Path) -> list[Document]:
    read = content(path)
    try:
        data = _json(path, read)
    except UsageError:
        several = _lines(path, read) or _joined(path, read)
        if not several:
            raise
        return several
    if not isinstance(data, list):
        return [_document(path, "", data)]
    if data and isinstance(data[0], dict) and {"benchmark", "metric"} <= data[0].keys():
        return [Document(path, str(path), {RECORDS: data})]
    if not data:
        raise UsageError(f"{path} is an empty list: {ADVICE}")
    return [_document(path, f"item {n}", item) for n, item in enumerate(data)]


def _document(path: Path, part: str, data: Any) -> Document:
    where = f"{path}, {part}," if part else str(path)
    if not isinstance(data, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(data), "a number")
        raise UsageError(f"{where} is {kind}, and a result is an object: {ADVICE}")
    return Document(path, where, data)


def _json(path: Path, read: bytes) -> Any:
    from pydantic_core import from_json

    try:
        return from_json(read.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        if not read.strip():
            raise UsageError(f"{path} is not JSON but empty: {ADVICE}") from error
        form = OTHER_FORMS.get(path.suffix.lower())
        if form is not None:
            raise UsageError(
                f"{path} is {form}, and results are read as JSON: give the JSON that the tool "
                "wrote beside it"
            ) from error
        raise UsageError(f"{path} is not JSON ({error}): {ADVICE}") from error


def _joined(path: Path, read: bytes) -> list[Document]:
    """The documents of JSON objects that follow each other, each on any number of lines; empty
    where there are not several. Raises UsageError for one that is damaged."""
    parts = [part for _, part in objects(read)]
    if len(parts) < 2:
        return []
    found = []
    for number, part in enumerate(parts):
        try:
            found.append(_document(path, f"object {number}", json.loads(part)))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, object {number}, is not JSON ({error}): {ADVICE}") from error
    return found


def _lines(path: Path, read: bytes) -> list[Document]:
    """The documents of JSON lines; empty where the first line is none. Raises UsageError for a
    later line that is none."""
    from pydantic_core import from_json

    lines = [(n, line) for n, line in enumerate(read.splitlines(), 1) if line.strip()]
    if len(lines) < 2:
        return []
    found = []
    for number, line in lines:
        try:
            data = from_json(line)
        except ValueError as error:
            if number == lines[0][0]:
                return []
            raise UsageError(f"{path}, line {number}, is not JSON ({error}): {ADVICE}") from error
        if not isinstance(data, dict) and number == lines[0][0]:
            return []
        found.append(_document(path, f"line {number}", data))
    return found


# ---- folders ---------------------------------------------------------------------------------


def _of_folder(folder: Path, known: Callable[[Mapping[str, Any]], bool]) -> list[Document]:
    """The results of a folder, in order of their files' names. Raises UsageError where it holds
    none."""
    searches: list[Callable[[Path], Sequence[Path]]] = [_sweep, _stages]
    try:
        for search in searches:
            if files := search(folder):
                return [document for file in sorted(files) for document in _of_file(file)]
        files = _of_any_name(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read ({error.strerror}): make it readable") from error
    found: list[Document] = []
    for several in map(_of_file, files):
        if all(known(document.data) for document in several):
            found += several
    if not found:
        raise UsageError(f"{folder} holds no results that are known here: give one of its files")
    return found


def _sweep(folder: Path) -> list[Path]:
    """The results of a sweep: the summary of each setting, else its runs; warm-ups and failures
    are passed over."""
    settings: dict[Path, list[Path]] = {}
    for pattern in SWEEP:
        for file in _files(folder, pattern):
            if ".failure" not in file.suffixes and _unlike_summary(file, settings):
                settings.setdefault(file.parent, []).append(file)
    return [file for files in settings.values() for file in files]


def _unlike_summary(file: Path, settings: Mapping[Path, list[Path]]) -> bool:
    return all(known.name != "summary.json" for known in settings.get(file.parent, ()))


def _stages(folder: Path) -> list[Path]:
    """The stages of a load by inference-perf, else their summary."""
    for pattern in STAGES:
        if files := [*_files(folder, pattern), *_files(folder, f"*/{pattern}")]:
            return files
    return []


def _of_any_name(folder: Path) -> list[Path]:
    """The files that may be results, here or one or two folders below, each result once."""
    found = {
        file
        for name in ANY
        for depth in ("", "*/", "*/*/")
        for file in _files(folder, f"{depth}{name}")
    }
    twice = {file.with_name(f"{file.name.removesuffix('.json')}{PYTORCH}") for file in found}
    return sorted(found - twice)


def _files(folder: Path, pattern: str) -> list[Path]:
    files = list(_some(folder.glob(pattern), folder))
    return sorted(file for file in files if file.is_file())


def _some(files: Iterator[Path], folder: Path) -> Iterator[Path]:
    for number, file in enumerate(files):
        if number >= MOST_FILES:
            raise UsageError(
                f"{folder} holds more than {MOST_FILES} results: import parts of it one by one"
            )
        yield file
