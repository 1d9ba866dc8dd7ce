"""A header section that was seen before is told of as the parser would tell of it."""

from itertools import product
from typing import NamedTuple

import pytest

from tocsin.delivery.http.answer import LOOK_AT_MOST, SECTIONS_KEPT, AnswerReader, KnownAnswers
from tocsin.delivery.http.message import CallFailed
from tocsin.delivery.http.section import section_of

OK = b"HTTP/1.1 200 OK\r\n"

ANSWERS = {
    "a body": OK + b"Content-Length: 5\r\n\r\nhello",
    "another body of that length": OK + b"Content-Length: 5\r\n\r\n\r\n\r\nx",
    "too little of it": OK + b"Content-Length: 5\r\n\r\nhel",
    "more than it": OK + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
    "an end of line after it": OK + b"Content-Length: 5\r\n\r\nhello\r\n",
    "no body": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a body where there must be none": b"HTTP/1.1 204 No Content\r\n\r\nhello",
    "not modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "no chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "until the end": OK + b"\r\nhello",
    "nothing until the end": OK + b"\r\n",
    "close": OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
    "close, and more": OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello!",
    "of old": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "of old, to be kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
    ),
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "two framings": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "repeated headers": (
        OK + b"Content-Type: a/b\r\ncontent-type: c/d\r\nRetry-After: 1\r\nRetry-After: 2\r\n"
        b"Content-Length: 2\r\n\r\nhi"
    ),
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",
    "interim, then nothing": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "an empty line before it": b"\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 9\n\nhel\r\n\r\nlo",
    "garbage": b"garbage\r\n\r\n",
    "long": OK + b"Content-Length: 9000\r\n\r\n" + b"x" * 9_000,
}


class Seen(NamedTuple):
    failure: str | None
    complete: bool
    reusable: bool
    status: int
    headers: list[tuple[bytes, bytes]]
    about: object
    size: int
    body: bytes


def seen(
    reader: AnswerReader, pieces: list[bytes], *, to_head: bool, max_body: int, excerpt: int
) -> Seen:
    reader.begin(to_head=to_head, max_body=max_body, excerpt=excerpt)
    failure = None
    try:
        for piece in pieces:
            if reader.feed(piece):
                break
        else:
            reader.end()
    except CallFailed as error:
        failure = f"{error.kind}: {error.reason}"
    return Seen(
        failure,
        reader.complete,
        reader.complete and reader.keep_alive and not reader.surplus,
        reader.status,
        list(reader.headers),
        reader.section or section_of(reader.headers),
        reader.size,
        reader.body,
    )


@pytest.mark.parametrize(
    "how",
    [
        {"to_head": to_head, "max_body": max_body, "excerpt": excerpt}
        for to_head, max_body, excerpt in product((False, True), (4, 50_000), (0, 3, 4_096))
    ],
)
def test_it_is_the_same_with_and_without_what_is_known(how: dict[str, int]) -> None:
    known = KnownAnswers()
    at_ease = {"to_head": False, "max_body": 50_000, "excerpt": 4_096}
    for answer in ANSWERS.values():
        seen(AnswerReader(known), [answer], **at_ease)
    assert len(known) >= 7
    for first, second in product(ANSWERS.values(), repeat=2):
        with_it, without = AnswerReader(known), AnswerReader()
        before = seen(with_it, [first], **at_ease)
        assert before == seen(without, [first], **at_ease)
        if not before.reusable:
            with_it, without = AnswerReader(known), AnswerReader()
        for pieces in ([second], [second[:20], second[20:]]):
            got = seen(with_it, pieces, **how)
            assert got == seen(without, pieces, **how)
            if not got.reusable:
                break


def test_what_is_kept_has_a_bound() -> None:
    known = KnownAnswers()
    reader = AnswerReader(known)
    for number in range(SECTIONS_KEPT + 3):
        answer = OK + b"X: %d\r\nContent-Length: 0\r\n\r\n" % number
        seen(reader, [answer], to_head=False, max_body=9, excerpt=9)
        assert len(known) <= SECTIONS_KEPT
    assert len(known) == 3
    wide = OK + b"X: " + b"x" * LOOK_AT_MOST + b"\r\nContent-Length: 0\r\n\r\n"
    seen(reader, [wide], to_head=False, max_body=9, excerpt=9)
    assert len(known) == 3
