"""Paths as people give them. What cannot be looked up, since its name is too long for a file or a
folder on the way is closed, counts as not there: opening it then says why."""

import os
from pathlib import Path


def file_is_at(path: Path) -> bool:
    """Whether a plain file is at `path`."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises where it cannot look


def folder_is_at(path: Path) -> bool:
    """Whether a folder is at `path`."""
    return os.path.isdir(path)  # noqa: PTH112


def anything_is_at(path: Path) -> bool:
    """Whether a file of any kind, or a folder, is at `path`."""
    return os.path.exists(path)  # noqa: PTH110


def is_written_in_place(path: Path) -> bool:
    """Whether what is written to `path` goes into what is there, as into a device, a pipe or
    /dev/stdout; a plain file is replaced at once instead."""
    of_system = path.absolute().parts[1:2] in (("dev",), ("proc",))
    return of_system or (anything_is_at(path) and not file_is_at(path))
