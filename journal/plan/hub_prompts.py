"""Prompts of a data set on the Hugging Face hub: fetched once, and kept as a file of prompts.

The data set is read as a stream, from its beginning up to MOST_ROWS rows or MOST_BYTES, so that a
large one costs no more than what is taken of it. What was taken is kept under its full name, with
the split and the column that were chosen, and is not fetched again.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from journal.errors import MissingExtra, SpecError
from journal.plan.prompt_file import sendable
from journal.private import cache_dir, make_folder, write_private
from journal.records.workload import HUB

MOST_ROWS = 10_000
MOST_BYTES = 256 << 20
HUB_S = 20.0  # for the hub's first answer
# Columns that hold what is asked, the first of them that a data set has.
CHATS = ("messages", "conversations", "conversation")
COLUMNS = (*CHATS, "prompt", "question", "instruction", "query", "text")
USUAL_SPLIT = "train"
_PART = r"[\w.-]{1,100}"
_NAME = re.compile(rf"{HUB}({_PART}/{_PART})(?:/({_PART}))?(?::({_PART})?(?::([^:\n]{{1,100}}))?)?")


class _Name(NamedTuple):
    """The parts of hub:OWNER/NAME/CONFIG:SPLIT:COLUMN, None for those that are left out."""

    repository: str
    config: str | None
    split: str | None
    column: str | None

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        return f"{HUB}{self.repository}{config}:{self.split or ''}:{self.column or ''}"


def full_name(name: str) -> str:
    """The name of a data set with the split and the column that are taken of it; where it is not
    kept yet, it is fetched.

    Raises SpecError for a name of another form, a data set that the hub does not give, and one
    without a prompt that can be sent; MissingExtra without the library `datasets`.
    """
    if _kept(name).is_file():
        return name
    pointer = _kept(name, ".name")
    if not pointer.is_file() or not _kept(known := pointer.read_text(encoding="utf-8")).is_file():
        known = _fetched(name)
        write_private(pointer, known)
    return known


def hub_file(name: str) -> Path:
    """The file of the prompts of a data set. Raises as `full_name` does."""
    return _kept(full_name(name))


def _kept(name: str, suffix: str = ".jsonl") -> Path:
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return cache_dir() / "prompts" / f"{digest}{suffix}"


def _fetched(name: str) -> str:
    """Fetch a data set into its file; return its full name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise SpecError(
            f"{name[:100]!r} is no name of a data set: write {HUB}OWNER/NAME, with /CONFIG, :SPLIT "
            "and :COLUMN where there are several"
        )
    if find_spec("datasets") is None:
        raise MissingExtra(name, "datasets")
    asked = _Name(*match.groups())
    if Path(asked.repository).exists():
        raise SpecError(
            f"{name}: there is a folder {asked.repository} here, which would be read in the place "
            "of the hub's: begin elsewhere"
        )
    with _hub_errors(name):
        splits = _splits(asked)
        split = asked.split or (USUAL_SPLIT if USUAL_SPLIT in splits else next(iter(splits)))
        if split not in splits:
            raise SpecError(f"{name} has no split {split!r} (it has: {', '.join(splits)})")
        first: dict[str, Any] = next(iter(splits[split].take(1)), {})
        column = _column(name, asked.column, list(splits[split].column_names or first))
        chosen = asked._replace(split=split, column=column)
        lines = "".join(_lines(str(chosen), splits[split].select_columns([column])))
    path = _kept(str(chosen))
    make_folder(path.parent)
    half_done = path.with_suffix(".half-done")
    write_private(half_done, lines)
    half_done.rename(path)
    return str(chosen)


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Errors of the hub and of its library as one SpecError."""
    import httpx2
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (OSError, ValueError, DatasetsError, httpx2.HTTPError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SpecError(
            f"{name} could not be fetched from the hub ({reason[:200]}): check the name and the "
            "network, and set HF_TOKEN for a data set that asks for it"
        ) from error


def _splits(asked: _Name) -> Any:
    """The splits of a data set by their names, as streams of rows. The hub is asked for the data
    set once before the library asks for more, since that would try for half a minute where nothing
    answers."""
    import datasets
    from huggingface_hub import HfApi

    HfApi().dataset_info(asked.repository, timeout=HUB_S)
    datasets.disable_progress_bars()
    return datasets.load_dataset(asked.repository, asked.config, streaming=True)


def _column(name: str, asked: str | None, columns: Sequence[str]) -> str:
    """The column of the prompts: the one asked for, or the first of those known."""
    wanted = COLUMNS if asked is None else (asked,)
    column = next((one for one in wanted if one in columns), None)
    if column is None:
        raise SpecError(
            f"{name} has no column {' or '.join(wanted)}: name one with "
            f"{HUB}OWNER/NAME:SPLIT:COLUMN (it has: {', '.join(columns)[:300]})"
        )
    return column


def _lines(name: str, rows: Any) -> Iterator[str]:
    """Rows of one column as JSON lines of a file of prompts. A chat is sent up to its first
    question, whose answer is the model's to give. Rows that hold no prompt are left out. Raises
    SpecError where none holds one."""
    size, count = 0, 0
    for row in rows.take(MOST_ROWS):
        (value,) = row.values()
        line = {"prompt" if isinstance(value, str) else "conversations": value}
        if not sendable(line):
            continue
        text = json.dumps(line, ensure_ascii=False) + "\n"
        size += len(text.encode())
        if size > MOST_BYTES:
            break
        count += 1
        yield text
    if not count:
        raise SpecError(f"{name} has no row with a prompt that can be sent")
