"""The pure parts: URLs, request heads, excerpts, the reader of answers."""

from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.delivery.http.answer import (
    MAX_BARREN_BYTES,
    SECTIONS_KEPT,
    AnswerReader,
    KnownAnswers,
)
from tocsin.delivery.http.excerpt import readable
from tocsin.delivery.http.message import CallFailed
from tocsin.delivery.http.outcome import outcome_of
from tocsin.delivery.http.redirect import Step, next_step
from tocsin.delivery.http.section import section_of
from tocsin.delivery.http.trace import Opening, Trace
from tocsin.delivery.http.url import parse_url
from tocsin.delivery.http.wire import RESERVED, RequestWriter, end


@pytest.mark.parametrize(
    ("text", "origin", "authority", "target"),
    [
        ("http://example.com", "http://example.com:80", "example.com", "/"),
        ("HTTP://Example.COM/a?b=c#frag", "http://example.com:80", "example.com", "/a?b=c"),
        ("https://example.com:443/", "https://example.com:443", "example.com", "/"),
        ("https://example.com:/x", "https://example.com:443", "example.com", "/x"),
        ("http://example.com:8080?q", "http://example.com:8080", "example.com:8080", "/?q"),
        ("http://[::1]:8080/x", "http://[::1]:8080", "[::1]:8080", "/x"),
        ("http://[2001:DB8:0:0::1]/", "http://[2001:db8::1]:80", "[2001:db8::1]", "/"),
        ("http://127.0.0.1/%20a", "http://127.0.0.1:80", "127.0.0.1", "/%20a"),
        ("http://h/ü?q=ß &x={1}", "http://h:80", "h", "/%C3%BC?q=%C3%9F%20&x=%7B1%7D"),
        ("http://bücher.example/", "http://xn--bcher-kva.example:80", "xn--bcher-kva.example", "/"),
        ("http://my_service.local./", "http://my_service.local.:80", "my_service.local.", "/"),
        ("http://2130706433/", "http://2130706433:80", "2130706433", "/"),
    ],
)
def test_a_url_is_split_into_what_a_call_needs(
    text: str, origin: str, authority: str, target: str
) -> None:
    url = parse_url(text)
    assert (url.origin, url.authority, url.target) == (origin, authority, target)
    assert url.request_tail == f" {target} HTTP/1.1\r\nHost: {authority}\r\n"


def test_only_the_canonical_spelling_of_an_address_skips_the_resolver() -> None:
    assert parse_url("http://127.0.0.1/").literal
    assert parse_url("http://[::1]/").literal
    for spelling in ("0x7f.1", "2130706433", "127.1", "0177.0.0.1"):
        assert not parse_url(f"http://{spelling}/").literal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/relative",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http:///x",
        "http://",
        "http://user:secret@example.com/",
        "http://user@example.com/",
        "http://example.com\\@evil.example/",
        "http://exa mple.com/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:8o/",
        "http://example.com:-1/",
        "http://example.com:٣/",
        "http://[::1/",
        "http://[::1]x/",
        "http://[fe80::1%25eth0]x/",
        "http://[nonsense]/",
        "http://a..b/",
        "http://-/",
        "http://example.com/a\r\nX: y",
        "http://example.com/a\nb",
        "http://example.com/\x00",
        "http://exam\tple.com/",
        "http://" + "a" * 300 + "/",
        "http://example.com/\ud800",
        "http://\ud800/",
    ],
)
def test_a_url_that_cannot_be_called_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(CallFailed) as refused:
        parse_url(text)
    assert refused.value.kind == "protocol"
    assert "secret" not in refused.value.reason
    assert "\n" not in refused.value.reason


def head(method: str = "POST", headers: object = (), length: int = 2, last: bool = False) -> bytes:
    start = RequestWriter("tocsin/1").start(
        method,
        parse_url("http://example.com/x?y"),
        headers,  # type: ignore[arg-type]
        last=last,
    )
    return start + end(method, length)


