"""What could not be read, as the values of a doubt called "absent"; its words are those of
doubts/words.py, in which an error says it in English."""

from journal.doubts.words import absence
from journal.errors import MeasureError
from journal.records.doubt import Value, Values


def unreadable(variant: str, **values: Value) -> MeasureError:
    """The error that something cannot be read, for the reason `variant`."""
    told = {"variant": variant, **values}
    return MeasureError(absence(told), told)


def values_of(error: MeasureError) -> Values:
    """The values that say in any language what `error` says in English; its own words, where it
    has none."""
    return {"sentence": str(error)} if error.values is None else error.values
