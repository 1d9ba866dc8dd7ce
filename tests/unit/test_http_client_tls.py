"""TLS: whom the client believes, and what it says when it does not."""

import asyncio
import socket
import ssl
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from hostile_server import (
    OK,
    HostileServer,
    Peer,
    answered,
    answering,
    authority,
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

from tocsin.delivery.http import ResumingContext, system_context


class Local:
    """Every name is this machine."""

    async def resolve(self, host: str) -> list[str]:
        return ["127.0.0.1"]


def named(server: HostileServer, host: str) -> str:
    return f"https://{host}:{server.port}/"


@on_both_loops
async def test_a_certificate_for_a_name_and_for_an_address() -> None:
    context = certified("hook.example", "127.0.0.1")
    async with serving(tls=context) as server, calling(resolver=Local()) as client:
        for url in (named(server, "hook.example"), server.url(), named(server, "hook.example.")):
            outcome = answered(await client.call(request(url)))
            assert outcome.excerpt == "ok"
            assert outcome.timings.tls_ms is not None
            assert outcome.timings.tls_ms > 0
        outcome = answered(await client.call(request(server.url())))
        assert outcome.timings.tls_ms is None
        assert server.connections == 3


@on_both_loops
async def test_the_name_is_sent_and_http_1_1_agreed_on() -> None:
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("hook.example", "127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda tls, name, _: names.append(name)
    agreed = []

    async def noting(peer: Peer) -> None:
        agreed.append(peer.info("ssl_object").selected_alpn_protocol())
        await polite(peer)

    async with serving(noting, tls=context) as server, calling(resolver=Local()) as client:
        answered(await client.call(request(named(server, "hook.example"))))
        answered(await client.call(request(server.url())))
    assert names == ["hook.example", None]
    assert agreed == ["http/1.1", "http/1.1"]


@on_both_loops
async def test_a_certificate_for_another_host() -> None:
    context = certified("other.example")
    async with serving(tls=context) as server, calling(resolver=Local()) as client:
        outcome = await client.call(request(named(server, "hook.example")))
        failed(outcome, "tls", f"hook.example:{server.port}", "Hostname mismatch", written=False)
        outcome = await client.call(request(server.url()))
        failed(outcome, "tls", "127.0.0.1", "IP address mismatch", written=False)
        assert not server.seen


@on_both_loops
async def test_an_expired_certificate() -> None:
    async with serving(tls=certified("127.0.0.1", expired=True)) as server, calling() as client:
        outcome = await client.call(request(server.url()))
        failed(outcome, "tls", "expired", "renew it", str(server.port), written=False)


@on_both_loops
async def test_a_certificate_of_an_unknown_authority() -> None:
    context = certified("127.0.0.1", ca=trustme.CA())
    async with serving(tls=context) as server, calling() as client:
        outcome = await client.call(request(server.url()))
        failed(outcome, "tls", "issuer", "trust store", written=False)


@on_both_loops
async def test_a_self_signed_certificate() -> None:
    async with serving(tls=self_signed()) as server, calling() as client:
        outcome = await client.call(request(server.url()))
        failed(outcome, "tls", "self-signed", "trust store", written=False)


def self_signed() -> ssl.SSLContext:
    """An authority's own certificate, served as if it were a host's."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with (
        ca.cert_pem.tempfile() as certificate,
        ca.private_key_pem.tempfile() as key,
    ):
        context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize(
    ("alert", "words"),
    [(40, "handshake failure"), (70, "protocol version"), (112, "unrecognized name")],
)
@on_both_loops
async def test_an_alert(alert: int, words: str) -> None:
    async def alerting(peer: Peer) -> None:
        await peer.some()
        peer.send(b"\x15\x03\x03\x00\x02\x02" + bytes([alert]))

    async with serving(alerting) as server, calling() as client:
        outcome = await client.call(request(f"https://127.0.0.1:{server.port}/"))
        failed(outcome, "tls", words, str(server.port), written=False)


def refusing(context: ssl.SSLContext, listening: socket.socket) -> None:
    """Serve a connection by OpenSSL as other servers do: asyncio's servers send no alerts."""
    sock, _ = listening.accept()
    with sock.dup() as copy, suppress(OSError):
        with suppress(OSError):
            context.wrap_socket(sock, server_side=True).close()
        # To close with something unread would be a reset, which may overtake the alert.
        copy.shutdown(socket.SHUT_WR)
        while copy.recv(1_000):
            pass


def only(low: ssl.TLSVersion, high: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1").configure_cert(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")  # else it would not even offer the old ones
        context.minimum_version, context.maximum_version = low, high
    return context


def demanding(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Wants to see the client's certificate."""
    context = only(version, version)
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    return context


def with_one_old_cipher() -> ssl.SSLContext:
    context = only(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    return context


@pytest.mark.parametrize(
    ("context", "words", "written"),
    [
        (
            lambda: only(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1),
            "neither TLS 1.2 nor 1.3",
            False,
        ),
        (with_one_old_cipher, "no cipher in common", False),
        (lambda: demanding(ssl.TLSVersion.TLSv1_2), "demands a client certificate", False),
        # The handshake is over for the client when the server objects, and the request is sent.
        (lambda: demanding(ssl.TLSVersion.TLSv1_3), "demands a client certificate", True),
    ],
)
@on_both_loops
async def test_a_server_that_wants_what_the_client_does_not_have(
    context: Callable[[], ssl.SSLContext], words: str, written: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving_one = asyncio.create_task(asyncio.to_thread(refusing, context(), listening))
        async with calling() as client:
            port = listening.getsockname()[1]
            outcome = await client.call(request(f"https://127.0.0.1:{port}/"))
            failed(outcome, "tls", f"127.0.0.1:{port}", words, written=written)
            assert outcome.status is None
        await serving_one


@on_both_loops
async def test_a_certificate_that_is_not_valid_yet() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    later = datetime.now(UTC) + timedelta(days=2)
    authority().issue_cert(
        "127.0.0.1", not_before=later, not_after=later + timedelta(days=1)
    ).configure_cert(context)
    async with serving(tls=context) as server, calling() as client:
        outcome = await client.call(request(server.url()))
        failed(outcome, "tls", "not yet valid", "check the clocks", written=False)


@pytest.mark.parametrize("record", [b"\x17\x03\x03\x00\x20" + b"x" * 32, b"plain text", b"\x00"])
@on_both_loops
async def test_garbage_where_tls_records_are_due(record: bytes) -> None:
    """A peer, or somebody between, that writes past the encryption."""

    def wrapping(listening: socket.socket) -> None:
        sock, _ = listening.accept()
        copy = sock.dup()
        with copy, certified("127.0.0.1").wrap_socket(sock, server_side=True) as tls:
            tls.recv(100)
            copy.sendall(record * 3)
            copy.shutdown(socket.SHUT_WR)
            while copy.recv(100):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving_one = asyncio.create_task(asyncio.to_thread(wrapping, listening))
        async with calling() as client:
            port = listening.getsockname()[1]
            outcome = await client.call(request(f"https://127.0.0.1:{port}/"))
            assert outcome.error_kind in {"tls", "connection"}
            assert (outcome.status, outcome.excerpt) == (None, "")
            assert f"127.0.0.1:{port}" in str(outcome.error)
        await serving_one


@on_both_loops
async def test_plain_http_on_the_port() -> None:
    async def plain(peer: Peer) -> None:
        await peer.some()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(plain) as server, calling() as client:
        outcome = await client.call(request(f"https://127.0.0.1:{server.port}/"))
        failed(outcome, "tls", "does not speak TLS", "http://", written=False)


@on_both_loops
async def test_tls_on_a_port_called_with_plain_http() -> None:
    async with serving(tls=certified("127.0.0.1")) as server, calling() as client:
        outcome = await client.call(request(f"http://127.0.0.1:{server.port}/"))
        assert outcome.error_kind in {"protocol", "connection"}
        assert outcome.request_written


@pytest.mark.parametrize("reset", [False, True])
@on_both_loops
async def test_a_connection_that_ends_in_the_handshake(reset: bool) -> None:
    async def ending(peer: Peer) -> None:
        await peer.some()
        if reset:
            peer.reset()

    async with serving(ending) as server, calling() as client:
        outcome = await client.call(request(f"https://127.0.0.1:{server.port}/"))
        assert outcome.error_kind in {"connection", "tls"}
        assert str(server.port) in str(outcome.error)
        assert not outcome.request_written


@on_both_loops
async def test_a_handshake_that_never_ends() -> None:
    async with serving(holding()) as server, calling() as client:
        outcome = await timed_out(
            lambda seconds: client.call(
                request(f"https://127.0.0.1:{server.port}/", timeout=seconds)
            ),
            "TLS handshake",
            written=False,
        )
        assert outcome.timings.tls_ms is not None
        await server.closed.wait()
        assert client.open_connections == 0


@on_both_loops
async def test_cancelling_in_the_handshake() -> None:
    reached = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.some()
        reached.set()
        await peer.gone()

    async with serving(silent) as server, calling() as client:
        call = asyncio.create_task(client.call(request(f"https://127.0.0.1:{server.port}/")))
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.closed.wait()


@on_both_loops
async def test_closing_the_client_in_the_handshake() -> None:
    reached = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.some()
        reached.set()
        await peer.gone()

    async with serving(silent) as server, calling() as client:
        call = asyncio.create_task(client.call(request(f"https://127.0.0.1:{server.port}/")))
        await reached.wait()
        await client.close()
        failed(await call, "cancelled", written=False)
        assert client.open_connections == 0


@on_both_loops
async def test_answers_over_tls_that_end_early_or_without_a_length() -> None:
    endings = [
        answering(b"HTTP/1.1 200 OK\r\n\r\nall"),
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
        answering(b""),
        answering(OK, b""),
        polite,
    ]
    async with serving(*endings, tls=certified("127.0.0.1")) as server, calling() as client:
        outcome = answered(await client.call(request(server.url())))
        assert outcome.excerpt == "all"
        outcome = await client.call(request(server.url()))
        failed(outcome, "connection", "3 of 9", written=True)
        outcome = await client.call(request(server.url()))
        failed(outcome, "connection", "before it answered", written=True)
        answered(await client.call(request(server.url())))
        outcome = await client.call(request(server.url()))
        failed(outcome, "connection", "before it answered", written=True)
        answered(await client.call(request(server.url())))
        assert server.connections == 5


@on_both_loops
async def test_a_large_body_over_tls_and_an_early_answer() -> None:
    async def early(peer: Peer) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    async with serving(polite, early, tls=certified("127.0.0.1")) as server, calling() as client:
        body = b"x" * 3_000_000
        answered(await client.call(request(server.url(), body=body, fresh_connection=True)))
        assert server.seen[0].body == body
        answered(await client.call(request(server.url(), body=body * 5)), 413)
        assert client.idle_connections == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@on_both_loops
async def test_a_session_is_resumed_on_the_next_connection(version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1", "hook.example").configure_cert(context)
    context.minimum_version = context.maximum_version = version
    ours = ResumingContext()
    authority().configure_trust(ours)
    resumed = []

    async def noting(peer: Peer) -> None:
        resumed.append(peer.info("ssl_object").session_reused)
        await polite(peer)

    async with (
        serving(noting, tls=context) as server,
        calling(tls_context=ours, resolver=Local()) as client,
    ):
        for url in (server.url(), server.url(), server.url(), named(server, "hook.example")):
            answered(await client.call(request(url, fresh_connection=True)))
    assert resumed == [False, True, True, False]


@on_both_loops
async def test_a_resumed_session_does_not_outlive_trust_in_the_name() -> None:
    """The session of one host is never offered to another."""
    ours = ResumingContext()
    authority().configure_trust(ours)
    context = certified("one.example")
    async with (
        serving(tls=context) as server,
        calling(tls_context=ours, resolver=Local()) as client,
    ):
        answered(await client.call(request(named(server, "one.example"), fresh_connection=True)))
        outcome = await client.call(request(named(server, "two.example")))
        failed(outcome, "tls", "two.example", written=False)


def test_the_system_context_verifies() -> None:
    context = system_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
