"""The port, part 10: retention, statistics, and the store as such."""

from typing import Any

import pytest

from tests.support.build import (
    DAY,
    HOUR,
    MINUTE,
    NO_LIMITS,
    NOW,
    SECOND,
    at,
    every,
    execution,
    fail,
    job,
    new_job,
    request,
    succeed,
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
    pause,
    record,
    rescue_all,
    trigger,
    view,
)
from tocsin.domain.execution import Execution, Reason, State
from tocsin.domain.instant import Millis
from tocsin.domain.job import DeliveryMode, Job, JobStatus, Misfire, MisfirePolicy, Overlap
from tocsin.domain.retry import RetryPolicy
from tocsin.domain.tally import Tally
from tocsin.store.port import Request, Store

FAR = NOW + 3_650 * DAY


async def history(store: Store, of: Job, *fire_times: Millis, **fields: Any) -> list[Execution]:
    """Put ended executions into the store."""
    rows = [
        execution(
            of,
            one,
            **{"state": State.SUCCEEDED, "available_at": None, "finished_at": one, **fields},
        )
        for one in fire_times
    ]
    await add(store, of)
    await change(store, of, closing=rows, timer=timer(of, after=max(fire_times, default=NOW)))
    return rows


async def delete_all(store: Store, before: Millis) -> int:
    """Delete until nothing is left to delete; how many executions went."""
    count = 0
    while deleted := await store.delete_history(before=before, limit=100):
        count += deleted
    return count


# --- retention ----------------------------------------------------------------------------------


async def test_ended_executions_with_an_older_fire_time_are_deleted(store: Store) -> None:
    rows = await history(store, job(), NOW, NOW + 1, NOW + 2)
    assert await store.delete_history(before=NOW + 2, limit=100) == 2
    assert ids(await executions(store)) == {rows[2].id}
    assert await store.get_execution(rows[0].id) is None
    assert await store.delete_history(before=NOW + 2, limit=100) == 0


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.SKIPPED])
async def test_executions_that_ended_in_any_way_are_deleted(store: Store, state: State) -> None:
    await history(store, job(), NOW, state=state)
    assert await store.delete_history(before=NOW + 1, limit=100) == 1
    assert await executions(store) == []


async def test_no_more_than_the_limit_are_deleted_the_oldest_first(store: Store) -> None:
    await history(store, job(), *(NOW + n * 7 % 10 for n in range(10)))
    assert await store.delete_history(before=NOW + 9, limit=4) == 4
    left = [one.fire_time - NOW for one in await executions(store, ascending=True)]
    assert left == [4, 5, 6, 7, 8, 9]
    deleted = [await store.delete_history(before=NOW + 9, limit=4) for _ in range(3)]
    assert deleted == [4, 1, 0]


async def test_live_executions_are_never_deleted(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    claimed = await claim_one(store)
    await trigger(store, triggered(of))
    await delete_all(store, FAR)
    assert ids(await executions(store)) == {claimed.execution.id, triggered(of).id}


async def test_old_live_executions_do_not_hide_younger_ended_ones(store: Store) -> None:
    of = job()
    await history(store, of, NOW + 5)
    for n in range(5):
        await trigger(store, triggered(of, NOW + n))
    assert await store.delete_history(before=NOW + 6, limit=1) == 1


async def test_a_job_outlives_its_history(store: Store) -> None:
    of = job()
    await history(store, of, NOW)
    before = await view(store, of, now=FAR)
    await delete_all(store, FAR)
    after = await view(store, of, now=FAR)
    assert (after.job, after.next_fire_at) == (before.job, before.next_fire_at)
    assert after.last_execution is None


async def test_a_tombstone_goes_with_its_last_execution(store: Store) -> None:
    of = job("report")
    await history(store, of, NOW, NOW + 9)
    gone = await delete(store, (await view(store, of)).job)
    await delete_all(store, NOW + 5)
    assert (await view(store, gone)).job == gone
    await delete_all(store, FAR)
    assert await store.get_job("default", gone.id, now=FAR) is None
    assert await store.get_jobs([gone.id]) == {}
    assert await jobs(store, statuses=tuple(JobStatus)) == []


async def test_a_tombstone_waits_for_a_call_under_way(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    claimed = await claim_one(store)
    gone = await delete(store, of)
    await delete_all(store, FAR)
    assert (await view(store, gone)).job == gone
    await record(store, succeed(claimed, NOW))
    await delete_all(store, FAR)
    assert await store.get_job("default", gone.id, now=FAR) is None


@pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.DELETED])
async def test_a_job_that_was_not_deleted_stays_without_any_history(
    store: Store, status: JobStatus
) -> None:
    of = job(status=status)
    await add(store, of)
    await delete_all(store, FAR)
    assert (await view(store, of)).job == of


