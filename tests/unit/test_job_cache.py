"""The memory of decoded jobs: what is in use stays, as long as there is room for it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.support.build import job

from tocsin.domain.codec import spec_text
from tocsin.domain.job import Job, JobStatus
from tocsin.store.rows import Row
from tocsin.store.sql.job_cache import JobCache

NO_CONNECTION: Any = None


class Jobs:
    """A table of jobs that notes which were read."""

    def __init__(self, *stored: Job) -> None:
        self.stored = {one.id: one for one in stored}
        self.read: list[str] = []

    def jobs(self, _conn: object, ids: Sequence[str]) -> Sequence[Row]:
        self.read += ids
        return [row_of(self.stored[one]) for one in ids]


def row_of(one: Job) -> Row:
    return (
        one.id, one.namespace, one.name, one.status.value, one.version, one.created_at,
        one.updated_at, spec_text(one.spec),
    )  # fmt: skip


def load(cache: JobCache, table: Jobs, some: Sequence[Job]) -> list[str]:
    """Ask for jobs and check the answer; the ids that had to be read."""
    table.read = []
    statements: Any = table
    found = cache.load(NO_CONNECTION, statements, [(one.id, one.version) for one in some])
    assert found == {one.id: table.stored[one.id] for one in some}
    return table.read


def test_what_fits_stays_in_whatever_order_it_is_used() -> None:
    some = [job(f"job-{number}") for number in range(10)]
    table, cache = Jobs(*some), JobCache(10)
    cache.put(some)
    for order in (some, some[::-1], some[5:] + some[:5], some[::2]):
        assert load(cache, table, order) == []


def test_what_is_not_used_makes_room_for_what_is_new() -> None:
    gone, some = ([job(f"{word}-{n}") for n in range(10)] for word in ("gone", "new"))
    table, cache = Jobs(*gone, *some), JobCache(10)
    cache.put(gone)
    cache.put(some)
    assert load(cache, table, some) == []
    assert load(cache, table, gone[:3]) == [one.id for one in gone[:3]]


def test_what_was_used_since_outlives_what_was_not() -> None:
    some = [job(f"job-{number}") for number in range(10)]
    late = [job(f"late-{number}") for number in range(4)]
    table, cache = Jobs(*some, *late), JobCache(10)
    cache.put(some)
    cache.put(late[:1])  # All before it are old now, and one of them is forgotten.
    assert load(cache, table, some[:6]) == []
    cache.put(late[1:])
    assert load(cache, table, [*some[:6], *late]) == []


def test_it_holds_no_more_than_it_may() -> None:
    some = [job(f"job-{number}") for number in range(100)]
    table, cache = Jobs(*some), JobCache(10)
    for one in some:
        load(cache, table, [one, some[0]])
        assert len(cache._young) + len(cache._old) <= 10
    assert load(cache, table, some[:1]) == []


def test_another_version_is_read_and_replaces_the_one_before() -> None:
    old = job("report")
    new = replace(old, version=2, name="other")
    table, cache = Jobs(new), JobCache(10)
    cache.put([old])
    assert load(cache, table, [new]) == [new.id]
    assert load(cache, table, [new]) == []


def test_the_status_is_that_of_the_row() -> None:
    active = job("once")
    completed = replace(active, status=JobStatus.COMPLETED)
    cache = JobCache(10)
    cache.put([active])
    assert cache.of(row_of(completed)) == completed
    assert cache.of(row_of(active)) is active
