"""The port, part 1: creating, reading and changing jobs."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.build import (
    HOUR,
    MINUTE,
    NO_LIMITS,
    NOW,
    SECOND,
    at,
    changed,
    every,
    execution,
    fail,
    job,
    new_job,
    timer,
    triggered,
)
from tests.support.drive import (
    add,
    change,
    claim,
    claim_one,
    delete,
    executions,
    ids,
    jobs,
    join,
    record,
    stored,
    trigger,
    view,
)
from tests.support.scale import SCALE
from tests.support.stores import make_store
from tests.support.strategies import specs
from tocsin.domain.errors import CapacityExceeded, InvalidInput
from tocsin.domain.execution import Reason, State
from tocsin.domain.job import JobSpec, JobStatus, Overlap
from tocsin.store.port import JobView, Limits, NewJob, Store

# --- create and read ----------------------------------------------------------------------------


async def test_a_job_is_found_by_its_id_and_by_its_name(store: Store) -> None:
    report = job("report", every(HOUR, anchor=NOW + MINUTE))
    await add(store, report)
    expected = JobView(job=report, next_fire_at=NOW + MINUTE, last_execution=None)
    assert await store.get_job("default", report.id, now=NOW) == expected
    assert await store.get_job("default", "report", now=NOW) == expected


async def test_a_job_without_a_timer_has_no_next_fire(store: Store) -> None:
    idle = job()
    await add(store, NewJob(job=idle, timer=None))
    assert (await view(store, idle)).next_fire_at is None


async def test_the_next_fire_is_the_fire_time_not_the_instant_at_which_it_leaves(
    store: Store,
) -> None:
    spread = job("spread", every(HOUR, jitter=MINUTE))
    first = timer(spread)
    assert first is not None
    assert first.due_at != first.fire_at, "the name was chosen to be spread"
    await add(store, spread)
    assert (await view(store, spread)).next_fire_at == NOW


async def test_what_does_not_exist_is_none(store: Store) -> None:
    await add(store, job("report"))
    assert await store.get_job("default", "repor", now=NOW) is None
    assert await store.get_job("default", job("other").id, now=NOW) is None


async def test_namespaces_do_not_see_each_other(store: Store) -> None:
    mine, theirs = job("report", namespace="mine"), job("report", namespace="theirs")
    await add(store, mine, theirs)
    found = await store.get_job("mine", "report", now=NOW)
    assert found is not None
    assert found.job == mine
    assert await store.get_job("theirs", mine.id, now=NOW) is None
    assert await store.get_job("default", "report", now=NOW) is None


@given(definitions=st.lists(specs, min_size=1, max_size=10))
@settings(
    max_examples=round(10 * SCALE),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_definition_is_read_back_as_it_was_stored(
    store_kind: str, tmp_path_factory: pytest.TempPathFactory, definitions: list[JobSpec]
) -> None:
    async def check(directory: Path) -> None:
        made = make_store(store_kind, directory)
        await made.open()
        try:
            some = [
                job(f"job-{n}", spec=spec, status=JobStatus.COMPLETED)
                for n, spec in enumerate(definitions)
            ]
            await add(made, *(NewJob(job=one, timer=None) for one in some))
            assert await made.get_jobs([one.id for one in some]) == {one.id: one for one in some}
            assert [found.job for found in await jobs(made)] == sorted(some, key=lambda j: j.name)
        finally:
            await made.close()

    asyncio.run(check(tmp_path_factory.mktemp("store")))


@pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.DELETED])
async def test_every_field_of_a_job_is_kept(store: Store, status: JobStatus) -> None:
    one = job(status=status, version=17, created_at=NOW - 5, updated_at=NOW + 7, namespace="ops")
    await add(store, one)
    assert (await view(store, one)).job == one


async def test_jobs_are_read_by_their_ids_those_that_do_not_exist_are_left_out(
    store: Store,
) -> None:
    some = [job() for _ in range(3)]
    await add(store, *some)
    gone = await delete(store, some[2])
    found = await store.get_jobs([some[0].id, gone.id, job().id])
    assert found == {some[0].id: some[0], gone.id: gone}
    assert await store.get_jobs([]) == {}


async def test_thousands_of_jobs_are_created_and_read_at_once(store: Store) -> None:
    words = ("", "\\N", 'tab\t, "quotes" and \\', "two\r\nlines", "\\.", "é\x1f{,}")
    many = [
        job(f"job-{n}", description=words[n % len(words)], tags=("all", f"some-{n % 7}"))
        for n in range(3_000)
    ]
    await add(store, *many)
    found = await store.get_jobs([one.id for one in many])
    assert found == {one.id: one for one in many}
    assert (await store.usage()).jobs == 3_000


async def test_no_jobs_at_all_are_no_error(store: Store) -> None:
    assert await store.create_jobs([], limits=NO_LIMITS) is None


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [0, 300])
async def test_a_taken_name_is_refused_with_its_index_and_nothing_is_stored(
    store: Store, beside: int
) -> None:
    others = [job(f"other-{number}") for number in range(beside)]
    await add(store, job("report"))
    fresh, taken = job("fresh"), job("report", id=job().id)
    with pytest.raises(InvalidInput) as refused:
        await add(store, fresh, taken, *others)
    (problem,) = refused.value.problems
    assert (problem.field, problem.code) == ("jobs.1.name", "name_taken")
    assert await store.get_job("default", "fresh", now=NOW) is None
    assert (await store.usage()).jobs == 1


async def test_a_name_that_is_repeated_within_a_batch_is_taken(store: Store) -> None:
    first, second, third = job("a"), job("b"), job("a", id=job().id)
    with pytest.raises(InvalidInput) as refused:
        await add(store, first, second, third)
    assert [problem.field for problem in refused.value.problems] == ["jobs.2.name"]
    assert (await store.usage()).jobs == 0


async def test_every_taken_name_of_a_batch_is_told(store: Store) -> None:
    await add(store, job("a"), job("c"))
    batch = [job(name, id=job().id) for name in ("a", "b", "c", "b")]
    with pytest.raises(InvalidInput) as refused:
        await add(store, *batch)
    assert [(problem.field, problem.code) for problem in refused.value.problems] == [
        ("jobs.0.name", "name_taken"),
        ("jobs.2.name", "name_taken"),
        ("jobs.3.name", "name_taken"),
    ]


@pytest.mark.parametrize("status", [JobStatus.PAUSED, JobStatus.COMPLETED, JobStatus.CANCELLED])
async def test_a_job_that_does_not_fire_keeps_its_name(store: Store, status: JobStatus) -> None:
    await add(store, job("report", status=status))
    with pytest.raises(InvalidInput):
        await add(store, job("report", id=job().id))


async def test_the_name_of_a_deleted_job_is_free(store: Store) -> None:
    old = job("report")
    await add(store, old)
    gone = await delete(store, old)
    new = job("report", id=job().id)
    await add(store, new)
    assert (await view(store, new)).job == new
    by_name = await store.get_job("default", "report", now=NOW)
    assert by_name is not None
    assert by_name.job == new
    assert (await view(store, gone)).job == gone


async def test_a_deleted_job_is_found_by_its_id_only(store: Store) -> None:
    old = job("report")
    await add(store, old)
    gone = await delete(store, old)
    assert (await view(store, gone)).job.status is JobStatus.DELETED
    assert await store.get_job("default", "report", now=NOW) is None


async def test_a_name_can_be_freed_many_times(store: Store) -> None:
    for _ in range(3):
        one = job("report", id=job().id)
        await add(store, one)
        await delete(store, one)
    assert len(await jobs(store, statuses=(JobStatus.DELETED,))) == 3


# --- capacity -----------------------------------------------------------------------------------


async def test_no_more_jobs_than_the_limit(store: Store) -> None:
    limits = replace(NO_LIMITS, max_jobs=2)
    await store.create_jobs([new_job(job())], limits=limits)
    with pytest.raises(CapacityExceeded) as refused:
        await store.create_jobs([new_job(job()), new_job(job())], limits=limits)
    assert refused.value.limit == "jobs"
    assert (await store.usage()).jobs == 1
    await store.create_jobs([new_job(job())], limits=limits)


async def test_no_more_bytes_than_the_limit(store: Store) -> None:
    await add(store, job("a"))
    size = (await store.usage()).bytes
    limits = Limits(max_jobs=100, max_bytes=2 * size)
    with pytest.raises(CapacityExceeded) as refused:
        await store.create_jobs([new_job(job("b", description="x"))], limits=limits)
    assert refused.value.limit == "bytes"
    assert (await store.usage()).jobs == 1
    await store.create_jobs([new_job(job("b"))], limits=limits)
    assert (await store.usage()).bytes == 2 * size


async def test_deleted_jobs_make_room(store: Store) -> None:
    old = job()
    await add(store, old)
    full = Limits(max_jobs=1, max_bytes=(await store.usage()).bytes)
    await delete(store, old)
    await store.create_jobs([new_job(job())], limits=full)


async def test_jobs_of_all_namespaces_count(store: Store) -> None:
    await add(store, job(namespace="ops"))
    with pytest.raises(CapacityExceeded):
        await store.create_jobs([new_job(job())], limits=replace(NO_LIMITS, max_jobs=1))


# --- usage --------------------------------------------------------------------------------------


async def test_an_empty_store_holds_nothing(store: Store) -> None:
    usage = await store.usage()
    assert (usage.jobs, usage.bytes) == (0, 0)
    assert not any(usage.by_status.values())


async def test_usage_counts_jobs_by_status_without_the_deleted(store: Store) -> None:
    kept = [job(status=s) for s in JobStatus if s is not JobStatus.DELETED]
    gone = job()
    await add(store, *kept, job(), gone)
    await delete(store, gone)
    usage = await store.usage()
    assert usage.jobs == 5
    assert {s: count for s, count in usage.by_status.items() if count} == {
        JobStatus.ACTIVE: 2,
        JobStatus.PAUSED: 1,
        JobStatus.COMPLETED: 1,
        JobStatus.CANCELLED: 1,
    }


async def test_the_size_of_a_definition_grows_with_what_is_written(store: Store) -> None:
    await add(store, job("a"))
    small = (await store.usage()).bytes
    await add(store, job("b", description="x" * 1_000))
    assert (await store.usage()).bytes == 2 * small + 1_000


async def test_usage_follows_changes_and_deletions(store: Store) -> None:
    one = job()
    await add(store, one)
    before = await store.usage()
    longer = await change(store, one, description="x" * 100, status=JobStatus.PAUSED)
    usage = await store.usage()
    assert (usage.jobs, usage.bytes) == (1, before.bytes + 100)
    assert {s: count for s, count in usage.by_status.items() if count} == {JobStatus.PAUSED: 1}
    await delete(store, longer)
    usage = await store.usage()
    assert (usage.jobs, usage.bytes) == (0, 0)
    assert not any(usage.by_status.values())


# --- the last execution of a job ----------------------------------------------------------------


async def test_the_last_execution_is_the_newest_by_id(store: Store) -> None:
    one = job(schedule=every(SECOND))
    await add(store, one)
    await join(store)
    await claim(store, NOW + 2 * SECOND, ahead=0)
    last = (await view(store, one, now=NOW + HOUR)).last_execution
    assert last is not None
    assert last.fire_time == NOW + 2 * SECOND
    assert last == await stored(store, last)


async def test_what_was_claimed_ahead_is_not_the_last_execution_yet(store: Store) -> None:
    one = job(schedule=every(SECOND))
    await add(store, one)
    await join(store)
    await claim(store, NOW + 500, ahead=1_000)
    last = (await view(store, one, now=NOW + 999)).last_execution
    assert last is not None
    assert last.fire_time == NOW
    last = (await view(store, one, now=NOW + 1_000)).last_execution
    assert last is not None
    assert last.fire_time == NOW + SECOND


async def test_a_trigger_counts_as_the_last_execution(store: Store) -> None:
    one = job(schedule=every(HOUR))
    await add(store, one)
    by_hand = triggered(one, NOW + 5)
    await trigger(store, by_hand, now=NOW + 5)
    assert (await view(store, one, now=NOW + 5)).last_execution == by_hand


async def test_the_last_execution_is_the_jobs_own(store: Store) -> None:
    idle, busy = job(schedule=at(NOW + HOUR)), job(schedule=at(NOW))
    await add(store, idle, busy)
    await join(store)
    await claim(store)
    assert (await view(store, idle, now=NOW + SECOND)).last_execution is None


# --- changes ------------------------------------------------------------------------------------


async def test_a_change_replaces_the_definition_and_the_timer(store: Store) -> None:
    old = job("report", every(HOUR))
    await add(store, old)
    new = changed(old, now=NOW + 5, schedule=every(MINUTE), tags=("b", "a"), name="daily")
    ended = await store.change_job(
        new, if_version=1, timer=timer(new, after=NOW), limits=NO_LIMITS, now=NOW + 5
    )
    assert ended is not None
    assert list(ended) == []
    found = await store.get_job("default", "daily", now=NOW)
    assert found == JobView(job=new, next_fire_at=NOW + MINUTE, last_execution=None)


async def test_a_change_of_a_version_that_has_moved_on_does_nothing(store: Store) -> None:
    old = job("report", overlap=Overlap.QUEUE)
    await add(store, old)
    await trigger(store, triggered(old))
    new = await change(store, old, description="second")
    late = changed(old, now=NOW + 5, description="third", name="late")
    done = await store.change_job(
        late,
        if_version=old.version,
        timer=timer(old),
        limits=NO_LIMITS,
        cancel_waiting=Reason.PAUSED,
        closing=[execution(old, NOW - HOUR, state=State.SKIPPED, finished_at=NOW)],
        now=NOW + 5,
    )
    assert done is None
    assert await view(store, old) == JobView(
        job=new, next_fire_at=None, last_execution=triggered(old)
    )
    assert [one.state for one in await executions(store)] == [State.PENDING]


async def test_a_change_of_a_job_that_does_not_exist_does_nothing(store: Store) -> None:
    unknown = job()
    done = await store.change_job(
        unknown, if_version=1, timer=timer(unknown), limits=NO_LIMITS, now=NOW
    )
    assert done is None
    assert await store.get_job("default", unknown.id, now=NOW) is None
    assert (await store.usage()).jobs == 0


async def test_of_two_changes_of_one_version_only_one_is_made(store: Store) -> None:
    old = job()
    await add(store, old)
    versions = [changed(old, now=NOW, description=f"by {n}") for n in range(8)]
    done = await asyncio.gather(
        *(
            store.change_job(one, if_version=1, timer=timer(old), limits=NO_LIMITS, now=NOW)
            for one in versions
        )
    )
    (winner,) = [one for one, result in zip(versions, done, strict=True) if result is not None]
    assert (await view(store, old)).job == winner


async def test_without_a_timer_a_job_does_not_fire_any_more(store: Store) -> None:
    old = job()
    await add(store, old)
    await join(store)
    await change(store, old, timer=None)
    assert (await view(store, old)).next_fire_at is None
    claimed = await claim(store, NOW + HOUR)
    assert (list(claimed.claims), claimed.wake_at) == ([], None)


async def test_a_job_fires_by_its_new_timer_only(store: Store) -> None:
    old = job(schedule=at(NOW))
    await add(store, old)
    await join(store)
    new = changed(old, now=NOW, schedule=at(NOW + MINUTE))
    await change(store, old, schedule=at(NOW + MINUTE), timer=timer(new))
    assert list((await claim(store, NOW)).claims) == []
    claimed = await claim_one(store, NOW + MINUTE)
    assert claimed.execution.fire_time == NOW + MINUTE
    assert claimed.execution.job_version == new.version


async def test_a_job_without_a_timer_can_be_given_one(store: Store) -> None:
    old = job(status=JobStatus.PAUSED)
    await add(store, old)
    await join(store)
    await change(store, old, status=JobStatus.ACTIVE, timer=timer(old))
    assert (await claim_one(store)).execution.fire_time == NOW


async def test_a_new_name_frees_the_old_one(store: Store) -> None:
    old = job("old")
    await add(store, old)
    new = await change(store, old, name="new")
    assert await store.get_job("default", "old", now=NOW) is None
    found = await store.get_job("default", "new", now=NOW)
    assert found is not None
    assert found.job == new
    await add(store, job("old", id=job().id))


async def test_a_change_to_a_taken_name_is_refused_and_nothing_changes(store: Store) -> None:
    one, other = job("one"), job("other")
    await add(store, one, other)
    with pytest.raises(InvalidInput) as refused:
        await change(store, one, name="other", cancel_waiting=Reason.CHANGED)
    (problem,) = refused.value.problems
    assert (problem.field, problem.code) == ("name", "name_taken")
    assert (await view(store, one)) == JobView(job=one, next_fire_at=NOW, last_execution=None)
    assert (await view(store, other)).job == other


async def test_a_job_may_take_the_name_of_a_deleted_one(store: Store) -> None:
    one, other = job("one"), job("other")
    await add(store, one, other)
    await delete(store, other)
    assert (await view(store, await change(store, one, name="other"))).job.name == "other"


async def test_a_change_that_grows_beyond_the_limit_is_refused(store: Store) -> None:
    one = job()
    await add(store, one, job())
    used = (await store.usage()).bytes
    bigger = changed(one, now=NOW, description="x" * 11)
    with pytest.raises(CapacityExceeded) as refused:
        await store.change_job(
            bigger,
            if_version=1,
            timer=None,
            limits=Limits(max_jobs=9, max_bytes=used + 10),
            now=NOW,
        )
    assert refused.value.limit == "bytes"
    assert (await view(store, one)).job == one
    assert (await store.usage()).bytes == used


@pytest.mark.parametrize("status", [JobStatus.PAUSED, JobStatus.DELETED])
async def test_a_job_can_be_paused_and_deleted_while_the_store_is_full(
    store: Store, status: JobStatus
) -> None:
    one = job()
    await add(store, one)
    full = Limits(max_jobs=1, max_bytes=(await store.usage()).bytes)
    after = changed(one, now=NOW, status=status)
    done = await store.change_job(after, if_version=1, timer=None, limits=full, now=NOW)
    assert done is not None
    assert (await view(store, one)).job.status is status


async def test_a_definition_can_shrink_although_the_limit_was_lowered_below_it(
    store: Store,
) -> None:
    one = job(description="x" * 1_000)
    await add(store, one)
    after = changed(one, now=NOW, description="x")
    low = Limits(max_jobs=1, max_bytes=1)
    done = await store.change_job(after, if_version=1, timer=None, limits=low, now=NOW)
    assert done is not None


# --- what a change ends -------------------------------------------------------------------------


async def test_a_change_can_end_what_waits_and_leaves_what_runs(store: Store) -> None:
    one = job(schedule=every(HOUR), overlap=Overlap.QUEUE)
    other = job(schedule=at(NOW + HOUR))
    await add(store, one, other)
    await join(store)
    running = await claim_one(store)
    queued, theirs = triggered(one, NOW + 1), triggered(other, NOW + 1)
    await trigger(store, queued, now=NOW + 1)
    await trigger(store, theirs, now=NOW + 1)
    ended = await store.change_job(
        changed(one, now=NOW + 5, status=JobStatus.PAUSED),
        if_version=1,
        timer=None,
        limits=NO_LIMITS,
        cancel_waiting=Reason.PAUSED,
        now=NOW + 5,
    )
    assert ended is not None
    assert ids(ended) == {queued.id}
    after = await stored(store, queued)
    assert (after.state, after.reason, after.finished_at) == (
        State.CANCELLED,
        Reason.PAUSED,
        NOW + 5,
    )
    assert list(ended) == [after]
    assert (await stored(store, running)).state is State.CLAIMED
    assert (await stored(store, theirs)).state is State.PENDING


async def test_a_change_can_end_what_waits_for_a_retry(store: Store) -> None:
    one = job(schedule=at(NOW))
    await add(store, one)
    await join(store)
    claimed = await claim_one(store)
    await record(store, fail(claimed, NOW + 5), now=NOW + 5)
    completed = (await view(store, one)).job
    await change(store, completed, cancel_waiting=Reason.CHANGED, now=NOW + 6)
    after = await stored(store, claimed)
    assert (after.state, after.reason) == (State.CANCELLED, Reason.CHANGED)
    assert len(after.attempts) == 1


async def test_without_a_reason_a_change_ends_nothing(store: Store) -> None:
    one = job()
    await add(store, one)
    await trigger(store, triggered(one))
    await change(store, one, description="new", timer=timer(one))
    assert (await stored(store, triggered(one))).state is State.PENDING


async def test_a_change_can_add_ended_executions(store: Store) -> None:
    one = job(schedule=at(NOW))
    await add(store, one)
    skipped = execution(
        one, state=State.SKIPPED, reason=Reason.PAUSED, available_at=None, finished_at=NOW + 5
    )
    ended = await store.change_job(
        changed(one, now=NOW + 5, status=JobStatus.COMPLETED),
        if_version=1,
        timer=None,
        limits=NO_LIMITS,
        closing=[skipped],
        now=NOW + 5,
    )
    assert ended is not None
    assert list(ended) == [skipped]
    assert await store.get_execution(skipped.id) == skipped


async def test_ended_executions_that_exist_already_are_left_as_they_are(store: Store) -> None:
    one = job(schedule=every(HOUR))
    await add(store, one)
    await join(store)
    claimed = await claim_one(store)
    skipped = execution(one, state=State.SKIPPED, available_at=None, finished_at=NOW + 5)
    assert skipped.id == claimed.execution.id
    ended = await store.change_job(
        changed(one, now=NOW + 5), if_version=1, timer=None, limits=NO_LIMITS,
        closing=[skipped], now=NOW + 5,
    )  # fmt: skip
    assert ended is not None
    assert list(ended) == []
    assert await stored(store, claimed) == claimed.execution


# --- what was planned last ----------------------------------------------------------------------


async def test_nothing_was_planned_at_first(store: Store) -> None:
    one = job()
    await add(store, one)
    assert await store.last_planned(one.id) is None


async def test_the_last_planned_fire_time_is_the_latest_by_schedule(store: Store) -> None:
    one, other = job(schedule=every(SECOND)), job(schedule=every(SECOND, anchor=NOW + 500))
    await add(store, one, other)
    await join(store)
    await claim(store, NOW, ahead=2_000)
    assert await store.last_planned(one.id) == NOW + 2_000
    assert await store.last_planned(other.id) == NOW + 1_500


async def test_what_was_asked_for_by_hand_was_not_planned(store: Store) -> None:
    one = job(schedule=every(HOUR))
    await add(store, one)
    await trigger(store, triggered(one, NOW + 5), now=NOW + 5)
    assert await store.last_planned(one.id) is None


async def test_the_end_of_a_skipped_range_was_planned(store: Store) -> None:
    one = job(schedule=every(SECOND, ends_at=NOW + 20 * SECOND))
    await add(store, one)
    skipped = execution(
        one,
        state=State.SKIPPED,
        reason=Reason.MISFIRE,
        skipped_until=NOW + 9_000,
        skipped_count=10,
        available_at=None,
        finished_at=NOW,
    )
    await change(store, one, closing=[skipped])
    assert await store.last_planned(one.id) == NOW + 9_000


async def test_the_last_planned_fire_time_outlives_the_timer(store: Store) -> None:
    one = job(schedule=at(NOW))
    await add(store, one)
    await join(store)
    await claim(store)
    assert await store.last_planned(one.id) == NOW


async def test_a_change_holds_only_for_the_timer_that_it_was_decided_on(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    read = (await view(store, of)).next_fire_at
    await claim_one(store)
    moved = (await view(store, of)).next_fire_at
    assert moved != read
    new = changed(of, now=NOW, description="new")

    async def write(if_fire_at: int | None) -> object:
        return await store.change_job(
            new,
            if_version=of.version,
            if_fire_at=if_fire_at,
            timer=timer(new, after=NOW + 5 * HOUR),
            limits=NO_LIMITS,
            now=NOW,
        )

    assert await write(read) is None
    assert await write(None) is None
    assert (await view(store, of)).job == of
    assert await write(moved) == []
    assert (await view(store, of)).job == new
