"""What is written all at once is written as if it were written row by row."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from tests.support.build import NOW, attempt, execution, job, triggered
from tests.support.postgres import new_database
from tocsin.domain.execution import Execution, Reason, ResponseExcerpt, State, closed
from tocsin.domain.planning import Timer
from tocsin.domain.settle import waiting
from tocsin.store import sqlite
from tocsin.store.postgres import database
from tocsin.store.postgres.statements import TRUSTING, PostgresStatements
from tocsin.store.rows import execution_of
from tocsin.store.sql.statements import Result, Statements, Stored
from tocsin.store.sqlite import engine
from tocsin.store.sqlite.batches import Batch
from tocsin.store.sqlite.statements import SqliteStatements
from tocsin.store.tables import executions, timers

OF = job("a")


class Batches:
    """The statements of a dialect within a transaction."""

    def __init__(self, conn: Connection, statements: Statements) -> None:
        self._conn = conn
        self._statements = statements

    def insert(self, rows: list[Execution]) -> set[str]:
        return self._statements.insert_executions(self._conn, rows)

    def store(self, results: list[Result]) -> list[Stored]:
        return self._statements.store_results(self._conn, results)

    def __getattr__(self, name: str) -> Any:
        return lambda *given: getattr(self._statements, name)(self._conn, *given)

    def stored(self) -> dict[str, Execution]:
        return {row.id: execution_of(row) for row in self._conn.execute(select(executions))}

    def timers(self) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._conn.execute(select(timers).order_by(timers.c.job_id))]


@pytest.fixture(params=["sqlite", "postgres"])
def batches(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Batches]:
    if request.param == "sqlite":
        path = str(tmp_path / "tocsin.db")
        sqlite.migrate(path)
        conn = engine.connect(path, "rw")
        with engine.transaction(conn, "BEGIN IMMEDIATE"):
            yield Batches(conn, SqliteStatements())
        conn.close()
    else:
        with (
            database.make_engine(new_database()).connect() as conn,
            database.transaction(conn, database.begin_write()),
        ):
            yield Batches(conn, PostgresStatements())


def claimed(number: int, owner: str = "inc-a") -> Execution:
    return execution(OF, NOW + number, state=State.CLAIMED, owner=owner, available_at=NOW + number)


def kinds() -> list[Execution]:
    """All that a plan or a person may bring forth."""
    return [
        claimed(1),
        execution(OF, NOW + 2, available_at=NOW + 2),
        closed(execution(OF, NOW + 3), State.SKIPPED, Reason.MISFIRE, NOW + 9),
        triggered(OF, NOW + 4, input={"a": 1}),
        replace(claimed(5), queued=True),
        replace(claimed(6), attempts=(attempt(),)),
        replace(claimed(7), reason=Reason.REQUESTED, skipped_until=NOW + 8, skipped_count=2),
        replace(claimed(8), retry_of=claimed(1).id, exact=True, lane=7, job_version=3),
        claimed(9),
    ]


def test_each_kind_of_execution_is_read_as_it_was_written(batches: Batches) -> None:
    assert batches.insert(kinds()) == set()
    assert batches.stored() == {one.id: one for one in kinds()}


def test_executions_that_exist_are_named_and_left_alone(batches: Batches) -> None:
    old = [replace(one, job_name="old") for one in kinds()[::2]]
    assert batches.insert(old) == set()
    assert batches.insert(kinds()) == {one.id for one in old}
    assert batches.stored() == {one.id: one for one in kinds()} | {one.id: one for one in old}
    assert batches.insert(kinds()) == {one.id for one in kinds()}


def test_an_execution_that_comes_twice_in_a_batch_is_none_that_is_new(batches: Batches) -> None:
    batch = [claimed(1), claimed(2), claimed(1)]
    assert batches.insert(batch) == {claimed(1).id}


MANY = range(1, 2 * TRUSTING)


def test_many_executions_are_added_and_read_as_they_were_written(batches: Batches) -> None:
    rows = [claimed(number) for number in MANY]
    assert batches.insert(rows) == set()
    assert batches.stored() == {one.id: one for one in rows}


def test_one_among_many_that_exists_is_left_alone_and_all_others_are_added(
    batches: Batches,
) -> None:
    old = replace(claimed(TRUSTING), job_name="old")
    assert batches.insert([old]) == set()
    rows = [claimed(number) for number in MANY]
    assert batches.insert(rows) == {old.id}
    assert batches.stored() == {one.id: one for one in rows} | {old.id: old}
    assert batches.insert([*rows, claimed(MANY.stop)]) == {one.id for one in rows}


def test_one_among_many_that_comes_twice_is_none_that_is_new(batches: Batches) -> None:
    rows = [claimed(number) for number in MANY]
    assert batches.insert([*rows, rows[7]]) == {rows[7].id}
    assert batches.stored().keys() == {one.id for one in rows}


def test_nothing_is_added(batches: Batches) -> None:
    assert batches.insert([]) == set()
    assert batches.store([]) == []


def results() -> list[Result]:
    """Each kind of result, all of them good, of executions that were claimed."""
    won = closed(claimed(1), State.SUCCEEDED, None, NOW + 9, attempts=(attempt(),))
    lost = closed(claimed(2), State.FAILED, Reason.LOST, NOW + 9, attempts=(attempt(),))
    again = waiting(claimed(3), NOW + 50, attempts=(attempt(),))
    unasked = closed(claimed(4), State.SUCCEEDED, None, NOW + 9)
    return [
        Result("inc-a", 0, 1, won),
        Result("inc-a", 0, 1, lost),
        Result("inc-a", 0, 0, again),
        Result("inc-a", 0, 1, unasked),
    ]


def test_each_kind_of_result_is_read_as_it_was_written(batches: Batches) -> None:
    batches.insert([claimed(number) for number in range(1, 5)])
    assert batches.store(results()) == [Stored.YES] * 4
    assert batches.stored() == {result.after.id: result.after for result in results()}


def test_results_among_which_some_are_not_good_are_told_apart(batches: Batches) -> None:
    batches.insert([claimed(number) for number in range(1, 9)])
    good = results()

    def won(number: int, now: int = NOW, *, excerpt: str = "ok") -> Execution:
        answer = ResponseExcerpt(excerpt=excerpt, truncated=False)
        attempts = (attempt(response=answer),)
        return closed(claimed(number), State.SUCCEEDED, None, now, attempts=attempts)

    odd = won(8, excerpt='\ud800 \0 {"}\\')
    batch = [
        Result("inc-b", 0, 1, won(5)),
        *good,
        Result("inc-a", 1, 1, won(6)),
        good[0],
        Result("inc-a", 0, 1, won(7, 1 << 70)),
        Result("inc-a", 0, 1, odd),
    ]
    assert batches.store(batch) == [
        Stored.NOT_OURS,
        *[Stored.YES] * 4,
        Stored.NOT_OURS,
        Stored.NOT_OURS,
        Stored.BAD,
        Stored.YES,
    ]
    after = {result.after.id: result.after for result in good}
    untouched = {claimed(number).id: claimed(number) for number in (5, 6, 7)}
    assert batches.stored() == after | untouched | {odd.id: odd}


def test_successes_of_which_some_are_not_good_are_told_apart(batches: Batches) -> None:
    batches.insert([claimed(number) for number in range(1, 5)])
    won = [
        closed(claimed(number), State.SUCCEEDED, None, now, attempts=(attempt(),))
        for number, now in ((1, NOW), (2, 1 << 70), (3, NOW), (4, NOW))
    ]
    owners = ("inc-a", "inc-a", "inc-b", "inc-a")
    rows = [
        Result(owner, 0, 1, replace(one, owner=owner))
        for owner, one in zip(owners, won, strict=True)
    ]
    assert batches.store(rows) == [Stored.YES, Stored.BAD, Stored.NOT_OURS, Stored.YES]
    assert batches.stored() == {one.id: one for one in (won[0], claimed(2), claimed(3), won[3])}


@pytest.mark.parametrize("count", [1, 19, 20, 199, 200, 241, 1_000])
def test_batches_of_any_size_are_written_whole(batches: Batches, count: int) -> None:
    rows = [claimed(number) for number in range(count)]
    assert batches.insert(rows) == set()
    assert batches.stored() == {one.id: one for one in rows}
    ended = [closed(one, State.SUCCEEDED, None, NOW, attempts=(attempt(),)) for one in rows]
    batch = [Result("inc-a", 0, 1, one) for one in ended]
    assert batches.store(batch) == [Stored.YES] * count
    assert batches.stored() == {one.id: one for one in ended}
    rows_of_timers = [(new_id(number), NOW, NOW, 1, False) for number in range(count)]
    batches.insert_timers(rows_of_timers)
    moves = [
        (Timer(job_id=one, fire_at=NOW + 5, due_at=NOW + 6, lane=2, exact=True), NOW)
        for one, *_ in rows_of_timers
    ]
    batches.move_timers([*moves[::2], (moves[0][0], NOW - 1)])
    after = {one: fire_at for one, fire_at, *_ in batches.timers()}
    assert after == {
        one: NOW + 5 if place % 2 == 0 else NOW for place, (one, *_) in enumerate(rows_of_timers)
    }
    batches.end_timers([one for one, fire_at in after.items() if fire_at == NOW])
    left = batches.timers()
    assert left == [(one, NOW + 5, NOW + 6, 2, True) for one in sorted(after)[::2]]


def new_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


def test_a_statement_without_rows_is_no_batch() -> None:
    with pytest.raises(ValueError, match="VALUES"):
        Batch("DELETE FROM timers")
