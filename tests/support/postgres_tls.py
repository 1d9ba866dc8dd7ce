"""A PostgreSQL that speaks TLS: that of Debian, because the one from the wheel cannot."""

import os
import shutil
from pathlib import Path

import trustme

from tests.support.postgres import _NOBODY, PostgresServer

_INSTALLED = Path("/usr/lib/postgresql")


def system_binaries() -> Path:
    """Where the newest PostgreSQL of this system is."""
    found = [path.parent for path in _INSTALLED.glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    if not found and on_path is not None:
        return Path(on_path).resolve().parent
    assert found, "PostgreSQL is missing: `make test` installs it (Debian: postgresql)"
    return max(found, key=lambda path: int(path.parent.name))


class TlsPostgres(PostgresServer):
    """A server with the certificate of an authority of its own; it takes nobody without TLS."""

    def __init__(self, folder: Path, *, name: str = "127.0.0.1") -> None:
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        super().__init__(binaries=system_binaries())
        certificate = authority.issue_cert(name)
        files = {"server.crt": certificate.cert_chain_pems[0], "server.key": None}
        for file, content in files.items():
            path = self._data / file
            (content or certificate.private_key_pem).write_to_path(path)
            path.chmod(0o600)
            if os.getuid() == 0:
                os.chown(path, _NOBODY, _NOBODY)
        self._settings["ssl"] = "on"
        # Its own file, because the server would take whoever comes without TLS by that of initdb.
        (self._data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")

    def by(self, database: str, **parameters: str) -> str:
        """The URL of a database, with parameters of libpq."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"{self.url(database)}?{query}"
