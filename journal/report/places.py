"""Names of points in sentences, and of curves in plots, by the fields that set them apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from journal.compare.points import Point, Points
from journal.compare.setups import Setup
from journal.records.load_shape import AXIS_NAMES, LOAD_AXES, NAMED_AXES, Users
from journal.records.workload import Workload
from journal.report.document import Text, say
from journal.report.setup_labels import abbreviated, labels

LENGTH_FIRST = tuple(sorted(NAMED_AXES, key=LOAD_AXES.__contains__))


@dataclass(frozen=True, slots=True)
class Places:
    """The names of all setups of a log: `labels` for sentences and tables, `brief` for plots."""

    labels: Mapping[Setup, Text]
    brief: Mapping[Setup, Text]

    def where(self, point: Point, across: str) -> Text:
        """The name of `point` without the field `across`, which is being varied, such as
        "SmolLM2-135M-Instruct · 512 prompt tokens"."""
        names = [name for name in LENGTH_FIRST if name != across]
        parts = [_at(point, name) for name in names if getattr(point, name) is not None]
        return _joined([self.labels[point.setup], *parts, *_sent(point)])

    def about(self, point: Point, across: str) -> Text:
        """The same name as `where` gives, as the beginning of a paragraph."""
        return say("about", what=self.where(point, across))

    def cell(self, point: Point) -> Text:
        """The name of `point`: its load and prompt length, after its setup where there are several
        or it is simulated."""
        parts = [_at(point, name) for name in NAMED_AXES if getattr(point, name) is not None]
        several = len(self.labels) > 1 or point.setup.simulated
        setup = [self.labels[point.setup]] if several else []
        return _joined([*setup, *parts, *_sent(point)])

    def in_brief(self, point: Point) -> Text:
        """The name of `point` for the title of a plot."""
        names = [name for name in NAMED_AXES if getattr(point, name) is not None]
        parts = [_at(point, name, "at" if name in LOAD_AXES else "brief") for name in names]
        several = len(self.brief) > 1 or point.setup.simulated
        setup = [self.brief[point.setup]] if several else []
        return _joined([*setup, *parts, *_sent(point)])

    def curve(self, line: Points, among: Sequence[Points]) -> Text:
        """The name of `line`: the fields that set it apart from the lines of a plot, `among`."""
        firsts = [other[0] for other in among]
        parts = [
            _at(line[0], name, "brief")
            for name in AXIS_NAMES
            if getattr(line[0], name) is not None
            and len({getattr(first, name) for first in firsts}) > 1
            and len({getattr(point, name) for point in line}) == 1
        ]
        if len({(first.workload, first.body) for first in firsts}) > 1:
            parts += _sent(line[0])
        if len({first.setup for first in firsts}) > 1:
            parts.insert(0, self.brief[line[0].setup])
        return _joined(parts) if parts else ""


def varied(points: Points) -> tuple[Text, ...]:
    """The axes of the grid with their values, from the least to the most, for a heading; and the
    number of setups, where there are several."""
    parts: list[Text] = []
    for name in NAMED_AXES:
        values = sorted({v for point in points if (v := getattr(point, name)) is not None})
        if values:
            shown = (f"{v:,g}" if isinstance(v, float) else f"{v:,}" for v in values)
            ends = list(shown)
            parts.append(say(f"at.{name}", n="–".join(dict.fromkeys((ends[0], ends[-1])))))
    setups = len({point.setup for point in points})
    return (*parts, *((say("chapter.setups", n=f"{setups}"),) if setups > 1 else ()))


def places(points: Iterable[Point]) -> Places:
    """The names of the setups of all `points`."""
    setups = list(dict.fromkeys(point.setup for point in points))
    return Places(labels(setups), labels(setups, abbreviated))


def _joined(parts: Sequence[Text]) -> Text:
    return reduce(lambda a, b: say("at.both", a=a, b=b), parts)


def _sent(point: Point) -> list[Text]:
    """The variant of the requests of `point`, where it has one, and its workload, where that is not
    random tokens that share nothing."""
    variant = [] if point.variant is None else [point.variant]
    return [*_workload(point.records[0].cell.workload), *variant]


def _workload(workload: Workload) -> list[Text]:
    if workload.is_own:
        return [workload.name]
    if workload.mix:
        return [say("at.mix", n=f"{len(workload.mix)}")]
    if workload.is_conversation:
        return [say("at.turns", n=f"{workload.turns}")]
    shared = workload.shared_prefix
    return [say("at.shared_prefix", n=f"{shared:,}")] if shared else []


def _at(point: Point, name: str, kind: str = "at") -> Text:
    value = getattr(point, name)
    if name == "batch" and isinstance(point.shape, Users):
        return say("at.users", n=f"{value:,}")
    if name == "rate":
        return say(f"{kind}.rate", n=point.load_text)
    return say(f"{kind}.{name}", n=f"{value:,g}" if isinstance(value, float) else f"{value:,}")