async def test_a_name_stays_with_its_new_owner_when_the_tombstone_goes(store: Store) -> None:
    old = job("report")
    await history(store, old, NOW)
    await delete(store, (await view(store, old)).job)
    new = job("report", id=job().id, tags=("x",))
    await add(store, new)
    await delete_all(store, FAR)
    assert [one.job for one in await jobs(store, tags=("x",), text="report")] == [new]


async def test_old_tallies_are_deleted(store: Store) -> None:
    await history(store, job(), NOW, NOW + 2 * HOUR)
    await delete_all(store, NOW + HOUR)
    stats = await store.stats(since=NOW, now=NOW + 3 * HOUR)
    assert [minute for minute, _ in stats.minutes] == [NOW + 2 * HOUR]
    assert stats.tally.succeeded == 1


async def test_keys_of_requests_are_kept_for_a_day(store: Store) -> None:
    await store.create_jobs([new_job(job())], limits=NO_LIMITS, request=request("k"))

    async def repeat(key: str) -> Request | None:
        return await store.create_jobs(
            [new_job(job())], limits=NO_LIMITS, request=request(key, created_at=NOW)
        )

    await delete_all(store, NOW)
    assert await repeat("k") == request("k")
    await delete_all(store, NOW + 40 * DAY)
    assert await repeat("k") is None


async def test_with_nothing_to_delete_nothing_is_deleted(store: Store) -> None:
    assert await store.delete_history(before=FAR, limit=100) == 0


# --- statistics ---------------------------------------------------------------------------------


def counts(tally: Tally) -> tuple[int, int, int, int]:
    return tally.succeeded, tally.failed, tally.cancelled, tally.skipped


async def stats_counts(store: Store, since: Millis = NOW) -> tuple[int, int, int, int]:
    return counts((await store.stats(since=since, now=NOW + HOUR)).tally)


async def test_an_empty_store_has_nothing_to_show(store: Store) -> None:
    stats = await store.stats(since=NOW, now=NOW)
    assert not any(stats.jobs.values())
    assert (stats.pending, stats.claimed) == (0, 0)
    assert stats.tally == Tally()
    assert (list(stats.minutes), list(stats.next_fires)) == ([], [])


async def test_jobs_are_counted_by_status(store: Store) -> None:
    await add(store, job(), job(), job(status=JobStatus.COMPLETED), paused := job())
    await pause(store, paused)
    stats = await store.stats(since=NOW, now=NOW)
    assert {s: count for s, count in stats.jobs.items() if count} == {
        JobStatus.ACTIVE: 2,
        JobStatus.COMPLETED: 1,
        JobStatus.PAUSED: 1,
    }


async def test_live_executions_are_counted_through_their_lives(store: Store) -> None:
    of = job(schedule=at(NOW))
    await add(store, of)
    await join(store)

    async def live() -> tuple[int, int]:
        stats = await store.stats(since=NOW, now=NOW)
        return stats.pending, stats.claimed

    assert await live() == (0, 0)
    claimed = await claim_one(store)
    assert await live() == (0, 1)
    await store.give_back("inc-a", [claimed.execution.id], now=NOW)
    assert await live() == (1, 0)
    claimed = await claim_one(store)
    await record(store, fail(claimed, NOW))
    assert await live() == (1, 0)
    claimed = await claim_one(store, NOW + SECOND)
    await store.leave("inc-a")
    await rescue_all(store, NOW + SECOND)
    assert await live() == (1, 0)
    await trigger(store, triggered(of, NOW + 5))
    assert await live() == (2, 0)
    await store.cancel_executions(reason=Reason.REQUESTED, now=NOW, job_id=of.id)
    assert await live() == (0, 0)


