"""The timeline of one run as an SVG file of its own."""

from typing import TYPE_CHECKING

from journal.compare.points import points
from journal.compare.setups import setups_of
from journal.compare.timeline import timeline
from journal.errors import NotFound
from journal.records.run import Record
from journal.report.figures import draw, standalone
from journal.report.phrases import words
from journal.report.places import places
from journal.report.sections.requests_in_time import strips

if TYPE_CHECKING:
    from journal.store.store import Store


def run_figure(store: "Store", record: Record, lang: str = "en") -> str:
    """The requests that were in flight at the middle of the run `record`, as the text of an SVG
    file in `lang` (en or zh). Raises NotFound where the journal has no request of it with a token,
    UsageError for another language, and StoreError for rows that are damaged."""
    from journal.store.middle_requests import middle_requests

    language = words(lang)
    drawn = timeline(middle_requests(store, record.id))
    if drawn is None:
        raise NotFound(f"run {record.id} has no timeline: no request of it with a token is stored")
    (point,) = points(zip([record], setups_of([record]), strict=True))
    named = places([point])
    return standalone(draw(strips(drawn, "requests", named.in_brief(point)), language))
