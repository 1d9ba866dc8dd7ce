"""What the store says and does when the file, the disk or a single row is not as it should be."""

import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.build import (
    MINUTE,
    NO_LIMITS,
    NOW,
    attempt,
    claim_request,
    every,
    job,
    new_job,
    node,
    succeed,
)
from tests.support.drive import claim, jobs, record

from tocsin.domain.errors import (
    InvalidInput,
    SchemaMismatch,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TocsinError,
)
from tocsin.domain.job import Job
from tocsin.domain.planning import plan_fires
from tocsin.domain.settle import void
from tocsin.store.port import JobQuery
from tocsin.store.sqlite import SqliteStore, migrate
from tocsin.store.sqlite.errors import wrapped


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tocsin.db"
    migrate(str(made))
    return made


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(path)
    await made.open()
    yield made
    await made.close()


async def create(store: SqliteStore, *made: Job) -> None:
    await store.create_jobs([new_job(one) for one in made], limits=NO_LIMITS)


async def names(store: SqliteStore) -> list[str]:
    return [view.job.name for view in await jobs(store)]


# --- files --------------------------------------------------------------------------------------


async def test_a_file_that_does_not_exist_is_named_and_not_created(tmp_path: Path) -> None:
    path = tmp_path / "nothing.db"
    with pytest.raises(StoreUnavailable, match=rf"{path} cannot be opened"):
        await SqliteStore(path).open()
    assert not path.exists()


async def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no" / "tocsin.db"
    with pytest.raises(StoreUnavailable, match="check that its directory exists"):
        migrate(str(path))


@pytest.mark.parametrize(
    "content", [b"not a database" * 1_000, b"SQLite format 3\0" + b"\1" * 5_000]
)
async def test_a_file_that_is_no_database_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tocsin.db"
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match=rf"{path} is damaged, or is no SQLite database"):
        await SqliteStore(path).open()
    with pytest.raises(StoreCorrupt, match="restore it from a backup"):
        migrate(str(path))
    assert path.read_bytes() == content


async def test_damage_in_the_middle_is_said_when_it_is_met(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await create(store, *(job(f"job-{n}", description="x" * 500) for n in range(200)))
    await store.close()
    whole = path.read_bytes()
    middle = len(whole) // 2 // 4096 * 4096
    path.write_bytes(whole[:middle] + b"\xff" * 8 * 4096 + whole[middle + 8 * 4096 :])
    store = SqliteStore(path)
    with pytest.raises(StoreCorrupt, match=str(path)):
        await store.open()
        await store.list_jobs(JobQuery(limit=1_000, text="x"))
    await store.close()


async def test_a_locked_file_is_worth_another_try(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.store.sqlite.engine.BUSY_TIMEOUT", 20)
    store = SqliteStore(path)
    await store.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=rf"{path} is locked by another program"):
        await create(store, job("a"))
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.ping()
    assert await names(store) == [], "what reads goes on"
    other.execute("ROLLBACK")
    await create(store, job("a"))
    assert await names(store) == ["a"]
    other.close()
    await store.close()


@contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a quota or a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_stops_what_writes_until_there_is_room(
    store: SqliteStore, path: Path
) -> None:
    await create(store, job("before"))
    wide = [job(f"wide-{n}", description="x" * 10_000) for n in range(200)]
    with no_room_beyond(path.with_name("tocsin.db-wal").stat().st_size + 100_000):
        with pytest.raises(StoreFull, match=rf"{path} cannot be written"):
            await create(store, *wide)
        with pytest.raises(StoreFull, match="free some space"):
            await create(store, *wide)
        assert await names(store) == ["before"], "what reads goes on"
    await create(store, *wide)
    assert len(await names(store)) == 201
    assert (await store.usage()).jobs == 201


async def test_a_closed_store_says_so_and_can_be_opened_again(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.usage()
    await store.open()
    await create(store, job("a"))
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.ping()
    await store.open()
    assert await names(store) == ["a"]
    await store.close()


# --- errors of the driver -----------------------------------------------------------------------


def sqlite_error(code: int, message: str = "the message") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite_error(sqlite3.SQLITE_BUSY), StoreUnavailable),
        (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), StoreUnavailable),
        (sqlite_error(sqlite3.SQLITE_LOCKED), StoreUnavailable),
        (sqlite_error(sqlite3.SQLITE_FULL), StoreFull),
        (sqlite_error(sqlite3.SQLITE_IOERR_WRITE), StoreFull),
        (sqlite_error(sqlite3.SQLITE_IOERR_SHMSIZE), StoreFull),
        (sqlite_error(sqlite3.SQLITE_IOERR_READ), StoreUnavailable),
        # Whether the commit is on the disk is not known, and StoreFull would say that it is not.
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), StoreUnavailable),
        (sqlite_error(sqlite3.SQLITE_IOERR_CORRUPTFS), StoreCorrupt),
        (sqlite_error(sqlite3.SQLITE_CORRUPT), StoreCorrupt),
        (sqlite_error(sqlite3.SQLITE_NOTADB), StoreCorrupt),
        (sqlite_error(sqlite3.SQLITE_CANTOPEN), StoreUnavailable),
        (sqlite_error(sqlite3.SQLITE_READONLY), StoreUnavailable),
        (sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED), StoreUnavailable),
        (sqlite_error(sqlite3.SQLITE_NOMEM), StoreUnavailable),
        (sqlite_error(sqlite3.SQLITE_ERROR, "no such table: jobs"), SchemaMismatch),
        (sqlite_error(sqlite3.SQLITE_ERROR, "near x: syntax error"), StoreError),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), StoreUnavailable),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), InvalidInput),
        (OverflowError("Python int too large to convert to SQLite INTEGER"), InvalidInput),
    ],
)
def test_each_error_of_the_driver_becomes_one_of_ours(
    error: Exception, kind: type[TocsinError]
) -> None:
    made = wrapped(error, "/var/lib/tocsin.db")
    assert type(made) is kind
    assert isinstance(made, InvalidInput) or "/var/lib/tocsin.db" in str(made)