async def test_what_waits_in_a_queue_is_pending(store: Store) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    await claim(store, NOW)
    await claim(store, NOW + SECOND)
    stats = await store.stats(since=NOW, now=NOW)
    assert (stats.pending, stats.claimed) == (1, 1)


async def test_whatever_ends_is_counted_however_it_ended(store: Store) -> None:
    await join(store)
    # recorded
    await add(
        store, job(schedule=at(NOW)), job(schedule=at(NOW), retry=RetryPolicy(max_attempts=1))
    )
    for claimed in (await claim(store)).claims:
        once = claimed.job.spec.retry.max_attempts == 1
        await record(store, (fail if once else succeed)(claimed, NOW))
    assert await stats_counts(store) == (1, 1, 0, 0)
    # skipped at the claim, a range
    await add(
        store,
        job(
            schedule=every(SECOND, ends_at=NOW + 9 * SECOND),
            misfire=Misfire(policy=MisfirePolicy.SKIP, grace=0),
        ),
    )
    await claim(store, NOW + 30 * SECOND)
    assert await stats_counts(store) == (1, 1, 0, 10)
    # cancelled by hand
    by_hand = job(schedule=at(FAR))
    await add(store, by_hand)
    await trigger(store, triggered(by_hand))
    await store.cancel_executions(reason=Reason.REQUESTED, now=NOW, job_id=by_hand.id)
    assert await stats_counts(store) == (1, 1, 1, 10)
    # cancelled and closed by a change
    await trigger(store, triggered(by_hand, NOW + 1))
    skipped = execution(by_hand, NOW + 2, state=State.SKIPPED, available_at=None, finished_at=NOW)
    await change(store, by_hand, cancel_waiting=Reason.PAUSED, closing=[skipped])
    assert await stats_counts(store) == (1, 1, 2, 11)
    # skipped and replaced by a trigger
    skip, replaced = (
        job(schedule=at(FAR), overlap=overlap) for overlap in (Overlap.SKIP, Overlap.REPLACE)
    )
    for of in (skip, replaced):
        await add(store, of)
        await trigger(store, triggered(of, NOW))
        await trigger(store, triggered(of, NOW + 1))
    assert await stats_counts(store) == (1, 1, 3, 12)
    # replaced at the claim
    await store.cancel_executions(reason=Reason.REQUESTED, now=NOW, job_id=replaced.id)
    of = job(schedule=every(SECOND, anchor=NOW, ends_at=NOW + SECOND), overlap=Overlap.REPLACE)
    await add(store, of)
    await claim(store, NOW)
    await claim(store, NOW + SECOND)
    assert await stats_counts(store) == (1, 1, 5, 12)
    # lost
    await add(store, job(schedule=at(NOW), delivery=DeliveryMode.AT_MOST_ONCE))
    await claim(store, NOW + 2 * SECOND)
    await store.leave("inc-a")
    lost = [one for one in await rescue_all(store, NOW + 3 * SECOND) if one.state.final]
    assert len(lost) == 1
    assert await stats_counts(store) == (1, 2, 5, 12)


async def test_attempts_and_lateness_are_counted_when_an_execution_ends(store: Store) -> None:
    await add(store, job(schedule=at(NOW), retry=RetryPolicy(initial=SECOND, jitter=0)))
    await join(store)
    await record(store, fail(await claim_one(store), NOW + 40))
    assert (await store.stats(since=NOW, now=NOW)).tally.attempts == 0
    again = await claim_one(store, NOW + 2 * SECOND)
    await record(store, succeed(again, NOW + 2 * SECOND))
    tally = (await store.stats(since=NOW, now=NOW)).tally
    assert tally.attempts == 2
    late = tally.percentile(0.5)
    assert late is not None
    assert 30 < late <= 50, "by its first attempt, which left 40 ms late"


