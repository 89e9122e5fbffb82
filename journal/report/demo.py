"""A recorded journal that ships with this package, and its log: what a journal looks like, before
anything is installed to serve a model."""

import lzma
import secrets
from pathlib import Path

from journal.errors import NotFound, UsageError
from journal.paths import anything_is_at
from journal.plan.experiment_file import shipped
from journal.private import make_folder, write_private
from journal.report.log import LogFiles, log

RECORDED = "recorded/two-architectures.db.xz"


def demo(home: str | Path = "demo", lang: str | None = None) -> LogFiles:
    """Copy the recorded journal to the directory `home` and write the log of its last day; once it
    is there, only the log is written again. The log names the hardware that was measured.

    Raises UsageError where `home` holds another journal or cannot be written, NotFound where the
    recording is not installed.
    """
    home = Path(home)
    recording = _recording()
    database, mark = home / "journal.db", home / "demo"
    if anything_is_at(database) and not mark.exists():
        raise UsageError(f"{home} holds a journal already: name another --home")
    if not anything_is_at(database):
        try:
            make_folder(home)
            mark.touch(mode=0o600)
            temporary = home / f".journal.db.{secrets.token_hex(4)}"
            write_private(temporary, lzma.decompress(recording.read_bytes()))
            temporary.replace(database)
        except OSError as error:
            raise UsageError(
                f"{home} cannot be written ({error.strerror}): name another --home"
            ) from None
    return log(home, lang=lang)


def _recording() -> Path:
    for path in shipped().values():
        recording = path.parent / RECORDED
        if recording.is_file():
            return recording
    raise NotFound(f"the recorded journal ({RECORDED}) is not installed: install the wheel again")
