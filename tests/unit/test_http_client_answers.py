"""Calls to servers that answer well, oddly, badly or not at all."""

import asyncio

import pytest
from hostile_server import (
    OK,
    Peer,
    Script,
    answered,
    answering,
    calling,
    failed,
    holding,
    on_both_loops,
    request,
    serving,
    timed_out,
)

HEAD = b"HTTP/1.1 200 OK\r\n"


@on_both_loops
async def test_a_call_sends_the_request_and_brings_the_answer() -> None:
    answer = (
        b"HTTP/1.1 503 Busy\r\nContent-Type: text/plain; charset=latin-1\r\nRetry-After: 7\r\n"
        b"Location: /caf\xc3\xa9\r\nContent-Length: 4\r\n\r\ncaf\xe9"
    )
    async with serving(holding(answer)) as server, calling(user_agent="tocsin/9") as client:
        outcome = await client.call(
            request(server.url("/hook?a=1"), method="PUT", headers=[("X-Team", "ops")], body=b"{1}")
        )
        answered(outcome, 503)
        assert outcome.excerpt == "café"
        assert outcome.content_type == "text/plain; charset=latin-1"
        assert outcome.retry_after == "7"
        assert outcome.location == "/café"
        assert outcome.truncated is False
        timings = outcome.timings
        assert timings.dns_ms is None
        assert timings.tls_ms is None
        assert timings.connect_ms is not None
        assert timings.first_byte_ms is not None
        assert 0 < timings.connect_ms + timings.first_byte_ms <= timings.total_ms < 5000

        seen = server.seen[0]
        assert (seen.method, seen.target, seen.body) == ("PUT", "/hook?a=1", b"{1}")
        assert seen.header("Host") == f"127.0.0.1:{server.port}"
        assert seen.header("User-Agent") == "tocsin/9"
        assert seen.header("Accept-Encoding") == "identity"
        assert seen.header("X-Team") == "ops"
        assert seen.header("Content-Length") == "3"


@on_both_loops
async def test_a_second_call_has_no_connect_phase() -> None:
    async with serving() as server, calling() as client:
        answered(await client.call(request(server.url())))
        outcome = answered(await client.call(request(server.url())))
        assert outcome.timings.connect_ms is None
        assert server.connections == 1


@on_both_loops
async def test_ipv6_literals() -> None:
    async with serving(host="::1") as server, calling() as client:
        answered(await client.call(request(server.url())))
        assert server.seen[0].header("Host") == f"[::1]:{server.port}"


@pytest.mark.parametrize(
    ("answer", "excerpt", "reused"),
    [
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "abc", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n", "ab", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + OK, "ok", True),
        (HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", "ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", False),
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "ok", False),
        (OK + b"x", "ok", False),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "<gzip, 3 bytes>", True),
    ],
)
@on_both_loops
async def test_an_answer_and_whether_its_connection_is_used_again(
    answer: bytes, excerpt: str, reused: bool
) -> None:
    async with serving(holding(answer, OK)) as server, calling() as client:
        outcome = answered(await client.call(request(server.url())))
        assert outcome.excerpt == excerpt
        assert client.idle_connections == (1 if reused else 0)
        answered(await client.call(request(server.url())))
        assert server.connections == (1 if reused else 2)


@on_both_loops
async def test_answers_without_a_body() -> None:
    answers = [
        b"HTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
        HEAD + b"Content-Length: 5\r\n\r\n",
        OK,
    ]
    async with serving(holding(*answers)) as server, calling() as client:
        answered(await client.call(request(server.url())), 204)
        answered(await client.call(request(server.url())), 304)
        outcome = answered(await client.call(request(server.url(), method="HEAD", body=b"")))
        assert outcome.excerpt == ""
        answered(await client.call(request(server.url())))
        assert server.connections == 1


@on_both_loops
async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async def half_closing(peer: Peer) -> None:
        await peer.request()
        peer.send(HEAD + b"\r\nall of it")
        peer.half_close()
        await peer.gone()

    scripts = (answering(HEAD + b"\r\nall of it"), half_closing)
    async with serving(*scripts) as server, calling() as client:
        for _ in scripts:
            outcome = answered(await client.call(request(server.url())))
            assert outcome.excerpt == "all of it"
            assert client.idle_connections == 0


@on_both_loops
async def test_the_excerpt_is_cut_and_the_rest_is_read() -> None:
    answer = HEAD + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000
    async with serving(holding(answer, OK)) as server, calling() as client:
        outcome = answered(await client.call(request(server.url())))
        assert outcome.excerpt == "x" * 4096
        assert outcome.truncated
        answered(await client.call(request(server.url())))
        assert server.connections == 1


