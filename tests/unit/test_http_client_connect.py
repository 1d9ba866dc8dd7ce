"""Before the request: names, the guard, TCP, and the deadline in each phase."""

import asyncio
import socket
import threading
import time
from collections.abc import Sequence

import pytest
from client_network import Fixed, Rules, full, unused
from hostile_server import (
    Peer,
    answered,
    calling,
    failed,
    holding,
    on_both_loops,
    polite,
    request,
    serving,
    timed_out,
)

from tocsin.delivery.http import NotSent, SystemResolver


@on_both_loops
async def test_a_name_that_does_not_exist() -> None:
    def unknown(host: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with calling(resolver=SystemResolver(lookup=unknown)) as client:
        outcome = await client.call(request("http://nowhere.invalid/"))
        failed(outcome, "dns", "nowhere.invalid", "does not exist", written=False)
        assert outcome.timings.dns_ms is not None
        assert outcome.timings.connect_ms is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "does not answer"),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable"), "Non-recoverable"),
        (UnicodeError("label too long"), "label too long"),
        (OSError(), "OSError"),
    ],
)
@on_both_loops
async def test_a_name_that_cannot_be_resolved(error: Exception, words: str) -> None:
    def broken(host: str) -> Sequence[str]:
        raise error

    async with calling(resolver=SystemResolver(lookup=broken)) as client:
        failed(await client.call(request("http://a.test/")), "dns", "a.test", words, written=False)


@on_both_loops
async def test_what_must_not_be_sent_any_more_once_the_connection_is_there() -> None:
    async with serving() as server, calling() as client:
        with pytest.raises(NotSent):
            await client.call(request(server.url(), may_send=lambda: False))
        assert server.seen == []
        answered(await client.call(request(server.url())))
        with pytest.raises(NotSent):
            await client.call(request(server.url(), may_send=lambda: False))
        assert len(server.seen) == 1


@on_both_loops
async def test_a_name_without_addresses() -> None:
    async with calling(resolver=Fixed()) as client:
        failed(await client.call(request("http://a.test/")), "dns", "a.test", written=False)


@on_both_loops
async def test_the_systems_own_lookup() -> None:
    async with serving() as server, calling() as client:
        outcome = answered(await client.call(request(f"http://localhost:{server.port}/")))
        assert outcome.timings.dns_ms is not None
        label = "a" * 64
        outcome = await client.call(request(f"http://{label}.invalid/"))
        failed(outcome, "dns", label, written=False)


