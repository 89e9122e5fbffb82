"""HTTP answers with the time of every read, and the server-sent events in their bodies."""

import itertools
import re
import zlib
from collections.abc import Iterator

import httptools

MOST_OF_HEAD = 1 << 20  # bytes before the body, interim answers included
MOST_OF_ANSWER = 16 << 20  # bytes of an answer, and of what a compressed one unpacks to ...
MOST_OF_TOKEN = 4 << 10  # ... and so many more for each token that was asked for
AFTER_DONE_S = 0.25  # the longest wait for the end of a body after [DONE]
DONE = b"[DONE]"
_SLICE = 1 << 12  # bytes that are unpacked at a time
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


class Recording:
    """One answer as it arrives. A C parser strips HTTP/1.1; the body is kept as it came, with the
    time of the read that brought each part. `over`: the answer is complete; `left_open`: it is by
    its [DONE], and its body did not end; `reusable`: its connection can carry another; `failure`:
    the reason why the answer is not valid HTTP; `unanswered`: the connection was closed before a
    byte of the answer came."""

    __slots__ = (
        "_counts",
        "_left",
        "_most",
        "_parser",
        "_pieces",
        "_stamps",
        "_total",
        "failure",
        "headers",
        "left_open",
        "on_body",
        "over",
        "reusable",
        "status",
        "unanswered",
    )

    def __init__(self, tokens: int = 0) -> None:
        """`tokens` is the number that was asked for: it bounds the bytes that are read."""
        self._most = self._left = MOST_OF_ANSWER + tokens * MOST_OF_TOKEN
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.over = False
        self.left_open = False
        self.reusable = False
        self.failure: str | None = None
        self.unanswered = False
        self._stamps: list[float] = []
        self._counts: list[int] = []  # the body's pieces up to the end of each read
        self._pieces: list[bytes] = []
        self._total: int | None = None  # the body's pieces in all
        self.on_body = self._pieces.append
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, at_s: float, data: bytes) -> None:
        """Take in `data`, which was read at `at_s` (monotonic clock)."""
        self._stamps.append(at_s)
        self._left -= len(data)
        if self._left < 0 or (self.status is None and self._most - self._left > MOST_OF_HEAD):
            self._refuse()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.failure = "the server switched to another protocol"
        except httptools.HttpParserError as error:
            if self.over:  # bytes after the answer do not belong to it
                self.reusable = False
            else:
                self.failure = f"the answer is not valid HTTP: {error}"
        self._counts.append(len(self._pieces))

    def _refuse(self) -> None:
        """Read no more of an answer that is longer than this program reads."""
        part, most = ("an answer", self._most) if self._left < 0 else ("a head", MOST_OF_HEAD)
        if not self.over:
            self.failure = f"{part} of more than {most >> 20} MiB, the most that is read of one"
        self.reusable = False
        self._counts.append(len(self._pieces))

    def close(self) -> None:
        """Take in the end of the connection."""
        if self.over or self.failure is not None:
            return
        if self.status is not None and not self.framed:
            self.on_message_complete()
            self.reusable = False
        elif self._stamps:
            self.failure = "the connection was closed in the middle of the answer"
        else:
            self.failure = "the connection was closed before any answer"
            self.unanswered = True

    @property
    def framed(self) -> bool:
        """Whether the answer's head says where it ends, by a length or by chunks."""
        return b"content-length" in self.headers or b"transfer-encoding" in self.headers

    def body(self) -> tuple[bytes, list[float], list[int]]:
        """The body (decompressed where it was compressed), the time of each read in s, and the
        offset in the body at which each read ended. Raises ValueError for a body that cannot be
        decompressed, or that unpacks to more than is read."""
        pieces = self._pieces[: self._total]
        encoding = self.headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding != b"identity":
            unpack = Unpacker(encoding, self._most)
            pieces = list(map(unpack.take, pieces))
            if self.over and not self.left_open:
                unpack.close()
        offsets = [0, *itertools.accumulate(map(len, pieces))]
        counts, last = self._counts, len(pieces)
        if counts and counts[-1] > last:  # bytes after the answer
            counts = [min(count, last) for count in counts]
        return b"".join(pieces), self._stamps, [offsets[count] for count in counts]

    def settle(self) -> float | None:
        """Take the answer for complete where its [DONE] has come; return the time of the read that
        brought it (None: it has not come)."""
        if self.status is None or self.failure is not None:
            return None
        try:
            body, stamps, ends = self.body()
        except ValueError:
            return None
        end = next((end for end, _, data in events(body, complete=False) if is_done(data)), None)
        if end is None:
            return None
        self.over = self.left_open = True
        self._total = len(self._pieces)
        return next(at_s for at_s, upto in zip(stamps, ends, strict=True) if upto >= end)

    def release(self) -> None:
        """Free the parser. It refers back to this recording, and garbage collection, which would
        free the two, is off while a load runs."""
        del self._parser

    # The parser's callbacks. `on_body` is set above, without a call into Python.

    def on_message_begin(self) -> None:
        if self.over:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status is None:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer, such as 100 Continue: the real one follows
            self.headers.clear()
        elif self.status is None:
            self.status = status

    def on_message_complete(self) -> None:
        if self.status is not None and not self.over:
            self.over = True
            self.reusable = self._parser.should_keep_alive()
            self._total = len(self._pieces)


