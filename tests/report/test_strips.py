"""Timelines as figures: their bars are the truth, within a millisecond."""

import json
import re
import statistics
import time
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest
from builders import a_trace
from hypothesis import given
from hypothesis import strategies as st
from scripted_streams import FINISH, LAST, TOKENS, ending, framed, serving, tokens

from journal.compare.timeline import timeline
from journal.load.drive import drive
from journal.records.engine import Endpoint
from journal.records.load_shape import Closed
from journal.records.request import Request, Trace
from journal.report.document import Strips
from journal.report.figures import draw, standalone
from journal.report.phrases import words
from journal.report.sections.requests_in_time import strips
from journal.report.strips import LEFT
from journal.report.svg import HUES

SVG = "{http://www.w3.org/2000/svg}"
NAMES = {HUES[1]: "queue", HUES[0]: "prefill", HUES[2]: "decode", HUES[3]: "unread", "none": "rest"}
QUEUE_S, PREFILL_S = 0.02, 0.035


def figure(traces: Sequence[Trace]) -> str:
    made = timeline(traces)
    assert made is not None
    return standalone(draw(strips(made, "x", "batch 1"), words("en")))


def read(svg: str) -> tuple[list[tuple[str, float, float]], list[float]]:
    """The bars, as names with their starts and ends, and the ticks of a figure of one row, in s by
    the figure's own axis."""
    root = ElementTree.fromstring(svg)
    labels = [each for each in root.iter(f"{SVG}text") if each.get("text-anchor") == "middle"]
    last = labels[-1]
    unit = {"ms": 1e-3, "s": 1.0, "us": 1e-6}[next(root.iter(f"{SVG}text")).text.rsplit(" ", 1)[1]]
    scale = float(last.text.replace(",", "")) * unit / (float(last.get("x")) - LEFT)
    bars = []
    for each in root.iter(f"{SVG}rect"):
        fill = re.match(r"fill: (#?\w+)", each.get("style", "")).group(1)
        if each.get("height") not in ("8", root.get("height")) and fill in NAMES:
            x, width = float(each.get("x")), float(each.get("width"))
            bars.append((NAMES[fill], (x - LEFT) * scale, (x + width - LEFT) * scale))
    path = list(root.iter(f"{SVG}path"))[-1].get("d")
    return bars, [(float(x) - LEFT) * scale for x in re.findall(r"M([\d.]+) ", path)]


@given(
    st.floats(0.01, 1), st.floats(0.01, 1), st.lists(st.floats(0.02, 0.1), min_size=2, max_size=20)
)
def test_the_bars_are_the_times_of_the_trace(
    queue: float, prefill: float, gaps: list[float]
) -> None:
    chunks_s = [5 + queue + prefill + 0.01]
    for gap in gaps:
        chunks_s.append(chunks_s[-1] + gap)
    trace = a_trace(
        **{"scheduled_s": 5.0, "start_s": 5.0, "end_s": chunks_s[-1], "chunk_s": tuple(chunks_s)},
        **{"server_queue_s": queue, "server_prefill_s": prefill, "chunk_tokens": None},
    )
    bars, ticks_s = read(figure([trace]))
    first_s = chunks_s[0] - 5
    expected = [
        ("queue", 0.0, queue),
        ("prefill", queue, queue + prefill),
        ("rest", queue + prefill, first_s),
        ("decode", first_s, chunks_s[-1] - 5),
    ]
    assert [name for name, *_ in bars] == [name for name, *_ in expected]
    for (_, *drawn), (_, *truth) in zip(bars, expected, strict=True):
        assert drawn == pytest.approx(truth, abs=1e-3)
    assert ticks_s == pytest.approx([chunk_s - 5 for chunk_s in chunks_s], abs=1e-3)


@pytest.mark.alone
def test_the_bars_are_what_a_scripted_server_did() -> None:
    """The server says that it queued for 20 ms and read for 35 ms, and sends a token every 10 ms
    from 60 ms on; the median of nine requests is within 1 ms of what it did by its own record, in
    each end of a bar and in each tick."""
    told = {"queue_time_ms": QUEUE_S * 1e3, "time_to_first_token_ms": PREFILL_S * 1e3}
    answer = framed([*tokens(), *ending(FINISH, {**LAST, "metrics": told})])
    body = json.dumps({"model": "m", "messages": [], "stream": True}).encode()
    offered = [
        Request(index=k, body=body, prompt_tokens=16, output_tokens=TOKENS) for k in range(9)
    ]
    did_s: list[tuple[float, ...]] = []
    with serving(answer, did_s=did_s) as url:
        traces, _ = drive(
            offered,
            Endpoint(base_url=url, model="m", api="chat"),
            **{"shape": Closed(1), "timeout_s": 10, "processes": 1, "origin_s": time.monotonic()},
        )
    off_s: dict[str, list[float]] = {}
    for trace, (heard_s, _, *sent_s) in zip(traces, did_s, strict=True):
        first_s, last_s = (sent_s[k] - heard_s for k in (0, TOKENS - 1))
        read_s = QUEUE_S + PREFILL_S
        truth = [("queue", 0.0, QUEUE_S), ("prefill", QUEUE_S, read_s)]
        truth += [("rest", read_s, first_s), ("decode", first_s, last_s)]
        bars, ticks_s = read(figure([trace]))
        assert [name for name, *_ in bars] == [name for name, *_ in truth]
        for (name, *drawn), (_, *known) in zip(bars, truth, strict=True):
            for end, at_s, known_s in zip(("start", "end"), drawn, known, strict=True):
                off_s.setdefault(f"{name} {end}", []).append(at_s - known_s)
        for k, tick_s in enumerate(ticks_s):
            off_s.setdefault(f"token {k}", []).append(tick_s - (sent_s[k] - heard_s))
    assert len(off_s) == 8 + TOKENS
    medians = {name: statistics.median(values) for name, values in off_s.items()}
    assert all(abs(off) < 1e-3 for off in medians.values()), medians


def test_a_legend_names_what_is_drawn_and_ticks_too_close_are_one() -> None:
    chunks_s = tuple(0.5 + k * 1e-5 for k in range(1000))
    trace = a_trace(
        **{"scheduled_s": 0.0, "start_s": 0.0, "end_s": 1.0, "chunk_s": chunks_s},
        chunk_tokens=None,
    )
    svg = figure([trace])
    assert "until the first token 500 ms" in svg and "decode 9.99 ms" in svg
    assert "queue" not in svg and "prefill" not in svg
    assert len(read(svg)[1]) < 20


@pytest.mark.parametrize("label", ["<b>&amp;</b>", "中文模型", "nul\x00", "🙂"])
def test_a_hostile_title_is_only_text(label: str) -> None:
    made = timeline([a_trace(start_s=0.0, scheduled_s=0.0, chunk_s=(0.1, 0.2), end_s=0.3)])
    assert made is not None
    panel: Strips = strips(made, "x", label)
    root = ElementTree.fromstring(standalone(draw(panel, words("zh"))))
    assert {each.tag for each in root.iter()} == {
        f"{SVG}{n}" for n in ("svg", "rect", "text", "path")
    }
