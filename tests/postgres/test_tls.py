"""Connections to PostgreSQL by TLS, as the URL asks for it."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.postgres import new_database, shared_server
from tests.support.postgres_tls import TlsFront, tls_front
from tocsin.domain.errors import StoreUnavailable
from tocsin.store.postgres import Notices, PostgresStore, check


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def front() -> Iterator[TlsFront]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    with tls_front(shared_server().port, context) as made:
        yield made


AUTHORITY = trustme.CA()


def url_by(front: TlsFront, query: str) -> str:
    name = new_database().rpartition("/")[2]
    return f"postgresql://postgres@127.0.0.1:{front.port}/{name}?{query}"


async def test_a_store_and_its_notices_connect_by_tls(front: TlsFront, authority: Path) -> None:
    url = url_by(front, f"sslmode=verify-full&sslrootcert={authority}")
    check(url)
    store, notices = PostgresStore(url, prepare=True, stall=5_000), Notices(url)
    await store.open()
    await store.ping()
    before = front.secured
    await notices.send(b"hello")
    assert front.secured == before + 1
    assert before >= 2
    await notices.stop()
    await store.close()


@pytest.mark.parametrize("query", ["sslmode=disable", "sslmode=verify-full"])
def test_what_does_not_fit_is_refused(front: TlsFront, tmp_path: Path, query: str) -> None:
    """Without TLS the server hangs up; a certificate of a stranger is not believed."""
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    with pytest.raises(StoreUnavailable):
        check(url_by(front, f"{query}&sslrootcert={stranger}"))


def test_another_name_than_the_certificates_is_refused(front: TlsFront, authority: Path) -> None:
    url = url_by(front, f"sslmode=verify-full&sslrootcert={authority}")
    with pytest.raises(StoreUnavailable, match=r"localhost|certificate"):
        check(url.replace("127.0.0.1", "localhost"))
