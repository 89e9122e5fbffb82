"""Errors for readings that are absent. Each carries the values of a doubt called "absent", and
their English sentence of doubts/words.py as its message."""

from journal.doubts.words import absence
from journal.errors import MeasureError
from journal.records.doubt import Value, Values


def unreadable(variant: str, **values: Value) -> MeasureError:
    """The error for a reading that is absent for the reason `variant` of the doubt "absent"."""
    reason = {"variant": variant, **values}
    return MeasureError(absence(reason), reason)


def values_of(error: MeasureError) -> Values:
    """The values of the doubt "absent" for `error`, for a sentence in any language; its English
    message as {"sentence": ...} where it has no values."""
    return {"sentence": str(error)} if error.values is None else error.values
