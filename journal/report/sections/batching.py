"""The effect of more requests at once: throughput, latency, and the knee between them."""

from collections.abc import Iterator, Sequence

from journal import units
from journal.compare.difference import ALIKE, difference
from journal.compare.knee import (
    KNEE_GAIN,
    BatchStep,
    batch_steps,
    decode_bound,
    fell_behind,
    kept_up,
    knee,
    too_short_to_tell,
)
from journal.compare.points import Point, Points, lines
from journal.compare.trade_off import TradeOff, frontier, gpus_behind, trade_offs, waited_out
from journal.records.load_shape import LOAD_AXES
from journal.report.curves import FRONTIER, figure_of, panel, plot_caption, with_tails
from journal.report.document import (
    Block,
    Curve,
    Dot,
    Panel,
    Paragraph,
    Plot,
    Section,
    Text,
    say,
)
from journal.report.places import Places
from journal.report.verdict_words import KINDS, open_words

KV_FULL = 0.95  # of the pool: the next request waits, or pushes another out
RAN_AT_ONCE = 0.95  # of the batch: below it, the server held requests back in its queue
WAITS = 0.1  # of TTFT spent in the queue: what is less is not why a batch gains nothing
NOBODYS = 0.1  # of TTFT that neither the queue nor the prefill explains, from which it is named
FRONTIER_HUE = 5  # grey
MOST_DESCRIBED = 4  # lines in sentences; the table has them all

THROUGHPUT = "output_tokens_per_s"


def batching_section(points: Points, places: Places, name: str) -> Section | None:
    """Throughput and latency against the batch, or against the offered rate; None where neither
    was varied."""
    blocks: list[Block] = []
    for across in LOAD_AXES:
        varied = lines(points, across)
        if not varied:
            continue
        blocks += [
            Paragraph(tuple(_sentences(line, across)), places.about(line[0], across))
            for line in described_lines(varied)
        ]
        panels = tuple(_panels(varied, across, places, name))
        if across == "batch":
            panels += tuple(trade_off(varied, places, name))
        blocks += [Plot(panels, plot_caption(panels))] if panels else []
    if not blocks:
        return None
    return Section(3, say("batch.heading"), tuple(blocks))


def described_lines(varied: list[Points]) -> list[Points]:
    """The lines that sentences describe: all of a few, else the last of each setup."""
    if len(varied) <= MOST_DESCRIBED:
        return varied
    return list({line[0].setup: line for line in varied}.values())[:MOST_DESCRIBED]


def _panels(varied: list[Points], across: str, places: Places, name: str) -> Iterator[Panel]:
    rate = panel(
        f"{name}-{across}-throughput",
        say("panel.throughput"),
        "tok/s",
        varied,
        across,
        figure_of(THROUGHPUT),
        places,
    )
    if rate:
        yield rate
    for latency in ("ttft", "tpot", "e2e"):
        title, key = say(f"panel.{latency}"), f"{latency}_s"
        plotted = panel(
            f"{name}-{across}-{latency}",
            title,
            "s",
            varied,
            across,
            figure_of(f"{key}.p50"),
            places,
        )
        if plotted:
            yield with_tails(plotted, varied, across, key)


def trade_off(varied: list[Points], places: Places, name: str) -> Iterator[Panel]:
    """The plot of tokens/s of one request against tokens/s of all, of each GPU where there are
    several: a dot for each batch, the knee marked, and with several lines the frontier."""
    chosen = described_lines(varied)
    of_lines = [(hue, line, trade_offs(line)) for hue, line in enumerate(chosen)]
    drawn = [(hue, line, found) for hue, line, found in of_lines if len(found) > 1]
    if not drawn:
        return
    curves = [
        Curve(places.curve(line, chosen), tuple(map(_dot, found)), hue)
        for hue, line, found in drawn
    ]
    every = [one for _, _, found in drawn for one in found]
    best = tuple(map(_bare_dot, frontier(every)))
    if len(curves) > 1 and len(best) > 1:
        curves.append(Curve(FRONTIER, best, FRONTIER_HUE, faint=True))
    several = any(gpus_behind(one.point) > 1 for one in every)
    title = say("panel.trade_off_of_gpu" if several else "panel.trade_off")
    if all(line[0].setup.simulated for line in chosen):
        title = say("setup.simulated", name=title)
    yield Panel(f"{name}-trade-off", title, "tok/s", say("axis.of_one"), tuple(curves))


def _dot(one: TradeOff) -> Dot:
    """The dot of a batch; x has three digits."""
    figure, label = one.of_gpu, f"{one.point.load:g}"
    assert figure.value is not None
    return Dot(_short(one), figure.value, figure.low, figure.high, label, marked=one.is_knee)