@on_both_loops
async def test_an_endless_body_is_too_large() -> None:
    async def endless(peer: Peer) -> None:
        await peer.request()
        peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            peer.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await peer.drain()

    async with serving(endless) as server, calling() as client:
        outcome = await client.call(request(server.url(), max_body=100_000, excerpt=10))
        failed(outcome, "too_large", "100000 bytes", str(server.port), written=True)
        assert (outcome.status, outcome.excerpt, outcome.truncated) == (200, "x" * 10, True)
        await server.closed.wait()


@pytest.mark.parametrize(
    ("answer", "kind", "words", "status"),
    [
        (b"", "connection", "before it answered", None),
        (b"HTTP/1.1 2", "connection", "header section", None),
        (HEAD + b"Content-Length: 10\r\n\r\nabc", "connection", "after 3 of 10 bytes", 200),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "connection", "after 3 bytes", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "connection", "header section", None),
        (b"\x16\x03garbage\r\n\r\n", "protocol", "not valid HTTP/1.1", None),
        (b"\x15\x03\x03\x00\x02\x02\x28", "protocol", "https://", None),
        (b"SSH-2.0-OpenSSH_9.0\r\n", "protocol", "not valid HTTP/1.1", None),
        (
            b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "protocol",
            "another",
            None,
        ),
        (HEAD + b"A: b\r\n" * 101 + b"\r\n", "protocol", "100 headers", None),
        (HEAD + b"A: " + b"b" * 70_000 + b"\r\n\r\n", "protocol", "65536 bytes", None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "protocol", "not valid", 200),
    ],
)
@on_both_loops
async def test_an_answer_that_is_none(
    answer: bytes, kind: str, words: str, status: int | None
) -> None:
    async with serving(answering(answer)) as server, calling() as client:
        outcome = await client.call(request(server.url()))
        failed(outcome, kind, words, f"127.0.0.1:{server.port}", written=True)
        assert client.open_connections <= 1
        assert outcome.status == status
        await server.closed.wait()
        assert client.idle_connections == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "before it answered"),
        (b"HTTP/1.1 20", "header section"),
        (HEAD + b"Content-Length: 10\r\n\r\nabc", "after 3 of 10 bytes"),
        (HEAD + b"\r\nabc", "after 3 bytes"),
    ],
)
@on_both_loops
async def test_a_reset(answer: bytes, words: str) -> None:
    told = asyncio.Event()

    async def resetting(peer: Peer) -> None:
        await peer.request()
        if answer:
            peer.send(answer)
            # The reset must not overtake the bytes; the client's reading is what is awaited.
            await told.wait()
        peer.reset()

    async with serving(resetting) as server, calling() as client:
        calls = asyncio.create_task(client.call(request(server.url())))
        if answer:
            await until_read(calls, told)
        outcome = await calls
        failed(outcome, "connection", "reset", words, written=True)


async def until_read(calls: "asyncio.Task[object]", told: asyncio.Event) -> None:
    """Let the loop turn until what was sent must have arrived, then tell the server."""
    for _ in range(50):
        await asyncio.sleep(0.001)
        assert not calls.done()
    told.set()