def test_a_request_head_is_written_whole() -> None:
    assert (
        head(headers=[("X-Team", "ops"), ("X-Name", "Zoë\ttab")])
        == (
            "POST /x?y HTTP/1.1\r\nHost: example.com\r\nUser-Agent: tocsin/1\r\nAccept: */*\r\n"
            "Accept-Encoding: identity\r\nX-Team: ops\r\nX-Name: Zoë\ttab\r\n"
            "Content-Length: 2\r\n\r\n"
        ).encode()
    )


def test_a_head_without_headers_or_body_ends_once() -> None:
    assert head("GET", length=0).endswith(b"Accept-Encoding: identity\r\n\r\n")
    assert head("GET", [("A", "b")], length=0).endswith(b"identity\r\nA: b\r\n\r\n")
    assert head("POST", length=0).endswith(b"identity\r\nContent-Length: 0\r\n\r\n")
    assert b"Connection: close\r\n" in head("GET", length=0, last=True)


def test_some_of_its_own_headers_can_be_replaced() -> None:
    lines = head(headers=[("host", "other"), ("USER-AGENT", "me"), ("Accept", "x/y")]).split(
        b"\r\n"
    )
    assert lines[1:] == [
        b"Accept-Encoding: identity",
        b"host: other",
        b"USER-AGENT: me",
        b"Accept: x/y",
        b"Content-Length: 2",
        b"",
        b"",
    ]


@pytest.mark.parametrize(
    "headers",
    [
        [("X", "a\r\nEvil: 1")],
        [("X", "a\nEvil: 1")],
        [("X", "a\rEvil: 1")],
        [("X", "a\x00b")],
        [("X", "a\x7f")],
        [("X", "\x1b[2J")],
        [("X\r\nEvil", "1")],
        [("X: y\r\nEvil", "1")],
        [("X ", "1")],
        [("", "1")],
        [("Ü", "1")],
        [("X", "\ud800")],
        [("Host", "a"), ("host", "b")],
        *([(name.title(), "x")] for name in sorted(RESERVED)),
    ],
)
def test_a_header_that_could_smuggle_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(CallFailed) as refused:
        head(headers=headers)
    assert refused.value.kind == "protocol"
    assert "Evil" not in refused.value.reason


@pytest.mark.parametrize("method", ["", "GET /", "G\r\nT", "CONNECT", "connect", "GÉT", "A B"])
def test_a_method_that_could_smuggle_is_refused(method: str) -> None:
    with pytest.raises(CallFailed):
        head(method)


def text(
    start: bytes,
    content_type: str | None = None,
    encoding: str | None = None,
    *,
    size: int | None = None,
    truncated: bool = False,
) -> str:
    headers = []
    if content_type is not None:
        headers.append((b"Content-Type", content_type.encode()))
    if encoding is not None:
        headers.append((b"content-encoding", encoding.encode()))
    return readable(
        start,
        section_of(headers),
        size=len(start) if size is None else size,
        truncated=truncated,
    )


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", None, ""),
        (b'{"a": 1}\r\n\t', "application/json", '{"a": 1}\r\n\t'),
        ("Zoë".encode(), None, "Zoë"),
        ("Zoë".encode("latin-1"), "text/plain; charset=ISO-8859-1", "Zoë"),
        ("Zoë".encode("cp1252"), 'text/plain; charset="windows-1252"', "Zoë"),
        ("hi".encode("utf-16"), "text/plain; charset=utf-16", "hi"),
        ("日本".encode("shift_jis"), "text/html;charset=Shift_JIS", "日本"),
        (b"a\xffb", "text/plain", "a\ufffdb"),
        (b"a\xffb", "text/plain; charset=ascii", "a\ufffdb"),
        (b"a\x00b\x1b[2J\x7f", "text/plain", "a\u2400b\u241b[2J\u2421"),
        ("a\x9bb".encode(), "text/plain", "a\ufffdb"),
        # Not decoders of text, or too clever by half: read as UTF-8.
        (b"abc", "text/plain; charset=zlib", "abc"),
        (b"a\\u0000", "text/plain; charset=unicode_escape", "a\\u0000"),
        (b"a-", "text/plain; charset=punycode", "a-"),
        (b"\xe4", "text/plain; charset=iso-8859-99", "\ufffd"),
        (b"abc", "text/plain; charset=", "abc"),
    ],
)
def test_an_excerpt_is_safe_text(body: bytes, content_type: str | None, expected: str) -> None:
    assert text(body, content_type) == expected