def test_other_errors_are_left_as_they_are() -> None:
    assert wrapped(KeyError("x"), "p") is None
    assert wrapped(StoreFull("full"), "p") is None


async def test_what_the_database_cannot_hold_is_the_callers_fault(store: SqliteStore) -> None:
    with pytest.raises(InvalidInput):
        await create(store, replace(job("a"), created_at=2**70))
    with pytest.raises(InvalidInput):
        await create(store, replace(job("a"), name="\ud800"))
    await create(store, job("a"))


# --- single rows --------------------------------------------------------------------------------


async def test_a_definition_that_cannot_be_read_costs_only_its_own_job(
    store: SqliteStore, path: Path
) -> None:
    good, bad = job("good", every(MINUTE)), job("bad", every(MINUTE))
    await create(store, good, bad)
    await store.register(node())
    await store.close()
    with sqlite3.connect(path) as conn:
        conn.execute("UPDATE jobs SET spec = '{\"half\": ' WHERE name = 'bad'")
    conn.close()
    await store.open()

    assert [one.execution.job_name for one in (await claim(store)).claims] == ["good"]
    assert (await claim(store)).claims == []
    claimed = await claim(store, NOW + MINUTE)
    assert [one.execution.job_name for one in claimed.claims] == ["good"]
    assert claimed.wake_at == NOW + 2 * MINUTE, "it is looked at again after a minute"

    with pytest.raises(StoreCorrupt, match=bad.id):
        await store.get_job("default", "bad", now=NOW)
    assert await names(store) == ["good"]
    assert set(await store.get_jobs([good.id, bad.id])) == {good.id}

    await store.close()
    with sqlite3.connect(path) as conn:
        conn.execute("UPDATE jobs SET spec = (SELECT spec FROM jobs WHERE name = 'good')")
    conn.close()
    await store.open()
    late = await claim(store, NOW + 2 * MINUTE)
    bad_ones = [one.execution for one in late.claims if one.execution.job_name == "bad"]
    assert [one.fire_time for one in bad_ones][-1] == NOW + 2 * MINUTE
    assert all(one.due == one.fire_time for one in bad_ones), "it was put off, but is not forgotten"
    first = [one for one in [*bad_ones, *late.closed] if one.job_name == "bad"]
    assert min(one.fire_time for one in first) == NOW


class Unstorable:
    """Nothing that JSON knows."""


@pytest.mark.parametrize("error", [Unstorable(), {1, 2}])
async def test_a_result_that_cannot_be_written_down_is_rejected_alone(
    store: SqliteStore, error: Any
) -> None:
    await create(store, job("a"), job("b"))
    await store.register(node())
    one, two = (await claim(store)).claims
    recorded = await record(
        store, succeed(one, NOW, error=error), succeed(two, NOW), incarnation="inc-a"
    )
    assert recorded.rejected == [one.execution.id]
    assert [stored.id for stored in recorded.stored] == [two.execution.id]


async def test_a_result_of_any_text_is_stored_as_it_is(store: SqliteStore) -> None:
    await create(store, job("a"))
    await store.register(node())
    (one,) = (await claim(store)).claims
    text = "\ud800 \udfff \0 \x1f \u2028 🛎"
    await record(store, succeed(one, NOW, error=text), incarnation="inc-a")
    stored = await store.get_execution(one.execution.id)
    assert stored is not None
    assert stored.attempts == (attempt(http_status=200, error=text),)


async def test_a_planner_that_raises_loses_nothing(store: SqliteStore) -> None:
    await create(store, job("a"))
    await store.register(node())

    def broken(*_: object) -> Any:
        raise RuntimeError("a bug")

    claimed = await store.claim(claim_request(), broken)
    assert claimed.claims == []
    assert claimed.wake_at == NOW + MINUTE
    later = await store.claim(claim_request(NOW + MINUTE), plan_fires)
    assert {row.fire_time for row in later.closed} | {
        one.execution.fire_time for one in later.claims
    } == {NOW, NOW + MINUTE}
    assert void(later.claims[0].execution, job("a")) is None
