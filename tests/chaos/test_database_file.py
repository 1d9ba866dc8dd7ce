"""A database file that is damaged, locked, out of reach or from the future.

Each time: a sentence that names the file and the remedy, an exit code, nothing lost, and never a
traceback (the ``node`` fixture looks for one).
"""

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.conftest import NodeFactory, seeds
from tests.chaos.evidence import check_gapless, check_once, delete_ticking
from tests.support.process import Ended, Receiver, Tocsin, wait_until

pytestmark = pytest.mark.chaos

FAR = "2100-01-01T00:00:00Z"

HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked_by_another_program(path: Path, *statements: str) -> Iterator[None]:
    """Another program holds a lock on the file."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(path), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            program.communicate()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with 2,100 jobs and some history, all of it in the one file."""
    tocsin = Tocsin(tmp_path_factory.mktemp("filled"))
    try:
        tocsin.start()
        tocsin.create(
            [
                {"name": f"far-{number}", "schedule": {"at": FAR}, "target": {"log": "here"}}
                for number in range(2_000)
            ]
            + [
                {
                    "name": f"tick-{number}",
                    "schedule": {"cron": "* * * * * *"},
                    "target": {"log": "tick " * 100},
                }
                for number in range(100)
            ]
        )
        wait_until(lambda: len(tocsin.rows().executions()) >= 300, "there is some history")
        assert tocsin.terminate() == 0
    finally:
        tocsin.close()
    with contextlib.closing(sqlite3.connect(tocsin.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return tocsin.database


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _assert_refused(ended: Ended, path: Path, *words: str) -> None:
    """It ended with the code for a failure and said what is wrong with which file."""
    assert ended.code == 1, f"exit code {ended.code}: {ended.output}"
    assert str(path) in ended.output, ended.output
    said = ended.output.lower()
    assert any(word in said for word in words), f"none of {words} in: {ended.output}"
    assert len(ended.output) < 4_000, "that is not a sentence"


# --- damaged ------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["garbage header", "not a database", "cut in half"])
def test_damaged_file(damage: str, node: NodeFactory, filled: Path) -> None:
    """A file that is no database any more is refused and left as it is."""
    tocsin = node()
    shutil.copyfile(filled, tocsin.database)
    original = tocsin.database.read_bytes()
    match damage:
        case "garbage header":
            tocsin.database.write_bytes(random.Random(1).randbytes(100) + original[100:])
        case "not a database":
            tocsin.database.write_text("these are my notes, do not touch them\n" * 100)
        case _:
            tocsin.database.write_bytes(original[: len(original) // 2 // 4_096 * 4_096])
    before = _fingerprint(tocsin.database)

    if damage == "cut in half":
        # SQLite notices what is missing when it gets there, at the start or later.
        _assert_copes_with_damage(tocsin)
        return
    _assert_refused(tocsin.run_to_end(), tocsin.database, "not a database", "corrupt", "damaged")
    assert "backup" in tocsin.log() or "recover" in tocsin.log(), "no remedy"
    assert _fingerprint(tocsin.database) == before, "it changed a file that it cannot read"
    tocsin.database.write_bytes(original)
    tocsin.start()
    assert tocsin.get("/stats")["jobs"]["active"] == 2_100


@seeds(2)
@pytest.mark.parametrize("what", ["executions", "timers", "jobs", "anywhere"])
def test_damaged_pages(what: str, seed: int, node: NodeFactory, filled: Path) -> None:
    """Pages in the middle are overwritten: it refuses to start, or says what it cannot read."""
    dice = random.Random(seed)
    tocsin = node()
    shutil.copyfile(filled, tocsin.database)
    with contextlib.closing(sqlite3.connect(tocsin.database)) as connection:
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if what == "anywhere":
            hit = dice.sample(range(2, pages), pages // 4)
        else:
            hit = [
                row[0]
                for row in connection.execute(
                    "SELECT rootpage FROM sqlite_schema WHERE tbl_name = ? AND rootpage > 0",
                    (what,),
                )
            ]
    with tocsin.database.open("r+b") as file:
        for page in hit:
            file.seek((page - 1) * page_size)
            file.write(dice.randbytes(page_size))
    _assert_copes_with_damage(tocsin)


def _assert_copes_with_damage(tocsin: Tocsin) -> None:
    """It refuses to start, or runs and answers every request in an orderly way."""
    tocsin.start(ready=False)
    wait_until(
        lambda: not tocsin.alive or "listening" in tocsin.log() or "http://" in tocsin.log(),
        "it runs or has ended",
    )
    if tocsin.alive:
        tocsin.wait_listening()
        answers = [
            tocsin.client.get("/healthz"),
            tocsin.client.get("/readyz"),
            tocsin.client.get("/metrics"),
            *(
                tocsin.client.get(f"/api/v1{path}")
                for path in ("/jobs?limit=1000", "/executions?limit=1000", "/stats", "/jobs/far-1")
            ),
            tocsin.client.post(
                "/api/v1/jobs",
                json={"name": "new", "schedule": {"at": FAR}, "target": {"log": "x"}},
            ),
        ]
        for answer in answers:
            kind = answer.headers["content-type"]
            if answer.status_code >= 400 and "/api/" in str(answer.url):
                assert kind.startswith("application/problem+json"), (answer.url, answer.text)
                assert answer.json()["code"] in {"store_corrupt", "not_found"}, answer.text
        # It fires, or it says why it does not.
        wait_until(
            lambda: not tocsin.alive or tocsin.is_ready() or "store_corrupt" in tocsin.log(),
            "it is ready or says why not",
        )
        tocsin.kill()
        return
    log = tocsin.log()
    assert tocsin.wait() == 1, log
    assert str(tocsin.database) in log, log
    assert "backup" in log or "recover" in log, f"no remedy: {log}"


# --- locked -------------------------------------------------------------------------------------


def test_locked_at_the_start(node: NodeFactory, filled: Path) -> None:
    """It waits or ends with a sentence; when the other program is done all is there."""
    tocsin = node()
    shutil.copyfile(filled, tocsin.database)
    with locked_by_another_program(
        tocsin.database,
        "PRAGMA locking_mode = EXCLUSIVE",
        "BEGIN EXCLUSIVE",
        "UPDATE jobs SET version = version",
    ):
        tocsin.start(ready=False)
        wait_until(lambda: "locked" in tocsin.log(), "it says that it is locked")
        assert str(tocsin.database) in tocsin.log(), tocsin.log()
        refused = "start.failed" in tocsin.log()
        if refused:
            assert tocsin.wait() == 1
    if refused:
        tocsin.start()
    else:
        tocsin.wait_listening()
        wait_until(tocsin.is_ready, "it is ready without help")
    assert tocsin.get("/stats")["jobs"]["active"] == 2_100


def test_locked_while_running(node: NodeFactory, receiver: Receiver, record_property: Any) -> None:
    """Writes fail with a reason while another program holds the lock; then all goes on."""
    tocsin = node().start()
    created = tocsin.create(
        [
            {
                "name": f"tick-{number}",
                "schedule": {"cron": "* * * * * *"},
                "target": {"url": receiver.url("/ok")},
            }
            for number in range(50)
        ]
    )
    receiver.wait_for(100)
    with locked_by_another_program(tocsin.database, "BEGIN EXCLUSIVE"):
        answer = tocsin.client.post(
            "/api/v1/jobs", json={"name": "x", "schedule": {"at": FAR}, "target": {"log": "x"}}
        )
        assert answer.status_code == 503, answer.text
        problem = answer.json()
        assert problem["code"] == "store_unavailable", problem
        assert problem["detail"], problem
        assert tocsin.get("/jobs")["items"], "reads go on"
        wait_until(lambda: tocsin.client.get("/readyz").status_code == 503, "/readyz says so")
        reason = tocsin.client.get("/readyz").text
    told = wait_until(
        lambda: [entry for entry in tocsin.events() if entry.get("code") == "store_unavailable"],
        "the log tells it",
    )
    assert any(str(tocsin.database) in str(entry) for entry in told), told[:2]
    wait_until(tocsin.is_ready, "it is ready without help")
    receiver.wait_for(receiver.count() + 100)

    until = delete_ticking(tocsin, created)
    rows = tocsin.rows()
    assert tocsin.terminate() == 0
    ended = rows.executions()
    arrivals = receiver.arrivals()
    check_once(ended, arrivals)
    fire_times = sum(
        check_gapless([row for row in ended if row.job_id == job["id"]], step=1_000, until=until)
        for job in created
    )
    record_property("counts", f"fire times {fire_times}, run {len(arrivals)}; /readyz: {reason}")


# --- out of reach -------------------------------------------------------------------------------


def test_missing_directory(node: NodeFactory, tmp_path: Path) -> None:
    """A directory that does not exist is named, not made."""
    path = tmp_path / "not" / "there" / "tocsin.db"
    _assert_refused(node(database=path).run_to_end(), path, "director")
    assert not (tmp_path / "not").exists()


def test_path_is_a_directory(node: NodeFactory, tmp_path: Path) -> None:
    """A directory is no database."""
    path = tmp_path / "here"
    path.mkdir()
    _assert_refused(node(database=path).run_to_end(), path, "director")


@pytest.mark.parametrize("directory_too", [False, True], ids=["file", "file and directory"])
def test_read_only_file(
    directory_too: bool, node: NodeFactory, filled: Path, tmp_path: Path
) -> None:
    """A file that may not be written is refused at the start, not at the first fire."""
    home = tmp_path / "home"
    home.mkdir()
    tocsin = node(database=home / "tocsin.db")
    shutil.copyfile(filled, tocsin.database)
    before = _fingerprint(tocsin.database)
    # Root may write to anything; without its capabilities it is a user like others.
    tocsin.prefix = (
        ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    )
    tocsin.database.chmod(0o444)
    home.chmod(0o555 if directory_too else 0o755)
    try:
        _assert_refused(
            tocsin.run_to_end(), tocsin.database, "read-only", "read only", "permission", "writ"
        )
    finally:
        home.chmod(0o755)
        tocsin.database.chmod(0o644)
    assert _fingerprint(tocsin.database) == before
    tocsin.prefix = ()
    tocsin.start()


# --- from another version -----------------------------------------------------------------------


def test_newer_schema(node: NodeFactory, filled: Path) -> None:
    """A database that a newer version has migrated is refused and left as it is."""
    tocsin = node()
    shutil.copyfile(filled, tocsin.database)
    with contextlib.closing(sqlite3.connect(tocsin.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999_from_the_future'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = _fingerprint(tocsin.database)
    _assert_refused(tocsin.run_to_end(), tocsin.database, "newer", "schema", "version")
    assert _fingerprint(tocsin.database) == before


def test_database_of_another_program(node: NodeFactory, tmp_path: Path) -> None:
    """A SQLite file that belongs to something else is not taken over."""
    path = tmp_path / "photos.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, jobs TEXT)")
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY)")
        connection.commit()
    ended = node(database=path).run_to_end()
    _assert_refused(ended, path, "tocsin", "another", "schema", "table")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    assert tables == {"photos", "jobs"}
