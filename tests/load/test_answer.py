"""Answers that count and answers that do not; the chunks that hold tokens, and how many."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.load.answer import AnswerReader, Exchange, trace_of
from journal.load.wire import Recording
from journal.records.request import Request, Trace

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def event(payload: dict[str, Any] | str) -> bytes:
    data = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return f"data: {data}\n\n".encode()


def piece(text: str, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "finish_reason": finish_reason}
    choice |= {key: more.pop(key) for key in ("token_ids",) if key in more}
    return {"choices": [choice], **more}


def delta(finish_reason: str | None = None, /, **words: Any) -> dict[str, Any]:
    usage = {"usage": words.pop("usage")} if "usage" in words else {}
    return {"choices": [{"index": 0, "delta": words, "finish_reason": finish_reason}], **usage}


def used(tokens: int) -> dict[str, Any]:
    return {"prompt_tokens": 3, "completion_tokens": tokens}


GOOD = [
    event(piece("née")),
    event(piece(" 模型")),
    event(piece(" 🙂")),
    event(piece(" end", "length")),
    event({"choices": [], "usage": USAGE}),
    event("[DONE]"),
]


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def traced(reads: list[bytes], *, asked: int = 4, failure: str | None = None) -> Trace:
    """The trace of an answer whose read `k` came at `k` s and which was asked for at 0 s."""
    recording = Recording()
    for at, data in enumerate(reads):
        recording.feed(float(at), data)
    recording.close()
    request = Request(index=5, body=b"", prompt_tokens=3, output_tokens=asked)
    return trace_of(
        Exchange(request=request, start_s=0.0, end_s=99.0, recording=recording, failure=failure)
    )


def stream(*payloads: bytes, **options: Any) -> Trace:
    """The head comes at 0 s, event `k` at `k` s from 1 on, the end after the last."""
    return traced([HEAD, *map(framed, payloads), END], **options)


def test_a_good_answer() -> None:
    trace = stream(*GOOD)
    assert trace.outcome == "ok" and trace.error is None
    assert trace.chunk_s == (1.0, 2.0, 3.0, 4.0)
    assert trace.chunk_tokens is None
    assert (trace.prompt_tokens, trace.output_tokens) == (3, 4)
    assert trace.output_chars == len("née 模型 🙂 end")
    assert (trace.finish_reason, trace.status, trace.end_s) == ("length", 200, 99.0)


def test_every_time_of_a_trace_counts_from_the_origin() -> None:
    recording = Recording()
    for number, data in enumerate([HEAD, *map(framed, GOOD), END]):
        recording.feed(1000.0 + number, data)
    request = Request(index=5, body=b"", prompt_tokens=3, output_tokens=4)
    times = {"scheduled_s": 998.0, "start_s": 999.0, "end_s": 1010.0}
    trace = trace_of(Exchange(request=request, recording=recording, **times), 900.0)
    assert (trace.scheduled_s, trace.start_s, trace.end_s) == (98.0, 99.0, 110.0)
    assert trace.chunk_s == (101.0, 102.0, 103.0, 104.0)
    times["scheduled_s"] = None  # it went as soon as it could
    trace = trace_of(Exchange(request=request, recording=recording, **times), 900.0)
    assert (trace.scheduled_s, trace.start_s) == (99.0, 99.0)


def test_the_text_of_an_answer_is_its_deltas_joined() -> None:
    recording = Recording()
    recording.feed(0.0, HEAD + b"".join(map(framed, GOOD)) + END)
    request = Request(index=0, body=b"", prompt_tokens=3, output_tokens=4)
    reading = AnswerReader(Exchange(request=request, start_s=0.0, recording=recording), 0.0)
    assert not reading.advance(2)
    assert reading.advance()
    assert reading.text == "née 模型 🙂 end"


def test_fewer_tokens_than_asked_is_short() -> None:
    assert stream(*GOOD, asked=5).outcome == "short"


def test_tokens_by_their_ids_alone_tell_whether_an_answer_is_short() -> None:
    ids = [event(piece("a", token_ids=[1, 2])), event(piece("b", "stop", token_ids=[3])), GOOD[5]]
    assert stream(*ids, asked=3).outcome == "ok"
    assert stream(*ids, asked=4).outcome == "short"


def test_one_object_in_place_of_a_stream_has_no_end_and_several_lines_have() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    one = json.dumps({"choices": [{"text": "a b", "finish_reason": "stop"}], "usage": USAGE})
    lines = f"{one}\n{one}".encode()
    whole, streamed = (traced([head % len(body) + body]) for body in (one.encode(), lines))
    assert whole.outcome == "ok"
    assert (whole.done, streamed.done) == (None, False)


def test_events_in_one_read_share_its_time() -> None:
    body = b"".join(GOOD)
    assert traced([HEAD + framed(body[:40]), framed(body[40:]) + END]).chunk_s == (1.0,) * 4


@given(st.data())
def test_any_split_gives_every_chunk_the_time_of_the_read_that_ended_it(
    data: st.DataObject,
) -> None:
    wire = HEAD + b"".join(map(framed, GOOD)) + END
    cuts = data.draw(st.lists(st.integers(0, len(wire))))
    bounds = [0, *sorted(cuts), len(wire)]
    reads = [wire[a:b] for a, b in itertools.pairwise(bounds)]
    trace = traced(reads)
    assert trace.outcome == "ok"
    ends = [wire.index(framed(part)) + len(framed(part)) - 2 for part in GOOD[:4]]
    for at, end in zip(trace.chunk_s, ends, strict=True):
        k = int(at)
        assert bounds[k] < end <= bounds[k + 1]


def test_every_split_in_two_is_the_same_answer() -> None:
    wire = HEAD + b"".join(map(framed, GOOD)) + END
    for cut in range(len(wire) + 1):
        trace = traced([wire[:cut], wire[cut:]])
        assert trace.outcome == "ok" and len(trace.chunk_s) == 4


WITHOUT = {
    "finish reason missing": [*GOOD[:3], *GOOD[4:]],
    "not one token": [event(piece("", "length")), *GOOD[4:]],
    "finish reason abort": [*GOOD[:3], event(piece("", "abort")), *GOOD[4:]],
    "finish reason tool_calls": [*GOOD[:3], event(piece("x", "tool_calls")), *GOOD[4:]],
    "an error in the stream: it broke": [
        *GOOD[:2],
        event({"error": {"message": "it broke", "code": 500}}),
        GOOD[5],
    ],
    "an error in the stream: last words": [
        *GOOD[:5],
        event({"error": {"message": "last words"}}),
        GOOD[5],
    ],
    "an error in the stream: after the end": [*GOOD, event({"error": "after the end"})],
    "an error in the stream: old style": [event({"object": "error", "message": "old style"})],
    "an error in the stream: by name": [b"event: error\n" + event({"detail": "by name"}), *GOOD],
    "the stream went on after [DONE]": [*GOOD, GOOD[0]],
    "event 2 cannot be read": [GOOD[0], b'data: {"choices":[{"te\n\n', *GOOD[1:]],
    "event 2 holds a number of more digits than are read": [
        GOOD[0],
        b'data: {"choices":[{"text":' + b"9" * 5000 + b"}]}\n\n",
        *GOOD[1:],
    ],
    "event 1 cannot be read": [event({"choices": [{"delta": {"content": 7}}]}), *GOOD],
    "event 4 cannot be read": [*GOOD[:3], event({"choices": [{"text": 7}]}), *GOOD[3:]],
    "an error in the stream: no quota": [
        event({"error_msg": "no quota", "error_code": 18}),
    ],
    'finish reason missing (it sent {"detail": "gone"})': [*GOOD[:3], event({"detail": "gone"})],
    "no events in the answer: plain": [b"plain"],
    "no events in the answer: its body is empty": [],
}


@pytest.mark.parametrize(("reason", "events"), WITHOUT.items(), ids=WITHOUT)
def test_what_does_not_count(reason: str, events: list[bytes]) -> None:
    trace = stream(*events)
    assert trace.outcome == "error"
    assert trace.error is not None and reason in trace.error


def test_the_times_of_a_failed_answer_are_kept() -> None:
    trace = traced([HEAD, framed(GOOD[0]), framed(GOOD[1]), b"33\r\ndata: {half"])
    assert trace.error == "the connection was closed in the middle of the answer"
    assert trace.chunk_s == (1.0, 2.0)


def test_a_failure_of_the_exchange_is_the_reason() -> None:
    trace = traced([HEAD, framed(GOOD[0])], failure="no end after 1 s")
    assert (trace.outcome, trace.error) == ("error", "no end after 1 s")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b'{"error":{"message":"it broke"}}', "HTTP 500: it broke"),
        (404, b'{"detail":"Not Found"}', "HTTP 404: Not Found"),
        (503, b"<html> busy </html>", "HTTP 503: <html> busy </html>"),
        (502, b"", "HTTP 502"),
        (204, b"", "no events in the answer: its body is empty"),
    ],
)
def test_a_status_that_is_not_200(status: int, body: bytes, reason: str) -> None:
    head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    trace = traced([head + body])
    assert (trace.outcome, trace.error, trace.status) == ("error", reason, status)


def test_a_redirect_is_named_and_not_followed() -> None:
    wire = b"HTTP/1.1 308 X\r\nlocation: http://other/v1\r\ncontent-length: 0\r\n\r\n"
    assert "http://other/v1" in (traced([wire]).error or "")


def test_the_role_alone_is_no_token() -> None:
    trace = stream(
        event(delta(role="assistant", content="", usage=used(0))),
        event(delta(content="a", usage=used(1))),
        event(delta(content="b", usage=used(4))),
        event(delta("stop", content="", usage=used(4))),
        event({"choices": [], "usage": USAGE}),
        event("[DONE]"),
    )
    assert trace.outcome == "ok"
    assert trace.chunk_s == (2.0, 3.0) and trace.chunk_tokens == (1, 3)


def test_a_role_with_usage_that_counts_ahead_is_no_token() -> None:
    trace = stream(
        event(delta(role="assistant", content="", usage=used(1))),
        event(delta(content="a", usage=used(1))),
        event(delta("stop", content="b", usage=used(4))),
        event("[DONE]"),
    )
    assert trace.chunk_s == (2.0, 3.0) and trace.chunk_tokens == (1, 3)


def test_reasoning_and_tool_calls_are_content() -> None:
    trace = stream(
        event(delta(role="assistant", reasoning_content="hm")),
        event(delta(reasoning="so", reasoning_content="so")),
        event(delta(tool_calls=[{"index": 0}])),
        event(delta("stop", content="a")),
        *GOOD[4:],
    )
    assert trace.chunk_s == (1.0, 2.0, 3.0, 4.0) and trace.output_chars == 5
    assert (trace.reasoning_chunks, trace.tool_call_deltas) == (2, 1)
    assert trace.ttfo_s == 3.0


def test_tokens_without_text_count_where_the_server_tells_of_them() -> None:
    by_usage = stream(
        event(piece("", usage=used(1))),
        event(piece("模", usage=used(3))),
        event(piece("", "length", usage=used(4))),
        *GOOD[4:],
    )
    by_ids = stream(
        event(piece("", token_ids=[8])),
        event(piece("模", token_ids=[8, 9])),
        event(piece("", "length", token_ids=[2])),
        *GOOD[4:],
    )
    for trace in (by_usage, by_ids):
        assert trace.chunk_s == (1.0, 2.0, 3.0) and trace.chunk_tokens == (1, 2, 1)


def test_usage_in_the_last_chunk_alone_makes_no_chunk_of_it() -> None:
    trace = stream(
        event(piece("a b")), event(piece("c d")), event(piece("", "stop", usage=USAGE)), GOOD[5]
    )
    assert trace.outcome == "ok"
    assert trace.chunk_s == (1.0, 2.0) and trace.chunk_tokens is None


def test_token_counts_that_do_not_add_up_are_none() -> None:
    trace = stream(
        event(piece("a", usage=used(1))), event(piece("b", "stop", usage=used(2))), *GOOD[4:]
    )
    assert trace.outcome == "ok" and trace.chunk_tokens is None


def test_metrics_of_a_request_and_cached_tokens_are_read() -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 2}}
    metrics = {"queue_time_ms": 5.0, "time_to_first_token_ms": 20, "generation_time_ms": None}
    trace = stream(*GOOD[:4], event({"choices": [], "usage": usage, "metrics": metrics}), GOOD[5])
    assert trace.cached_tokens == 2
    assert (trace.server_queue_s, trace.server_prefill_s) == (0.005, 0.02)
    assert trace.server_decode_s is None


def test_half_a_surrogate_pair_is_text() -> None:
    lone = b'data: {"choices":[{"text":"\\ud83d","finish_reason":null}]}\n\n'
    assert stream(lone, *GOOD).outcome == "ok"


MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["drop", "double", "flip", "insert", "swap"]), st.floats(0, 1)),
    min_size=1,
    max_size=4,
)


def mutated(wire: bytes, mutations: list[tuple[str, float]], noise: bytes) -> bytes:
    for kind, place in mutations:
        at = int(place * max(0, len(wire) - 1))
        if kind == "drop":
            wire = wire[:at] + wire[at + len(noise) :]
        elif kind == "double":
            wire = wire[:at] + wire[at : at + 60] + wire[at:]
        elif kind == "flip":
            wire = wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :] if wire else wire
        elif kind == "insert":
            wire = wire[:at] + noise + wire[at:]
        else:
            wire = wire[at:] + wire[:at]
    return wire


@given(MUTATIONS, st.binary(min_size=1, max_size=30), st.booleans(), st.integers(1, 200))
def test_a_mutated_stream_is_exactly_one_of_ok_short_or_error(
    mutations: list[tuple[str, float]], noise: bytes, whole_wire: bool, size: int
) -> None:
    body = b"".join(GOOD)
    if whole_wire:
        wire = mutated(HEAD + framed(body) + END, mutations, noise)
    else:
        wire = HEAD + framed(mutated(body, mutations, noise) or b"\n") + END
    trace = traced([wire[k : k + size] for k in range(0, len(wire), size)])
    assert (trace.error is None) == (trace.outcome in ("ok", "short"))
    assert list(trace.chunk_s) == sorted(trace.chunk_s)
    if trace.chunk_tokens is not None:
        assert len(trace.chunk_tokens) == len(trace.chunk_s)
    if trace.outcome != "error":
        assert trace.status in range(200, 300) and trace.chunk_s and trace.ttfo_s is not None
        assert trace.finish_reason in ("stop", "length")
        assert (not trace.done or b"[DONE]" in wire) and b'"error"' not in wire


KEYS = st.sampled_from(
    "choices usage text delta content role token_ids finish_reason metrics completion_tokens "
    "prompt_tokens prompt_tokens_details cached_tokens queue_time_ms error object".split()
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))


@given(JSON)
def test_no_json_breaks_the_reader(value: Any) -> None:
    for payloads in ([event(json.dumps(value))], [*GOOD[:4], event(json.dumps(value)), *GOOD[4:]]):
        trace = stream(*payloads)
        assert (trace.error is None) == (trace.outcome != "error")
    events_ = [event({"choices": [value], "usage": value, "metrics": value}), *GOOD]
    assert stream(*events_).outcome in ("ok", "short", "error")