def test_half_a_character_at_the_cut_is_left_out() -> None:
    assert text("aé".encode()[:2], size=3, truncated=True) == "a"
    assert text("aé".encode()[:2]) == "a\ufffd"


def test_an_encoded_body_is_noted_not_shown() -> None:
    assert text(b"\x1f\x8b\x08", encoding="gzip", size=312) == "<gzip, 312 bytes>"
    assert text(b"plain", encoding="Identity") == "plain"


HEAD = b"HTTP/1.1 200 OK\r\n"


def reading(*, to_head: bool = False, max_body: int = 100, excerpt: int = 4) -> AnswerReader:
    reader = AnswerReader()
    reader.begin(to_head=to_head, max_body=max_body, excerpt=excerpt)
    return reader


@pytest.mark.parametrize(
    ("answer", "status", "body", "size", "keep_alive"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\nok", 200, b"ok", 2, True),
        (HEAD + b"Content-Length: 6\r\n\r\nabcdef", 200, b"abcd", 6, True),
        (HEAD + b"Content-Length: 0\r\n\r\n", 200, b"", 0, True),
        (HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", 2, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", 2, False),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            200,
            b"ok",
            2,
            True,
        ),
        (
            HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nT: v\r\n\r\n",
            200,
            b"abcd",
            5,
            True,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", 0, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", 0, True),
        (
            b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nok",
            200,
            b"ok",
            2,
            True,
        ),
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nX: y\r\n\r\n" * 3
            + b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            404,
            b"",
            0,
            True,
        ),
        (b"HTTP/1.1 799\r\nContent-Length: 0\r\n\r\n", 799, b"", 0, True),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_an_answer_reads_the_same_however_it_is_cut(
    answer: bytes, status: int, body: bytes, size: int, keep_alive: bool, step: int
) -> None:
    reader = reading()
    pieces = [answer[i : i + step] for i in range(0, len(answer), step)]
    assert [reader.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (reader.status, reader.body, reader.size) == (status, body, size)
    assert reader.keep_alive is keep_alive
    assert not reader.surplus
    assert all(name.lower() not in {b"t", b"link"} for name, _ in reader.headers)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"garbage\r\n\r\n", "not valid HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "https://"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "not valid HTTP"),
        (b"HTTP/3.7 200 OK\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", "status 0"),
        (b"HTTP/1.1 9999 OK\r\n\r\n", "not valid HTTP"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "not valid HTTP"),
        (HEAD + b"Content-Length: 1, 1\r\n\r\n", "not valid HTTP"),
        (HEAD + b"Content-Length: -1\r\n\r\n", "not valid HTTP"),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", "not valid HTTP"),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "not valid HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "not valid HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", "not valid HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n", "not valid HTTP"),
        (HEAD + b"X: a\x00b\r\n\r\n", "not valid HTTP"),
        (HEAD + b"X: a\r\n folded\r\n\r\n", "not valid HTTP"),
        (HEAD + b"X : a\r\n\r\n", "not valid HTTP"),
        (HEAD + b"X: y\r\n" * 101 + b"\r\n", "more than 100 headers"),
        (
            b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
            "another protocol",
        ),
        (b"HTTP/1.1 101 Switching\r\n\r\nxx", "another protocol"),
        (HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n", "over 65536 bytes"),
        (HEAD + b"X: " + b"y" * 70_000, "over 65536 bytes"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, "over 65536 bytes"),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 70_000,
            "over 65536 bytes",
        ),
    ],
)
def test_what_is_not_an_answer_is_refused(answer: bytes, words: str) -> None:
    with pytest.raises(CallFailed, match=words) as broken:
        reading().feed(answer)
    assert broken.value.kind == "protocol"


