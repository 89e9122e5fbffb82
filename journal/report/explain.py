"""Any log of an engine, explained: where its memory went, how long its start took, why it ended."""

from collections.abc import Iterable
from pathlib import Path

from journal.errors import UsageError
from journal.records.explanation import Explanation
from journal.serve.engines.kind import EngineKind
from journal.serve.engines.vllm.vllm import VLLM

MOST_OF_A_READ = 1 << 20  # characters: a line that is longer is taken as several


def explain(log: str | Path | Iterable[str], *, kind: EngineKind = VLLM) -> Explanation:
    """What the log of an engine says about the last start in it. `log` is the path of a file, or
    lines. No text is too strange: what is not there is None. Raises UsageError where the file
    cannot be read."""
    if isinstance(log, str | Path):
        return kind.explanation(_lines_of(Path(log)))
    return kind.explanation(log)


def _lines_of(path: Path) -> Iterable[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            if path.is_char_device() and not file.isatty():  # such as /dev/zero, which never ends
                raise UsageError(f"{path} is a device: name a log file")
            while line := file.readline(MOST_OF_A_READ):
                yield line
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name a log file") from None
