"""Connections to a real PostgreSQL by TLS, as the URL asks for it."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import trustme

from tests.support.postgres_tls import TlsPostgres
from tocsin import databases
from tocsin.domain.errors import StoreUnavailable
from tocsin.store.postgres import Notices, PostgresStore, check


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPostgres]:
    made = TlsPostgres(tmp_path_factory.mktemp("tls")).start()
    yield made
    made.remove()


def trusting(server: TlsPostgres, mode: str = "verify-full") -> str:
    return server.by("postgres", sslmode=mode, sslrootcert=str(server.authority))


def connections(server: TlsPostgres) -> list[tuple[str, bool, str]]:
    """What the server says of all who are connected, but for who asks."""
    with psycopg.connect(trusting(server)) as asking:
        return asking.execute(
            "SELECT application_name, ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING "
            "(pid) WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchall()


async def test_a_store_and_its_notices_connect_by_tls(server: TlsPostgres) -> None:
    url = trusting(server)
    databases.migrate(url)
    store, notices = PostgresStore(url, prepare=True, stall=5_000), Notices(url)
    await store.open()
    await store.ping()
    heard = asyncio.Event()
    notices.receive = lambda _message: heard.set()
    await notices.start()
    while not heard.is_set():
        # What is sent before the listener has connected is lost: a notice is a hint.
        await notices.send(b"hello")
        with suppress(TimeoutError):
            await asyncio.wait_for(heard.wait(), timeout=0.1)
    found = connections(server)
    assert len(found) >= 3, "the store, and who listens and who tells"
    assert all(secure for _, secure, _ in found), found
    assert {version for _, _, version in found} <= {"TLSv1.2", "TLSv1.3"}
    await notices.stop()
    await store.close()


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_certificate_of_a_stranger_is_not_believed(
    server: TlsPostgres, tmp_path: Path, mode: str
) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        check(server.by("postgres", sslmode=mode, sslrootcert=str(stranger)))
    # `require` encrypts, and does not look at who it is that answers.
    check(server.by("postgres", sslmode="require"))


def test_another_name_than_the_certificates_is_refused(server: TlsPostgres) -> None:
    named = trusting(server).replace("@127.0.0.1:", "@localhost:")
    with pytest.raises(StoreUnavailable, match=r"does not match host name"):
        check(named)
    # The authority alone is right, whatever the name.
    check(named.replace("verify-full", "verify-ca"))


def test_without_tls_it_is_not_spoken_to(server: TlsPostgres) -> None:
    with pytest.raises(StoreUnavailable, match=r"no encryption|pg_hba"):
        check(server.by("postgres", sslmode="disable"))


def test_by_default_tls_is_taken_where_it_is_offered(server: TlsPostgres) -> None:
    with psycopg.connect(server.url()) as asking:
        assert asking.pgconn.ssl_in_use
