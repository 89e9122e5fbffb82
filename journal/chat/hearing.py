"""The answer to a question by hand while its bytes come in, read as `run` reads streams."""

from dataclasses import replace

from journal.load.stream import ERROR_OBJECT, Stream, excerpt
from journal.load.wire import EventFeed
from journal.records.notebook import Interaction
from journal.serve.probe import printable

THOUGHTS_ONLY = "the answer holds thoughts only: allow more tokens"
NOT_STREAMED = "the server ignored `stream`: the answer came whole, so there is no TTFT"
REFUSED = "the model refused to answer"
CALLS_TOOL = "the model calls a tool: ask without tools, or read the answer with --raw"
EMPTY = "the answer is empty: the model ended it at once"
_TOOL_REASONS = ("tool_calls", "tool_use", "function_call")


class Hearing:
    """An answer as it grows. `so_far` is the interaction with the part of the answer that has come;
    times are in s since the question was sent."""

    def __init__(self, begun: Interaction) -> None:
        self.so_far = begun
        self._stream = Stream()
        self._feed = EventFeed()
        self._body = b""  # up to the first event: an answer that is no stream

    @property
    def done(self) -> bool:
        """Whether [DONE] came; nothing after it belongs to the answer."""
        return self._stream.done

    def hear(self, data: bytes, at_s: float) -> bool:
        """Take in bytes that were read at `at_s`. Returns whether they held an event."""
        before = self._stream.count
        for name, event in self._feed.feed(data):
            self._take(name, event, at_s)
        if self._stream.count == 0:
            self._body += data
        return self._stream.count > before

    def end(self, at_s: float) -> None:
        """Take in the end of the body at `at_s`, and set the error and the note of the answer."""
        if self._stream.count == 0 and self._body.lstrip().startswith(b"{"):
            self.whole(self._body, at_s)
            if self.so_far.error is None:
                self._change(note="; ".join(filter(None, (NOT_STREAMED, self.so_far.note))))
            return
        for name, event in self._feed.close():
            self._take(name, event, at_s)
        self._judge()

    def whole(self, body: bytes, at_s: float) -> None:
        """Take in an answer that is one JSON object, which has no TTFT."""
        self._take(b"", body, at_s)
        self._change(ttft_s=None, ttfo_s=None)
        self._judge()

    def _take(self, name: bytes, event: bytes, at_s: float) -> None:
        stream, now = self._stream, self.so_far
        if stream.done:
            return
        chunk = stream.take(name, event)
        if stream.done:
            return
        if chunk is not None and chunk.full:
            begun = bool(chunk.text or chunk.tool_calls) and now.ttfo_s is None
            self._change(
                answer=now.answer + chunk.text,
                thoughts=now.thoughts + chunk.thought,
                ttft_s=at_s if now.ttft_s is None else now.ttft_s,
                ttfo_s=at_s if begun else now.ttfo_s,
            )
        self._change(
            duration_s=at_s,
            finish_reason=stream.finish_reason,
            prompt_tokens=stream.prompt_tokens,
            output_tokens=stream.output_tokens,
            reasoning_tokens=stream.reasoning_tokens,
        )

    def _judge(self) -> None:
        error = self._error()
        self._change(error=error, note=self._note() if error is None else None)

    def _error(self) -> str | None:
        stream, reason = self._stream, self._stream.finish_reason
        if stream.error is not None:
            words = printable(stream.error.removeprefix(ERROR_OBJECT))
            return f"the answer could not be read ({words})"
        if stream.count == 0:
            words = printable(excerpt(self._body)) or "its body is empty"
            return f"the answer could not be read (no events in it: {words})"
        if reason is None:
            return "the answer was cut off: see the server's log"
        if reason in ("stop", "length", *_TOOL_REASONS):
            return None
        if reason == "abort":
            return "the server gave up in the middle of its answer: see its log"
        return f"the server ended its answer early (finish reason {printable(reason)}): see its log"

    def _note(self) -> str | None:
        stream = self._stream
        if stream.refused:
            return REFUSED
        if stream.tool_calls:
            return CALLS_TOOL
        if stream.thoughts and not stream.texts:
            return THOUGHTS_ONLY
        return None if stream.texts else EMPTY

    def _change(self, **values: object) -> None:
        self.so_far = replace(self.so_far, **values)  # type: ignore[arg-type]