def test_an_endless_trailer_is_refused() -> None:
    reader = reading()
    reader.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: ")
    with pytest.raises(CallFailed, match="over 65536 bytes"):
        for _ in range(MAX_BARREN_BYTES // 1000 + 2):
            reader.feed(b"t" * 1000)


@pytest.mark.parametrize(
    "surplus",
    [b"HT", b"x", HEAD, HEAD + b"Content-Length: 2\r\n\r\nno", b"\x00", b"HTTP/1.1 100 C"],
)
@pytest.mark.parametrize(
    ("answer", "to_head"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\nok", False),
        (HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 204 None\r\n\r\n", False),
        (HEAD + b"Content-Length: 5\r\n\r\n", True),
        (HEAD + b"Content-Length: 0\r\n\r\n", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", True),
        (HEAD + b"\r\n", True),
    ],
)
def test_bytes_after_the_answer_spoil_the_connection_but_not_the_answer(
    answer: bytes, to_head: bool, surplus: bytes
) -> None:
    reader = reading(to_head=to_head)
    assert reader.feed(answer + surplus)
    assert reader.status in {200, 204}
    assert reader.body in {b"ok", b""}
    assert reader.surplus or not reader.keep_alive


def test_one_reader_reads_one_answer_after_the_other() -> None:
    reader = AnswerReader()
    for to_head in (False, True, False, True):
        reader.begin(to_head=to_head, max_body=10, excerpt=10)
        body = b"" if to_head else b"okay"
        assert reader.feed(HEAD + b"Content-Length: 4\r\n\r\n" + body)
        assert (reader.status, reader.body, reader.surplus) == (200, body, False)
        assert reader.keep_alive


def test_an_answer_that_begins_like_an_earlier_one_is_read_the_same() -> None:
    known = KnownAnswers()
    answer = HEAD + b"Content-Type: text/plain\r\nContent-Length: 6\r\n\r\n"
    for body in (b"abcdef", b"ghijkl", b"mnopqr"):
        reader = AnswerReader(known)
        reader.begin(to_head=False, max_body=10, excerpt=4)
        assert reader.feed(answer + body)
        assert (reader.status, reader.body, reader.size) == (200, body[:4], 6)
        assert reader.keep_alive
        assert not reader.surplus
        assert reader.header(b"content-type") == b"text/plain"
        assert reader.section is not None
        assert reader.section.content_type == "text/plain"
        assert len(known) == 1


def test_one_reader_reads_known_answers_and_others_in_turn() -> None:
    reader = AnswerReader(KnownAnswers())
    plain = HEAD + b"Content-Length: 2\r\n\r\n"
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    for pieces in (
        [plain + b"ok"],
        [plain + b"ok"],
        [chunked],
        [plain + b"ok"],
        [plain, b"ok"],
        [plain + b"o", b"k"],
        [plain + b"ok"],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + plain + b"ok"],
        [plain + b"ok"],
    ):
        reader.begin(to_head=False, max_body=10, excerpt=10)
        assert [reader.feed(piece) for piece in pieces][-1]
        assert (reader.status, reader.body, reader.size) == (200, b"ok", 2)
        assert reader.keep_alive
        assert not reader.surplus


def test_a_known_answer_is_not_whole_before_its_empty_line() -> None:
    known = KnownAnswers()
    for answer in (HEAD + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"):
        assert AnswerReader(known).feed(answer)
        for cut in (1, 4):
            reader = AnswerReader(known)
            assert not reader.feed(answer[:-cut])
            assert reader.feed(answer[-cut:])
    assert len(known) == 2


def test_a_known_answer_is_too_large_for_a_call_that_reads_less() -> None:
    known = KnownAnswers()
    answer = HEAD + b"Content-Length: 6\r\n\r\nabcdef"
    reader = AnswerReader(known)
    reader.begin(to_head=False, max_body=6, excerpt=4)
    assert reader.feed(answer)
    reader.begin(to_head=False, max_body=5, excerpt=4)
    with pytest.raises(CallFailed, match="over 5 bytes"):
        reader.feed(answer)


def test_an_answer_to_head_is_not_taken_for_one_with_a_body() -> None:
    reader = AnswerReader(KnownAnswers())
    for to_head in (False, True, False, True):
        reader.begin(to_head=to_head, max_body=10, excerpt=10)
        assert reader.feed(HEAD + b"Content-Length: 4\r\n\r\n" + (b"" if to_head else b"okay"))
        assert (reader.size, reader.surplus) == (0 if to_head else 4, False)


def test_only_so_many_answers_are_remembered() -> None:
    known = KnownAnswers()
    reader = AnswerReader(known)
    for number in range(SECTIONS_KEPT + 1):
        reader.begin(to_head=False, max_body=10, excerpt=10)
        assert reader.feed(HEAD + b"X-Id: %d\r\nContent-Length: 0\r\n\r\n" % number)
        assert 0 < len(known) <= SECTIONS_KEPT
    assert len(known) == 1


def test_a_body_over_the_bound_is_too_large_and_its_start_is_kept() -> None:
    reader = reading(max_body=5, excerpt=4)
    with pytest.raises(CallFailed) as broken:
        reader.feed(HEAD + b"Content-Length: 6\r\n\r\nabcdef")
    assert broken.value.kind == "too_large"
    assert (reader.status, reader.body) == (200, b"abcd")


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (HEAD + b"\r\nabc", True),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\nabc", True),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\nabc", True),
        (HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", False),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nabc", False),
        (HEAD + b"Content-Length: 5\r\n\r\nabc", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", False),
        (HEAD + b"Content-Le", False),
        (HEAD, False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"", False),
    ],
)
def test_the_peers_end_completes_only_an_answer_without_a_length(
    answer: bytes, whole: bool
) -> None:
    reader = reading()
    if answer:
        assert not reader.feed(answer)
    assert reader.end() is whole


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.0 204 None\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"abc",
        b"\x00",
        b"\n",
    ]
)