class Unpacker:
    """A body that is unpacked as its pieces come. Raises ValueError for one that is damaged, cut
    off, compressed in another way than gzip (in one part or several) or deflate, or that unpacks to
    more than `most` bytes."""

    def __init__(self, encoding: bytes, most: int) -> None:
        """`encoding` is the value of Content-Encoding, in lower case."""
        if encoding not in (b"identity", b"", b"gzip", b"x-gzip", b"deflate"):
            name = encoding[:20].decode("latin-1")
            raise ValueError(f"the body is compressed ({name}) without a request")
        self._plain = encoding in (b"identity", b"")
        self._several = encoding != b"deflate"
        self._most = self._left = most
        self._begins: bytes | None = b""  # up to two bytes, by which the format is known
        self._unpack = zlib.decompressobj(47)

    def take(self, piece: bytes) -> bytes:
        """The part of the body that `piece` completes."""
        if self._plain:
            return piece
        if self._begins is not None:
            piece = self._begins + piece
            if len(piece) < 2:
                self._begins = piece
                return b""
            self._begins = None
            zlib_header = piece[0] & 15 == 8 and int.from_bytes(piece[:2], "big") % 31 == 0
            if not (self._several or zlib_header):  # some servers send deflate without it
                self._unpack = zlib.decompressobj(-15)
        try:
            parts = [self._unpacked(piece[k : k + _SLICE]) for k in range(0, len(piece), _SLICE)]
        except zlib.error as error:
            raise ValueError(f"the compressed body is damaged: {error}") from None
        return b"".join(parts)

    def close(self) -> None:
        """Take in the end of the body."""
        if not self._plain and not self._unpack.eof:
            raise ValueError("the compressed body is cut off")

    def _unpacked(self, data: bytes) -> bytes:
        parts = []
        while data:
            if self._unpack.eof:  # a part of gzip ended, and another may follow
                data = data.lstrip(b"\0")
                if not data or not self._several:
                    break
                self._unpack = zlib.decompressobj(47)
            parts.append(self._unpack.decompress(data, self._left + 1))
            data = self._unpack.unused_data
            self._left -= len(parts[-1])
            if self._left < 0:
                raise ValueError(
                    f"the body unpacks to more than {self._most >> 20} MiB, the most that is read "
                    "of one"
                )
        return b"".join(parts)


def is_done(data: bytes) -> bool:
    """Whether an event's data is [DONE], bare or in quotes."""
    return DONE in data[:18] and without_names(data).strip(b' "').startswith(DONE)


def without_names(data: bytes) -> bytes:
    """An event's data without the names of its field that a proxy wrote a second time."""
    while data.startswith(b"data:"):
        data = data[5:].lstrip()
    return data


def events(body: bytes, *, complete: bool = True) -> Iterator[tuple[int, bytes, bytes]]:
    """Every server-sent event with data in `body`: the offset at which it ends, its name (mostly
    empty), and its data (UTF-8, not yet decoded). The rules are those of the HTML standard
    (section 9.2.6), but when the body is complete a last event without its blank line counts
    too: its reader can judge it."""
    return _lone_lines(body) or _any_events(body, complete=complete)


def _lone_lines(body: bytes) -> Iterator[tuple[int, bytes, bytes]] | None:
    """The events of a body in which each is one line of data and a blank one, as of nearly all
    servers, found without a look at each line; None for another body."""
    newline = b"\r\n" if b"\r" in body else b"\n"
    begin, end = b"data: ", newline * 2
    if not (body.startswith(begin) and body.endswith(end)):
        return None
    lines = body[len(begin) : -len(end)].split(end + begin)
    if any(body.count(mark) != 2 * len(lines) for mark in {b"\n", newline, newline[:1]}):
        return None
    sizes = map((len(begin) + len(end)).__add__, map(len, lines))
    return zip(itertools.accumulate(sizes), itertools.repeat(b""), lines)


def _any_events(body: bytes, *, complete: bool) -> Iterator[tuple[int, bytes, bytes]]:
    name, data = b"", None
    end = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    text = body[end:]
    for line, size in zip(text.splitlines(), map(len, text.splitlines(keepends=True)), strict=True):
        end += size
        if not line:
            if data is not None:
                yield end, name, data
            name, data = b"", None
        elif line.startswith(b"data:"):
            more = line[6:] if line.startswith(b" ", 5) else line[5:]
            data = more if data is None else data + b"\n" + more
        elif line == b"data":
            data = b"" if data is None else data + b"\n"
        elif line.startswith(b"event:"):
            name = line[7:] if line.startswith(b" ", 6) else line[6:]
        elif line == b"event":
            name = b""
    if data is not None and complete:
        yield end, name, data


class EventFeed:
    """Server-sent events from a body that arrives in parts: each event as soon as its end came."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The name and the data of every event that `data` completes."""
        new = max(0, len(self._held) - 3)  # where the blank line of an event may begin
        self._held += data
        end = max((match.end() for match in _BLANK_LINE.finditer(self._held, new)), default=0)
        whole = bytes(self._held[:end])
        del self._held[:end]
        yield from self._read(whole)

    def close(self) -> Iterator[tuple[bytes, bytes]]:
        """The last event without its blank line, if there is one, once the body is complete."""
        yield from self._read(bytes(self._held))
        self._held.clear()

    def _read(self, body: bytes) -> Iterator[tuple[bytes, bytes]]:
        if self._begun:  # a byte-order mark counts at the very beginning only
            body = b"\n" + body
        self._begun = self._begun or bool(body)
        for _, name, data in events(body):
            yield name, data
