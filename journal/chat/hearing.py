"""The answer to a question by hand while its bytes come in, read as `run` reads streams."""

from dataclasses import replace
from threading import Lock

from journal.load.reasons import TOOL_REASONS
from journal.load.stream import ERROR_OBJECT, Stream, excerpt
from journal.load.wire import MOST_OF_ANSWER, EventFeed, Unpacker
from journal.records.notebook import Interaction
from journal.redaction import Veil
from journal.serve.probe import printable

THOUGHTS_ONLY = "the answer holds thoughts only: allow more tokens"
NOT_STREAMED = "the server ignored `stream`: the answer came whole, so there is no TTFT"
REFUSED = "the model refused to answer"
CALLS_TOOL = "the model calls a tool: ask without tools, or read the answer with --raw"
SHOWN = "the answer is sound or a picture: read it with --raw"
LEFT_OPEN = "the stream stayed open after [DONE] and was closed here"
EMPTY = "the answer is empty: the model ended it at once"


class Hearing:
    """An answer as it grows; times are in s since the question was sent."""

    def __init__(self, begun: Interaction) -> None:
        self._so_far = begun
        self._alone = Lock()  # the chat page reads it in another thread
        self._changes: dict[str, object] = {}
        self._new: tuple[list[str], list[str]] = [], []  # of the answer, of the thoughts
        self._stream = Stream()
        self._answer, self._thoughts = Veil(), Veil()
        self._feed = EventFeed()
        self._unpack = Unpacker(b"identity", MOST_OF_ANSWER)
        self._ttft_s: float | None = None
        self._chunks_s: list[float] = []
        self._left = MOST_OF_ANSWER
        self._body = bytearray()  # until a choice came: it may be read otherwise
        self._otherwise = False  # it was read as of another API
        self._reads: list[tuple[int, float]] = []  # its length after each read, and the time

    @property
    def so_far(self) -> Interaction:
        """The interaction with the part of the answer that has come."""
        with self._alone:
            if self._changes:  # put together when it is read: a read of the network has many events
                now, (answer, thoughts) = self._so_far, self._new
                texts = {
                    "answer": now.answer + "".join(answer),
                    "thoughts": now.thoughts + "".join(thoughts),
                }
                self._so_far = replace(now, **texts, **self._changes)  # type: ignore[arg-type]
                self._changes, self._new = {}, ([], [])
            return self._so_far

    @property
    def done(self) -> bool:
        """Whether [DONE] came: little or nothing follows, which is read as in a run."""
        return self._stream.done

    def packed(self, encoding: bytes) -> None:
        """Unpack what comes, by its Content-Encoding. Raises ValueError for one that is not
        read."""
        self._unpack = Unpacker(encoding, MOST_OF_ANSWER)

    def hear(self, data: bytes, at_s: float) -> bool:
        """Take in bytes that were read at `at_s`. Returns whether they held an event. Raises
        ValueError for an answer that is longer than MOST_OF_ANSWER, or cannot be unpacked."""
        data = self._unpack.take(data)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"it is longer than {MOST_OF_ANSWER >> 20} MiB, the most that is read")
        before = self._stream.count
        for name, event in self._feed.feed(data):
            self._take(name, event, at_s)
        if not self._stream.has_choice:
            self._body += data
            self._reads.append((len(self._body), at_s))
        return self._stream.count > before

    def end(self, at_s: float, *, left_open: bool = False) -> None:
        """Take in the end of the body at `at_s`, and set the error and the note of the answer.
        `left_open`: it did not end, and was closed here after [DONE]. Raises ValueError for a
        compressed body that was cut off."""
        if not left_open:
            self._unpack.close()
        for name, event in self._feed.close():
            self._take(name, event, at_s)
        again = self._stream.again(bytes(self._body))
        if self._stream.count == 0 and len(again) == 1:
            self.whole(again[0][2], at_s)
            if self.so_far.error is None:
                self._change(note="; ".join(filter(None, (NOT_STREAMED, self.so_far.note))))
            return
        if again:
            self._stream, reads = Stream(otherwise=True), iter(self._reads)
            self._otherwise = True
            upto, read_s = next(reads)
            for end, name, event in again:
                while upto < end:
                    upto, read_s = next(reads)
                self._take(name, event, read_s)
        self._judge()
        if left_open and self.so_far.error is None:
            self._change(note="; ".join(filter(None, (self.so_far.note, LEFT_OPEN))))

    def whole(self, body: bytes, at_s: float) -> None:
        """Take in an answer that is one JSON object, which has no TTFT."""
        self._stream = Stream(otherwise=True)
        self._take(b"", body, at_s)
        self._judge()
        self._change(ttft_s=None, ttfo_s=None)

    def _take(self, name: bytes, event: bytes, at_s: float) -> None:
        stream, ended = self._stream, self._stream.done
        chunk = stream.take(name, event)
        if chunk is not None:
            self._chunks_s.append(at_s)
        if chunk is not None and chunk.full:
            if stream.moved:
                self._begin_again()
            else:
                self._add(self._answer.take(chunk.text), self._thoughts.take(chunk.thought))
            if self._ttft_s is None:
                self._ttft_s = at_s
            self._change(ttft_s=self._ttft_s, ttfo_s=self._ttfo_s())
        if not (ended or stream.done):
            self._change(duration_s=at_s)
        self._change(
            finish_reason=stream.finish_reason,
            prompt_tokens=stream.usage.prompt_tokens,
            output_tokens=stream.usage.output_tokens,
            reasoning_tokens=stream.usage.reasoning_tokens,
        )

    def _ttfo_s(self) -> float | None:
        """The time of the first chunk of the answer itself."""
        at = self._stream.answer_at
        return None if at is None else self._chunks_s[at]

    def _begin_again(self) -> None:
        """Take all texts from the stream: what stood as the answer turned out to be thoughts."""
        self._answer, self._thoughts = Veil(), Veil()
        with self._alone:
            self._so_far = replace(self._so_far, answer="", thoughts="")
            self._new = [], []
        texts, thoughts = self._stream.text, "".join(self._stream.thoughts)
        self._add(self._answer.take(texts), self._thoughts.take(thoughts))

    def _judge(self) -> None:
        text, thought = self._stream.end()
        self._add(self._answer.take(text), self._thoughts.take(thought))
        self._add(self._answer.close(), self._thoughts.close())
        self._change(ttfo_s=self._ttfo_s())
        error = self._error()
        self._change(error=error, note=self._note() if error is None else None)

    def _error(self) -> str | None:
        stream, reason = self._stream, self._stream.finish_reason
        if stream.error is not None:
            words = printable(stream.error.removeprefix(ERROR_OBJECT))
            return f"the answer could not be read ({words})"
        if stream.count == 0:
            words = printable(excerpt(bytes(self._body))) or "its body is empty"
            return f"the answer could not be read (no events in it: {words})"
        if self._otherwise and not stream.has_begun:
            words = printable(f"not one token in the stream{stream.own_words}")
            return f"the answer could not be read ({words})"
        if reason is None:
            words = printable(stream.own_words)
            if words:
                return f"the answer was cut off {words}: see the server's log"
            return "the answer was cut off: see the server's log"
        if stream.ended_well:
            return None
        if reason in TOOL_REASONS:
            return f"the answer ended for a call of a tool ({reason}), and no call came"
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
        if stream.texts:
            return None
        return SHOWN if stream.shown else EMPTY

    def _change(self, **values: object) -> None:
        with self._alone:
            self._changes |= values

    def _add(self, answer: str, thoughts: str) -> None:
        with self._alone:
            self._new[0].append(answer)
            self._new[1].append(thoughts)
