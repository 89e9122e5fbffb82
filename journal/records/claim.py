"""Claims: how a metric is expected to behave, stated before an experiment runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from journal.records.load_shape import AXIS_NAMES

Behaviour = Literal["flat", "grows", "at_least", "at_most", "a_below_b", "saturates"]
Growth = Literal["any", "linear", "slower", "faster"]
Verdict = Literal["supported", "refuted", "not_established", "not_measured"]

OVER = (*AXIS_NAMES, "tokens_to_read", "turn", "phase")
PHASES = ("thinking_tokens_per_s", "answering_tokens_per_s")

Band = Annotated[float, Gt(0), Le(10)]
Number = Annotated[float, Ge(-1e18), Le(1e18)]
EngineNumber = Annotated[int, Gt(0), Le(1 << 12)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is claimed of `metric`, in every cell or line of cells that the claim is about.

    `over` is the axis along which it is `flat`, `grows` or `saturates`: `tokens_to_read` are the
    tokens of a prompt beyond its shared beginning, `turn` those of a conversation, and `phase`
    thinking, then answering, of `thinking_tokens_per_s`. `within` is the band of `flat` (0.1: no
    two values differ by more than 10%), and that of the exponent of linear growth around 1.
    `growth` is that of `grows`; `value`, in SI units, is the bound of `at_least` and `at_most`;
    `between` are the two loads of `saturates`. `a` and `b` are the numbers of two engines, from 1
    in the order of the experiment: along an axis a claim is then about the metric of A relative to
    that of B. `engine` is the number of the only engine that a claim is about; `at` bounds it to
    cells, such as {"batch": 1}.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}

    metric: Annotated[str, MinLen(1), MaxLen(300)]
    behaves: Behaviour
    over: Annotated[str, MaxLen(300)] | None = None
    within: Band = 0.1
    growth: Growth = "any"
    value: Number | None = None
    between: tuple[Number, Number] | None = None
    a: EngineNumber | None = None
    b: EngineNumber | None = None
    engine: EngineNumber | None = None
    at: Mapping[str, Number] = field(default_factory=dict)