def _bare_dot(one: TradeOff) -> Dot:
    assert one.of_gpu.value is not None
    return Dot(_short(one), one.of_gpu.value)


def _short(one: TradeOff) -> float:
    return float(f"{one.of_one:.3g}")


def _sentences(line: Points, across: str) -> Iterator[Text]:
    first, last = line[0], line[-1]
    counted = tuple(point for point in line if not waited_out(point))
    yield from _time_outs(line)
    if len(counted) > 1:
        yield from gained(counted[0], counted[-1], across)
    for latency in ("ttft", "tpot"):
        yield from latency_sentences(first, last, latency)
    yield from _read_together(last)
    yield from _split(last, across)
    if across == "batch":
        yield from _knee_sentences(counted)
    else:
        yield from _kept_up(line)


def latency_sentences(first: Point, last: Point, latency: str) -> Iterator[Text]:
    """The sentence on the median of `latency` (ttft, tpot) at two points, where both have it."""
    low, high = first.figure(f"{latency}_s.p50"), last.figure(f"{latency}_s.p50")
    between = difference(low, high)
    if low is None or high is None or between is None:
        return
    yield say(
        f"latency.{KINDS[between.verdict]}",
        name=latency.upper(),
        before=units.seconds(low.value),
        after=units.seconds(high.value),
        ratio=units.number(between.ratio, 2),
        within=units.percent(ALIKE),
        **open_words(between, "longer"),
    )


def _time_outs(line: Points) -> Iterator[Text]:
    """The sentence on the points whose throughput is that of a time-out, and so is left out."""
    waited = [point for point in line if waited_out(point)]
    if waited:
        yield say(
            "batch.timed_out",
            loads=tuple(say(f"at.{point.shape.axis}", n=f"{point.load:g}") for point in waited),
            rates=tuple(units.rate(point.value(THROUGHPUT)) for point in waited),
        )


def _read_together(point: Point) -> Iterator[Text]:
    """The sentence on prompts that are known to be read together, which makes TTFT theirs all."""
    if point.together and point.value("ttft_s.p50") is not None:
        yield say("latency.together", batch=f"{point.batch}")


def _split(point: Point, across: str) -> Iterator[Text]:
    """The parts of the TTFT of `point`, by its server's own metrics, and the part that neither
    has."""
    queued, read = point.value("queue_s.p50"), point.value("prefill_s.p50")
    ttft = point.value("ttft_s.p50")
    if queued is None or read is None or not ttft:
        return
    rest = ttft - queued - read
    yield say(
        f"split.{across}",
        load=f"{point.load:g}",
        ttft=units.seconds(ttft),
        queued=units.seconds(queued),
        read=units.seconds(read),
    )
    if rest >= NOBODYS * ttft:
        shown = {"rest": units.seconds(rest), "share": units.percent(rest / ttft)}
        yield say("split.rest", **shown)
    elif rest <= -NOBODYS * ttft:
        yield say("split.over")


def gained(first: Point, last: Point, across: str) -> Iterator[Text]:
    """The sentence on throughput between two points, where both have it."""
    low, high = first.figure(THROUGHPUT), last.figure(THROUGHPUT)
    between = difference(low, high)
    if low is None or high is None or between is None:
        return
    offered = across == "rate" and between.verdict == "unknown" and kept_up(first) and kept_up(last)
    yield say(
        f"throughput.{'offered' if offered else KINDS[between.verdict]}",
        span=say(f"throughput.{across}", first_load=f"{first.load:g}", last_load=f"{last.load:g}"),
        first=units.rate(low.value),
        last=units.rate(high.value),
        ratio=units.number(between.ratio, 2),
        within=units.percent(ALIKE),
        **open_words(between, "more"),
    )


def _knee_sentences(line: Points) -> Iterator[Text]:
    knee_step, steps = knee(line), batch_steps(line)
    if not steps:
        return
    threshold = units.number(KNEE_GAIN, 2)
    if knee_step is None:
        yield from _no_knee(line, steps, threshold)
        return
    before = steps[: steps.index(knee_step)]
    found = "knee.found" if all(step.goes_on for step in before) else "knee.latest"
    yield say(
        found if before else "knee.first",
        batch=f"{knee_step.before.load:g}",
        next=f"{knee_step.after.load:g}",
        before=units.number(min((step.gain for step in before), default=None), 3),
        gain=_gain(knee_step),
        threshold=threshold,
        steps=_tried(before),
        between=_between(knee_step),
    )
    yield from causes(knee_step.before, knee_step.after)