def forever(*, first: bytes, then: bytes) -> Script:
    """Answer without end, as fast as it is taken."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(first)
        while True:
            peer.send(then)
            await peer.drain()

    return script


@pytest.mark.parametrize(
    ("first", "then", "status"),
    [
        (HEAD, b"X-Filler: " + b"x" * 1000 + b"\r\n", None),
        (HEAD, b"X: y\r\n" * 100, None),
        (HEAD + b"X: ", b"x" * 1000, None),
        (HEAD + b"x", b"x" * 1000, None),
        (b"HTTP/1.1 200 ", b"O" * 1000, None),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"", b"\r\n" * 500, None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 1000, 200),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 100, 200),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 1000, 200),
    ],
)
@on_both_loops
async def test_what_never_comes_to_a_body_or_an_end(
    first: bytes, then: bytes, status: int | None
) -> None:
    async with serving(forever(first=first, then=then)) as server, calling() as client:
        outcome = await client.call(request(server.url(), timeout=30.0))
        failed(outcome, "protocol", f"127.0.0.1:{server.port}", written=True)
        assert outcome.status == status
        await server.closed.wait()


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (HEAD + b"\r\n", b"x" * 4096),
        (HEAD + b"Content-Length: 9000000000\r\n\r\n", b"x" * 4096),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 500),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", b"x" * 4096),
    ],
)
@on_both_loops
async def test_no_framing_makes_more_be_read_than_the_bound(head: bytes, piece: bytes) -> None:
    async with serving(forever(first=head, then=piece)) as server, calling() as client:
        outcome = await client.call(request(server.url(), max_body=50_000, excerpt=10))
        failed(outcome, "too_large", "50000 bytes", written=True)
        assert (outcome.status, outcome.excerpt, outcome.truncated) == (200, "x" * 10, True)
        await server.closed.wait()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HEAD + b"Content-Length: 10\r\n\r\nabc", "after 3 of 10 bytes"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "after 3 bytes"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "after 3 bytes"),
        (HEAD, "header section"),
        (b"", "before it answered"),
    ],
)
@on_both_loops
async def test_a_half_closed_socket_is_not_waited_on(answer: bytes, words: str) -> None:
    """The peer has said its last byte, and would go on listening."""

    async def half_closing(peer: Peer) -> None:
        await peer.request()
        peer.send(answer)
        peer.half_close()
        await peer.gone()

    async with serving(half_closing) as server, calling() as client:
        outcome = await client.call(request(server.url(), timeout=30.0))
        failed(outcome, "connection", "closed the connection", words, written=True)
        await server.closed.wait()


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        # More than the length says: the answer counts, the connection does not.
        (HEAD + b"Content-Length: 2\r\n\r\nok-and-more", None, 200),
        (HEAD + b"Content-Length: 0\r\n\r\nmore", None, 200),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokmore\r\n", "protocol", 200),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "protocol", None),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", "protocol", None),
        (HEAD + b"Content-Length: +2\r\n\r\nok", "protocol", None),
        (HEAD + b"Content-Length: 0x2\r\n\r\nok", "protocol", None),
        (
            HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
            "protocol",
            None,
        ),
    ],
)
@on_both_loops
async def test_lengths_that_lie(answer: bytes, kind: str | None, status: int | None) -> None:
    async with serving(answering(answer)) as server, calling() as client:
        outcome = await client.call(request(server.url()))
        assert (outcome.error_kind, outcome.status) == (kind, status), outcome.error
        assert client.idle_connections == 0


@on_both_loops
async def test_a_drip_of_a_body_does_not_move_the_deadline() -> None:
    async def dripping(peer: Peer) -> None:
        await peer.request()
        peer.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            peer.send(b"1\r\nx\r\n")
            await peer.drain()
            await asyncio.sleep(0.01)

    async with serving(dripping) as server, calling() as client:
        outcome = await timed_out(
            lambda seconds: client.call(request(server.url(), timeout=seconds)),
            "no answer",
            "answer 200 began",
            written=True,
        )
        assert outcome.status == 200
        await server.closed.wait()


@on_both_loops
async def test_a_drip_of_bytes_does_not_move_the_deadline() -> None:
    async def dripping(peer: Peer) -> None:
        await peer.request()
        for byte in HEAD + b"X: " + b"y" * 100_000:
            peer.send(bytes([byte]))
            await peer.drain()
            await asyncio.sleep(0.01)

    async with serving(dripping) as server, calling() as client:
        await timed_out(
            lambda seconds: client.call(request(server.url(), timeout=seconds)),
            "no answer",
            "header section",
            written=True,
        )
        await server.closed.wait()


@on_both_loops
async def test_an_early_answer_before_the_body_is_sent() -> None:
    async def early(peer: Peer) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        await peer.gone()

    async with serving(early) as server, calling() as client:
        outcome = await client.call(request(server.url(), body=b"x" * 20_000_000))
        answered(outcome, 413)
        assert outcome.excerpt == "no!"
        assert client.idle_connections == 0
        await server.closed.wait()


@on_both_loops
async def test_an_early_answer_of_a_peer_that_then_closes() -> None:
    """The rest of the request meets a reset, but the answer was there before it."""

    async def early(peer: Peer) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!")

    async with serving(early) as server, calling() as client:
        for _ in range(5):
            outcome = await client.call(request(server.url(), body=b"x" * 3_000_000))
            answered(outcome, 413)
            assert client.idle_connections == 0


@on_both_loops
async def test_a_large_body_arrives_whole() -> None:
    body = bytes(range(256)) * 20_000
    async with serving() as server, calling() as client:
        answered(await client.call(request(server.url(), body=body)))
        assert server.seen[0].body == body
        assert client.idle_connections == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": [("X", "a\r\nEvil: 1")]},
        {"headers": [("X\n", "a")]},
        {"headers": [("Transfer-Encoding", "chunked")]},
        {"method": "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"},
        {"url": "http://127.0.0.1/\r\nEvil: 1"},
        {"url": "http://user:secret@127.0.0.1/"},
        {"url": "gopher://127.0.0.1/"},
    ],
)
@on_both_loops
async def test_what_could_smuggle_is_refused_before_anything_is_sent(
    changes: dict[str, object],
) -> None:
    async with serving() as server, calling() as client:
        outcome = await client.call(request(**{"url": server.url(), **changes}))  # type: ignore[arg-type]
        failed(outcome, "protocol", written=False)
        assert server.connections == 0
