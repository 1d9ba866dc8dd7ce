"""Which connection a call gets, and what becomes of it."""

import asyncio

import pytest
from client_network import Leaving, dying, dying_by_reset
from hostile_server import (
    OK,
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
)


async def gate(peer: Peer, opened: asyncio.Event) -> None:
    while await peer.request():
        await opened.wait()
        peer.send(OK)


@on_both_loops
async def test_calls_at_once_use_a_connection_each_and_the_last_used_first() -> None:
    opened = asyncio.Event()
    async with serving(lambda peer: gate(peer, opened)) as server, calling() as client:
        calls = [asyncio.create_task(client.call(request(server.url()))) for _ in range(5)]
        while len(server.seen) < 5:
            await asyncio.sleep(0)
        assert server.connections == 5
        opened.set()
        for call in calls:
            answered(await call)
        assert client.idle_connections == 5
        for _ in range(3):
            answered(await client.call(request(server.url())))
        assert server.connections == 5
        assert len({seen.connection for seen in server.seen[5:]}) == 1


@on_both_loops
async def test_origins_do_not_share_connections() -> None:
    async with serving() as one, serving() as other, calling() as client:
        for server in (one, other, one, other):
            answered(await client.call(request(server.url())))
        assert (one.connections, other.connections, client.idle_connections) == (1, 1, 2)


@on_both_loops
async def test_above_the_limit_calls_wait_for_a_connection_in_order() -> None:
    async with serving() as server, calling(max_connections_per_origin=2) as client:
        outcomes = await asyncio.gather(
            *(client.call(request(server.url(f"/{i}"))) for i in range(20))
        )
        for outcome in outcomes:
            answered(outcome)
        assert server.connections == 2
        assert {seen.target for seen in server.seen} == {f"/{i}" for i in range(20)}


@on_both_loops
async def test_a_request_is_written_only_when_the_answer_before_it_is_whole() -> None:
    """No pipelining: neither behind an answer under way nor behind one that has begun."""
    early = []

    async def slow(peer: Peer) -> None:
        while await peer.request():
            peer.send(OK[:10])
            more = asyncio.create_task(peer.some())
            await asyncio.wait({more}, timeout=0.05)
            early.append(more.done())
            more.cancel()
            await asyncio.wait({more})
            peer.send(OK[10:])

    async with serving(slow) as server, calling(max_connections_per_origin=1) as client:
        calls = (client.call(request(server.url(f"/{number}"))) for number in range(3))
        for outcome in await asyncio.gather(*calls):
            answered(outcome)
        assert [seen.target for seen in server.seen] == ["/0", "/1", "/2"]
        assert (server.connections, early) == (1, [False] * 3)


@on_both_loops
async def test_a_place_is_passed_on_when_its_connection_dies() -> None:
    async with (
        serving(answering(OK)) as server,  # closes after each answer
        calling(max_connections_per_origin=1) as client,
    ):
        outcomes = await asyncio.gather(
            *(client.call(request(server.url(), fresh_connection=i % 2 == 0)) for i in range(6))
        )
        for outcome in outcomes:
            answered(outcome)


@on_both_loops
async def test_giving_up_the_wait_for_a_place_loses_none() -> None:
    opened = asyncio.Event()
    async with (
        serving(lambda peer: gate(peer, opened)) as server,
        calling(max_connections_per_origin=1) as client,
    ):
        first = asyncio.create_task(client.call(request(server.url())))
        while not server.seen:
            await asyncio.sleep(0)
        outcome = await client.call(request(server.url(), timeout=0.05))
        failed(outcome, "timeout", "waiting for a free connection", "1 are in use", written=False)
        cancelled = asyncio.create_task(client.call(request(server.url())))
        last = asyncio.create_task(client.call(request(server.url())))
        await asyncio.sleep(0)
        cancelled.cancel()
        opened.set()
        answered(await first)
        answered(await last)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert server.connections == 1


@on_both_loops
async def test_cancelling_in_the_moment_of_being_served_loses_no_place() -> None:
    async with serving() as server, calling(max_connections_per_origin=1) as client:
        for delay in range(30):
            first = asyncio.create_task(client.call(request(server.url())))
            second = asyncio.create_task(client.call(request(server.url())))
            for _ in range(delay):
                await asyncio.sleep(0)
            second.cancel()
            answered(await first)
            await asyncio.gather(second, return_exceptions=True)
        answered(await client.call(request(server.url())))


@on_both_loops
async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with serving() as server, calling(idle_timeout=0.05) as client:
        answered(await client.call(request(server.url())))
        assert client.idle_connections == 1
        await server.closed.wait()
        assert client.idle_connections == 0
        answered(await client.call(request(server.url())))
        assert server.connections == 2


