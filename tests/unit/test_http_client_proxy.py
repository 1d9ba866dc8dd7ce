"""Calls through a proxy, an honest one and others."""

import asyncio
import base64
import ssl
from collections.abc import Sequence

import pytest
from client_network import Fixed, Rules, full, unused
from connect_proxy import BASIC, LOGIN, OPENED, SECRET, ConnectProxy, through
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
    timed_out,
)

from tocsin.delivery.http import HttpClient, HttpOutcome
from tocsin.domain.proxy import ProxyRules


def hidden(outcome: HttpOutcome) -> HttpOutcome:
    """Assert that a failure does not tell how the proxy is logged in to."""
    assert SECRET not in str(outcome)
    assert BASIC.split()[1] not in str(outcome)
    return outcome


async def call_through(script: Script) -> HttpOutcome:
    """Call once through a proxy that does what its script says; nothing stays open."""
    async with serving(script) as server, calling(proxies=through(server)) as client:
        outcome = await client.call(request("http://hook.example/", timeout=2.0))
        while client.open_connections:
            await asyncio.sleep(0)
        return hidden(outcome)


@on_both_loops
async def test_a_call_over_tls_goes_through_a_tunnel() -> None:
    proxy = ConnectProxy(names={"hook.example": "127.0.0.1"}, credentials=BASIC)
    async with (
        serving(tls=certified("hook.example")) as target,
        serving(proxy) as server,
        calling(proxies=through(server), user_agent="tocsin/9") as client,
    ):
        url = f"https://hook.example:{target.port}/secret-path"
        outcome = answered(await client.call(request(url, headers=[("X-Token", "t0ken")])))
        assert outcome.excerpt == "ok"
        assert proxy.targets == [f"hook.example:{target.port}"]
        assert proxy.header("Host") == proxy.targets
        assert proxy.header("User-Agent") == ["tocsin/9"]
        assert proxy.header("Proxy-Authorization") == [BASIC]
        timings = outcome.timings
        phases = (timings.connect_ms, timings.proxy_ms, timings.tls_ms, timings.first_byte_ms)
        assert all(phase is not None for phase in phases)
        assert 0 < sum(phase or 0.0 for phase in phases) <= timings.total_ms
        assert timings.dns_ms is None
        # The proxy carries what it cannot read, and the target is told nothing of the proxy.
        assert b"t0ken" not in proxy.carried
        assert b"secret-path" not in proxy.carried
        [seen] = target.seen
        assert seen.target == "/secret-path"
        assert seen.header("Proxy-Authorization") is None


@on_both_loops
async def test_a_call_without_tls_goes_through_a_tunnel_too() -> None:
    proxy = ConnectProxy(names={"hook.example": "127.0.0.1"})
    async with (
        serving() as target,
        serving(proxy) as server,
        calling(proxies=through(server, login="")) as client,
    ):
        outcome = answered(await client.call(request(f"http://hook.example:{target.port}/a?b")))
        assert outcome.timings.proxy_ms is not None
        assert outcome.timings.tls_ms is None
        assert proxy.header("Proxy-Authorization") == [None]
        assert [(seen.method, seen.target) for seen in target.seen] == [("POST", "/a?b")]


@on_both_loops
async def test_a_tunnel_is_kept_for_the_next_call_to_its_target_only() -> None:
    proxy = ConnectProxy()
    async with (
        serving() as one,
        serving() as other,
        serving(proxy) as server,
        calling(proxies=through(server)) as client,
    ):
        for target in (one, one, other, one):
            answered(await client.call(request(target.url())))
        assert (one.connections, other.connections, client.idle_connections) == (1, 1, 2)
        assert proxy.targets == [f"127.0.0.1:{one.port}", f"127.0.0.1:{other.port}"]
        outcome = answered(await client.call(request(one.url())))
        assert (outcome.timings.connect_ms, outcome.timings.proxy_ms) == (None, None)


@on_both_loops
async def test_at_most_once_gets_a_tunnel_of_its_own() -> None:
    proxy = ConnectProxy()
    async with (
        serving() as target,
        serving(proxy) as server,
        calling(proxies=through(server)) as client,
    ):
        for _ in range(2):
            answered(await client.call(request(target.url(), fresh_connection=True)))
        assert (target.connections, len(proxy.heads), client.idle_connections) == (2, 2, 0)


