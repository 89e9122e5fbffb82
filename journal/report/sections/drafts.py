"""What speculative decoding gains: acceptance by position, and the speed-up beside the
predicted."""

from collections.abc import Iterator

from journal import units
from journal.compare.points import Point, Points
from journal.report.document import Box, Bullets, Column, Section, Table, Text, say
from journal.report.places import Places
from journal.serve.engines.vllm.metric_names import MOST_POSITIONS
from journal.theory.draft_cost import draft_share, speed_up_of

NEAR = 0.1  # of the measured speed-up: a prediction within it has come true
PLACES = range(1, MOST_POSITIONS + 1)


def drafts_section(points: Points, places: Places) -> Section | None:
    """A section on the cells whose server drafted tokens, each beside the cell like it whose server
    drafted none; None where no server drafted any."""
    drafting = [point for point in points if point.value("draft_accepted_fraction") is not None]
    if not drafting:
        return None
    told = tuple(
        say("drafts.at", place=places.cell(one), what=tuple(_told(one, _plain(one, points))))
        for one in drafting
    )
    longest = max(_positions(one) for one in drafting)
    columns = [Column(say("column.cell"), numeric=False)]
    columns += [Column(say("drafts.position", n=f"{place}")) for place in PLACES[:longest]]
    rows = tuple((Box(places.cell(one)), *_boxes(one, longest)) for one in drafting)
    table = Table(tuple(columns), rows, (say("drafts.caption"),))
    return Section(3, say("drafts.heading"), (Bullets(told), table))


def speed_up(point: Point, plain: Point | None) -> float | None:
    """The measured speed-up of decoding: the TPOT without drafts over that with them."""
    if plain is None:
        return None
    slow_s, fast_s = plain.value("tpot_s.mean"), point.value("tpot_s.mean")
    return slow_s / fast_s if slow_s and fast_s else None


def _plain(point: Point, points: Points) -> Point | None:
    """The point of the same model, load, lengths and workload whose server drafted nothing."""
    alike = (
        other
        for other in points
        if other.value("draft_accepted_fraction") is None
        and other.setup.model == point.setup.model
        and (other.shape, other.lengths) == (point.shape, point.lengths)
        and other.manner == point.manner
    )
    return next(alike, None)


def _told(point: Point, plain: Point | None) -> Iterator[Text]:
    accepted, each = map(point.value, ("draft_accepted_fraction", "draft_tokens_per_draft"))
    steps = point.value("tokens_per_step")
    if accepted is not None and each is not None:
        yield say("drafts.accepted", share=units.percent(accepted), each=f"{each:.1f}")
    if steps is not None:
        yield say("drafts.step", tokens=f"{steps:.2f}")
    ends = [point.value(f"request_tokens_per_step.{name}") for name in ("min", "max")]
    if ends[0] is not None and ends[1] is not None:
        yield say("drafts.requests", least=f"{ends[0]:.2f}", most=f"{ends[1]:.2f}")
    share = draft_share(point.records[0].facts, point.value("weights_bytes"))
    if share is not None and each is not None:
        yield say("drafts.cost", n=f"{each:.1f}", share=units.percent(share))
    gain = speed_up(point, plain)
    if gain is None or steps is None:
        yield say("drafts.alone")
    elif share is None or each is None:
        yield _scored(("drafts.held", "drafts.missed"), gain, steps)
    else:
        predicted = speed_up_of(steps, each, share)
        yield _scored(("drafts.held_cost", "drafts.missed_cost"), gain, predicted)


def _scored(keys: tuple[str, str], gain: float, predicted: float) -> Text:
    """A measured speed-up beside the predicted one; `keys` are those of the words for a prediction
    that came true and for one that did not."""
    held, missed = keys
    shown = {"gain": f"{gain:.2f}", "predicted": f"{predicted:.2f}"}
    if abs(predicted / gain - 1) <= NEAR:
        return say(held, **shown, near=units.percent(NEAR))
    return say(missed, **shown, ratio=units.percent(predicted / gain))


def _positions(point: Point) -> int:
    """The last position of a draft that has a figure."""
    known = [place for place in PLACES if point.value(f"draft_accepted_at.{place}") is not None]
    return max(known, default=0)


def _boxes(point: Point, longest: int) -> Iterator[Box]:
    for place in PLACES[:longest]:
        value = point.value(f"draft_accepted_at.{place}")
        yield Box(units.ABSENT if value is None else units.percent(value))
