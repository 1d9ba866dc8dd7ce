"""Calls without a task, over connections that are idle: as sound as the others."""

import asyncio
from collections.abc import Callable

import pytest
from client_network import Leaving, Rules, dying, dying_by_reset
from connect_proxy import ConnectProxy, through
from hostile_server import (
    OK,
    HostileServer,
    Peer,
    Script,
    answered,
    answering,
    calling,
    certified,
    failed,
    holding,
    on_both_loops,
    polite,
    request,
    serving,
    timed_out,
)

from tocsin.delivery.http import HttpClient, HttpOutcome, NotSent
from tocsin.delivery.http.deadline import Deadlines

HEAD = b"HTTP/1.1 200 OK\r\n"


class Started:
    """A call that has begun, and what came of it."""

    def __init__(
        self,
        client: HttpClient,
        url: str,
        *,
        timeout: float = 30.0,
        body: bytes = b"{}",
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self.outcomes: list[HttpOutcome] = []
        self._ended = asyncio.Event()
        self.call = client.start(
            client.head("POST", url, [("X-Team", "ops")]),
            b"Tocsin-Attempt: 1\r\n",
            body,
            timeout=timeout,
            max_body=50_000,
            excerpt=10,
            may_send=may_send,
            ended=self._end,
        )

    def _end(self, outcome: HttpOutcome) -> None:
        self.outcomes.append(outcome)
        self._ended.set()

    async def outcome(self) -> HttpOutcome:
        """Wait for the end; there must be one only."""
        assert self.call is not None
        await self._ended.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        [outcome] = self.outcomes
        return outcome


async def warm(client: HttpClient, server: HostileServer) -> None:
    """Leave a connection idle."""
    answered(await client.call(request(server.url("/warm"))))
    assert client.idle_connections == 1


@on_both_loops
async def test_a_call_over_an_idle_connection() -> None:
    async with serving() as server, calling() as client:
        assert Started(client, server.url()).call is None
        await warm(client, server)
        outcome = answered(await Started(client, server.url("/x?y")).outcome())
        assert outcome.excerpt == "ok"
        assert outcome.timings.connect_ms is None
        assert outcome.timings.first_byte_ms is not None
        seen = server.seen[-1]
        assert (seen.method, seen.target, seen.body) == ("POST", "/x?y", b"{}")
        assert (seen.header("X-Team"), seen.header("Tocsin-Attempt")) == ("ops", "1")
        assert seen.header("Content-Length") == "2"
        assert (server.connections, client.idle_connections) == (1, 1)


@on_both_loops
async def test_it_is_the_only_one_on_its_connection() -> None:
    async with serving() as server, calling() as client:
        await warm(client, server)
        first = Started(client, server.url())
        assert Started(client, server.url()).call is None
        answered(await first.outcome())
        answered(await Started(client, server.url()).outcome())
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "kind", "words", "status"),
    [
        (b"", "connection", "before it answered", None),
        (b"HTTP/1.1 2", "connection", "header section", None),
        (HEAD + b"Content-Length: 10\r\n\r\nabc", "connection", "after 3 of 10 bytes", 200),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "connection", "3 bytes", 200),
        (b"garbage\r\n\r\n", "protocol", "not valid HTTP/1.1", None),
        (b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "protocol", "", None),
        (HEAD + b"A: b\r\n" * 101 + b"\r\n", "protocol", "100 headers", None),
        (HEAD + b"A: " + b"b" * 70_000, "protocol", "65536 bytes", None),
        (HEAD + b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000, "too_large", "50000", 200),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "protocol", "", None),
    ],
)
@on_both_loops
async def test_an_answer_that_is_none(
    answer: bytes, kind: str, words: str, status: int | None
) -> None:
    async with serving(answering(OK, answer)) as server, calling() as client:
        await warm(client, server)
        outcome = await Started(client, server.url()).outcome()
        failed(outcome, kind, words, f"127.0.0.1:{server.port}", written=True)
        assert outcome.status == status
        assert (server.connections, client.idle_connections) == (1, 0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "waiting for the first byte"),
        (HEAD + b"X: ", "header section began but did not end"),
        (HEAD + b"Content-Length: 9\r\n\r\nabc", "answer 200 began, 3 bytes"),
    ],
)
@on_both_loops
async def test_the_deadline(answer: bytes, words: str) -> None:
    async with serving(holding(OK, answer)) as server, calling() as client:

        async def call(seconds: float) -> HttpOutcome:
            await warm(client, server)
            return await Started(client, server.url(), timeout=seconds).outcome()

        await timed_out(call, "no answer", words, written=True)
        await server.closed.wait()
        assert client.open_connections == 0


@pytest.mark.parametrize("tls", [False, True])
@on_both_loops
async def test_one_that_a_stale_connection_did_not_take_is_sent_once_more(tls: bool) -> None:
    with Leaving(tls=certified("127.0.0.1") if tls else None) as server:
        async with calling() as client:
            serving_one = asyncio.create_task(server.serve([OK]))
            answered(await client.call(request(server.url)))
            await serving_one
            server.leave()
            started = Started(client, server.url)
            await server.serve([OK])
            outcome = answered(await started.outcome())
            assert outcome.timings.connect_ms is not None
            assert (server.connections, server.requests) == (2, 2)


