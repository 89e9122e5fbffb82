"""Streams of every form that servers were seen to send, as Hypothesis draws them."""

from hypothesis import strategies as st
from scripted_streams import DONE, chunk, event

WORDS = st.sampled_from(["a", "née", " 模型", "", "<think>", "</think>", "<th", "ink>", "\n"])
PARTS = st.one_of(
    WORDS,
    st.builds(lambda text: {"type": "text", "text": text}, WORDS),
    st.builds(lambda text: {"type": "thinking", "thinking": [{"text": text}]}, WORDS),
)
DELTAS = st.one_of(
    st.fixed_dictionaries({"content": WORDS}),
    st.fixed_dictionaries({"reasoning_content": WORDS}),
    st.fixed_dictionaries({"reasoning": WORDS, "content": WORDS}),
    st.fixed_dictionaries({"content": st.lists(PARTS, max_size=2)}),
    st.fixed_dictionaries({"content": st.none(), "text": WORDS}),
    st.just({"role": "assistant", "content": ""}),
    st.just({"tool_calls": [{"index": 0}]}),
    st.just({"refusal": "no"}),
    st.just({"audio": {"data": "UklGRg=="}}),
    st.just({"images": [{"type": "image_url"}]}),
    st.none(),
)
REASONS = st.sampled_from(
    [None, None, None, "", "null", "stop", "eos_token", "max_tokens", "abort"]
)
COUNTS = st.sampled_from([None, 0, 3, 4.0, "5", -1, 2.5, True])
USAGES = st.fixed_dictionaries({"prompt_tokens": COUNTS, "completion_tokens": COUNTS})
EMPTY = [b": ping\n\n", b"data: x\n\n", b"data\r\r", b"data: {}\r\n\r\n", b"\xff\n\n", b"id: 7\n\n"]
BROKEN = [event({"error": {"message": "it broke"}}), b'data: {"choices": [{\n\n']
CHUNKS = st.one_of(
    st.builds(lambda delta, reason: event(chunk(delta, reason)), DELTAS, REASONS),
    st.builds(lambda delta, usage: event(chunk(delta, usage=usage)), DELTAS, USAGES),
    st.builds(lambda text: event({"choices": [{"text": text}]}), WORDS),
    st.builds(lambda text: event({"choices": [{"message": {"content": text}}]}), WORDS),
    st.builds(lambda reason: event({"choices": [{"delta": {}, "stop_reason": reason}]}), REASONS),
)
COUNTED = st.one_of(
    st.builds(lambda usage: event({"choices": [], "usage": usage}), USAGES),
    st.builds(lambda usage: event({"x_groq": {"usage": usage}}), USAGES),
)
EVENTS = st.one_of(CHUNKS, COUNTED, st.sampled_from(EMPTY), st.sampled_from(BROKEN))
ENDINGS = st.sampled_from(
    [
        b"",
        event(chunk({}, "stop")) + DONE,
        event(chunk({}, "length")) + DONE + event({"choices": [], "usage": {"total_tokens": 3}}),
        event(chunk({}, "eos_token")),
        DONE,
        DONE + event(chunk({"content": "late"})),
    ]
)
# Objects of other APIs, which a body may hold as events or as lines.
OTHERS = st.one_of(
    st.builds(lambda text: {"response": text, "done": False}, WORDS),
    st.builds(lambda text: {"message": {"content": text, "thinking": text[:1]}}, WORDS),
    st.builds(lambda text: {"delta": {"type": "text_delta", "text": text}}, WORDS),
    st.builds(lambda text: {"candidates": [{"content": {"parts": [{"text": text}]}}]}, WORDS),
    st.builds(lambda text: {"token": {"id": 1, "text": text, "special": False}}, WORDS),
    st.builds(lambda text: {"type": "response.output_text.delta", "delta": text}, WORDS),
    st.builds(lambda usage: {"usage": usage}, USAGES),
    st.builds(lambda count: {"prompt_eval_count": 3, "eval_count": count}, COUNTS),
    st.builds(lambda reason: {"done": True, "done_reason": reason}, REASONS),
    st.sampled_from([{"error": "it broke"}, {"type": "ping"}, {"text": None}, {"output": [1]}]),
)
OTHER_BODIES = st.builds(
    lambda objects, make: b"".join(map(make, objects)),
    st.lists(OTHERS, max_size=8),
    st.sampled_from(
        [event, lambda payload: event(payload)[6:-1], lambda payload: event(payload)[:-1]]
    ),
)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
BEGINNINGS = st.sampled_from([b"", b"", b"\xef\xbb\xbf"])
BODIES = st.builds(
    lambda begins, parts, ends, line: begins + b"".join([*parts, ends]).replace(b"\n", line),
    BEGINNINGS,
    st.lists(EVENTS, max_size=12),
    ENDINGS,
    LINE_ENDS,
)
