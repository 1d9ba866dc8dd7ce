"""The schema of a PostgreSQL database: its history, its end, and what does not fit."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from tests.support.build import NO_LIMITS, NOW, at, claim_request, job, new_job, node
from tests.support.postgres import VERSIONS, PostgresServer, shared_server
from tocsin.cli.main import run
from tocsin.domain.errors import InvalidInput, SchemaMismatch, StoreUnavailable
from tocsin.domain.instant import DAY
from tocsin.domain.job import JobStatus
from tocsin.domain.planning import plan_fires
from tocsin.store import migrations
from tocsin.store.port import NewJob
from tocsin.store.postgres import PostgresStore, check, migrate, partitions
from tocsin.store.postgres.database import make_engine, transaction
from tocsin.store.postgres.statements import PostgresStatements
from tocsin.store.sql.claim import claim
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.jobs import create_jobs
from tocsin.store.sql.ownership import register
from tocsin.store.tables import metadata

EVERYTHING = """
    SELECT 'column', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
           a.attnotnull::text, coalesce(l.collname, '')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT 'index', tablename, 0, indexname, indexdef, '', '' FROM pg_indexes
    WHERE schemaname = 'public'
    UNION ALL
    SELECT 'partitioning', partrelid::regclass::text, 0, pg_get_partkeydef(partrelid), '', '', ''
    FROM pg_partitioned_table"""
WITHOUT_PARTITIONS = f"SELECT * FROM ({EVERYTHING}) AS x WHERE relname !~ '^executions_|^alembic'"


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    made = shared_server() if request.param == VERSIONS[-1] else PostgresServer(
        version=request.param
    ).start()  # fmt: skip
    yield made
    if made is not shared_server():
        made.remove()


def look(url: str, query: str) -> set[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return set(conn.execute(query.encode()).fetchall())


def test_the_migrated_schema_is_that_of_the_tables(server: PostgresServer) -> None:
    migrated, made = server.create(), server.create()
    assert migrate(migrated)
    engine = make_engine(made)
    with engine.connect() as conn:
        metadata.create_all(conn)
    with make_engine(migrated).connect() as conn:
        options = {"compare_type": True, "include_name": _is_ours}
        differences = compare_metadata(MigrationContext.configure(conn, opts=options), metadata)
    assert differences == []
    schema = look(migrated, WITHOUT_PARTITIONS)
    # Collations, conditions of indexes and the partitioning, which Alembic does not compare.
    assert schema == look(made, WITHOUT_PARTITIONS)
    assert len(schema) > 80
    assert ("partitioning", "executions", 0, "RANGE (id)", "", "", "") in schema


def _is_ours(name: str | None, kind: str, parents: object) -> bool:
    return kind != "table" or not str(name).startswith(("executions_", "alembic"))


def test_each_day_has_the_indexes_of_the_whole_table(server: PostgresServer) -> None:
    url = server.create()
    migrate(url)
    shapes = look(
        url,
        "SELECT tablename, regexp_replace(indexdef, '^.* USING ', '') FROM pg_indexes "
        "WHERE tablename LIKE 'executions%'",
    )
    by_table: dict[object, set[object]] = {}
    for table, shape in shapes:
        by_table.setdefault(table, set()).add(shape)
    assert len(by_table) == 1 + 1 + 9, "the table, the default, yesterday to in seven days"
    assert len({frozenset(one) for one in by_table.values()}) == 1


async def test_what_an_older_program_stored_is_kept(server: PostgresServer) -> None:
    """Of before 0005: days with claims in them by another index, completed jobs in their rows."""
    url, fresh = server.create(), server.create()
    migrate(fresh)
    running, once, done = job("running"), job("once", schedule=at(NOW)), job("done")
    stored = replace(done, status=JobStatus.COMPLETED, version=2)
    statements = PostgresStatements()
    engine = make_engine(url)
    with engine.connect() as conn:
        with transaction(conn, "BEGIN"):
            config = Config()
            config.set_main_option("script_location", str(Path(migrations.__file__).parent))
            config.attributes["connection"] = conn
            command.upgrade(config, "0004")
        for day in (NOW - NOW % DAY, *partitions.missing(conn)):
            with transaction(conn, "BEGIN"):
                assert partitions.make(conn, day)
        with transaction(conn, "BEGIN"):
            new = [new_job(running), new_job(once), NewJob(job=stored, timer=None)]
            create_jobs(conn, statements, new, limits=NO_LIMITS)
            register(conn, statements, node())
            claim(conn, statements, JobCache(10), claim_request(NOW), plan_fires)
    engine.dispose()
    assert migrate(url)
    assert look(url, WITHOUT_PARTITIONS) == look(fresh, WITHOUT_PARTITIONS)
    shapes = look(
        url,
        "SELECT tablename, indexdef ~ 'owner, state' FROM pg_indexes "
        "WHERE tablename LIKE 'executions%' AND indexdef ~ 'owner'",
    )
    assert len(shapes) == 1 + 1 + 1 + 9
    assert all(in_order for _, in_order in shapes)
    store = PostgresStore(url)
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


def test_a_second_migration_changes_nothing(server: PostgresServer) -> None:
    url = server.create()
    assert migrate(url)
    before = look(url, EVERYTHING)
    assert not migrate(url)
    assert look(url, EVERYTHING) == before
    check(url)


def test_nodes_that_start_at_once_migrate_once() -> None:
    url = shared_server().create()
    program = f"from tocsin.store.postgres import migrate; print(migrate({url!r}))"
    racing = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in racing]
    assert [process.returncode for process in racing] == [0] * 6
    assert sorted(answers) == ["False"] * 5 + ["True"]
    check(url)


async def test_a_database_without_tables_is_not_opened() -> None:
    url = shared_server().create()
    with pytest.raises(SchemaMismatch, match="has no tables yet; run: tocsin migrate"):
        check(url)
    with pytest.raises(SchemaMismatch, match="has no tables yet; run: tocsin migrate"):
        await PostgresStore(url).open()


async def test_a_database_of_a_newer_program_is_left_alone(url: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    for attempt in (migrate, check):
        with pytest.raises(SchemaMismatch, match="a newer Tocsin has written it"):
            attempt(url)
    with pytest.raises(SchemaMismatch, match="a newer Tocsin has written it"):
        await PostgresStore(url).open()


async def test_a_database_of_an_older_program_is_told_to_be_migrated(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, "later"))
    monkeypatch.setattr(migrations, "HEAD", "later")
    with pytest.raises(SchemaMismatch, match=r"is at schema .*, this program needs later"):
        await PostgresStore(url).open()


def test_a_migration_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    url = shared_server().create()
    with psycopg.connect(url) as conn:
        # In the way of one of the last tables.
        conn.execute("CREATE TABLE counters (x int)")
    before = look(url, EVERYTHING)
    with pytest.raises(Exception, match="counters"):
        migrate(url)
    assert look(url, EVERYTHING) == before


def test_the_command_line_migrates_and_checks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = shared_server().create()
    assert run(["migrate", "--check", "--database", url]) == 1
    assert "run: tocsin migrate" in " ".join(capsys.readouterr().err.split())
    assert run(["migrate", "--database", url]) == 0
    assert run(["migrate", "--check", "--database", url]) == 0
    assert "up to date" in capsys.readouterr().out


# --- what does not connect ----------------------------------------------------------------------

SECRET = "hunter2-is-secret"


async def _messages(url: str, caplog: pytest.LogCaptureFixture) -> str:
    """What each way in says of a database that cannot be reached, all of it without the secret."""
    said = []
    for attempt in (lambda: migrate(url), lambda: check(url)):
        with pytest.raises((StoreUnavailable, InvalidInput)) as caught:
            attempt()
        said.append(_all_of(caught.value))
    with pytest.raises((StoreUnavailable, InvalidInput)) as caught:
        await PostgresStore(url).open()
    said.append(_all_of(caught.value))
    whole = "\n".join([*said, caplog.text])
    assert SECRET not in whole
    return whole


def _all_of(error: BaseException | None) -> str:
    """The message of an error and of what caused it, as a traceback would show them."""
    said = ""
    while error is not None:
        said += f"{error!r}\n{error}\n"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return said


async def test_a_wrong_database_is_named(caplog: pytest.LogCaptureFixture) -> None:
    port = shared_server().port
    url = f"postgresql://postgres:{SECRET}@127.0.0.1:{port}/missing"
    assert 'database "missing" does not exist' in await _messages(url, caplog)


async def test_a_wrong_user_is_named(caplog: pytest.LogCaptureFixture) -> None:
    url = f"postgresql://nobody:{SECRET}@127.0.0.1:{shared_server().port}/postgres"
    assert 'role "nobody" does not exist' in await _messages(url, caplog)


async def test_a_wrong_password_is_said_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    server = shared_server()
    (file,) = server.execute("SHOW hba_file")[0]
    hba = Path(str(file))
    trusting = hba.read_text()
    server.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    try:
        hba.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{trusting}")
        server.execute("SELECT pg_reload_conf()")
        url = f"postgresql://guarded:{SECRET}@127.0.0.1:{server.port}/postgres"
        for _ in range(100):
            with contextlib.suppress(psycopg.OperationalError):
                # It is trusted until the server has read the file.
                psycopg.connect(url).close()
                await asyncio.sleep(0.02)
                continue
            break
        said = await _messages(url, caplog)
        assert 'password authentication failed for user "guarded"' in said
    finally:
        hba.write_text(trusting)
        server.execute("SELECT pg_reload_conf()")
        server.execute("DROP ROLE guarded")


@pytest.mark.parametrize("place", ["127.0.0.1:1", "no-such-host.invalid:5432"])
async def test_a_wrong_host_is_named(place: str, caplog: pytest.LogCaptureFixture) -> None:
    said = await _messages(f"postgresql://me:{SECRET}@{place}/db", caplog)
    assert f"the database postgresql://{place}/db cannot be reached" in said


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}%ZZ@127.0.0.1/db",
        f"postgresql://me:{SECRET}@[127.0.0.1/db",
        f"postgresql://me@127.0.0.1/db?password={SECRET}&sslmode",
        f"host=127.0.0.1 password={SECRET} {SECRET}",
    ],
)
async def test_a_url_that_cannot_be_read_is_not_shown(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert "write postgresql://USER:PASSWORD@HOST:5432/NAME" in await _messages(url, caplog)