@on_both_loops
async def test_what_may_not_be_sent_any_more_is_not_sent_once_more() -> None:
    with Leaving() as server:
        async with calling() as client:
            serving_one = asyncio.create_task(server.serve([OK]))
            answered(await client.call(request(server.url)))
            await serving_one
            server.leave()
            verdicts = [True, False]
            started = Started(client, server.url, may_send=lambda: verdicts.pop(0))
            outcome = await started.outcome()
            failed(outcome, "connection", "closed the connection before it answered", written=True)
            assert (verdicts, server.requests, client.open_connections) == ([], 1, 0)


@on_both_loops
async def test_sending_it_once_more_may_fail_too() -> None:
    with Leaving() as server:
        async with calling() as client:
            serving_one = asyncio.create_task(server.serve([OK]))
            answered(await client.call(request(server.url)))
            await serving_one
        server.leave()
        async with calling() as client:
            serving_one = asyncio.create_task(server.serve([OK]))
            answered(await client.call(request(server.url)))
            await serving_one
            server.close()
            outcome = await Started(client, server.url).outcome()
            failed(outcome, "connection", "connection refused", written=True)


@pytest.mark.parametrize("death", [dying, dying_by_reset])
@on_both_loops
async def test_one_that_the_peer_may_have_processed_is_not_sent_again(death: Script) -> None:
    async with serving(death, polite) as server, calling() as client:
        await warm(client, server)
        outcome = await Started(client, server.url()).outcome()
        failed(outcome, "connection", "before it answered", written=True)
        assert server.connections == 1


@on_both_loops
async def test_what_may_not_be_called_or_sent_leaves_the_connection_idle() -> None:
    rules = Rules()
    async with serving() as server, calling(guard=rules) as client:
        await warm(client, server)
        with pytest.raises(NotSent):
            Started(client, server.url(), may_send=lambda: False)
        rules.blocked.add("127.0.0.1")
        assert Started(client, server.url()).call is None
        rules.blocked.clear()
        answered(await Started(client, server.url()).outcome())
        assert (server.connections, len(server.seen)) == (1, 2)


@on_both_loops
async def test_aborting_closes_the_connection_and_tells_nobody() -> None:
    reached = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.request()
        peer.send(OK)
        await peer.request()
        reached.set()
        await peer.gone()

    async with serving(silent, polite) as server, calling(max_connections_per_origin=1) as client:
        await warm(client, server)
        started = Started(client, server.url())
        assert started.call is not None
        await reached.wait()
        started.call.abort()
        started.call.abort()
        await server.closed.wait()
        answered(await client.call(request(server.url())))
        assert started.outcomes == []


@on_both_loops
async def test_a_bug_in_taking_the_end_harms_no_connection() -> None:
    async with serving() as server, calling(max_connections_per_origin=1) as client:
        await warm(client, server)
        heard: list[HttpOutcome] = []

        def broken(outcome: HttpOutcome) -> None:
            heard.append(outcome)
            raise ZeroDivisionError

        head = client.head("POST", server.url("/broken"), [])
        assert client.start(
            head, b"", b"", timeout=5.0, max_body=9, excerpt=9, may_send=lambda: True, ended=broken
        )
        answered(await client.call(request(server.url())))
        answered(*heard)
        assert (server.connections, len(server.seen)) == (1, 3)


@on_both_loops
async def test_a_bug_in_telling_of_an_answer_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError

    async with serving() as server, calling(max_connections_per_origin=1) as client:
        await warm(client, server)
        with monkeypatch.context() as patched:
            patched.setattr("tocsin.delivery.http.outcome.readable", broken)
            outcome = await Started(client, server.url()).outcome()
        failed(outcome, "protocol", "could not be made (ZeroDivisionError)", written=True)
        answered(await Started(client, server.url()).outcome())
        assert server.connections == 1


@on_both_loops
async def test_a_bug_in_telling_of_the_second_answer_ends_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError

    with Leaving() as server:
        async with calling() as client:
            serving_one = asyncio.create_task(server.serve([OK]))
            answered(await client.call(request(server.url)))
            await serving_one
            server.leave()
            with monkeypatch.context() as patched:
                patched.setattr("tocsin.delivery.http.outcome.readable", broken)
                started = Started(client, server.url)
                await server.serve([OK])
                outcome = await started.outcome()
            failed(outcome, "protocol", "could not be made (ZeroDivisionError)", written=True)


@on_both_loops
async def test_a_bug_in_writing_the_request_costs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async with serving() as server, calling(max_connections_per_origin=1) as client:
        await warm(client, server)
        with monkeypatch.context() as patched:
            patched.setattr(Deadlines, "add", broken)
            with pytest.raises(ZeroDivisionError):
                Started(client, server.url())
        await server.closed.wait()
        answered(await client.call(request(server.url())))
        assert (server.connections, client.idle_connections) == (2, 1)


@on_both_loops
async def test_closing_the_client_ends_it_as_cancelled() -> None:
    async with serving(holding(OK)) as server, calling() as client:
        await warm(client, server)
        started = Started(client, server.url())
        await client.close()
        outcome = await started.outcome()
        assert (outcome.error_kind, outcome.status) == ("cancelled", None)


@on_both_loops
async def test_it_goes_through_a_tunnel_that_is_open() -> None:
    proxy = ConnectProxy()
    async with (
        serving(tls=certified("127.0.0.1")) as target,
        serving(proxy) as server,
        calling(proxies=through(server)) as client,
    ):
        await warm(client, target)
        answered(await Started(client, target.url()).outcome())
        assert (target.connections, len(proxy.heads)) == (1, 1)
