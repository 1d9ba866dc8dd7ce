"""The schema of a SQLite file: its history, its end, and what does not fit."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from tests.support.build import NO_LIMITS, NOW, at, claim_request, job, new_job, node

from tocsin.domain.errors import SchemaMismatch
from tocsin.domain.job import JobStatus
from tocsin.domain.planning import plan_fires
from tocsin.store import migrations
from tocsin.store.port import NewJob
from tocsin.store.sql.claim import claim
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.jobs import create_jobs
from tocsin.store.sql.ownership import register
from tocsin.store.sqlite import SqliteStore, check, migrate
from tocsin.store.sqlite.engine import connect, transaction
from tocsin.store.sqlite.schema import create_tables
from tocsin.store.sqlite.statements import SqliteStatements


def schema(path: Path) -> dict[str, str | None]:
    """The definition of each table and index by name."""
    conn = sqlite3.connect(path)
    rows = conn.execute(
        "SELECT type || ' ' || name, sql FROM sqlite_master "
        "WHERE tbl_name <> 'alembic_version' ORDER BY 1"
    ).fetchall()
    conn.close()
    return dict(rows)


def set_revision(path: Path, revision: str) -> None:
    conn = sqlite3.connect(path)
    with conn:
        conn.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    conn.close()


def test_the_migrated_schema_is_that_of_the_tables(tmp_path: Path) -> None:
    migrated, made = tmp_path / "migrated.db", tmp_path / "made.db"
    migrate(str(migrated))
    conn = connect(str(made), "rwc")
    with transaction(conn, "BEGIN IMMEDIATE"):
        create_tables(conn)
    conn.close()
    assert schema(migrated) == schema(made)
    assert len(schema(made)) > 20


def test_the_list_of_revisions_is_that_of_the_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    newest_first = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(newest_first)) == migrations.REVISIONS
    assert scripts.get_heads() == [migrations.HEAD]


def test_a_second_migration_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.db"
    assert migrate(str(path))
    before = schema(path)
    assert not migrate(str(path))
    assert schema(path) == before
    check(str(path))


def test_a_path_with_special_characters_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "100%? #ü.db"
    migrate(str(path))
    check(str(path))
    assert path.exists()


def test_a_relative_path_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    migrate("tocsin.db")
    assert (tmp_path / "tocsin.db").exists()


async def test_a_file_without_tables_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.db"
    sqlite3.connect(path).execute("CREATE TABLE other (x)").connection.close()
    with pytest.raises(SchemaMismatch, match=r"tocsin\.db has no tables yet; run: tocsin migrate"):
        await SqliteStore(path).open()
    with pytest.raises(SchemaMismatch, match="no tables yet"):
        check(str(path))


async def test_a_file_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.db"
    migrate(str(path))
    set_revision(path, "9999")
    for attempt in (migrate, check):
        with pytest.raises(SchemaMismatch, match="a newer Tocsin has written it"):
            attempt(str(path))
    with pytest.raises(SchemaMismatch, match="a newer Tocsin has written it"):
        await SqliteStore(path).open()


async def test_a_file_of_an_older_program_is_told_to_be_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tocsin.db"
    migrate(str(path))
    head = migrations.HEAD
    monkeypatch.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, "9999"))
    monkeypatch.setattr(migrations, "HEAD", "9999")
    with pytest.raises(SchemaMismatch, match=f"is at schema {head}, this program needs 9999"):
        await SqliteStore(path).open()


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    path = str(tmp_path / "tocsin.db")
    program = f"from tocsin.store.sqlite import migrate; print(migrate({path!r}))"
    racing = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in racing]
    assert [process.returncode for process in racing] == [0, 0, 0, 0]
    assert sorted(answers) == ["False", "False", "False", "True"]
    check(path)


async def test_what_an_older_program_stored_is_kept(tmp_path: Path) -> None:
    """Of before 0005: claims by another index, completed jobs with that in their row."""
    path, fresh = tmp_path / "tocsin.db", tmp_path / "fresh.db"
    migrate(str(fresh))
    upgrade_to("0004", path)
    running, once, done = job("running"), job("once", schedule=at(NOW)), job("done")
    conn = connect(str(path), "rw")
    with transaction(conn, "BEGIN IMMEDIATE"):
        stored = replace(done, status=JobStatus.COMPLETED, version=2)
        new = [new_job(running), new_job(once), NewJob(job=stored, timer=None)]
        create_jobs(conn, SqliteStatements(), new, limits=NO_LIMITS)
        register(conn, SqliteStatements(), node())
        claim(conn, SqliteStatements(), JobCache(10), claim_request(NOW), plan_fires)
    conn.close()
    assert migrate(str(path))
    assert schema(path) == schema(fresh)
    store = SqliteStore(path)
    await store.open()
    claimed = {one.job.name for one in await store.owned("inc-a")}
    found = await store.get_jobs([running.id, once.id, done.id])
    await store.close()
    assert claimed == {"running", "once"}
    assert found == {
        running.id: running,
        once.id: replace(once, status=JobStatus.COMPLETED),
        done.id: stored,
    }
    assert found[done.id].version == 2


def upgrade_to(revision: str, path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    conn = connect(str(path), "rwc")
    with transaction(conn, "BEGIN IMMEDIATE"):
        # It also begins SQLAlchemy's own transaction; or Alembic would, and end ours with it.
        assert migrations.current(conn) is None
        config.attributes["connection"] = conn
        command.upgrade(config, revision)
    conn.close()
