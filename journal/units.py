"""The only formatters: numbers for people. All other code keeps values in SI units and bytes.

Absent (None) is shown as an en dash, never as 0.
"""

import re
from collections.abc import Iterable

ABSENT = "–"
_BEFORE_UNIT = re.compile(r"(?<![\w.,])(\d[\d.,]*) (?=[^\W\d])")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits; without an exponent where it is 1 or more."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if whole >= digits:
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return text if "e" not in text else f"{value:.2e}"


def whole(value: int | None) -> str:
    """A whole number in full: "16,384"."""
    return ABSENT if value is None else f"{value:,}"


def seconds(value: float | None) -> str:
    """A duration in s, shown in us, ms, s or min with three significant digits."""
    if value is None:
        return ABSENT
    size = abs(value)
    if size >= 119.95:
        return f"{number(value / 60)} min"
    if size >= 0.9995:
        return f"{number(value)} s"
    if size >= 0.0009995 or size == 0:
        return f"{number(value * 1e3)} ms"
    return f"{number(value * 1e6)} us"


def data_size(value: float | None) -> str:
    """A number of bytes, shown in binary units (KiB, MiB, GiB) with three significant digits."""
    if value is None:
        return ABSENT
    size, unit = float(value), _BINARY[0]
    for unit in _BINARY:
        if abs(size) < 999.5 or unit == _BINARY[-1]:
            break
        size /= 1024
    return f"{number(size)} {unit}"


def rate(value: float | None, unit: str = "tok/s") -> str:
    """A rate with its unit, such as "25.1 tok/s"."""
    return ABSENT if value is None else f"{number(value)} {unit}"


def percent(fraction: float | None) -> str:
    """A fraction (0 to 1), shown as a percentage."""
    return ABSENT if fraction is None else f"{number(fraction * 100)}%"


def scale(values: Iterable[float], unit: str) -> tuple[float, str]:
    """A factor and a unit for `values` of `unit` (s, bytes, fraction or another): the values times
    the factor are in that one unit, which suits the largest of them."""
    most = max((abs(value) for value in values), default=0.0)
    if unit == "s":
        return (1.0, "s") if most >= 10 else (1e3, "ms") if most >= 1e-3 else (1e6, "us")
    if unit == "bytes":
        power = next((n for n in range(len(_BINARY)) if most < 999.5 * 1024**n), len(_BINARY) - 1)
        return 1 / 1024**power, _BINARY[power]
    return (100.0, "%") if unit == "fraction" else (1.0, unit)


def formatted(value: float | None, unit: str) -> str:
    """`value` by the rule of its `unit`: s, bytes, fraction, "" or "1" for a plain number; any
    other unit is appended."""
    shown = {"s": seconds, "bytes": data_size, "fraction": percent}.get(unit)
    if shown is not None:
        return shown(value)
    return number(value) if unit in ("", "1") else rate(value, unit)


def unbroken(text: str) -> str:
    """`text` with each number on one line with the word behind it, such as its unit: the blank
    between them becomes one that does not break."""
    return _BEFORE_UNIT.sub("\\1\u00a0", text)