@pytest.mark.parametrize(
    "opened",
    [
        b"HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        # Headers that RFC 9110, 9.3.6 forbids, and tells clients to ignore.
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 299\r\n\r\n",
    ],
)
@on_both_loops
async def test_every_2xx_opens_a_tunnel(opened: bytes) -> None:
    async with (
        serving(tls=certified("127.0.0.1")) as target,
        serving(ConnectProxy(opened=opened)) as server,
        calling(proxies=through(server)) as client,
    ):
        answered(await client.call(request(target.url())))
        answered(await client.call(request(target.url())))
        assert target.connections == 1


@on_both_loops
async def test_an_ipv6_target_and_a_proxy_behind_a_name_with_several_addresses() -> None:
    proxy = ConnectProxy()
    async with serving(host="::1") as target, serving(proxy) as server:
        rules = ProxyRules.read(f"http://proxy.example:{server.port}", "")
        resolver = Fixed("127.0.0.9", "127.0.0.1")
        async with calling(proxies=rules, resolver=resolver) as client:
            outcome = answered(await client.call(request(target.url())))
            assert outcome.timings.dns_ms is not None
            assert proxy.targets == [f"[::1]:{target.port}"]
            assert resolver.asked == 1


@on_both_loops
async def test_what_is_excepted_is_called_directly() -> None:
    proxy = ConnectProxy()
    async with (
        serving() as direct,
        serving(host="127.0.0.2") as beyond,
        serving(proxy) as server,
        calling(
            proxies=through(server, no_proxy="127.0.0.1/32,internal"), resolver=Fixed("127.0.0.1")
        ) as client,
    ):
        outcome = answered(await client.call(request(direct.url())))
        assert outcome.timings.proxy_ms is None
        answered(await client.call(request(f"http://a.internal:{direct.port}/")))
        assert proxy.heads == []
        answered(await client.call(request(beyond.url())))
        assert proxy.targets == [f"127.0.0.2:{beyond.port}"]


@on_both_loops
async def test_each_step_of_a_redirect_takes_its_own_way() -> None:
    proxy = ConnectProxy()
    async with serving() as direct:
        moved = f"HTTP/1.1 307 Go\r\nLocation: {direct.url('/x')}\r\nContent-Length: 0\r\n\r\n"
        async with (
            serving(holding(moved.encode()), host="127.0.0.2") as beyond,
            serving(proxy) as server,
            calling(proxies=through(server, no_proxy="127.0.0.1")) as client,
        ):
            answered(await client.call(request(beyond.url(), redirects=1)))
            assert proxy.targets == [f"127.0.0.2:{beyond.port}"]
            assert [seen.target for seen in direct.seen] == ["/x"]


@pytest.mark.parametrize(
    ("login", "words"),
    [
        ("", ["asks for credentials", "407", "TOCSIN_PROXY can hold them"]),
        (f"ops:not-{SECRET}", ["does not accept the credentials", "407"]),
    ],
)
@on_both_loops
async def test_a_proxy_that_wants_credentials(login: str, words: Sequence[str]) -> None:
    proxy = ConnectProxy(credentials=BASIC)
    async with (
        serving() as target,
        serving(proxy) as server,
        calling(proxies=through(server, login=login)) as client,
    ):
        outcome = hidden(await client.call(request(target.url())))
        place = f"the proxy 127.0.0.1:{server.port}"
        failed(outcome, "connection", place, target.url()[7:-1], *words, written=False)
        assert outcome.timings.proxy_ms is not None
        assert (outcome.status, target.connections) == (None, 0)


def test_credentials_are_percent_encoded_and_leave_as_utf_8() -> None:
    proxy = ProxyRules.read("http://o%40ps:p%3A%2F%C3%BC@proxy:3128", "").proxy
    assert proxy is not None
    assert proxy.authorization == "Basic " + base64.b64encode("o@ps:p:/ü".encode()).decode()


