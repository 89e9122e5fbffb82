import math
import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from builders import a_record
from hypothesis import given
from hypothesis import strategies as st

from journal.compare.points import lines, points
from journal.compare.setups import setups_of
from journal.records.experiment import Engine
from journal.records.figure import Figure
from journal.report.document import Blocks, Curve, Dot, Level, Panel, Segment
from journal.report.figures import (
    draw,
    inline,
    spread,
    squares,
    standalone,
)
from journal.report.phrases import words
from journal.report.places import places as named_places
from journal.report.sections.batching import trade_off
from journal.report.svg import HUES, MOST_LETTERS, VARIABLES, shortened, ticks

DOTS = tuple(Dot(x, y, y * 0.9, y * 1.1) for x, y in ((1, 0.1), (2, 0.15), (8, 0.4)))
PANEL = Panel(
    name="1-first-batch-ttft",
    title="TTFT",
    unit="s",
    x_title="batch",
    curves=(
        Curve("128 tok", DOTS, 0),
        Curve("p90", tuple(Dot(dot.x, dot.y * 1.5) for dot in DOTS), 0, faint=True),
        Curve("512 tok", tuple(Dot(dot.x, dot.y * 2) for dot in DOTS), 1),
    ),
    levels=(Level("limit", 0.7),),
)
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_same_panel_gives_the_same_bytes() -> None:
    assert draw(PANEL, words("en")) == draw(PANEL, words("en"))


def test_axes_have_units_and_the_measured_values_as_ticks() -> None:
    labels = texts(standalone(draw(PANEL, words("en"))))
    assert {"TTFT, ms", "batch", "1", "2", "8", "128 tok", "512 tok", "p90", "limit"} <= set(labels)
    assert "800" in labels, "0.8 s is read as 800 ms"


def test_a_file_of_its_own_is_readable_on_any_ground() -> None:
    svg = ElementTree.fromstring(standalone(draw(PANEL, words("en"))))
    assert (svg.get("width"), svg.get("height")) == ("460", "300")
    ground = next(svg.iter(f"{SVG}rect"))
    assert ground.get("style") == "fill: #ffffff"
    assert svg.get("font-family", "").endswith("sans-serif")


def test_inline_takes_colours_and_fonts_from_its_page() -> None:
    svg = inline(draw(PANEL, words("en")))
    assert svg.startswith("<svg")
    assert "font-family" not in svg
    assert not re.search("|".join(set(VARIABLES)), svg)
    assert "var(--hue-1)" in svg
    assert "var(--ink)" in svg


def test_inline_figures_have_no_ids_that_could_be_the_same() -> None:
    assert not re.search(r"\bid=|href=|url\(", inline(draw(PANEL, words("en"))))


def test_the_axis_has_round_numbers_and_few_of_them() -> None:
    assert ticks(0.4) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert ticks(1060) == [0, 200, 400, 600, 800, 1000]
    assert ticks(7) == [0, 2.0, 4.0, 6.0]


@given(st.floats(1e-9, 1e15))
def test_the_axis_reaches_what_it_shows(top: float) -> None:
    heights = ticks(top)
    assert heights[0] == 0
    assert 3 <= len(heights) <= 6
    assert heights[-1] <= top * (1 + 1e-9)
    assert heights[-1] + heights[1] >= top * (1 - 1e-9)


@pytest.mark.parametrize(
    "label", ["<b>&amp;</b>", "$x^2$", "中文模型", "nul\x00", "\u202eabc", "🙂"]
)
def test_a_hostile_label_is_only_text(label: str) -> None:
    panel = replace(PANEL, curves=(Curve(label, DOTS, 0),))
    shown = texts(standalone(draw(panel, words("zh"))))
    assert any(label[:1] in text or "<U+" in text for text in shown)
    assert {"b", "script"}.isdisjoint(
        each.tag for each in ElementTree.fromstring(draw(panel, words("zh"))).iter()
    )


def test_a_single_curve_needs_no_label_and_odd_values_are_drawn() -> None:
    for dots in (
        (Dot(1, 0.0), Dot(2, 0.0)),
        (Dot(0, 1.0), Dot(4, 2.0)),
        (Dot(0.5, 1.0), Dot(4, 2)),
    ):
        panel = replace(PANEL, curves=(Curve("", dots, 0),), levels=())
        assert texts(draw(panel, words("en")))