@on_both_loops
async def test_lookups_of_one_name_share_a_question_and_its_answer() -> None:
    release = threading.Event()
    asked = []

    def slow(host: str) -> Sequence[str]:
        asked.append(host)
        release.wait(5)
        return ["127.0.0.1"]

    resolver = SystemResolver(lookup=slow)
    async with calling():
        lookups = [asyncio.create_task(resolver.resolve("a.test")) for _ in range(5)]
        await asyncio.sleep(0)
        lookups[0].cancel()
        release.set()
        results = await asyncio.gather(*lookups, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [["127.0.0.1"]] * 4
        assert await resolver.resolve("a.test") == ["127.0.0.1"]
        assert asked == ["a.test"]
        await resolver.resolve("b.test")
        assert asked == ["a.test", "b.test"]
    await resolver.close()


@on_both_loops
async def test_answers_are_forgotten_and_failures_never_kept() -> None:
    answers: list[Sequence[str]] = [["127.0.0.1"], ["127.0.0.2"]]
    resolver = SystemResolver(ttl=0.0, lookup=lambda host: answers.pop(0))
    assert await resolver.resolve("a.test") == ["127.0.0.1"]
    assert await resolver.resolve("a.test") == ["127.0.0.2"]
    for _ in range(2):
        with pytest.raises(IndexError):
            await resolver.resolve("a.test")
    await resolver.close()


@on_both_loops
async def test_closing_the_resolver_ends_its_questions() -> None:
    release = threading.Event()

    def slow(host: str) -> Sequence[str]:
        release.wait(5)
        return ["127.0.0.1"]

    resolver = SystemResolver(lookup=slow)
    lookup = asyncio.create_task(resolver.resolve("a.test"))
    await asyncio.sleep(0)
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await lookup
    release.set()


@on_both_loops
async def test_nothing_listens() -> None:
    port = unused()
    async with calling(resolver=Fixed("127.0.0.1")) as client:
        outcome = await client.call(request(f"http://127.0.0.1:{port}/"))
        failed(outcome, "connection", f"127.0.0.1:{port}", "connection refused", written=False)
        outcome = await client.call(request(f"http://a.test:{port}/"))
        failed(outcome, "connection", f"a.test:{port}", "(127.0.0.1)", written=False)
        assert outcome.timings.connect_ms is not None


@on_both_loops
async def test_the_addresses_are_tried_in_order() -> None:
    async with (
        serving() as server,
        calling(resolver=Fixed("127.0.0.9", "::1", "127.0.0.1", "127.0.0.8")) as client,
    ):
        outcome = answered(await client.call(request(f"http://a.test:{server.port}/")))
        assert outcome.timings.connect_ms is not None
        assert outcome.timings.connect_ms < 200
        assert server.connections == 1
    async with calling(resolver=Fixed("127.0.0.9", "127.0.0.8")) as client:
        outcome = await client.call(request(f"http://a.test:{unused()}/"))
        failed(outcome, "connection", "127.0.0.9", "127.0.0.8", written=False)


@on_both_loops
async def test_an_address_that_does_not_answer_is_overtaken_by_the_next() -> None:
    with full() as port:
        async with (
            serving(host="127.0.0.2", port=port) as server,
            calling(resolver=Fixed("127.0.0.1", "127.0.0.2")) as client,
        ):
            began = time.perf_counter()
            outcome = answered(await client.call(request(f"http://a.test:{port}/")))
            assert outcome.timings.connect_ms is not None
            assert 200 <= outcome.timings.connect_ms <= 1_000 * (time.perf_counter() - began) + 1
            assert server.connections == 1


@on_both_loops
async def test_a_connect_that_is_never_answered() -> None:
    with full() as port:
        async with calling(connect_timeout=0.1) as client:
            outcome = await client.call(request(f"http://127.0.0.1:{port}/"))
            failed(outcome, "timeout", "no connection within 0.1s", str(port), written=False)
        async with calling(resolver=Fixed("127.0.0.1")) as client:
            outcome = await client.call(request(f"http://a.test:{port}/", timeout=0.1))
            failed(
                outcome, "timeout", "no answer within 0.1s: connecting to", "(127.0.0.1)",
                written=False,
            )  # fmt: skip


@on_both_loops
async def test_a_name_server_that_never_answers() -> None:
    class Never:
        async def resolve(self, host: str) -> Sequence[str]:
            await asyncio.Event().wait()
            return []

    async with calling(resolver=Never()) as client:
        outcome = await client.call(request("http://a.test/", timeout=0.05))
        failed(outcome, "timeout", "within 0.05s", "resolving a.test", written=False)
        assert outcome.timings.dns_ms is not None


@pytest.mark.parametrize(
    ("answer", "words", "status"),
    [
        (b"", "connected, request sent, waiting for the first byte", None),
        (b"HTTP/1.1 200 OK\r\nX: ", "header section began but did not end", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "answer 200 began, 3 bytes", 200),
    ],
)
@on_both_loops
async def test_the_deadline_names_the_phase(answer: bytes, words: str, status: int | None) -> None:
    async with serving(holding(answer)) as server, calling() as client:
        outcome = await timed_out(
            lambda seconds: client.call(request(server.url(), timeout=seconds)),
            "no answer",
            words,
            written=True,
        )
        assert outcome.status == status
        await server.closed.wait()
        assert client.open_connections == 0


@on_both_loops
async def test_a_peer_that_does_not_take_the_request() -> None:
    ended = asyncio.Event()

    async def deaf(peer: Peer) -> None:
        peer.pause()
        await ended.wait()

    async with serving(deaf) as server, calling() as client:
        await timed_out(
            lambda seconds: client.call(
                request(server.url(), timeout=seconds, body=b"x" * 50_000_000)
            ),
            "not yet taken by the peer",
            written=True,
        )
        ended.set()


@on_both_loops
async def test_a_peer_that_speaks_first_does_not_speak_http() -> None:
    async def banner(peer: Peer) -> None:
        peer.send(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    async with serving(banner) as server, calling() as client:
        outcome = await client.call(request(server.url()))
        assert outcome.error_kind == "protocol"
        assert str(server.port) in str(outcome.error)


@on_both_loops
async def test_the_guard_is_asked_about_the_address_that_is_called() -> None:
    rules = Rules()
    async with serving() as server, calling(guard=rules, resolver=Fixed("127.0.0.1")) as client:
        answered(await client.call(request(f"http://a.test:{server.port}/")))
        answered(await client.call(request(f"http://a.test:{server.port}/")))
        answered(await client.call(request(server.url())))
        port = server.port
        assert rules.asked == [("a.test", port, "127.0.0.1")] * 2 + [
            ("127.0.0.1", port, "127.0.0.1")
        ]


@on_both_loops
async def test_a_blocked_call_connects_nowhere() -> None:
    async with (
        serving() as server,
        calling(guard=Rules("127.0.0.1"), resolver=Fixed("127.0.0.1")) as client,
    ):
        outcome = await client.call(request(f"http://a.test:{server.port}/"))
        failed(
            outcome, "blocked", f"a.test:{server.port} (127.0.0.1)", "127.0.0.1 is private",
            written=False,
        )  # fmt: skip
        failed(await client.call(request(server.url())), "blocked", "is private", written=False)
        assert server.connections == 0


@on_both_loops
async def test_only_the_allowed_addresses_of_a_name_are_called() -> None:
    async with (
        serving() as server,
        calling(
            guard=Rules("127.0.0.2", "::1"), resolver=Fixed("127.0.0.2", "::1", "127.0.0.1")
        ) as client,
    ):
        answered(await client.call(request(f"http://a.test:{server.port}/")))


@on_both_loops
async def test_a_name_that_changes_its_address_between_check_and_connect() -> None:
    """The guard saw 127.0.0.1; what the name says afterwards does not matter."""

    class Rebinding(Fixed):
        async def resolve(self, host: str) -> Sequence[str]:
            self.asked += 1
            return ["127.0.0.1"] if self.asked == 1 else ["127.0.0.2"]

    resolver = Rebinding()
    async with serving() as server, calling(guard=Rules("127.0.0.2"), resolver=resolver) as client:
        answered(await client.call(request(f"http://a.test:{server.port}/")))
        assert resolver.asked == 1
        outcome = await client.call(request(f"http://a.test:{server.port}/", fresh_connection=True))
        failed(outcome, "blocked", "127.0.0.2", written=False)


@on_both_loops
async def test_the_guard_is_asked_on_each_redirect() -> None:
    async with serving(host="127.0.0.2") as inner:
        moved = (
            f"HTTP/1.1 302 Found\r\nLocation: {inner.url('/secret')}\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        async with serving(holding(moved)) as server, calling(guard=Rules("127.0.0.2")) as client:
            outcome = await client.call(request(server.url(), redirects=3))
            failed(outcome, "blocked", f"127.0.0.2:{inner.port}", written=True)
            assert inner.connections == 0


@on_both_loops
async def test_a_new_rule_holds_for_connections_that_are_open() -> None:
    rules = Rules()
    async with serving() as server, calling(guard=rules) as client:
        answered(await client.call(request(server.url())))
        rules.blocked.add("127.0.0.1")
        failed(await client.call(request(server.url())), "blocked", written=False)
        assert client.idle_connections == 0
        rules.blocked.clear()
        answered(await client.call(request(server.url())))


@on_both_loops
async def test_a_guard_that_breaks_costs_no_place() -> None:
    class Broken(Rules):
        def check(self, host: str, port: int, address: str) -> str | None:
            if self.blocked:
                raise RuntimeError("broken")
            return None

    rules = Broken()
    async with serving() as server, calling(guard=rules, max_connections_per_origin=1) as client:
        for _ in range(2):
            rules.blocked = {"x"}
            with pytest.raises(RuntimeError):
                await client.call(request(server.url()))
            rules.blocked = set()
            answered(await client.call(request(server.url())))


@on_both_loops
async def test_cancelling_in_the_connect() -> None:
    with full() as port:
        async with calling(resolver=Fixed("127.0.0.1", "127.0.0.9", "127.0.0.1")) as client:
            for host in ("127.0.0.1", "a.test"):
                call = asyncio.create_task(client.call(request(f"http://{host}:{port}/")))
                await asyncio.sleep(0.02)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call


@on_both_loops
async def test_a_failed_connect_gives_its_place_back() -> None:
    port = unused()
    async with calling(max_connections_per_origin=1) as client:
        outcomes = await asyncio.gather(
            *(client.call(request(f"http://127.0.0.1:{port}/")) for _ in range(5))
        )
        assert [outcome.error_kind for outcome in outcomes] == ["connection"] * 5


@on_both_loops
async def test_a_call_without_time_left() -> None:
    async with serving(polite) as server, calling() as client:
        outcome = await client.call(request(server.url(), timeout=0.0))
        assert outcome.error_kind == "timeout"
        assert not outcome.request_written
