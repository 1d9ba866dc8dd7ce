"""The reader of answers against another parser, h11: whole answers, cut ones and damaged ones.

A client may refuse what another reads. But where it takes an answer as whole, its end must be where
the answer ends, or the next answer on the connection is read from the wrong place.

The examples are the same in each run; ``TOCSIN_TEST_SCALE`` makes more of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import h11
from hypothesis import event, given
from hypothesis import strategies as st

from tests.support.scale import examples
from tocsin.delivery.http.answer import AnswerReader, KnownAnswers
from tocsin.delivery.http.message import CallFailed

MAX_BODY = 10_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What a parser makes of all that a server sent."""

    outcome: str
    """``whole``, ``cut`` (the server closed too early) or ``refused``."""
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    reusable: bool = False
    """The answer is whole, the connection stays open, and nothing came after it."""
    why: str = ""


def ours(pieces: Sequence[bytes], *, to_head: bool, known: KnownAnswers | None = None) -> Finding:
    """What the client would make of it, perhaps with what it knows of earlier answers."""
    reader = AnswerReader(known)
    reader.begin(to_head=to_head, max_body=MAX_BODY, excerpt=MAX_BODY)
    whole = False
    try:
        for piece in pieces:
            # The client reads no further for this call; bytes that follow spoil the connection.
            if whole:
                reader.surplus = True
            else:
                whole = reader.feed(piece)
        open_still = whole
        whole = whole or reader.end()
    except CallFailed as failure:
        return Finding("refused", why=f"{failure.kind}: {failure.reason}")
    if not whole:
        return Finding("cut")
    assert reader.size == len(reader.body)
    return Finding(
        "whole",
        reader.status,
        tuple((name.lower(), value) for name, value in reader.headers),
        reader.body,
        open_still and reader.keep_alive and not reader.surplus,
    )


def theirs(data: bytes, *, to_head: bool) -> Finding:
    """What h11 makes of it."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(
        h11.Request(
            method="HEAD" if to_head else "GET", target="/", headers=[("Host", "a.example")]
        )
    )
    connection.send(h11.EndOfMessage())
    status, headers, body = 0, (), b""
    try:
        for closing in (False, True):
            connection.receive_data(b"" if closing else data)
            while True:
                found = connection.next_event()
                if found is h11.NEED_DATA or found is h11.PAUSED:
                    break
                if isinstance(found, h11.Response):
                    status = found.status_code
                    headers = tuple((bytes(name), bytes(value)) for name, value in found.headers)
                elif isinstance(found, h11.Data):
                    body += bytes(found.data)
                elif isinstance(found, h11.EndOfMessage):
                    reusable = not closing and connection.their_state is h11.DONE
                    rest = connection.trailing_data[0]
                    # Empty lines between answers belong to none, and spoil none.
                    reusable = reusable and not rest.strip(b"\r\n")
                    return Finding("whole", status, headers, body, reusable)
                elif isinstance(found, h11.ConnectionClosed):
                    return Finding("cut")
    except h11.RemoteProtocolError as error:
        # It tells a message that was cut by its end from one that is wrong only in words.
        cut = "closed connection without sending complete message" in str(error)
        return Finding("cut" if cut else "refused", why=str(error))
    return Finding("cut")


_LINES = rb"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n"
_HEADS = re.compile(rb"(?:[\r\n]*HTTP/\d\.\d 1\d\d%s)*[\r\n]*HTTP/%s" % (_LINES, _LINES))
_EMPTY_LINES = re.compile(rb"(^|\r\n\r\n)[\r\n]+(?=HTTP/)")
_REASONS = re.compile(rb"(HTTP/\d\.\d \d{3} )[^\r\n]+(?=\r\n)")
_CODINGS = re.compile(rb"(?i)(?<=\r\n)transfer-encoding:([^\r\n]*)(?=\r\n|$)")


def spared(data: bytes) -> bytes:
    """The same without what llhttp is known to take and h11 not to.

    Empty lines before an answer (RFC 9112, 2.2 asks servers to ignore them before requests),
    control characters in the reason phrase, which nobody reads (4), and codings other than chunks
    (6.3): where chunks are the last coding they end the answer, whatever they hold, and else the
    end of the connection does.
    """
    found = _HEADS.match(data)
    if found is None:
        return data
    heads = _REASONS.sub(rb"\1", _EMPTY_LINES.sub(rb"\1", found[0]))
    sections = b"\r\n\r\n".join(_with_one_coding(part) for part in heads.split(b"\r\n\r\n"))
    return sections + data[found.end() :]


def _with_one_coding(section: bytes) -> bytes:
    """Several headers are one with commas (RFC 9110, 5.2), so the last of them decides."""
    left = len(_CODINGS.findall(section))

    def coding(found: re.Match[bytes]) -> bytes:
        nonlocal left
        left -= 1
        last = found[1].rpartition(b",")[2].strip(b" \t").lower()
        chunks = last == b"chunked" and not left
        return b"Transfer-Encoding: chunked" if chunks else b"X-Coding: other"

    return _CODINGS.sub(coding, section)


def tolerantly(data: bytes, *, to_head: bool) -> Finding:
    """What h11 makes of it; where it refuses, after it was spared what the client takes."""
    found = theirs(data, to_head=to_head)
    return theirs(spared(data), to_head=to_head) if found.outcome == "refused" else found


def reusable_by(data: bytes, *, to_head: bool) -> bool:
    """Whether h11 would use the connection again, had it heard of keep-alive in HTTP/1.0."""
    return tolerantly(data.replace(b"HTTP/1.0", b"HTTP/1.1"), to_head=to_head).reusable


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The data as it may arrive."""
    edges = [0, *sorted({place % len(data) for place in places} - {0}), len(data)] if data else [0]
    return [data[a:b] for a, b in pairwise(edges)]