def _no_knee(line: Points, steps: list[BatchStep], threshold: str) -> Iterator[Text]:
    """The sentence that no step is past the knee, or that intervals leave it open."""
    open_step = next((step for step in steps if not step.goes_on), None)
    if open_step is None:
        yield say(
            "knee.none",
            least=units.number(min(step.gain for step in steps), 3),
            threshold=threshold,
            steps=_tried(steps),
            further=f"{line[-1].load * 2:g}",
            last=f"{line[-1].load:g}",
        )
        return
    yield say(
        "knee.unsure",
        threshold=threshold,
        last=f"{line[-1].load:g}",
        step=f"{open_step.before.load:g}",
        next=f"{open_step.after.load:g}",
        gain=_gain(open_step),
    )


def _tried(steps: Sequence[BatchStep]) -> Text:
    """The steps as a list: nothing is known of batches between them."""
    return tuple(
        say("knee.step", batch=f"{step.before.load:g}", next=f"{step.after.load:g}")
        for step in steps
    )


def _between(step: BatchStep) -> Text:
    """The words that nothing between the ends of `step` was tried, where something lies there."""
    if step.after.load - step.before.load <= 1:
        return ""
    return say("knee.between")


def _gain(step: BatchStep) -> Text:
    """The gain of a step with its interval, where it has one."""
    gain = units.number(step.gain, 3)
    if step.low is None or step.high is None:
        return say("knee.point", gain=gain)
    low, high = units.number(step.low, 3), units.number(step.high, 3)
    return say("knee.interval", gain=gain, low=low, high=high)


def causes(before: Point, after: Point) -> Iterator[Text]:
    """Why the load of `after` gained so little over that of `before`, by the server's own readings
    and the GPU's data sheet."""
    preempted, full = after.value("preemptions"), after.value("kv_cache_peak_fraction")
    running = after.value("server_running_peak")
    if preempted:
        yield say("cause.preempted", n=units.number(preempted), kv=units.percent(full))
    elif full is not None and full >= KV_FULL:
        yield say("cause.full", kv=units.percent(full))
    elif running is not None and after.batch and running < RAN_AT_ONCE * after.batch:
        yield say("cause.queue", running=units.number(running), batch=f"{after.batch}")
    else:
        if full is not None:
            yield say("cause.compute", kv=units.percent(full))
        yield from _roofline(before, after)
    yield from _waiting(after)


def _waiting(point: Point) -> Iterator[Text]:
    """The sentence on the server's queue, where waiting in it is at least WAITS of TTFT."""
    waiting, queued = point.value("server_waiting_peak"), point.value("queue_s.p50")
    ttft = point.value("ttft_s.p50")
    if waiting and queued and ttft and queued >= WAITS * ttft:
        yield say(
            "cause.waiting",
            n=units.number(waiting),
            queued=units.seconds(queued),
            share=units.percent(min(queued / ttft, 1)),
        )


def _roofline(before: Point, after: Point) -> Iterator[Text]:
    """Sentences on the slower steps of the larger batch, and on the bound: memory or arithmetic."""
    slower = difference(before.figure("tpot_s.p50"), after.figure("tpot_s.p50"))
    if slower is None or slower.verdict != "rises":
        return
    yield say("cause.steps", before=f"{before.load:g}", ratio=units.number(slower.ratio, 2))
    floor, ratio = after.value("tpot_floor_s"), after.value("tpot_floor_ratio")
    bound = decode_bound(after)
    if None not in (floor, ratio) and bound is not None:
        kind = "cause.memory" if bound == "memory" else "cause.arithmetic"
        yield say(kind, floor=units.seconds(floor), ratio=units.number(ratio, 2))


def _kept_up(line: Points) -> Iterator[Text]:
    """The offered rate at which the server fell behind, or up to which it answered as many as came.
    Arrivals drawn at random are seldom as many as on average, so answers are compared with the
    requests that were sent; of few requests that take long neither can be said."""
    reached = [(point, done) for point in line if (done := point.value("requests_per_s"))]
    behind = [(point, done) for point, done in reached if fell_behind(point)]
    if behind:
        point, done = behind[0]
        yield say(
            "rate.behind",
            offered=units.rate(point.load, "req/s"),
            done=units.rate(done, "req/s"),
            share=units.percent(done / point.load),
        )
        yield from causes(line[0], point)
    elif reached and all(kept_up(point) for point, _ in reached):
        unseen = any(too_short_to_tell(point) for point, _ in reached)
        offered = units.rate(reached[-1][0].load, "req/s")
        yield say("rate.unseen" if unseen else "rate.kept", offered=offered)
