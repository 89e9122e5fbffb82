"""The templates of the log as Jinja compiled them, kept among what is made once: to compile them
takes as long as to fill them in."""

from contextlib import suppress

from jinja2.bccache import Bucket, FileSystemBytecodeCache

from journal.private import cache_dir, is_private


class _Kept(FileSystemBytecodeCache):
    """Jinja's own cache, without which a log is written as well: on a full disk, say."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            super().dump_bytecode(bucket)


def compiled_templates() -> FileSystemBytecodeCache | None:
    """The cache of compiled templates; None where its folder cannot be made, or where others may
    write to it, whose code would run here."""
    folder = cache_dir() / "templates"
    return _Kept(str(folder)) if is_private(folder) else None