async def test_counts_come_by_minute_oldest_first_without_empty_ones(store: Store) -> None:
    of = job(schedule=at(FAR))
    await add(store, of)
    await join(store)
    for minute in (0, 1, 3):
        now = NOW + minute * MINUTE
        await trigger(store, triggered(of, now), now=now)
        await record(store, succeed(await claim_one(store, now, ahead=0), now), now=now)
    await trigger(store, by_hand := triggered(of, NOW + 5))
    await store.cancel_executions(
        reason=Reason.REQUESTED, now=NOW + MINUTE + 9, execution_id=by_hand.id
    )
    stats = await store.stats(since=NOW, now=NOW + HOUR)
    assert [(minute - NOW, counts(tally)) for minute, tally in stats.minutes] == [
        (0, (1, 0, 0, 0)),
        (MINUTE, (1, 0, 1, 0)),
        (3 * MINUTE, (1, 0, 0, 0)),
    ]
    assert counts(stats.tally) == (3, 0, 1, 0)


async def test_counts_of_all_nodes_are_added_up(store: Store) -> None:
    await add(store, *(job(schedule=at(NOW)) for _ in range(3)))
    await join(store, "inc-a", "inc-b")
    for incarnation, limit in (("inc-a", 1), ("inc-b", 2)):
        for claimed in (await claim(store, limit=limit, incarnation=incarnation)).claims:
            await record(store, succeed(claimed, NOW), incarnation=incarnation)
    await store.leave("inc-b")
    stats = await store.stats(since=NOW, now=NOW)
    assert stats.tally.succeeded == 3
    assert [(minute, tally.succeeded) for minute, tally in stats.minutes] == [(NOW, 3)]


async def test_counts_begin_with_the_minute_that_was_asked_for(store: Store) -> None:
    await history(store, job(), NOW, NOW + MINUTE, NOW + 2 * MINUTE)
    assert await stats_counts(store, since=NOW + MINUTE) == (2, 0, 0, 0)
    assert await stats_counts(store, since=NOW + 3 * MINUTE) == (0, 0, 0, 0)


async def test_what_comes_out_can_be_changed_without_harm(store: Store) -> None:
    await history(store, job(), NOW)
    stats = await store.stats(since=NOW, now=NOW)
    stats.tally.succeeded = 99
    stats.minutes[0][1].succeeded = 99
    assert await stats_counts(store) == (1, 0, 0, 0)


async def test_the_next_fires_are_told_with_their_due_instants(store: Store) -> None:
    spread = job("spread", every(HOUR, anchor=NOW + HOUR, jitter=MINUTE))
    first = timer(spread)
    assert first is not None
    others = [job(schedule=at(NOW + n * DAY)) for n in (3, 1, 2)]
    await add(store, spread, *others)
    stats = await store.stats(since=NOW, now=NOW, next_fires=3)
    assert [(one.id, due_at) for one, due_at in stats.next_fires] == [
        (spread.id, first.due_at),
        (others[1].id, NOW + DAY),
        (others[2].id, NOW + 2 * DAY),
    ]
    assert stats.next_fires[0][0] == spread


async def test_jobs_that_do_not_fire_are_not_among_the_next(store: Store) -> None:
    paused, deleted, done = (
        job(schedule=at(NOW + 1)),
        job(schedule=at(NOW + 2)),
        job(schedule=at(NOW)),
    )
    await add(store, paused, deleted, done)
    await join(store)
    await pause(store, paused)
    await delete(store, deleted)
    await claim(store)
    with_timer = job(schedule=at(NOW + 3))
    await add(store, with_timer)
    await change(store, with_timer, status=JobStatus.CANCELLED, timer=timer(with_timer))
    assert list((await store.stats(since=NOW, now=NOW)).next_fires) == []


# --- the store as such --------------------------------------------------------------------------


async def test_an_open_store_answers(store: Store) -> None:
    await store.ping()


async def test_a_store_can_be_closed_twice(store: Store) -> None:
    await store.close()
    await store.close()
