"""HTTPS by a real node, and certificates that change under it."""

import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from cryptography import x509

from tests.chaos.conftest import NodeFactory
from tests.support.process import (
    AUTHORIZED,
    KEY,
    Tocsin,
    clean_environment,
    tocsin_command,
    wait_until,
)


class Certified:
    """A node with a certificate for 127.0.0.1."""

    def __init__(self, node: NodeFactory, home: Path) -> None:
        self.authority = trustme.CA()
        self.files = home / "cert.pem", home / "key.pem"
        self.trust = home / "authority.pem"
        self.authority.cert_pem.write_to_path(self.trust)
        self.renew()
        self.context = ssl.create_default_context(cafile=self.trust)
        self.node: Tocsin = node(
            options=("--tls-cert", str(self.files[0]), "--tls-key", str(self.files[1]))
        )
        self.node.start(ready=False)
        self.node.wait_listening()
        self.client = httpx.Client(
            base_url=self.url, verify=self.context, trust_env=False, headers=AUTHORIZED
        )
        wait_until(lambda: self.client.get("/readyz").status_code == 200, "the node is ready")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.node.port}"

    def renew(self, authority: trustme.CA | None = None) -> int:
        """Write another certificate; its serial number."""
        made = (authority or self.authority).issue_cert("127.0.0.1")
        made.private_key_pem.write_to_path(self.files[1])
        chain = made.cert_chain_pems[0]
        chain.write_to_path(self.files[0])
        return x509.load_pem_x509_certificate(chain.bytes()).serial_number

    def serial(self) -> int:
        """The serial number of the certificate that a new connection is shown."""
        with (
            socket.create_connection(("127.0.0.1", self.node.port)) as plain,
            self.context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
            assert shown is not None
            assert secure.version() in {"TLSv1.2", "TLSv1.3"}
            return x509.load_der_x509_certificate(shown).serial_number


@pytest.fixture
def https(node: NodeFactory, tmp_path: Path) -> Iterator[Certified]:
    made = Certified(node, tmp_path)
    yield made
    made.client.close()


def test_the_api_is_served_by_https_only(https: Certified) -> None:
    answer = https.client.get("/api/v1/stats")
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert https.client.get("/api/v1/cluster").json()["nodes"][0]["address"] == https.url
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{https.node.port}/healthz", trust_env=False)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{https.url}/healthz", trust_env=False)  # by somebody who does not trust it


def test_old_versions_of_tls_are_refused(https: Certified) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(https.trust)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", https.node.port)) as plain,
        old.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.version() == "TLSv1.2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", https.node.port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_new_certificate_is_taken_without_dropping_a_connection(https: Certified) -> None:
    before = https.serial()
    with https.client.stream("GET", "/api/v1/events", timeout=60) as events:
        lines = events.iter_lines()
        next(lines)
        renewed = https.renew()
        assert renewed != before
        wait_until(lambda: https.serial() == renewed, "the new certificate is shown")
        # The stream that was open goes on: it tells of what is done now.
        body: dict[str, Any] = {"name": "x", "schedule": {"every": "1d"}, "target": {"log": "x"}}
        assert https.client.post("/api/v1/jobs", json=body).status_code == 201
        assert any("job.created" in line for line in lines)
    assert any(https.node.events("tls.reloaded"))


def test_a_certificate_that_does_not_fit_is_not_taken(https: Certified) -> None:
    before = https.serial()
    https.files[0].write_text("not a certificate")
    wait_until(lambda: any(https.node.events("tls.not_reloaded")), "the log says so")
    assert https.serial() == before
    assert https.client.get("/healthz").status_code == 200
    renewed = https.renew()
    wait_until(lambda: https.serial() == renewed, "one that fits is taken")


def test_the_command_line_trusts_an_authority_of_ones_own(https: Certified) -> None:
    words = [*tocsin_command(), "status", "--server", https.url]
    trusting = clean_environment({"SSL_CERT_FILE": str(https.trust), "TOCSIN_KEY": KEY})
    done = subprocess.run(
        words, capture_output=True, text=True, env=trusting, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    strange = clean_environment()
    strange.pop("SSL_CERT_FILE", None)
    done = subprocess.run(
        words, capture_output=True, text=True, env=strange, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "certificate" in done.stderr.lower()


@pytest.mark.parametrize("what", ["missing", "no key", "another key", "garbage"])
def test_a_certificate_that_cannot_be_used_stops_the_start(
    node: NodeFactory, tmp_path: Path, what: str
) -> None:
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(files[0])
    (authority.issue_cert("x") if what == "another key" else made).private_key_pem.write_to_path(
        files[1]
    )
    options = ["--tls-cert", str(files[0]), "--tls-key", str(files[1])]
    match what:
        case "missing":
            files[1].unlink()
        case "no key":
            options = options[:2]
        case "garbage":
            files[0].write_text("x")
    result = node(options=options).run_to_end()
    assert result.code == 2, result.output
    assert "--tls-" in result.output or "TOCSIN_TLS" in result.output
    assert "Traceback" not in result.output
