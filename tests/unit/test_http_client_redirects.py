"""Redirects on real sockets; the rules themselves are in test_http_client_parts."""

from dataclasses import replace

import pytest
from hostile_server import (
    OK,
    Peer,
    answered,
    answering,
    calling,
    certified,
    failed,
    holding,
    on_both_loops,
    request,
    serving,
    timed_out,
)

from tocsin.delivery.http import HttpOutcome


def to(location: str, status: int = 302, body: bytes = b"moved") -> bytes:
    return (
        f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@on_both_loops
async def test_a_redirect_that_is_not_followed_is_the_result() -> None:
    async with serving(holding(to("/new"))) as server, calling() as client:
        outcome = answered(await client.call(request(server.url())), 302)
        assert outcome.location == "/new"
        assert outcome.excerpt == "moved"
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        (301, "GET", b""),
        (302, "GET", b""),
        (303, "GET", b""),
        (307, "POST", b"{}"),
        (308, "POST", b"{}"),
    ],
)
@on_both_loops
async def test_a_redirect_is_followed_on_the_same_connection(
    status: int, method: str, body: bytes
) -> None:
    async with serving(holding(to("/new?x", status), OK)) as server, calling() as client:
        outcome = answered(await client.call(request(server.url("/old"), redirects=1)))
        assert outcome.excerpt == "ok"
        second = server.seen[1]
        assert (second.method, second.target, second.body) == (method, "/new?x", body)
        assert server.connections == 1


@on_both_loops
async def test_redirects_are_bounded() -> None:
    async with serving(holding(*[to("/again")] * 9)) as server, calling() as client:
        outcome = await client.call(request(server.url(), redirects=3))
        failed(outcome, "redirect", "once more, after 3 redirects", str(server.port), written=True)
        assert outcome.status == 302
        assert outcome.location == "/again"
        assert len(server.seen) == 4


@pytest.mark.parametrize("location", ["", "ftp://x/", "http://u:secret@x/", "http://[/"])
@on_both_loops
async def test_a_redirect_to_nowhere(location: str) -> None:
    async with serving(holding(to(location))) as server, calling() as client:
        outcome = await client.call(request(server.url(), redirects=3))
        failed(outcome, "redirect", str(server.port), written=True)
        assert outcome.status == 302
        assert "secret" not in str(outcome.error)


@on_both_loops
async def test_a_redirect_without_a_location() -> None:
    answer = b"HTTP/1.1 302 Moved\r\nContent-Length: 0\r\n\r\n"
    async with serving(holding(answer)) as server, calling() as client:
        outcome = await client.call(request(server.url(), redirects=3))
        failed(outcome, "redirect", "does not say where", written=True)


@on_both_loops
async def test_other_3xx_answers_are_results() -> None:
    answer = b"HTTP/1.1 300 Choose\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    async with serving(holding(answer)) as server, calling() as client:
        answered(await client.call(request(server.url(), redirects=3)), 300)


@on_both_loops
async def test_credentials_stay_with_their_origin() -> None:
    secret = [("Authorization", "Bearer s"), ("Cookie", "s=1"), ("X-Team", "ops")]
    secret += [("X-Api-Key", "k"), ("X-Vault-Token", "t")]
    async with (
        serving(holding(OK)) as other,
        serving(holding(to("/here", 307), to(other.url("/there"), 307))) as server,
        calling() as client,
    ):
        answered(await client.call(request(server.url(), redirects=2, headers=secret)))
        assert server.seen[1].header("Authorization") == "Bearer s"
        assert server.seen[1].header("Cookie") == "s=1"
        assert server.seen[1].header("X-Api-Key") == "k"
        arrived = other.seen[0]
        assert arrived.header("Authorization") is None
        assert arrived.header("Cookie") is None
        assert arrived.header("X-Api-Key") is None
        assert arrived.header("X-Vault-Token") is None
        assert arrived.header("X-Team") == "ops"
        assert arrived.header("Host") == f"127.0.0.1:{other.port}"
        assert arrived.body == b"{}"


@on_both_loops
async def test_a_redirect_into_tls_is_followed_but_not_out_of_it() -> None:
    async with (
        serving(holding(OK)) as plain,
        serving(holding(to(plain.url())), tls=certified("127.0.0.1")) as encrypted,
        serving(holding(to(encrypted.url()))) as start,
        calling() as client,
    ):
        outcome = await client.call(request(start.url(), redirects=5))
        failed(outcome, "redirect", "https to http", str(encrypted.port), written=True)
        assert len(encrypted.seen) == 1
        assert plain.connections == 0


@on_both_loops
async def test_every_hop_of_at_most_once_has_a_connection_of_its_own() -> None:
    async def one_each(peer: Peer) -> None:
        await holding(to("/b", 307) if peer.number == 0 else OK)(peer)

    async with serving(one_each) as server, calling() as client:
        answered(await client.call(request(server.url("/a"), redirects=1, fresh_connection=True)))
        assert [seen.connection for seen in server.seen] == [0, 1]
        assert all(seen.header("Connection") == "close" for seen in server.seen)


@on_both_loops
async def test_the_deadline_covers_all_hops() -> None:
    async with serving(holding(to("/1"), to("/2"))) as server, calling() as client:

        async def call(seconds: float) -> HttpOutcome:
            server.seen.clear()
            outcome = await client.call(request(server.url(), redirects=5, timeout=seconds))
            # Where there was not even the time for two.
            return outcome if len(server.seen) == 2 else replace(outcome, error=None)

        outcome = await timed_out(call, "first byte", written=True)
        assert outcome.status is None
        assert len(server.seen) == 2


@on_both_loops
async def test_a_hop_that_fails_after_a_written_request_counts_as_written() -> None:
    async with (
        serving(answering(to("http://nowhere.invalid/"))) as server,
        calling(resolver=Nowhere()) as client,
    ):
        outcome = await client.call(request(server.url(), redirects=5))
        failed(outcome, "dns", "nowhere.invalid", written=True)
        assert outcome.status is None


class Nowhere:
    async def resolve(self, host: str) -> list[str]:
        raise OSError("no such name")