@on_both_loops
async def test_an_old_connection_is_not_used_again() -> None:
    async with serving() as server, calling(max_age=0.0) as client:
        answered(await client.call(request(server.url())))
        assert client.idle_connections == 0


@on_both_loops
async def test_the_longest_idle_gives_way_above_the_limit_of_idle_ones() -> None:
    async with (
        serving() as one,
        serving() as two,
        serving() as three,
        calling(max_idle=2) as client,
    ):
        for server in (one, two, three):
            answered(await client.call(request(server.url())))
        assert client.idle_connections == 2
        await one.closed.wait()
        for server in (two, three):
            answered(await client.call(request(server.url())))
        assert (one.connections, two.connections, three.connections) == (1, 1, 1)


@on_both_loops
async def test_no_idle_connections_at_all() -> None:
    async with serving() as server, calling(max_idle=0) as client:
        answered(await client.call(request(server.url())))
        answered(await client.call(request(server.url())))
        assert (server.connections, client.idle_connections) == (2, 0)


@pytest.mark.parametrize("goodbye", [b"", b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"])
@on_both_loops
async def test_an_idle_connection_that_the_peer_ends_is_dropped(goodbye: bytes) -> None:
    leave = asyncio.Event()

    async def leaving(peer: Peer) -> None:
        await peer.request()
        peer.send(OK)
        await leave.wait()
        if goodbye:
            peer.send(goodbye)
            await peer.gone()

    async with serving(leaving, polite) as server, calling() as client:
        answered(await client.call(request(server.url())))
        assert client.idle_connections == 1
        leave.set()
        await server.closed.wait()
        while client.open_connections:
            await asyncio.sleep(0)
        assert client.idle_connections == 0
        answered(await client.call(request(server.url())))
        assert len(server.seen) == 2


@pytest.mark.parametrize("padding", [0, 50_000])
@pytest.mark.parametrize("tls", [False, True])
@on_both_loops
async def test_a_request_that_a_stale_connection_did_not_take_is_sent_once_more(
    tls: bool, padding: int
) -> None:
    with Leaving(tls=certified("127.0.0.1") if tls else None) as server:
        async with calling() as client:
            serving_one = asyncio.create_task(server.serve([OK]))
            answered(await client.call(request(server.url)))
            await serving_one
            # The client has no turn to hear of the end before it writes.
            server.leave()
            body = b"x" * padding + b"\r\n\r\n{}"
            call = asyncio.create_task(client.call(request(server.url, body=body)))
            await server.serve([OK])
            outcome = answered(await call)
            assert outcome.timings.connect_ms is not None
            assert (server.connections, server.requests) == (2, 2)


@on_both_loops
async def test_a_request_that_may_not_be_sent_any_more_is_not_sent_once_more() -> None:
    with Leaving() as server:
        async with calling() as client:
            serving_one = asyncio.create_task(server.serve([OK]))
            answered(await client.call(request(server.url)))
            await serving_one
            server.leave()
            verdicts = [True, False]
            outcome = await client.call(
                request(server.url, body=b"{}", may_send=lambda: verdicts.pop(0))
            )
            failed(outcome, "connection", "closed the connection before it answered", written=True)
            assert (verdicts, server.requests, client.idle_connections) == ([], 1, 0)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("death", [dying, dying_by_reset])
@on_both_loops
async def test_a_request_that_the_peer_may_have_processed_is_not_sent_again(
    death: Script, tls: bool
) -> None:
    context = certified("127.0.0.1") if tls else None
    async with serving(death, polite, tls=context) as server, calling() as client:
        answered(await client.call(request(server.url("/1"))))
        outcome = await client.call(request(server.url("/2")))
        failed(outcome, "connection", "before it answered", written=True)
        assert server.connections == 1


@on_both_loops
async def test_nor_is_one_of_which_a_part_arrived() -> None:
    async def partial(peer: Peer) -> None:
        await peer.request()
        peer.send(OK)
        await peer.head()  # of a body too long for the buffers on the way

    async with serving(partial, polite) as server, calling() as client:
        answered(await client.call(request(server.url())))
        outcome = await client.call(request(server.url(), body=b"x" * 30_000_000))
        failed(outcome, "connection", "before it answered", written=True)
        assert server.connections == 1


@on_both_loops
async def test_a_stale_connection_is_replaced_only_once() -> None:
    """The second one has not been idle: whatever becomes of it, that is the outcome."""
    with Leaving() as server:
        async with calling() as client:
            serving_one = asyncio.create_task(server.serve([OK]))
            answered(await client.call(request(server.url)))
            await serving_one
            server.leave()
            call = asyncio.create_task(client.call(request(server.url)))
            await server.serve([b""])
            server.leave()
            failed(await call, "connection", "before it answered", written=True)
            assert server.connections == 2


@on_both_loops
async def test_a_connection_that_dies_in_the_answer_is_not_replaced() -> None:
    async with serving(answering(OK, b"HTTP/1.1 20"), polite) as server, calling() as client:
        answered(await client.call(request(server.url())))
        failed(await client.call(request(server.url())), "connection", written=True)
        assert server.connections == 1


@on_both_loops
async def test_a_first_connection_that_dies_is_not_replaced() -> None:
    async with serving(answering(b""), polite) as server, calling() as client:
        failed(await client.call(request(server.url())), "connection", written=True)
        assert server.connections == 1


@on_both_loops
async def test_at_most_once_gets_a_connection_of_its_own_and_is_never_sent_again() -> None:
    async with serving(polite, answering(b"")) as server, calling() as client:
        answered(await client.call(request(server.url())))
        outcome = await client.call(request(server.url(), fresh_connection=True))
        failed(outcome, "connection", "before it answered", written=True)
        assert server.connections == 2
        assert [seen.connection for seen in server.seen] == [0, 1]
        assert server.seen[1].header("Connection") == "close"
        assert client.idle_connections == 1


@on_both_loops
async def test_a_fresh_connection_is_not_kept() -> None:
    async with serving() as server, calling() as client:
        for _ in range(3):
            answered(await client.call(request(server.url(), fresh_connection=True)))
        assert (server.connections, client.idle_connections) == (3, 0)


@on_both_loops
async def test_an_idle_connection_makes_room_for_a_fresh_one() -> None:
    async with serving() as server, calling(max_connections_per_origin=1) as client:
        answered(await client.call(request(server.url())))
        answered(await client.call(request(server.url(), fresh_connection=True)))
        answered(await client.call(request(server.url())))
        assert server.connections == 3


@on_both_loops
async def test_cancelling_closes_the_connection_at_once() -> None:
    async with serving(holding()) as server, calling() as client:

        async def arrived(peer: Peer) -> None:
            await peer.request()
            reached.set()
            await peer.gone()

        reached = asyncio.Event()
        server.scripts = [arrived]
        call = asyncio.create_task(client.call(request(server.url())))
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.closed.wait()
        while client.open_connections:
            await asyncio.sleep(0)
        server.scripts = [polite]
        answered(await client.call(request(server.url())))


@on_both_loops
async def test_closing_the_client_ends_its_calls_as_cancelled() -> None:
    async with serving(holding()) as server, calling(max_connections_per_origin=2) as client:
        calls = [asyncio.create_task(client.call(request(server.url()))) for _ in range(4)]
        while client.open_connections < 2 or server.connections < 2:
            await asyncio.sleep(0)
        await client.close()
        assert client.open_connections == 0
        for call in calls:
            outcome = await call
            assert (outcome.error_kind, outcome.status) == ("cancelled", None)
        outcome = await client.call(request(server.url()))
        failed(outcome, "cancelled", "closed", written=False)
        assert server.connections == 2


@on_both_loops
async def test_closing_the_client_ends_connects_and_lookups() -> None:
    class Never:
        async def resolve(self, host: str) -> list[str]:
            asked.set()
            await asyncio.Event().wait()
            return []

    asked = asyncio.Event()
    async with calling(resolver=Never()) as client:
        call = asyncio.create_task(client.call(request("http://example.test/")))
        await asked.wait()
        await client.close()
        failed(await call, "cancelled", written=False)


@on_both_loops
async def test_many_calls_with_servers_of_all_sorts_leak_nothing() -> None:
    scripts = [
        polite,
        answering(b""),
        answering(OK, b"garbage\r\n\r\n"),
        dying,
        dying_by_reset,
        holding(OK + b"x", OK),
        answering(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
    ]

    async def mixed(peer: Peer) -> None:
        await scripts[peer.number % len(scripts)](peer)

    async with serving(mixed) as server, calling(max_connections_per_origin=3) as client:
        outcomes = await asyncio.gather(
            *(client.call(request(server.url(), fresh_connection=i % 5 == 0)) for i in range(120))
        )
        assert {outcome.error_kind for outcome in outcomes} <= {None, "connection", "protocol"}
        assert any(outcome.error_kind is None for outcome in outcomes)
        server.scripts = [polite]
        answered(await client.call(request(server.url(), fresh_connection=True)))
        assert client.open_connections <= 4
