"""Every error this package raises on purpose. Each speaks to a person: what happened, the value,
what to do.

    JournalError                 exit 1
    |-- UsageError               exit 2: the request itself was wrong, nothing was started
    |   |-- SpecError            an experiment file or an option that cannot be run
    |   `-- NotFound             a run, day or file that is not there
    |-- EndpointError            a server that does not answer as an OpenAI-compatible one
    |-- EngineError              an engine that did not start, or died
    |   `-- EngineOutOfMemory    ... because the card or the host had too little memory
    |-- MeasureError             a meter that cannot be read
    |-- Unfit                    a machine that is too disturbed to be measured on (--strict)
    |-- StoreError               the journal's database
    |   |-- StoreTooNew          ... was written by a newer version of this package
    |   `-- StoreBusy            ... cannot be written now: it is locked, full or out of reach
    |-- TrackingError            MLflow
    `-- MissingExtra             an optional part that is not installed
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journal.records.engine import EngineFacts


class JournalError(Exception):
    """The root. `str(error)` is one sentence for a person; `exit_code` is the CLI's."""

    exit_code = 1


class UsageError(JournalError):
    exit_code = 2


class SpecError(UsageError):
    pass


class NotFound(UsageError):
    pass


class EndpointError(JournalError):
    exit_code = 2


class EngineError(JournalError):
    """`log_tail` holds the engine's last lines, when it wrote any, and `facts` what it had said
    of itself by then."""

    def __init__(
        self, message: str, *, log_tail: str = "", facts: "EngineFacts | None" = None
    ) -> None:
        super().__init__(message)
        self.log_tail = log_tail
        self.facts = facts


class EngineOutOfMemory(EngineError):
    pass


class MeasureError(JournalError):
    """Something cannot be read. `values`, where known, are those of the doubt that says so in any
    language."""

    def __init__(self, message: str, values: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.values = values


class Unfit(JournalError):
    pass


class StoreError(JournalError):
    pass


class StoreTooNew(StoreError):
    pass


class StoreBusy(StoreError):
    pass


class TrackingError(JournalError):
    pass


class MissingExtra(UsageError):
    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'serving-journal[{extra}]'")
