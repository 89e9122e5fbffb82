"""Figures of speculative decoding, against counters and streams whose truth is known."""

from dataclasses import replace

import pytest
from builders import Run, a_record

from journal.compare.points import points
from journal.compare.setups import setups_of
from journal.doubts.rules import doubts
from journal.measure.server import server_reading, wanted
from journal.metrics.table import metrics
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.run import Record
from journal.records.samples import Samples, ServerReading
from journal.records.workload import Workload
from journal.report.document import Bullets
from journal.report.phrases import words
from journal.report.places import places
from journal.report.sections.drafts import drafts_section, speed_up
from journal.theory.draft_cost import draft_share, speed_up_of

OWN = Workload(prompts="text:en", content="ff")
PAGE = b"""
vllm:generation_tokens_total{model_name="m"} 100.0
vllm:spec_decode_num_drafts_total{model_name="m"} 20.0
vllm:spec_decode_num_draft_tokens_total{model_name="m"} 80.0
vllm:spec_decode_num_accepted_tokens_total{model_name="m"} 50.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{model_name="m",position="0"} 20.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{model_name="m",position="1"} 18.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{model_name="m",position="2"} 12.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{model_name="m",position="3"} 0.0
"""


def drafted(workload: Workload = OWN, per_chunk: int = 3) -> Samples:
    """A run whose server drafted 4 tokens at a time and accepted as PAGE says, after a start in
    which it had counted nothing."""
    samples = Run(per_chunk=per_chunk, output_tokens=31).samples()
    after = server_reading(PAGE, 1e6)
    none = {name: 0.0 for name in ServerReading.__slots__ if name.endswith("_total")}
    readings = replace(samples.readings, server=(ServerReading(at_s=0.0, **none), after))
    cell = replace(samples.cell, workload=workload)
    return replace(samples, cell=cell, readings=readings)


def test_counters_are_read_by_position() -> None:
    assert wanted(PAGE) == PAGE.strip(), "no line is left out where only the needed ones are kept"
    reading = server_reading(PAGE, 0.0)
    assert (reading.drafts_total, reading.draft_tokens_total) == (20, 80)
    at = [getattr(reading, f"accepted_at_{place}_total") for place in range(1, 6)]
    assert at == [20, 18, 12, 0, None]


def test_acceptance_and_tokens_a_step_follow_from_the_counters() -> None:
    figures = metrics(drafted())
    assert figures["draft_tokens_per_draft"].value == 4
    assert figures["draft_accepted_fraction"].value == pytest.approx(50 / 80)
    at = [figures[f"draft_accepted_at.{place}"].value for place in range(1, 6)]
    assert at == [1.0, 0.9, 0.6, 0.0, None]
    assert figures["tokens_per_step"].value == pytest.approx(100 / 50)
    request = [figures[f"request_tokens_per_step.{name}"].value for name in ("min", "p50", "max")]
    assert request == pytest.approx([28 / 10] * 3), "28 tokens in 10 chunks after the first"


def test_a_server_that_drafts_nothing_has_none_of_it() -> None:
    figures = metrics(Run().samples())
    names = ("draft_accepted_fraction", "tokens_per_step", "request_tokens_per_step.p50")
    assert [figures[name].value for name in names] == [None] * 3


def test_random_prompts_are_doubted_and_text_is_not() -> None:
    for workload, doubted in ((Workload(), True), (OWN, False)):
        samples = drafted(workload)
        names = {doubt.name for doubt in doubts(samples, metrics(samples))}
        assert ("speculation_random" in names) == doubted


def test_a_draft_model_costs_its_share_of_the_weights() -> None:
    """A model of a fifth of the weights that is read four times costs 4/5 of a step: 2.7 tokens a
    step then gain 1.5."""
    named = '{"model": "Qwen/Qwen2.5-1.5B-Instruct", "num_speculative_tokens": 4}'
    facts = EngineFacts(argv=("--speculative-config", named), dtype="bfloat16")
    share = draft_share(facts, 15_231_233_024)
    assert share == pytest.approx(1_543_714_304 / 7_615_616_512, rel=1e-3)
    assert speed_up_of(2.7, 4, 0.2) == pytest.approx(1.5)
    drafts = {"draft_accepted_fraction": 0.5, "tokens_per_step": 2.7, "draft_tokens_per_draft": 4.0}
    fast_s = 0.02 / speed_up_of(2.7, 4, share)
    fast = replace(ran(fast_s, **drafts, weights_bytes=15_231_233_024), facts=facts)
    records = [ran(0.02), fast]
    shown = points(zip(records, setups_of(records), strict=True))
    section = drafts_section(shown, places(shown))
    assert section is not None and isinstance(section.blocks[0], Bullets)
    for lang, said in (("en", "20.3% of the weights"), ("zh", "目标模型的 20.3%")):
        told = words(lang).say(section.blocks[0].items[0], str)
        assert said in told and "10%" in told, told


@pytest.mark.parametrize(
    "config",
    ['{"method": "ngram"}', '{"method": "eagle3", "model": "a/b"}', '{"model": "a/b"}', "[]", "{"],
)
def test_drafts_without_a_known_model_have_no_cost(config: str) -> None:
    for argv in (("--speculative-config", config), (f"--speculative-config={config}",), ()):
        assert draft_share(EngineFacts(argv=argv, dtype="bfloat16"), 1e9) is None


def ran(tpot_s: float, **metrics: float) -> Record:
    flags = ("--speculative-config", "{}") if metrics else ()
    given = {"tpot_s.mean": tpot_s, **metrics}
    engine = Engine(model="m", flags=flags)
    return a_record(number=len(flags), metrics=given, engine=engine, workload=OWN)


@pytest.mark.parametrize(
    ("fast_s", "sentence"),
    [(0.0105, "which came true within 10%"), (0.02, "200% of what was measured")],
)
def test_the_speed_up_is_scored_beside_the_cell_without_drafts(
    fast_s: float, sentence: str
) -> None:
    drafts = {"draft_accepted_fraction": 0.5, "tokens_per_step": 2.0, "draft_accepted_at.1": 0.8}
    records = [ran(0.02), ran(fast_s, **drafts, **{"draft_tokens_per_draft": 4.0})]
    shown = points(zip(records, setups_of(records), strict=True))
    plain, fast = sorted(shown, key=lambda point: point.value("tokens_per_step") is not None)
    assert speed_up(fast, plain) == pytest.approx(0.02 / fast_s)
    section = drafts_section(shown, places(shown))
    assert section is not None
    bullets, _ = section.blocks
    assert isinstance(bullets, Bullets)
    (told,) = bullets.items
    assert sentence in words("en").say(told, str)
    assert "投机" in words("zh").say(section.heading, str)
    assert drafts_section((plain,), places((plain,))) is None