def test_the_palette_is_read_on_white() -> None:
    def luminance(hue: str) -> float:
        parts = [int(hue[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    assert all(1.05 / (luminance(hue) + 0.05) >= 4.5 for hue in HUES), "WCAG AA"


places = st.lists(st.floats(-1e3, 1e3), max_size=20).map(sorted)


@given(places)
def test_labels_keep_their_distance_and_their_order(wanted: list[float]) -> None:
    places = spread(wanted, 14)
    assert len(places) == len(wanted)
    assert all(upper - lower >= 14 - 1e-6 for lower, upper in pairwise(places))


@given(places)
def test_labels_that_do_not_touch_stay_where_they_are(wanted: list[float]) -> None:
    apart = [place + 15 * number for number, place in enumerate(wanted)]
    assert spread(apart, 14) == pytest.approx(apart)


def test_labels_that_touch_move_no_more_than_they_must() -> None:
    assert spread([10, 10], 14) == pytest.approx([3, 17])


# ---- the trade-off, and the pool as blocks -------------------------------------------------------


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=4), st.integers(1, 100))
def test_squares_are_as_many_as_the_blocks_need(blocks: list[int], each: int) -> None:
    if sum(blocks) <= 10 * each:
        return
    counts = squares(blocks, each)
    assert sum(counts) == math.ceil(sum(blocks) / each)
    for count, of in zip(counts, blocks, strict=True):
        assert (count > 0) == (of > 0)
        assert abs(count - of / each) <= 1 + len(blocks)


def test_a_pool_is_drawn_as_its_blocks() -> None:
    parts = (Segment("used", 3, 1), Segment("free", 8, None), Segment("kept", 1, 5))
    drawing = draw(Blocks("x", "pool", parts), words("en"))
    paths = re.findall(r'<path d="([^"]*)"', drawing)
    assert [path.count("M") for path in paths] == [3, 8, 1]
    assert "Blocks in a square: 1." in drawing


def test_two_points_are_no_shape() -> None:
    def drawn(count: int) -> int:
        dots = tuple(Dot(float(n), 1.0 + n) for n in range(1, count + 1))
        drawing = draw(Panel("x", "x", "s", "n", (Curve("", dots, 0),)), words("en"))
        return drawing.count('stroke-width="1.8"')

    assert (drawn(2), drawn(3)) == (0, 1)


def test_the_trade_off_has_a_dot_for_each_batch_and_a_ring_at_the_knee() -> None:
    rates = {1: 50.0, 2: 95.0, 4: 180.0, 8: 185.0}
    runs = [
        a_record(
            batch=batch,
            number=batch,
            metrics={
                "output_tokens_per_s": Figure(rate, rate * 0.99, rate * 1.01, 1),
                "tpot_s.p50": batch / rate,
            },
        )
        for batch, rate in rates.items()
    ]
    measured = points(zip(runs, setups_of(runs), strict=True))
    (panel,) = trade_off(lines(measured, "batch"), named_places(measured), "x")
    (curve,) = panel.curves
    for dot, (batch, rate) in zip(curve.dots, rates.items(), strict=True):
        assert (dot.label, dot.y, dot.marked) == (f"{batch}", rate, batch == 4)
        assert dot.x == pytest.approx(rate / batch, rel=0.005)
    assert draw(panel, words("en")).count("a6 6 0 1 0 12 0") == 1


def test_the_trade_off_of_several_setups_is_of_each_gpu_and_has_its_frontier() -> None:
    """Two GPUs write 1.5 times what one does: each of them less, to faster users."""
    runs = [
        a_record(
            "m",
            batch,
            number=10 * gpus + batch,
            engine=Engine(model="m", tensor_parallel=gpus),
            metrics={"output_tokens_per_s": rate * gain, "tpot_s.p50": batch / rate / gain},
        )
        for gpus, gain in ((1, 1.0), (2, 1.5))
        for batch, rate in ((1, 50.0), (4, 160.0))
    ]
    measured = points(zip(runs, setups_of(runs), strict=True))
    (panel,) = trade_off(lines(measured, "batch"), named_places(measured), "x")
    one, two, best = panel.curves
    assert [dot.y for dot in one.dots] == [50.0, 160.0]
    assert [dot.y for dot in two.dots] == [37.5, 120.0]
    assert [(dot.x, dot.y) for dot in best.dots] == [(40.0, 160.0), (60.0, 120.0), (75.0, 37.5)]
    assert words("en").say(panel.title, str) == "Tokens/s of a GPU against one user"


def test_names_that_differ_are_shortened_to_names_that_differ() -> None:
    names = [f"tiny-random-{kind} · {n} token" for kind in ("llama", "mistral") for n in (64, 256)]
    short = shortened(names)
    assert len(set(short)) == 4
    assert all(len(name) <= MOST_LETTERS for name in short)
    alike = ["tiny-random-mistral · 提示词 256 token", "tiny-random-llama · 64 token", "前沿"]
    assert shortened(alike) == ["…mistral · 提示词 256 token", "…llama · 64 token", "前沿"]
    assert shortened(["a" * 40]) == ["a" * 12 + "…" + "a" * 13]
    assert shortened(["abc", "de"]) == ["abc", "de"]
