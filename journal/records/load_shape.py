"""Load shapes, which say how requests arrive at a server, and the axes of a grid.

A load shape is closed (a constant number of requests in flight), open (a constant rate of requests,
however many are in flight, or one that changes), or users in conversation, who wait for
an answer and think before they go on. Code that depends on the kind asks the shape and never
compares a batch or a rate with None."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed loop of `batch` requests in flight: the next one is sent as soon as one ends."""

    batch: int
    rate: ClassVar[None] = None
    burstiness: ClassVar[None] = None
    profile: ClassVar[None] = None
    is_open: ClassVar[bool] = False
    axis: ClassVar[str] = "batch"

    @property
    def value(self) -> float:
        """The number of requests in flight."""
        return float(self.batch)

    @property
    def label(self) -> str:
        """The shape in a sentence: "batch 8"."""
        return f"batch {self.batch}"

    @property
    def short(self) -> str:
        """The shape in a name: "b8"."""
        return f"b{self.batch}"

    @property
    def amount(self) -> str:
        """The shape in a column of loads: "8"."""
        return str(self.batch)

    @property
    def order(self) -> tuple[bool, float, float]:
        """The place among shapes: closed before open, then by load."""
        return False, self.value, 0.0


@dataclass(frozen=True, slots=True)
class Users:
    """`batch` users in conversation: each sends a turn, waits for its answer, thinks, and sends the
    next. While some think, fewer requests than users are in flight."""

    batch: int
    rate: ClassVar[None] = None
    burstiness: ClassVar[None] = None
    profile: ClassVar[None] = None
    is_open: ClassVar[bool] = False
    axis: ClassVar[str] = "batch"

    @property
    def value(self) -> float:
        """The number of users."""
        return float(self.batch)

    @property
    def label(self) -> str:
        """The shape in a sentence: "8 users"."""
        return "1 user" if self.batch == 1 else f"{self.batch} users"

    @property
    def short(self) -> str:
        """The shape in a name: "u8"."""
        return f"u{self.batch}"

    @property
    def amount(self) -> str:
        """The shape in a column of loads: "8 users"."""
        return self.label

    @property
    def order(self) -> tuple[bool, float, float]:
        """The place among shapes: with the closed loops, by load."""
        return False, self.value, 0.0


@dataclass(frozen=True, slots=True)
class Open:
    """An open loop of `rate` requests/s on an absolute schedule. The gaps are gamma distributed
    with shape `burstiness`: 1 is Poisson, above 1 is smoother, 0 is a constant interval. A rate
    that changes does so as `profile` says, such as "10..100 in 60s" or "10,20 each 30s", and `rate`
    is its mean; None: it is constant."""

    rate: float
    burstiness: float = 1.0
    profile: str | None = None
    batch: ClassVar[None] = None
    is_open: ClassVar[bool] = True
    axis: ClassVar[str] = "rate"

    @property
    def value(self) -> float:
        """The offered requests/s, or their mean."""
        return self.rate

    @property
    def label(self) -> str:
        """The shape in a sentence: "2.5 requests/s", "10..100 in 60s requests/s"."""
        return f"{self._rates} requests/s"

    @property
    def short(self) -> str:
        """The shape in a name: "2.5 per s", "10..100 in 60s per s"."""
        return f"{self._rates} per s"

    @property
    def amount(self) -> str:
        """The shape in a column of loads: "2.5/s", "10..100 in 60s"."""
        return f"{self._rates}/s" if self.profile is None else self.profile

    @property
    def order(self) -> tuple[bool, float, float]:
        """The place among shapes: closed before open, then by mean load, then by burstiness."""
        return True, self.rate, self.burstiness

    @property
    def _rates(self) -> str:
        return f"{self.rate:g}" if self.profile is None else self.profile


@dataclass(frozen=True, slots=True)
class Unknown:
    """A load that the file of another tool does not tell."""

    batch: ClassVar[None] = None
    rate: ClassVar[None] = None
    burstiness: ClassVar[None] = None
    profile: ClassVar[None] = None
    is_open: ClassVar[bool] = False
    axis: ClassVar[str] = "batch"
    value: ClassVar[float] = 0.0  # on charts it stands before all loads
    label: ClassVar[str] = "a load that is not known"
    short: ClassVar[str] = "load unknown"
    amount: ClassVar[str] = "–"
    order: ClassVar[tuple[bool, float, float]] = (False, 0.0, 0.0)


LoadShape: TypeAlias = Closed | Users | Open | Unknown


def load_shape(
    batch: int | None,
    rate: float | None,
    burstiness: float = 1.0,
    *,
    users: bool = False,
    ramp: str | None = None,
) -> LoadShape:
    """The load shape of a cell by its stored fields; with `users` its batch counts users in
    conversation, and `ramp` is the profile of its rate. Where both `batch` and `rate` are None the
    load is not known."""
    if rate is not None:
        return Open(rate, burstiness, ramp)
    if batch is not None:
        return Users(batch) if users else Closed(batch)
    return Unknown()


@dataclass(frozen=True, slots=True)
class Axis:
    """A field of a cell that a grid varies. `of_load`: the field belongs to one load shape, and is
    None in cells of the other. `always_named`: it is part of a cell's name even where all cells
    share its value. `whole`: its values are whole numbers, so that curves can have them as
    steps."""

    name: str
    of_load: bool = False
    always_named: bool = False
    whole: bool = False


AXES = (
    Axis("batch", of_load=True, always_named=True, whole=True),
    Axis("rate", of_load=True, always_named=True),
    Axis("prompt_tokens", always_named=True, whole=True),
    Axis("output_tokens", whole=True),
)
AXIS_NAMES = tuple(axis.name for axis in AXES)
LOAD_AXES = tuple(axis.name for axis in AXES if axis.of_load)
LENGTH_AXES = tuple(axis.name for axis in AXES if not axis.of_load)
NAMED_AXES = tuple(axis.name for axis in AXES if axis.always_named)
# The axes of curves: MLflow takes whole steps only, and pages vary one of these axes while the
# other stands still. Output lengths are seldom varied, and change the work that is measured.
STEP_AXES = tuple(axis.name for axis in AXES if axis.whole and axis.always_named)