def saying(answer: bytes) -> Script:
    """A proxy that answers every CONNECT so, and waits."""

    async def script(peer: Peer) -> None:
        if await peer.head():
            peer.send(answer)
            await peer.gone()

    return script


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"HTTP/1.1 403 No\r\n\r\n", "blocked", "forbids that (403 Forbidden); many proxies"),
        (b"HTTP/1.1 405 No\r\n\r\n", "connection", "does not do tunnels (405"),
        (b"HTTP/1.1 501 No\r\n\r\n", "connection", "does not do tunnels (501"),
        (b"HTTP/1.1 502 No\r\n\r\n", "connection", "cannot reach it (502 Bad Gateway)"),
        (b"HTTP/1.1 503 No\r\n\r\n", "connection", "cannot reach it (503"),
        (b"HTTP/1.1 504 No\r\n\r\n", "connection", "cannot reach it (504"),
        (b"HTTP/1.1 302 No\r\nLocation: /\r\n\r\n", "connection", "answers 302 Found"),
        (b"HTTP/1.1 799 No\r\nContent-Length: 999999999\r\n\r\n", "connection", "answers 799"),
        (
            b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\n"
            b"Proxy-Authenticate: NTLM x\r\n\r\n",
            "connection",
            "asks for Negotiate, NTLM (407",
        ),
        (
            b"HTTP/1.1 407 No\r\nProxy-Authenticate: \x1b[2J\r\n\r\n",
            "protocol",
            "not valid HTTP/1.1",
        ),
        (b"HTTP/1.1 407 No\r\nProxy-Authenticate: \xff\r\n\r\n", "connection", "not accept the"),
        (b"SSH-2.0-OpenSSH_9.0\r\n", "protocol", "not valid HTTP/1.1"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "protocol", "it speaks TLS; only"),
        (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "protocol", "not valid HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n", "protocol", "100 headers"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000, "protocol", "65536 bytes"),
        (b"HTTP/1.1 103 Hints\r\n\r\n" * 4000, "protocol", "65536 bytes"),
        (b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "protocol", "another"),
        (OPENED + b"HTTP/1.1 200 OK\r\n\r\n", "protocol", "more than the head"),
    ],
)
@on_both_loops
async def test_a_proxy_that_says_anything_but_yes(answer: bytes, kind: str, words: str) -> None:
    outcome = await call_through(saying(answer))
    failed(outcome, kind, "no way through the proxy 127.0.0.1:", words, written=False)
    assert "hook.example:80" in str(outcome.error)
    assert outcome.status is None
    assert outcome.error is not None
    assert outcome.error.isprintable()