@given(
    data=st.lists(PIECES | st.binary(max_size=6), max_size=10).map(b"".join),
    cuts=st.sets(st.integers(1, 200), max_size=5),
    to_head=st.booleans(),
)
def test_whatever_comes_and_however_it_is_cut_the_finding_is_the_same(
    data: bytes, cuts: set[int], to_head: bool
) -> None:
    known = KnownAnswers()

    def finding(pieces: list[bytes]) -> tuple[object, ...]:
        reader = AnswerReader(known)
        reader.begin(to_head=to_head, max_body=4, excerpt=4)
        try:
            complete = any(reader.feed(piece) for piece in pieces if piece)
        except CallFailed as failure:
            return (failure.kind, failure.reason)
        return (complete, reader.status, reader.body, reader.size, reader.end())

    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    parsed = finding(pieces)
    assert finding([data]) == parsed
    assert finding([data]) == parsed  # What is known by now makes no difference.
    assert finding(pieces) == parsed


def step(method: str = "POST", url: str = "http://a.example/x/y") -> Step:
    headers = [
        ("Content-Type", "text/plain"),
        ("Authorization", "Bearer s"),
        ("COOKIE", "s=1"),
        ("Host", "virtual"),
        ("X-Team", "ops"),
    ]
    return Step(method, parse_url(url), url, headers, b"body")


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "POST", "GET", b""),
        (303, "POST", "GET", b""),
        (307, "POST", "POST", b"body"),
        (308, "POST", "POST", b"body"),
        (301, "PUT", "PUT", b"body"),
        (302, "DELETE", "DELETE", b"body"),
        (303, "PUT", "GET", b""),
        (303, "DELETE", "GET", b""),
        (303, "HEAD", "HEAD", b"body"),
        (301, "GET", "GET", b"body"),
        (308, "PATCH", "PATCH", b"body"),
    ],
)
def test_method_and_body_after_a_redirect(status: int, method: str, then: str, body: bytes) -> None:
    after = next_step(step(method), status, "/z")
    assert (after.method, after.body, after.url.target) == (then, body, "/z")
    names = [name for name, _ in after.headers]
    assert ("Content-Type" in names) is (body == b"body")
    assert {"Authorization", "COOKIE", "Host", "X-Team"} <= set(names)


