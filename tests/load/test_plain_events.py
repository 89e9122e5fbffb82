import itertools
import json
from dataclasses import asdict, is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.load.plain_events import PlainEvents
from journal.load.stream import Stream

TEXTS = st.sampled_from(["", " word", "字", "<think>", "</think>", "\ud800", "a\n", '"\\'])
IDS = st.one_of(st.none(), st.lists(st.integers(0, 9), max_size=3))
USAGES = st.one_of(
    st.none(),
    st.just({}),
    st.fixed_dictionaries(
        {"prompt_tokens": st.integers(0, 9), "completion_tokens": st.integers(0, 9)},
        optional={"total_tokens": st.integers(0, 18), "reasoning_tokens": st.just(2)},
    ),
)
PLAIN = b'{"object": "text_completion", "choices": [{"text": "a"}]}'
Weight = tuple[bool, int | None, int | None]  # what Chunk calls `full`, `held` and `made`
ODD = st.sampled_from([None, 0, 1, "stop", "length", "x", [], [1], {}, {"a": 1}, True, 1.5])


@st.composite
def fields(draw: st.DrawFn, plain: dict[str, Any], odd: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a plain object, some of them left out, with now and then an odd one."""
    found = {name: value for name, value in plain.items() if draw(st.integers(0, 9)) != 0}
    if draw(st.integers(0, 3)) == 0:
        found[draw(st.sampled_from(odd))] = draw(ODD)
    return found


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    chat = draw(st.booleans())
    role = draw(st.sampled_from([None, "assistant", "analysis"]))
    delta = draw(
        fields(
            {"content": draw(TEXTS), "role": role},
            ("reasoning", "tool_calls", "refusal", "error", "audio", "token_ids", "text"),
        )
    )
    own = {"delta": delta} if chat else {"text": draw(TEXTS)}
    choice = draw(
        fields(
            {"index": 0, **own, "token_ids": draw(IDS), "finish_reason": None, "logprobs": None},
            ("finish_reason", "stop_reason", "error", "usage", "message", "prompt_logprobs"),
        )
    )
    kind = "chat.completion.chunk" if chat else "text_completion"
    return draw(
        fields(
            {"id": "1", "object": kind, "created": 1, "choices": [choice], "usage": draw(USAGES)},
            ("error", "object", "metrics", "status", "choices", "created", "service_tier", "usage"),
        )
    )


def summed(datas: list[bytes], way: str) -> tuple[list[Weight | None], dict[str, Any]]:
    """The tokens of each chunk of a stream and its state in the end, read without plain events,
    with them, or with those of three events at once."""
    stream = Stream()
    if way == "none":
        stream._plain._tries_left = 0
    weights: list[Weight | None] = []
    for first in range(0, len(datas), 3):
        lines = datas[first : first + 3]
        counts = stream.take_plain(lines) if way == "at once" else None
        if counts is not None:
            weights += zip(itertools.repeat(True), *counts)
            continue
        for data in lines:
            chunk = stream.take(b"", data)
            weights.append(None if chunk is None else (chunk.full, chunk.held, chunk.made))
    state = {name: value for name, value in vars(stream).items() if name != "_plain"}
    state["usage"], state["_thinking"] = vars(stream.usage), vars(stream._thinking)
    return weights, {n: asdict(v) if is_dataclass(v) else v for n, v in state.items()}


@given(st.lists(events(), min_size=1, max_size=9), st.booleans())
def test_plain_events_change_nothing_of_what_a_stream_says(
    answer: list[dict[str, Any]], done: bool
) -> None:
    datas = [json.dumps(event).encode() for event in answer]
    if done:
        datas.insert(len(datas) // 2, b"[DONE]")

    assert summed(datas, "alone") == summed(datas, "none")
    assert summed(datas, "at once") == summed(datas, "none")


@given(st.lists(st.tuples(TEXTS, IDS), min_size=1, max_size=12), st.booleans())
def test_plain_events_at_once_are_those_one_by_one(
    tokens: list[tuple[str, list[int] | None]], chat: bool
) -> None:
    datas = []
    for text, ids in tokens:
        own = {"delta": {"content": text}} if chat else {"text": text}
        kind = "chat.completion.chunk" if chat else "text_completion"
        event = {"object": kind, "choices": [{**own, "token_ids": ids}]}
        datas.append(json.dumps(event).encode())

    assert summed(datas, "at once") == summed(datas, "none")


@pytest.mark.parametrize("odd", [b"", PLAIN + b"\n" + PLAIN, b"[DONE]", b'{"object": 1}'])
def test_data_that_is_no_plain_event_is_not_taken_at_once(odd: bytes) -> None:
    assert PlainEvents().take_all([PLAIN, odd, PLAIN]) is None
    assert PlainEvents().take_all([PLAIN, b"", PLAIN + b"\n" + PLAIN]) is None


@pytest.mark.parametrize("own", [{"text": " word"}, {"delta": {"content": " word"}}])
def test_plain_event_is_taken_by_its_type(own: dict[str, Any]) -> None:
    kind = "chat.completion.chunk" if "delta" in own else "text_completion"
    usage = {"prompt_tokens": 8, "completion_tokens": 1, "total_tokens": 9}
    choice = {"index": 0, **own, "logprobs": None, "finish_reason": None, "token_ids": [7]}
    event = {"id": "1", "object": kind, "created": 1, "model": "m", "choices": [choice]}

    taken = PlainEvents().take(json.dumps({**event, "usage": usage}).encode())

    assert taken == (" word", [7], usage)


def test_stream_without_plain_events_is_not_tried_for_ever() -> None:
    reader = PlainEvents()

    for _ in range(8):
        assert reader.take(b'{"choices": [{"text": "a", "own": 1}]}') is None

    assert reader.take(PLAIN) is None and reader.take_all([PLAIN]) is None
    assert PlainEvents().take_all([PLAIN, PLAIN]) == (["a", "a"], [None, None], [None, None])
    assert PlainEvents().take(PLAIN) == ("a", None, None)