@pytest.mark.parametrize(
    ("sent", "reset", "words"),
    [
        (b"", False, "closed the connection without an answer"),
        (b"", True, "reset the connection without an answer"),
        (b"HTTP/1.1 2", False, "closed the connection inside its answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False, "closed the connection inside its answer"),
    ],
)
@on_both_loops
async def test_a_proxy_that_hangs_up(sent: bytes, reset: bool, words: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        if sent:
            peer.send(sent)
        if reset:
            peer.reset()

    failed(await call_through(script), "connection", "the proxy", words, written=False)


@on_both_loops
async def test_a_proxy_that_speaks_or_closes_before_it_is_asked() -> None:
    async def banner(peer: Peer) -> None:
        peer.send(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    async def closing(peer: Peer) -> None:
        pass

    for script in (banner, closing):
        outcome = await call_through(script)
        assert outcome.error_kind in {"connection", "protocol"}
        assert "the proxy" in str(outcome.error)
        assert not outcome.request_written


@on_both_loops
async def test_a_proxy_that_is_not_there() -> None:
    port = unused()
    for host, words in (
        ("127.0.0.1", f"the proxy 127.0.0.1:{port}: connection refused"),
        ("proxy.example", "(127.0.0.9)"),
    ):
        rules = ProxyRules.read(f"http://{LOGIN}@{host}:{port}", "")
        async with calling(proxies=rules, resolver=Fixed("127.0.0.9")) as client:
            outcome = hidden(await client.call(request("https://hook.example/")))
            failed(outcome, "connection", "cannot connect to the proxy", words, written=False)


@on_both_loops
async def test_a_proxy_whose_name_does_not_exist() -> None:
    rules = ProxyRules.read(f"http://{LOGIN}@nowhere.invalid:3128", "")
    async with calling(proxies=rules) as client:
        outcome = hidden(await client.call(request("http://hook.example/")))
        failed(outcome, "dns", "the proxy, nowhere.invalid", "TOCSIN_PROXY", written=False)


async def dripping(peer: Peer) -> None:
    """Say yes, but a byte at a time, and never the whole of it."""
    await peer.head()
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 60_000:
        peer.send(bytes([byte]))
        await peer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("script", [holding(), dripping, saying(b"HTTP/1.1 100 Continue\r\n\r\n")])
@on_both_loops
async def test_a_proxy_that_takes_its_time(script: Script) -> None:
    async with serving(script) as server:
        waiting = f"waiting for the proxy 127.0.0.1:{server.port} to connect to hook.example:443"

        async def call(seconds: float) -> HttpOutcome:
            async with calling(proxies=through(server)) as client:
                outcome = await client.call(request("https://hook.example/", timeout=seconds))
                while client.open_connections:
                    await asyncio.sleep(0)
                return hidden(outcome)

        async def connect(seconds: float) -> HttpOutcome:
            async with calling(proxies=through(server), connect_timeout=seconds) as client:
                outcome = await client.call(request("https://hook.example/"))
                while client.open_connections:
                    await asyncio.sleep(0)
                return hidden(outcome)

        for within, what in ((call, "no answer"), (connect, "no connection")):
            outcome = await timed_out(within, what, waiting, written=False)
            assert outcome.timings.proxy_ms is not None


@on_both_loops
async def test_a_proxy_that_cannot_be_connected_to() -> None:
    with full() as port:
        rules = ProxyRules.read(f"http://127.0.0.1:{port}", "")
        async with calling(proxies=rules, connect_timeout=0.1) as client:
            outcome = await client.call(request("http://hook.example/"))
            failed(outcome, "timeout", f"connecting to the proxy 127.0.0.1:{port}", written=False)


@on_both_loops
async def test_an_endless_answer_to_connect() -> None:
    async def endless(peer: Peer) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            peer.send(b"X-Filler: " + b"x" * 1000 + b"\r\n")
            await peer.drain()

    outcome = await call_through(endless)
    assert outcome.error_kind == "protocol"
    assert "the proxy" in str(outcome.error)


@pytest.mark.parametrize("closing", [False, True])
@on_both_loops
async def test_giving_up_while_the_proxy_connects(closing: bool) -> None:
    asked = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.gone()

    async with serving(silent) as server, calling(proxies=through(server)) as client:
        call = asyncio.create_task(client.call(request("https://hook.example/")))
        await asked.wait()
        assert client.open_connections == 1
        if closing:
            await client.close()
            assert client.open_connections == 0
            failed(await call, "cancelled", written=False)
        else:
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await server.closed.wait()


@on_both_loops
async def test_cancelling_at_any_moment_leaves_nothing() -> None:
    proxy = ConnectProxy()
    async with (
        serving(tls=certified("127.0.0.1")) as target,
        serving(proxy) as server,
        calling(proxies=through(server), max_connections_per_origin=1) as client,
    ):
        for turns in range(40):
            call = asyncio.create_task(client.call(request(target.url())))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        answered(await client.call(request(target.url())))


@on_both_loops
async def test_tls_that_fails_inside_of_a_tunnel() -> None:
    async def plain(peer: Peer) -> None:
        await peer.some()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def ending(peer: Peer) -> None:
        await peer.some()

    cases: list[tuple[ssl.SSLContext | None, Script, str, str]] = [
        (certified("127.0.0.1", expired=True), polite, "tls", "renew it"),
        (certified("other.example"), polite, "tls", "IP address mismatch"),
        (None, plain, "tls", "does not speak TLS"),
        (None, ending, "connection", "TLS handshake"),
        (None, holding(), "timeout", "TLS handshake"),
    ]
    for tls, script, kind, words in cases:
        async with (
            serving(script, tls=tls) as target,
            serving(ConnectProxy()) as server,
            calling(proxies=through(server)) as client,
        ):
            url = f"https://127.0.0.1:{target.port}/"

            async def call(
                seconds: float, client: HttpClient = client, url: str = url
            ) -> HttpOutcome:
                return hidden(await client.call(request(url, timeout=seconds)))

            if kind == "timeout":
                outcome = await timed_out(call, words, f"127.0.0.1:{target.port}", written=False)
            else:
                outcome = await call(30)
                failed(outcome, kind, words, f"127.0.0.1:{target.port}", written=False)
            assert outcome.timings.proxy_ms is not None


@on_both_loops
async def test_failures_behind_a_tunnel_name_target_and_proxy() -> None:
    async with (
        serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")) as target,
        serving(ConnectProxy()) as server,
        calling(proxies=through(server)) as client,
    ):
        outcome = hidden(await client.call(request(target.url())))
        places = f"127.0.0.1:{target.port} (through the proxy 127.0.0.1:{server.port})"
        failed(outcome, "connection", places, "after 3 of 9 bytes", written=True)


@on_both_loops
async def test_a_target_that_speaks_first_through_a_tunnel() -> None:
    async def banner(peer: Peer) -> None:
        peer.send(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    async with (
        serving(banner) as target,
        serving(ConnectProxy()) as server,
        calling(proxies=through(server)) as client,
    ):
        outcome = await client.call(request(target.url()))
        assert outcome.error_kind == "protocol"


@on_both_loops
async def test_the_guard_is_asked_about_what_can_be_known_and_never_about_the_proxy() -> None:
    proxy = ConnectProxy(names={"hook.example": "127.0.0.1"})
    rules = Rules()
    async with (
        serving() as target,
        serving(proxy) as server,
        calling(proxies=through(server), guard=rules) as client,
    ):
        port = target.port
        for host in ("hook.example", "hook.example", "127.0.0.1", "0x7f.1"):
            answered(await client.call(request(f"http://{host}:{port}/")))
        assert rules.asked == [
            ("hook.example", port, ""),
            ("hook.example", port, ""),
            ("127.0.0.1", port, "127.0.0.1"),
            ("0x7f.1", port, "127.0.0.1"),
        ]
        # The proxy is asked for the address that was checked, not for another spelling of it.
        assert proxy.targets == [f"hook.example:{port}"] + [f"127.0.0.1:{port}"] * 2


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "2130706433", "127.1", "0177.0.0.1."])
@on_both_loops
async def test_no_spelling_of_a_blocked_address_reaches_the_proxy(host: str) -> None:
    proxy = ConnectProxy()
    async with (
        serving(proxy) as server,
        calling(proxies=through(server), guard=Rules("127.0.0.1")) as client,
    ):
        outcome = await client.call(request(f"http://{host}/"))
        failed(outcome, "blocked", "127.0.0.1 is private", written=False)
        assert (proxy.heads, server.connections) == ([], 0)


@on_both_loops
async def test_a_new_rule_holds_for_tunnels_that_are_open() -> None:
    rules = Rules()
    async with (
        serving() as target,
        serving(ConnectProxy(names={"hook.example": "127.0.0.1"})) as server,
        calling(proxies=through(server), guard=rules) as client,
    ):
        url = f"http://hook.example:{target.port}/"
        answered(await client.call(request(url)))
        rules.blocked.add("")
        outcome = await client.call(request(url))
        failed(outcome, "blocked", f"the call to hook.example:{target.port} is", written=False)
        assert client.idle_connections == 0


@on_both_loops
async def test_many_calls_through_proxies_of_all_sorts_leak_nothing() -> None:
    honest = ConnectProxy()
    scripts: list[Script] = [
        honest,
        answering(),
        saying(b"HTTP/1.1 502 No\r\n\r\n"),
        saying(b"garbage\r\n\r\n"),
        saying(OPENED + b"x"),
        saying(OPENED),
        honest,
    ]

    async def mixed(peer: Peer) -> None:
        await scripts[peer.number % len(scripts)](peer)

    async with (
        serving(polite, answering(OK), tls=certified("127.0.0.1")) as target,
        serving(mixed) as server,
        calling(proxies=through(server), max_connections_per_origin=4) as client,
    ):
        outcomes = await asyncio.gather(
            *(
                client.call(request(target.url(), timeout=1.0, fresh_connection=i % 3 == 0))
                for i in range(80)
            )
        )
        kinds = {outcome.error_kind for outcome in outcomes}
        assert kinds <= {None, "connection", "protocol", "timeout"}
        assert None in kinds
        assert client.open_connections <= 4
