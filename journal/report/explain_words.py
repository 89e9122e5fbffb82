"""An explanation of a log in English or Chinese, for a terminal: sentences, a bar of the memory of
each GPU, and the phases of the start."""

import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from journal import units
from journal.errors import UsageError
from journal.language import CATALOGUES, LANGUAGES
from journal.records.engine import StartPhases
from journal.records.explanation import Explanation, Phrase, RankMemory
from journal.report.phrases import TEMPLATES

WIDTH = 78  # columns
MOST_BARS = 8
GLYPHS = {
    "weights": ("█", "#"),
    "consumed": ("█", "#"),
    "kv_pool": ("▓", "="),
    "activations": ("▒", "+"),
    "graphs": ("▚", "%"),
    "context": ("░", ":"),
    "rest": ("·", "."),
}
PHASES = ("download_s", "load_s", "compile_s", "graphs_s", "init_s")


def explanation_text(known: Explanation, lang: str = "en", *, ascii_only: bool = False) -> str:
    """`known` as lines of at most WIDTH columns where it holds no long names. Raises UsageError for
    a language that is not one of LANGUAGES."""
    phrases = _phrases(lang)
    parts = [
        "\n".join(_summary(known, phrases)),
        *_bars(known, phrases, ascii_only),
        "\n".join(_phase_lines(known.phases, phrases)),
        "\n".join(_end(known, phrases, lang)),
    ]
    return "\n\n".join(part for part in parts if part)


@lru_cache
def _phrases(lang: str) -> Mapping[str, str]:
    if lang not in LANGUAGES:
        raise UsageError(f"nothing is explained in {lang!r}: give one of {', '.join(LANGUAGES)}")
    table = tomllib.loads((TEMPLATES / f"explain_{lang}.toml").read_text(encoding="utf-8"))
    return dict(table)


@lru_cache
def chinese_causes() -> Mapping[str, str]:
    """The Chinese template of each English one of a cause or a remedy."""
    return tomllib.loads((CATALOGUES / "causes.toml").read_text(encoding="utf-8"))


def phrase(words: Phrase, lang: str) -> str:
    """A cause or remedy in `lang`; in English where that language has no words for it."""
    template = chinese_causes().get(words.template) if lang == "zh" else None
    return words.text if template is None else template.format(*words.values)


def _summary(known: Explanation, phrases: Mapping[str, str]) -> Iterator[str]:
    version = "" if known.engine_version is None else f" {known.engine_version}"
    state = "failed" if known.cause_words else "serves" if known.serves else "unfinished"
    if not known.ranks and known.phase is None and state == "unfinished":
        yield phrases["nothing"]
        return
    phase = phrases.get(known.phase or "")
    if state == "unfinished" and phase is not None:
        yield from _wrapped(phrases["unfinished_phase"].format(version=version, phase=phase))
    else:
        yield phrases[state].format(version=version)
    tokens = known.kv_pool_tokens
    if tokens is None:
        return
    if known.at_once is None or known.longest is None:
        yield phrases["tokens"].format(tokens=f"{tokens:,}")
    else:
        yield phrases["requests"].format(
            tokens=f"{tokens:,}", n=units.number(known.at_once), longest=f"{known.longest:,}"
        )


# ---- bars --------------------------------------------------------------------------------------


def _bars(known: Explanation, phrases: Mapping[str, str], ascii_only: bool) -> Iterator[str]:
    ranks = {name: rank for name, rank in known.ranks.items() if _sized(rank)}
    if not ranks and (known.weights_bytes or known.kv_pool_bytes):
        ranks = {"": RankMemory(kv_pool_bytes=known.kv_pool_bytes)}
    alike: dict[RankMemory, list[str]] = {}
    for name, rank in ranks.items():
        alike.setdefault(rank, []).append(name)
    for rank, names in list(alike.items())[:MOST_BARS]:
        yield "\n".join(_bar(rank, names, phrases, ascii_only))
    if len(alike) > MOST_BARS:
        yield phrases["more"].format(n=len(alike) - MOST_BARS)


def _sized(rank: RankMemory) -> bool:
    sizes = (rank.weights_bytes, rank.kv_pool_bytes, rank.activation_bytes, rank.graph_bytes)
    return any(size is not None for size in sizes)