_names = st.sampled_from([b"Server", b"X-A", b"content-type", b"Date", b"ETag", b"Set-Cookie"])
_values = st.text("abcXYZ019 ,;=/*-", max_size=12).map(lambda text: text.strip().encode())
_fields = st.lists(st.tuples(_names, _values), max_size=4)


def _section(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer as a server may send it, with what comes before it and perhaps after it."""
    data = b""
    for status in draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2)):
        data += b"HTTP/1.1 %d Interim\r\n" % status + _section(draw(_fields))
    version = draw(st.sampled_from([b"1.1"] * 4 + [b"1.0"]))
    status = draw(st.sampled_from([200, 200, 200, 201, 204, 304, 404, 429, 500, 503, 599]))
    fields = draw(_fields)
    connection = draw(st.sampled_from([b"", b"", b"", b"close", b"keep-alive"]))
    if connection:
        fields.append((b"Connection", connection))
    body = draw(
        st.binary(max_size=40) | st.sampled_from([b"", b"ok", b"x" * 300, OK, b"0\r\n\r\n"])
    )
    framing = draw(st.sampled_from(["length", "length", "chunked", "chunked", "close"]))
    if framing == "chunked" and version == b"1.0":
        framing = "length"
    place = draw(st.integers(0, len(fields)))
    if framing == "length":
        fields.insert(place, (b"Content-Length", b"%d" % len(body)))
    elif framing == "chunked":
        fields.insert(place, (b"Transfer-Encoding", b"chunked"))
        body = _chunked(draw, body)
    data += b"HTTP/%s %d %s\r\n" % (version, status, draw(st.sampled_from([b"OK", b"", b"So So"])))
    data += _section(fields)
    if status not in {204, 304}:
        data += body
    return data + draw(st.sampled_from([b""] * 6 + [OK, b"x", b"\r\n", b"HTTP/1.1 4"]))


def _chunked(draw: st.DrawFn, body: bytes) -> bytes:
    data = b""
    for piece in cut(body, draw(st.lists(st.integers(0, 1000), max_size=4))):
        if piece:
            extension = draw(st.sampled_from([b"", b"", b";a=b", b';n="q"']))
            size = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(piece)
            data += size + extension + b"\r\n" + piece + b"\r\n"
    trailers = draw(st.sampled_from([[], [], [(b"X-Trailer", b"t")]]))
    return data + b"0\r\n" + _section(trailers)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

_SPLINTERS = st.sampled_from(
    [
        b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b";", b",", b"0", b"1", b"-", b"+",
        b"\x00", b"\xff", b"f", b"ffffffffffffffff", b"chunked", b"Content-Length: 1\r\n",
        b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: close\r\n", b"0\r\n\r\n",
        b"HTTP/1.1",
        b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/2.0", b"\r\n folded\r\n", b"Upgrade: h2c\r\n",
    ]
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An answer in which a few bytes are lost, doubled, changed or added."""
    data = bytearray(draw(answers()))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at:at] = draw(_SPLINTERS)
            case 1:
                del data[at : at + draw(st.integers(1, 8))]
            case 2:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 3:
                end = at + draw(st.integers(1, 30))
                data[at:at] = data[at:end]
            case _:
                del data[at:]
    return bytes(data)


_places = st.lists(st.integers(0, 2_000), max_size=6)


@given(data=answers(), places=_places, to_head=st.booleans())
@examples(300, derandomize=True)
def test_an_answer_is_read_as_h11_reads_it(data: bytes, places: list[int], to_head: bool) -> None:
    mine = ours(cut(data, places), to_head=to_head)
    known = KnownAnswers()
    for pieces in ([data], [data], cut(data, places)):
        assert ours(pieces, to_head=to_head, known=known) == ours(pieces, to_head=to_head)
    event(f"remembered {len(known)}")
    other = theirs(data, to_head=to_head)
    assert (mine.outcome, mine.status, mine.body) == (other.outcome, other.status, other.body)
    assert mine.headers == other.headers
    assert not mine.reusable or reusable_by(data, to_head=to_head)


@given(data=damaged() | st.binary(max_size=60), places=_places, to_head=st.booleans())
@examples(600, derandomize=True)
def test_what_is_taken_from_a_damaged_answer_is_what_h11_takes(
    data: bytes, places: list[int], to_head: bool
) -> None:
    whole = ours([data] if data else [], to_head=to_head)
    mine = ours(cut(data, places), to_head=to_head)
    known = KnownAnswers()
    assert ours([data], to_head=to_head, known=known) == whole
    assert ours([data], to_head=to_head, known=known) == whole
    # However it arrives, it is the same.
    assert (mine.outcome, mine.status, mine.body) == (whole.outcome, whole.status, whole.body)
    other = tolerantly(data, to_head=to_head)
    event(f"ours {mine.outcome}, h11 {other.outcome}")
    if mine.outcome == "whole":
        assert other.outcome == "whole", other
        assert (mine.status, mine.body) == (other.status, other.body)
        assert not mine.reusable or reusable_by(data, to_head=to_head)
