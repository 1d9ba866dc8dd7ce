"""Attacks on the egress guard, through the client that makes the calls."""

import pytest
from hostile_server import answered, calling, failed, holding, on_both_loops, request, serving
from tests.support.lying_dns import LyingServer, victim

from tocsin.delivery.http import EgressGuard, SystemResolver
from tocsin.domain.egress import EgressRules

DEFAULT = EgressRules()
NEIGHBOUR = EgressRules.read(allow="127.0.0.2")
"""Stands for a public address: what is there may be called, its neighbour 127.0.0.1 may not."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def to(location: str) -> bytes:
    return f"HTTP/1.1 307 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1"),
        *("017700000001", "127.0.0.1.", "0x7F.0.0.0x1", "localhost", "LOCALHOST", "localhost."),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "0"),
        *("0.0.0.0", "[::]", "[::127.0.0.1]", "127.0.0.53"),
        # Full-width digits, circled digits and an ideographic full stop: IDNA makes them plain.
        *("\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.0.0.1", "127\u30020\u30020\u30021"),
        "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    ],
)
async def test_no_spelling_of_loopback_gets_through(host: str) -> None:
    with victim() as (port, reached):
        async with calling(guard=EgressGuard(DEFAULT)) as client:
            outcome = await client.call(request(f"http://{host}:{port}/"))
        if outcome.error_kind != "dns":  # some systems do not know some spellings: as good
            failed(outcome, "blocked", "is blocked: ", "TOCSIN_EGRESS_ALLOW", written=False)
    assert reached == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}@127.0.0.1:{port}/",
        "http://example.com%40127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@example.com/",
        "http://127.0.0.1%00.example.com:{port}/",
        "http://127.0.0.1 .example.com:{port}/",
        "http://127.0.0.1\t:{port}/",
        "http:127.0.0.1:{port}/",
        "http:/127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "gopher://127.0.0.1:{port}/_",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/",
        "unix:///var/run/docker.sock",
        "http://[::1%25lo]:{port}/",
        "http://127.0.0.1:{port}#@example.com/",
        "http://127.0.0.1:{port}/\r\nHost: example.com",
    ],
)
async def test_no_trick_of_the_url_gets_through(url: str) -> None:
    with victim() as (port, reached):
        async with calling(guard=EgressGuard(DEFAULT)) as client:
            outcome = await client.call(request(url.format(port=port)))
        assert outcome.error_kind in {"protocol", "blocked", "dns"}, outcome.error
        assert not outcome.request_written
    assert reached == []


@on_both_loops
async def test_a_lying_name_server_cannot_swap_the_address_after_the_check() -> None:
    """Each lookup gives another address; the one that was checked is the one connected to."""
    async with serving(holding(*[OK] * 20), host="127.0.0.2") as server:
        with LyingServer(["127.0.0.2"], ["127.0.0.1"]) as dns, victim() as (port, reached):
            resolver = SystemResolver(ttl=0, lookup=dns.lookup)
            async with calling(
                guard=EgressGuard(NEIGHBOUR), resolver=resolver, max_idle=0
            ) as client:
                for _ in range(6):
                    good = await client.call(request(f"http://rebind.example:{server.port}/"))
                    answered(good)
                    bad = await client.call(request(f"http://rebind.example:{port}/"))
                    failed(bad, "blocked", "(127.0.0.1) is blocked: ", written=False)
            await resolver.close()
            assert dns.asked == 12
            assert reached == []
        assert len(server.seen) == 6


async def test_of_several_addresses_only_the_allowed_are_tried() -> None:
    with LyingServer(["127.0.0.1", "10.0.0.1", "169.254.169.254"]) as dns, victim() as (port, hit):
        resolver = SystemResolver(ttl=0, lookup=dns.lookup)
        async with calling(guard=EgressGuard(NEIGHBOUR), resolver=resolver) as client:
            outcome = await client.call(request(f"http://many.example:{port}/"))
            failed(outcome, "blocked", "(127.0.0.1)", written=False)
        await resolver.close()
        assert hit == []
    async with serving(holding(OK), host="127.0.0.2") as server:
        with LyingServer(["169.254.169.254", "127.0.0.1", "127.0.0.2"]) as dns:
            resolver = SystemResolver(ttl=0, lookup=dns.lookup)
            async with calling(guard=EgressGuard(NEIGHBOUR), resolver=resolver) as client:
                answered(await client.call(request(f"http://many.example:{server.port}/")))
            await resolver.close()
        assert server.connections == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/latest/",
        "http://0xa9fea9fe/latest/",
        "http://127.0.0.1:{port}/admin",
        "//127.0.0.1:{port}/admin",
        "http://localhost:{port}/admin",
        "http://[::1]:{port}/admin",
        "http://127\u30020.0.1:{port}/admin",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1:7f00:0:100::]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://100.100.100.200/latest/meta-data/",
    ],
)
@on_both_loops
async def test_a_redirect_to_what_is_forbidden_is_blocked(location: str) -> None:
    with victim() as (port, reached):
        async with serving(holding(to(location.format(port=port))), host="127.0.0.2") as server:
            async with calling(guard=EgressGuard(NEIGHBOUR)) as client:
                outcome = await client.call(request(server.url(), redirects=5))
            failed(outcome, "blocked", "is blocked: ", written=True)
            assert outcome.excerpt == ""
    assert reached == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://127.0.0.1:6379/_INFO"])
async def test_a_redirect_to_another_scheme_is_not_followed(location: str) -> None:
    async with serving(holding(to(location)), host="127.0.0.2") as server:
        async with calling(guard=EgressGuard(NEIGHBOUR)) as client:
            outcome = await client.call(request(server.url(), redirects=5))
        failed(outcome, "redirect", written=True)


async def test_a_rule_that_changed_holds_on_pooled_connections() -> None:
    class Changing:
        rules = NEIGHBOUR

        def check(self, host: str, port: int, address: str) -> str | None:
            return self.rules.why_forbidden(host, port, address)

    guard = Changing()
    async with (
        serving(holding(OK, OK), host="127.0.0.2") as server,
        calling(guard=guard) as client,
    ):
        answered(await client.call(request(server.url())))
        assert client.idle_connections == 1
        guard.rules = DEFAULT
        failed(await client.call(request(server.url())), "blocked", written=False)
        assert server.connections == 1
        assert len(server.seen) == 1


async def test_a_call_that_is_begun_without_a_task_asks_the_guard_too() -> None:
    class Changing:
        rules = NEIGHBOUR

        def check(self, host: str, port: int, address: str) -> str | None:
            return self.rules.why_forbidden(host, port, address)

    guard = Changing()
    async with (
        serving(holding(OK, OK), host="127.0.0.2") as server,
        calling(guard=guard) as client,
    ):
        answered(await client.call(request(server.url())))
        guard.rules = DEFAULT
        begun = client.start(
            client.head("POST", server.url(), []),
            b"",
            b"",
            timeout=5.0,
            max_body=1,
            excerpt=1,
            may_send=lambda: True,
            ended=lambda _: pytest.fail("it was called"),
        )
        assert begun is None
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    "headers",
    [
        [("X-A", "b\r\nHost: evil.example")],
        [("X-A", "b\nX-B: c")],
        [("X-A\r\nX-B", "c")],
        [("X-A: b\r\nX-B", "c")],
        [("X A", "c")],
        [("Transfer-Encoding", "chunked")],
        [("Content-Length", "0")],
        [("Connection", "keep-alive, X-A")],
    ],
)
async def test_no_header_smuggles_another_request(headers: list[tuple[str, str]]) -> None:
    async with (
        serving(holding(OK), host="127.0.0.2") as server,
        calling(guard=EgressGuard(NEIGHBOUR)) as client,
    ):
        outcome = await client.call(request(server.url(), headers=headers))
        failed(outcome, "protocol", written=False)
        assert server.seen == []
