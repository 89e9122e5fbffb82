"""Answers cut anywhere are read alike; bytes that are no answer never pass for one."""

import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.load.wire import EventFeed, Recording, Unpacker, events

TEXT = (
    "data: née 模型 🙂\n\ndata: two\ndata: lines\n\n: comment\r\nevent: error\r\ndata:x\r\n\r\n"
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


def chunked(body: bytes, size: int = 7) -> bytes:
    pieces = [body[k : k + size] for k in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def sized(body: bytes, extra: bytes = b"") -> bytes:
    return HEAD + extra + b"content-length: %d\r\n\r\n" % len(body) + body


FRAMINGS = {
    "chunked": HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked(TEXT),
    "chunk extensions and trailers": HEAD
    + b"transfer-encoding: chunked\r\n\r\n5;x=y\r\n"
    + TEXT[:5]
    + b"\r\n"
    + chunked(TEXT[5:])[:-2]
    + b"x-trailer: 1\r\n\r\n",
    "length": sized(TEXT),
    "interim": b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n" + sized(TEXT),
    "gzip": sized(gzip.compress(TEXT), b"content-encoding: gzip\r\n"),
    "deflate": sized(zlib.compress(TEXT), b"content-encoding: deflate\r\n"),
    "gzip in parts": sized(
        gzip.compress(TEXT[:9], mtime=0)
        + gzip.compress(b"", mtime=0)
        + gzip.compress(TEXT[9:], mtime=0)
        + bytes(5),
        b"content-encoding: gzip\r\n",
    ),
    "bare deflate": sized(zlib.compress(TEXT, wbits=-15), b"content-encoding: deflate\r\n"),
}


def recorded(pieces: list[bytes]) -> Recording:
    recording = Recording()
    for at, piece in enumerate(pieces):
        recording.feed(float(at), piece)
    return recording


@pytest.mark.parametrize("wire", FRAMINGS.values(), ids=FRAMINGS)
def test_every_split_in_two_gives_the_same_body(wire: bytes) -> None:
    for cut in range(len(wire) + 1):
        recording = recorded([wire[:cut], wire[cut:]])
        assert recording.over and recording.reusable and recording.failure is None
        assert recording.body()[0] == TEXT


@pytest.mark.parametrize("wire", FRAMINGS.values(), ids=FRAMINGS)
def test_byte_by_byte(wire: bytes) -> None:
    recording = recorded([wire[k : k + 1] for k in range(len(wire))])
    body, stamps, ends = recording.body()
    assert recording.over and body == TEXT
    assert len(stamps) == len(ends) == len(wire) and ends == sorted(ends)


@given(st.lists(st.integers(0, len(FRAMINGS["chunked"]))))
def test_each_part_of_the_body_keeps_the_time_of_its_read(cuts: list[int]) -> None:
    wire = FRAMINGS["chunked"]
    bounds = [0, *sorted(cuts), len(wire)]
    pieces = [wire[a:b] for a, b in itertools.pairwise(bounds)]
    body, stamps, ends = recorded(pieces).body()
    assert body == TEXT and ends[-1] == len(TEXT)
    assert stamps == [float(k) for k in range(len(pieces))]


def test_an_answer_that_the_end_of_its_connection_ends() -> None:
    recording = recorded([HEAD + b"\r\n", TEXT])
    assert not recording.over
    recording.close()
    assert recording.over and not recording.reusable and recording.body()[0] == TEXT


@pytest.mark.parametrize("wire", FRAMINGS.values(), ids=FRAMINGS)
def test_an_answer_cut_short_is_a_failure(wire: bytes) -> None:
    for cut in range(len(wire)):
        recording = recorded([wire[:cut]] if cut else [])
        recording.close()
        assert not recording.over
        assert recording.failure is not None and "closed" in recording.failure


@pytest.mark.parametrize("rest", [b"more", HEAD + b"content-length: 4\r\n\r\nmore"])
def test_what_follows_an_answer_is_not_part_of_it(rest: bytes) -> None:
    for wire in FRAMINGS.values():
        together = recorded([wire + rest])
        apart = recorded([wire, rest])
        for recording in (together, apart):
            assert recording.over and recording.failure is None
            assert recording.body()[0] == TEXT
            assert not recording.reusable


@pytest.mark.parametrize(
    "wire",
    [
        b"+OK this is no HTTP\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_failure(wire: bytes) -> None:
    recording = recorded([wire])
    assert recording.failure is not None and not recording.over


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (TEXT, b"br", "compressed"),
        (b"no gzip", b"gzip", "damaged"),
        (gzip.compress(TEXT, mtime=0) + b"more", b"gzip", "damaged"),
        (gzip.compress(b"", mtime=0) + gzip.compress(TEXT, mtime=0)[:-9], b"gzip", "cut off"),
        (gzip.compress(TEXT, mtime=0)[:-9], b"gzip", "cut off"),  # the same id in each process
    ],
)
def test_a_body_that_cannot_be_unpacked(body: bytes, encoding: bytes, reason: str) -> None:
    recording = recorded([sized(body, b"content-encoding: " + encoding + b"\r\n")])
    with pytest.raises(ValueError, match=reason):
        recording.body()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_body_unpacks_to_the_most_that_is_read_and_not_to_a_byte_more(parts: int) -> None:
    most = 5000 * parts
    packed = gzip.compress(b"x" * 5000) * parts
    unpack = Unpacker(b"gzip", most)
    assert unpack.take(packed) == b"x" * most
    unpack.close()
    with pytest.raises(ValueError, match="unpacks to more"):
        Unpacker(b"gzip", most - 1).take(packed)


def test_events_by_the_standard() -> None:
    assert [(name, data.decode()) for _, name, data in events(TEXT)] == [
        (b"", "née 模型 🙂"),
        (b"", "two\nlines"),
        (b"error", "x"),
    ]


def test_the_blank_after_a_colon_may_be_missing() -> None:
    body = b"event:error\ndata:x\n\nevent:  late \ndata:  y\n\n"
    assert [(name, data) for _, name, data in events(body)] == [
        (b"error", b"x"),
        (b" late ", b" y"),
    ]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard(line_end: bytes) -> None:
    body = b"\xef\xbb\xbf" + line_end.join([b"data: a", b"", b"id: 1", b"data", b"", b"", b""])
    pairs = list(events(body))
    assert [data for _, _, data in pairs] == [b"a", b""]
    assert pairs[0][0] == 3 + len(b"data: a") + 2 * len(line_end)


def test_an_event_without_its_blank_line_is_given_only_when_the_body_is_complete() -> None:
    assert [data for _, _, data in events(b"data: x")] == [b"x"]
    assert list(events(b"data: x", complete=False)) == []


@given(
    st.lists(
        st.sampled_from(
            [b"data: a", b"data", b"data:", b": c", b"event: error", b"\n", b"\r", b"\r\n", b"\n\n"]
        )
    ),
    st.lists(st.integers(0, 60)),
    st.booleans(),
)
def test_events_that_are_fed_in_pieces_are_those_of_the_whole(
    parts: list[bytes], cuts: list[int], marked: bool
) -> None:
    body = (b"\xef\xbb\xbf" if marked else b"") + b"".join(parts)
    bounds = [0, *sorted(cuts), len(body)]
    feed = EventFeed()
    fed = [event for a, b in itertools.pairwise(bounds) for event in feed.feed(body[a:b])]
    assert [*fed, *feed.close()] == [(name, data) for _, name, data in events(body)]


@given(
    st.lists(st.sampled_from([b"data: a", b"data:  b", b"data:c", b"data: ", b"data", b"x", b""])),
    st.lists(
        st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n", b"\r", b"\r\n"]), min_size=1, max_size=2
    ),
    st.booleans(),
    st.booleans(),
)
def test_a_blank_line_before_all_events_changes_none(
    lines: list[bytes], ends: list[bytes], whole: bool, complete: bool
) -> None:
    """Bodies of one line of data for each event are read in another way than those that begin with
    a blank line."""
    body = b"".join(map(b"".join, zip(lines, itertools.cycle(ends))))
    body = body if whole else body[:-1]
    later = events(b"\n" + body, complete=complete)
    assert list(events(body, complete=complete)) == [(end - 1, *data) for end, *data in later]


def test_an_event_is_fed_out_with_its_blank_line() -> None:
    feed = EventFeed()
    assert list(feed.feed(b"data: a\r")) == []
    assert list(feed.feed(b"\n\r")) == [(b"", b"a")]
    assert list(feed.feed(b"\ndata: b\n")) == []
    assert list(feed.feed(b"\n")) == [(b"", b"b")]


def test_the_name_of_an_event_is_its_value_to_the_letter() -> None:
    body = b"event:  two\ndata: x\n\nevent: a\nevent\ndata: y\n\n"
    assert [(name, data) for _, name, data in events(body)] == [(b" two", b"x"), (b"", b"y")]


def test_a_packed_answer_that_was_left_open_after_done_is_whole() -> None:
    """Its server sends [DONE], and neither the end of the packed data nor that of the answer."""
    packing = zlib.compressobj(wbits=31)
    text = TEXT + b"data: [DONE]\n\n"
    packed = packing.compress(text) + packing.flush(zlib.Z_SYNC_FLUSH)
    wire = HEAD + b"transfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n"
    recording = recorded([wire + chunked(packed).removesuffix(b"0\r\n\r\n")])
    assert not recording.over
    assert recording.body()[0] == text, "more may come"
    assert recording.settle() == 0.0 and recording.over
    assert recording.body()[0] == text