def memory_parts(rank: RankMemory) -> dict[str, int]:
    """The parts of one GPU's memory, in bytes. The activations are those without the estimate of
    the graphs, which are a part of their own."""
    peak, estimate = rank.activation_bytes, rank.graph_estimate_bytes
    if peak is not None and estimate is not None and rank.graph_bytes is not None:
        peak = max(0, peak - estimate)
    sizes = {
        "weights": rank.weights_bytes,
        "consumed": rank.consumed_bytes if rank.weights_bytes is None else None,
        "kv_pool": rank.kv_pool_bytes,
        "activations": peak,
        "graphs": rank.graph_bytes,
        "context": rank.context_bytes,
    }
    parts = {name: size for name, size in sizes.items() if size is not None}
    if rank.total_bytes is not None:
        parts["rest"] = rank.total_bytes - sum(parts.values())
    return parts


def _bar(
    rank: RankMemory, names: Sequence[str], phrases: Mapping[str, str], ascii_only: bool
) -> Iterator[str]:
    parts, glyph = memory_parts(rank), 1 if ascii_only else 0
    whole = rank.total_bytes or sum(parts.values())
    if whole <= 0:
        return
    where = ", ".join(name for name in names if name)
    title = "title_total" if rank.total_bytes else "title"
    heading = phrases[title].format(total=units.data_size(whole))
    if len(names) > 1:
        heading += phrases["each"].format(n=len(names))
    if where:
        heading += phrases["where"].format(names=where)
    yield from _wrapped(heading)
    yield "".join(
        GLYPHS[name][glyph] * cells for name, cells in _cells(parts, whole).items() if cells
    )
    labels = {name: phrases[f"part_{name}"] for name in parts}
    widest = max(map(terminal_columns, labels.values()))
    for name, size in parts.items():
        label = labels[name] + " " * (widest - terminal_columns(labels[name]))
        shown = f"{units.data_size(size):>10}  {units.percent(size / whole):>6}"
        yield f"{GLYPHS[name][glyph]} {label} {shown}"
    if parts.get("rest", 0) < 0:
        yield from _wrapped(phrases["over"])


def _cells(parts: Mapping[str, int], whole: int) -> dict[str, int]:
    """The columns of each part in a bar of WIDTH columns: at least one where it is above 0, none
    where it is not."""
    shown = {name: size for name, size in parts.items() if size > 0}
    span = max(whole, sum(shown.values()))
    cells = {name: max(1, round(size / span * WIDTH)) for name, size in shown.items()}
    while sum(cells.values()) > WIDTH:
        cells[max(cells, key=lambda name: cells[name])] -= 1
    return cells


def terminal_columns(text: str) -> int:
    """The columns that `text` takes in a terminal."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _wrapped(text: str) -> Iterator[str]:
    """`text` in lines of at most WIDTH columns, cut at spaces, and Chinese anywhere."""
    line = ""
    for piece in _pieces(text):
        if line and terminal_columns((line + piece).rstrip()) > WIDTH:
            yield line.rstrip()
            line = piece.lstrip()
        else:
            line += piece
    yield line.rstrip()


def _pieces(text: str) -> Iterator[str]:
    word = ""
    for char in text:
        word += char
        if char == " " or terminal_columns(char) == 2:
            yield word
            word = ""
    yield word


# ---- phases and the end ------------------------------------------------------------------------


def _phase_lines(phases: StartPhases | None, phrases: Mapping[str, str]) -> Iterator[str]:
    if phases is None:
        return
    yield phrases[f"start_{phases.kind or 'unknown'}"]
    labels = {name: phrases[f"phase_{name}"] for name in PHASES}
    widest = max(map(terminal_columns, labels.values()))
    for name, label in labels.items():
        value = getattr(phases, name)
        if value is not None:
            yield f"  {label}{' ' * (widest - terminal_columns(label))} {units.seconds(value):>10}"


def _end(known: Explanation, phrases: Mapping[str, str], lang: str) -> Iterator[str]:
    if known.cause_words is None:
        return
    yield from _wrapped(phrases["cause"].format(cause=phrase(known.cause_words, lang)))
    if known.remedy_words is None:
        yield from _wrapped(phrases["no_remedy"])
    else:
        yield from _wrapped(phrases["remedy"].format(remedy=phrase(known.remedy_words, lang)))
