"""A real Redis that ends with the tests, and can be killed and started again."""

import atexit
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import redis
import trustme

from tests.support.process import PATIENCE, die_together, free_port


class RedisServer:
    """A server process; with ``tls`` (certificate, key, authority) it speaks TLS only."""

    def __init__(self, *, tls: tuple[Path, Path, Path] | None = None, password: str = "") -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is missing: `make test` installs it (Debian: redis-server)"
        self.port = free_port()
        self._home = Path(tempfile.mkdtemp(prefix="tocsin-redis-"))
        plain, secure = (0, self.port) if tls else (self.port, 0)
        self._command = [
            *die_together(),
            *(program, "--bind", "127.0.0.1", "--port", str(plain), "--save", ""),
            *("--appendonly", "no", "--dir", str(self._home)),
        ]
        if password:
            self._command += ["--requirepass", password]
        self._authority: Path | None = None
        if tls:
            certificate, key, self._authority = tls
            self._command += [
                *("--tls-port", str(secure), "--tls-cert-file", str(certificate)),
                *("--tls-key-file", str(key), "--tls-ca-cert-file", str(self._authority)),
                *("--tls-auth-clients", "no"),
            ]
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """Where it is."""
        scheme = "rediss" if self._authority else "redis"
        before = f":{self._password}@" if self._password else ""
        trust = f"?ssl_ca_certs={self._authority}" if self._authority else ""
        return f"{scheme}://{before}127.0.0.1:{self.port}/0{trust}"

    def start(self) -> "RedisServer":
        """Start and wait until it answers."""
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                with redis.Redis.from_url(self.url, retry=None) as client:
                    client.ping()
            except redis.RedisError as error:
                assert self._process.poll() is None, (self._home / "log").read_text()
                if time.monotonic() > give_up:
                    raise RuntimeError((self._home / "log").read_text()[-2_000:]) from error
                time.sleep(0.02)
            else:
                return self

    def client(self) -> redis.Redis:
        """A connection of the test's own."""
        return redis.Redis.from_url(self.url)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it and delete everything."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def redis_with_tls(directory: Path) -> RedisServer:
    """A server that speaks TLS only, with a certificate of an authority of its own."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = directory / "redis.pem", directory / "redis.key", directory / "authority.pem"
    certificate.cert_chain_pems[0].write_to_path(files[0])
    certificate.private_key_pem.write_to_path(files[1])
    authority.cert_pem.write_to_path(files[2])
    return RedisServer(tls=files, password="geheim")