@pytest.mark.parametrize(
    ("location", "origin", "target"),
    [
        ("z", "http://a.example:80", "/x/z"),
        ("?q", "http://a.example:80", "/x/y?q"),
        ("../z#f", "http://a.example:80", "/z"),
        ("//b.example/z", "http://b.example:80", "/z"),
        ("http://a.example:80/z", "http://a.example:80", "/z"),
        ("http://a.example:81/z", "http://a.example:81", "/z"),
        ("https://a.example/z", "https://a.example:443", "/z"),
        ("/ü", "http://a.example:80", "/%C3%BC"),
    ],
)
def test_where_a_redirect_leads_and_what_goes_with_it(
    location: str, origin: str, target: str
) -> None:
    after = next_step(step(), 307, location)
    assert (after.url.origin, after.url.target) == (origin, target)
    names = {name for name, _ in after.headers}
    kept = {"Content-Type", "X-Team"}
    if origin == "http://a.example:80":
        kept |= {"Authorization", "COOKIE", "Host"}
    assert names == kept


@pytest.mark.parametrize(
    "location",
    [None, "", "ftp://a.example/", "javascript:alert(1)", "http://u:p@b.example/", "http://[::1/",
     "http://a b/", "http://b.example:99999/", "/a\x00b"],
)  # fmt: skip
def test_a_redirect_to_nowhere_is_refused(location: str | None) -> None:
    with pytest.raises(CallFailed) as refused:
        next_step(step(), 302, location)
    assert refused.value.kind == "redirect"
    assert "a.example:80" in refused.value.reason


def test_a_redirect_never_leaves_tls() -> None:
    with pytest.raises(CallFailed, match="https to http"):
        next_step(step(url="https://a.example/"), 302, "http://a.example/")


def test_an_outcome_tells_each_phase_in_milliseconds_to_the_microsecond() -> None:
    trace = Trace()
    opening = trace.opening = Opening()
    opening.dns, opening.connect, opening.proxy, opening.tls = 0.0011111, 0.0022226, 0.003, 0.0
    reader = reading(excerpt=2)
    assert reader.feed(HEAD + b"Content-Length: 3\r\nRetry-After: 5\r\nLocation: /x\r\n\r\nabc")
    trace.reader, trace.written, trace.written_at = reader, True, reader.first_byte_at - 0.0044444
    trace.began = perf_counter() - 1.0
    outcome = outcome_of(trace)
    phases = outcome.timings
    assert (phases.dns_ms, phases.connect_ms, phases.proxy_ms) == (1.111, 2.223, 3.0)
    assert (phases.tls_ms, phases.first_byte_ms) == (0.0, 4.444)
    assert phases.total_ms == outcome.total_ms
    assert outcome.total_ms == round(outcome.total_ms, 3) >= 1_000
    assert (outcome.status, outcome.content_type, outcome.excerpt) == (200, None, "ab")
    assert (outcome.location, outcome.retry_after, outcome.truncated) == ("/x", "5", True)
    assert (outcome.error_kind, outcome.error, outcome.request_written) == (None, None, True)


def test_an_outcome_without_an_answer_tells_why() -> None:
    outcome = outcome_of(Trace(), "dns", "no such name")
    assert (outcome.status, outcome.excerpt, outcome.truncated) == (None, "", False)
    assert (outcome.error_kind, outcome.error) == ("dns", "no such name")
    assert not outcome.request_written
    assert outcome.timings.first_byte_ms is None
