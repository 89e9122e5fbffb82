"""The errors that this package raises on purpose. Each message is for a person: the event, the
value, and the remedy.

    JournalError                 exit 1
    |-- UsageError               exit 2: the request itself was wrong, nothing was started
    |   |-- SpecError            an experiment file or an option that cannot be run
    |   `-- NotFound             a run, day or file that is not there
    |-- EndpointError            a server that does not answer as an OpenAI-compatible one
    |-- EngineError              an engine that did not start, or died
    |   `-- EngineOutOfMemory    ... because the GPU or the host had too little memory
    |-- MeasureError             a meter that cannot be read
    |-- Unfit                    a machine that is too disturbed to be measured on (--strict)
    |-- StoreError               the journal's database
    |   |-- StoreTooNew          ... was written by a newer version of this package
    |   |-- StoreLost            ... whose file was removed or renamed while it was open
    |   `-- StoreBusy            ... cannot be written now: it is locked, full or out of reach
    |-- TrackingError            MLflow
    `-- MissingExtra             an optional part that is not installed
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from journal.redaction import hidden

if TYPE_CHECKING:
    from journal.records.engine import EngineFacts

LONG_WORD = re.compile(r"\S{1000,}")  # such as an option's value that an error quotes


class JournalError(Exception):
    """The root of this package's errors. `str(error)` is one sentence for a person, without
    secrets; `exit_code` is the exit status of the CLI."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(LONG_WORD.sub(lambda word: f"{word[0][:200]}...", hidden(message)))


class UsageError(JournalError):
    """A wrong request: nothing was started."""

    exit_code = 2


class SpecError(UsageError):
    """An experiment file or an option that cannot be run."""


class NotFound(UsageError):
    """A run, a day or a file that does not exist."""


class EndpointError(JournalError):
    """A server that does not answer as an OpenAI-compatible one."""

    exit_code = 2


class EngineError(JournalError):
    """An engine that did not start, or died. `log_tail` holds the last lines of its log ("" where
    it wrote none), `facts` the facts that it had logged by then."""

    def __init__(
        self, message: str, *, log_tail: str = "", facts: "EngineFacts | None" = None
    ) -> None:
        super().__init__(message)
        self.log_tail = hidden(log_tail)
        self.facts = facts


class EngineOutOfMemory(EngineError):
    """An engine that did not start, or died, for lack of memory on the GPU or the host."""


class MeasureError(JournalError):
    """A meter that cannot be read. `values` are those of the doubt "absent" with the same message,
    which can be put into any language; None where there is no such doubt."""

    def __init__(self, message: str, values: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.values = values


class Unfit(JournalError):
    """A machine that is too disturbed to be measured on (`--strict`)."""


class StoreError(JournalError):
    """A failure of the journal's database."""


class StoreLost(StoreError):
    """A database whose file was removed, renamed or replaced while it was open."""


class DamagedRow(UserWarning):
    """A warning of a row of the journal that cannot be read; the message names it. All other rows
    are read."""


class StoreTooNew(StoreError):
    """A database that a newer version of this package wrote."""


class StoreBusy(StoreError):
    """A database that cannot be written now: it is locked, full or out of reach."""


class TrackingError(JournalError):
    """A failure of MLflow."""


class MissingExtra(UsageError):
    """An optional part, `extra`, that `what` needs and that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'serving-journal[{extra}]'")
