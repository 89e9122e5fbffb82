"""Fields of other tools' result files: the limits on every number and text, and values as they are
read. Such files are untrusted."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from journal.errors import UsageError

Seconds = Annotated[float, Ge(0), Le(1e7)]
Clock = Annotated[float, Ge(0), Le(1e12)]  # seconds of some clock, which may be that of the epoch
EPOCH = (1e9, 4e9)  # s: from 2001 to 2096
Epoch = Annotated[float, Ge(EPOCH[0]), Le(EPOCH[1])]
MOST = 1e15
Number = Annotated[float, Ge(0), Le(MOST)]
Rate = Annotated[float, Gt(0), Le(1e7)]


def _whole(value: Any) -> Any:
    """A whole number that is written as a float, such as 64.0, as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Tokens = Annotated[int, BeforeValidator(_whole), Ge(0), Le(10**8)]
Count = Annotated[int, BeforeValidator(_whole), Gt(0), Le(10**7)]
Natural = Annotated[int, BeforeValidator(_whole), Ge(0), Le(10**9)]
Name = Annotated[str, MaxLen(500)]

SHOWN_CHARS = 60
AGAIN = "let the tool write the file again"


class ForeignPart(BaseModel):
    """A part of a result file: the fields of the model are checked, others are passed over. One
    that is null or NaN, which tools write for what they do not know, is as one that is missing."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_unknowns(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: _known(value) for name, value in data.items() if not is_unknown(value)}


def _known(value: Any) -> Any:
    """A value of a file, with null for each NaN in a list."""
    if isinstance(value, list) and any(isinstance(one, float) and one != one for one in value):
        return [None if is_unknown(one) else one for one in value]
    return value


def is_unknown(value: object) -> bool:
    """Whether a value says that nothing is known: null, or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def local_time(text: str, form: str | None = None) -> datetime:
    """The moment that `text` names in this machine's time zone: of the form `form`, or ISO 8601.
    Raises UsageError for another text, or a year before 2001 or after 2096."""
    try:
        try:
            read = datetime.strptime(text, form or "")
        except ValueError:
            read = datetime.fromisoformat(text)
        if not 2001 <= read.year <= 2096:
            raise ValueError("the year is not between 2001 and 2096")
        return read.astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"the file was written at {text[:40]!r}, which is not a time") from error


def checked_number(value: object, where: str) -> float | None:
    """`value` as a number from 0 to MOST; None where it is null or NaN. Raises UsageError with
    `where` the file has it."""
    if is_unknown(value):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise UsageError(f"{where} is {shown(value)}, which is no number from 0 on: {AGAIN}")
    return float(value)


def epoch_time(value: object, where: str) -> datetime | None:
    """The moment of a time in s since 1970; None where it is null, NaN, or outside of EPOCH. Raises
    UsageError with `where` the file has it."""
    at = checked_number(value, where)
    known = at is not None and EPOCH[0] <= at <= EPOCH[1]
    return datetime.fromtimestamp(at, UTC) if at is not None and known else None


def shown(value: object) -> str:
    """A value of a file, short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
