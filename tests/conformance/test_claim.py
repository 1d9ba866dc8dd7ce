"""The port, part 6: claiming due fires and due retries."""

import asyncio
from dataclasses import replace
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
    changed,
    claim_request,
    every,
    execution,
    fail,
    job,
    succeed,
    timer,
    triggered,
)
from tests.support.drive import (
    Spy,
    add,
    change,
    claim,
    claim_all,
    claim_one,
    delete,
    executions,
    ids,
    join,
    pause,
    record,
    resume,
    stored,
    trigger,
    view,
)
from tocsin.domain.errors import Revoked
from tocsin.domain.execution import Execution, Reason, State, closed, execution_id
from tocsin.domain.job import (
    DeliveryMode,
    Job,
    JobStatus,
    LogTarget,
    Misfire,
    MisfirePolicy,
    Overlap,
)
from tocsin.domain.planning import (
    LOOK_AT_MOST,
    QUEUE_AT_MOST,
    FirePlan,
    Live,
    Timer,
    Window,
    plan_fires,
)
from tocsin.domain.retry import RetryPolicy
from tocsin.store.port import Claim, JobQuery, JobView, NewJob, Store

# --- who may claim ------------------------------------------------------------------------------


async def test_a_node_without_a_row_cannot_claim(store: Store) -> None:
    of = job()
    await add(store, of)
    await join(store, "inc-b")
    with pytest.raises(Revoked):
        await claim(store, incarnation="inc-a")
    assert await executions(store) == []
    assert (await view(store, of)).next_fire_at == NOW


async def test_a_node_whose_lease_lapsed_but_was_not_revoked_may_claim(store: Store) -> None:
    await add(store, job(schedule=at(NOW)))
    await join(store, now=NOW - DAY)
    assert len((await claim(store)).claims) == 1


# --- fires --------------------------------------------------------------------------------------


async def test_a_due_fire_is_claimed(store: Store) -> None:
    of = job("report", every(HOUR))
    await add(store, of)
    await join(store)
    claimed = await claim(store)
    (only,) = claimed.claims
    assert only.job == of
    assert only.execution == replace(
        execution(of, NOW), state=State.CLAIMED, owner="inc-a", available_at=NOW
    )
    assert await stored(store, only) == only.execution
    assert (list(claimed.closed), list(claimed.completed), claimed.more) == ([], [], False)


async def test_the_timer_moves_on(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    await claim(store)
    assert (await view(store, of)).next_fire_at == NOW + HOUR
    assert list((await claim(store)).claims) == []
    assert (await claim_one(store, NOW + HOUR)).execution.fire_time == NOW + HOUR


async def test_fires_are_claimed_ahead_of_their_instant(store: Store) -> None:
    of = job(schedule=every(SECOND, anchor=NOW + SECOND))
    await add(store, of)
    await join(store)
    claimed = await claim(store, NOW, ahead=2_000)
    assert [one.execution.available_at for one in claimed.claims] == [NOW + 1_000, NOW + 2_000]


async def test_a_fire_beyond_the_horizon_is_not_claimed(store: Store) -> None:
    of = job(schedule=at(NOW + 1_001))
    await add(store, of)
    await join(store)
    assert list((await claim(store, NOW, ahead=1_000)).claims) == []
    assert len((await claim(store, NOW + 1, ahead=1_000)).claims) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"overlap": Overlap.SKIP},
        {"overlap": Overlap.QUEUE},
        {"overlap": Overlap.REPLACE},
        {"delivery": DeliveryMode.AT_MOST_ONCE},
    ],
)
async def test_exact_fires_are_claimed_at_their_instant(
    store: Store, fields: dict[str, Any]
) -> None:
    of = job(schedule=at(NOW + 1), **fields)
    await add(store, of)
    await join(store)
    assert list((await claim(store, NOW, ahead=60_000)).claims) == []
    assert (await claim_one(store, NOW + 1)).execution.exact


async def test_a_fire_is_due_at_its_due_instant_not_at_its_fire_time(store: Store) -> None:
    of = job("spread", every(HOUR, jitter=MINUTE), overlap=Overlap.SKIP)
    first = timer(of)
    assert first is not None
    assert first.due_at > NOW
    await add(store, of)
    await join(store)
    assert list((await claim(store, first.due_at - 1)).claims) == []
    claimed = await claim_one(store, first.due_at)
    assert (claimed.execution.fire_time, claimed.execution.due) == (NOW, first.due_at)


async def test_a_fire_is_claimed_once_by_any_number_of_nodes(store: Store) -> None:
    await add(store, *(job(schedule=every(SECOND)) for _ in range(20)))
    nodes = [f"inc-{n}" for n in range(5)]
    await join(store, *nodes)
    claims = []
    for step in range(4):
        done = await asyncio.gather(
            *(claim(store, NOW + step * SECOND, incarnation=one, limit=30) for one in nodes)
        )
        claims += [one for claimed in done for one in claimed.claims]
    assert len(claims) == len(ids(claims)) == len(await executions(store))
    # Each second up to the horizon, for each job.
    assert len(claims) == 20 * 5
    for one in nodes:
        mine = {claimed.execution.id for claimed in await store.owned(one)}
        assert mine == {c.execution.id for c in claims if c.execution.owner == one}


async def test_a_fire_whose_execution_exists_is_dropped_and_the_timer_still_moves(
    store: Store,
) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    first = await claim_one(store)
    current = (await view(store, of)).job
    again = await change(store, current, description="back to the past", timer=timer(of))
    claimed = await claim(store)
    assert list(claimed.claims) == []
    assert await stored(store, first) == first.execution
    assert (await view(store, again)).next_fire_at == NOW + HOUR


async def test_of_a_plan_only_rows_that_did_not_exist_are_returned(store: Store) -> None:
    of = job(schedule=every(SECOND))
    await add(store, of)
    await join(store)
    known = execution(of, NOW + SECOND, state=State.SKIPPED, available_at=None, finished_at=NOW)
    after = await change(store, of, closing=[known], timer=timer(of))
    claimed = await claim(store, NOW + 2 * SECOND, ahead=0)
    assert [one.execution.fire_time - NOW for one in claimed.claims] == [0, 2_000]
    assert list(claimed.closed) == []
    assert await stored(store, known) == known
    assert claimed.claims[0].job == after


@pytest.mark.parametrize(
    "status", [JobStatus.PAUSED, JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.DELETED]
)
async def test_only_active_jobs_fire(store: Store, status: JobStatus) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    await change(store, of, status=status, timer=timer(of))
    claimed = await claim(store)
    assert (list(claimed.claims), claimed.wake_at) == ([], None)
    assert await executions(store) == []


async def test_a_claim_carries_the_definition_of_the_moment(store: Store) -> None:
    old = job(schedule=every(HOUR))
    await add(store, old)
    await join(store)
    new = await change(store, old, target=LogTarget(text="new"), name="new-name", timer=timer(old))
    claimed = await claim_one(store)
    assert claimed.job == new
    assert (claimed.execution.job_name, claimed.execution.job_version) == ("new-name", 2)


async def test_the_last_fire_completes_the_job(store: Store) -> None:
    once, again = job(schedule=at(NOW)), job(schedule=every(HOUR))
    await add(store, once, again)
    await join(store)
    claimed = await claim(store, NOW + 5)
    assert list(claimed.completed) == [once.id]
    found = await view(store, once)
    assert (found.job.status, found.next_fire_at) == (JobStatus.COMPLETED, None)
    assert found.job.spec == once.spec
    assert (await view(store, again)).job == again
    usage = await store.usage()
    assert usage.by_status.get(JobStatus.COMPLETED) == 1


async def test_a_completed_job_has_the_version_and_the_time_of_its_last_change(
    store: Store,
) -> None:
    once = job(schedule=at(NOW), updated_at=NOW - HOUR)
    await add(store, once)
    await join(store)
    await claim(store, NOW)
    assert (await view(store, once)).job == replace(once, status=JobStatus.COMPLETED)
    assert (await store.get_jobs([once.id]))[once.id].status is JobStatus.COMPLETED


async def test_whoever_read_a_job_before_it_was_completed_cannot_overwrite_that(
    store: Store,
) -> None:
    once = job(schedule=at(NOW))
    await add(store, once)
    await join(store)
    seen = await view(store, once)
    await claim(store, NOW)
    late = changed(once, now=NOW, description="made of what was read before")
    done = await store.change_job(
        late,
        if_version=once.version,
        if_fire_at=seen.next_fire_at,
        timer=timer(once),
        limits=NO_LIMITS,
        now=NOW,
    )
    assert done is None
    assert (await view(store, once)).next_fire_at is None


@pytest.mark.parametrize("status", [JobStatus.ACTIVE, JobStatus.PAUSED, JobStatus.DELETED])
async def test_a_completed_job_is_counted_as_what_it_becomes(
    store: Store, status: JobStatus
) -> None:
    once = job(schedule=at(NOW))
    await add(store, once)
    await join(store)
    await claim(store, NOW)
    later = changed(once, now=NOW, schedule=at(NOW + HOUR), status=status)
    first = timer(later) if status is JobStatus.ACTIVE else None
    done = await store.change_job(later, if_version=1, timer=first, limits=NO_LIMITS, now=NOW)
    assert done is not None
    expected = {} if status is JobStatus.DELETED else {status: 1}
    assert (await store.usage()).by_status == expected
    assert (await store.get_jobs([once.id]))[once.id].status is status


async def test_completed_jobs_are_found_by_their_status(store: Store) -> None:
    once, again = job("once", schedule=at(NOW)), job("again", schedule=every(HOUR))
    await add(store, once, again)
    await join(store)
    await claim(store, NOW)
    for status, name in ((JobStatus.COMPLETED, "once"), (JobStatus.ACTIVE, "again")):
        page = await store.list_jobs(JobQuery(statuses=(status,), limit=10, now=NOW))
        assert [(one.job.name, one.job.status) for one in page.items] == [(name, status)]


async def test_a_fire_that_is_only_skipped_completes_its_job_too(store: Store) -> None:
    of = job(schedule=at(NOW), misfire=Misfire(policy=MisfirePolicy.SKIP))
    await add(store, of)
    await join(store)
    claimed = await claim(store, NOW + HOUR)
    assert list(claimed.completed) == [of.id]
    assert list(claimed.claims) == []
    (skipped,) = claimed.closed
    assert (skipped.state, skipped.reason) == (State.SKIPPED, Reason.MISFIRE)


async def test_skipped_fires_are_stored_and_told(store: Store) -> None:
    of = job(schedule=every(SECOND), misfire=Misfire(policy=MisfirePolicy.SKIP, grace=2_000))
    await add(store, of)
    await join(store)
    claimed = await claim(store, NOW + 9_000, ahead=0)
    (skipped,) = claimed.closed
    assert (skipped.fire_time, skipped.skipped_until, skipped.skipped_count) == (
        NOW,
        NOW + 6_000,
        7,
    )
    assert skipped.finished_at == NOW + 9_000
    assert await stored(store, skipped) == skipped
    assert len(claimed.claims) == 3


# --- what the planner is asked ------------------------------------------------------------------


async def test_the_planner_is_asked_with_what_there_is(store: Store) -> None:
    ahead, exact = job("ahead", at(NOW)), job("exact", at(NOW), overlap=Overlap.SKIP)
    later = job("later", at(NOW + HOUR))
    await add(store, ahead, exact, later)
    await join(store)
    spy = Spy()
    await store.claim(claim_request(NOW, ahead=700, limit=11, exact_limit=7), spy)
    windows = {of.name: window for of, _, _, window in spy.asked}
    assert windows == {
        "ahead": Window(now=NOW, until=NOW + 700, owner="inc-a", room=11),
        "exact": Window(now=NOW, until=NOW, owner="inc-a", room=7),
    }
    assert {of.name: found for of, found, _, _ in spy.asked} == {
        "ahead": timer(ahead),
        "exact": timer(exact),
    }
    assert {of.name: of for of, _, _, _ in spy.asked} == {"ahead": ahead, "exact": exact}


async def test_the_oldest_due_are_planned_first(store: Store) -> None:
    await add(store, *(job(f"job-{n * 7 % 10}", at(NOW + n * 7 % 10)) for n in range(10)))
    await join(store)
    spy = Spy()
    await store.claim(claim_request(NOW), spy)
    assert [of.name for of, _, _, _ in spy.asked] == [f"job-{n}" for n in range(10)]


async def test_live_executions_are_not_counted_where_overlap_is_allowed(store: Store) -> None:
    of = job(schedule=every(SECOND))
    await add(store, of)
    await join(store)
    await claim(store, NOW, ahead=0)
    spy = Spy()
    await store.claim(claim_request(NOW + SECOND, ahead=0), spy)
    assert [live for _, _, live, _ in spy.asked] == [Live()]


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.REPLACE])
async def test_live_executions_are_counted_otherwise(store: Store, overlap: Overlap) -> None:
    of, other = (job(schedule=every(SECOND), overlap=overlap) for _ in range(2))
    await add(store, of)
    await join(store)
    await claim(store, NOW)
    await add(store, other, after=NOW)
    spy = Spy()
    await store.claim(claim_request(NOW + SECOND), spy)
    assert {asked.id: live for asked, _, live, _ in spy.asked} == {
        of.id: Live(running=1),
        other.id: Live(),
    }


async def test_queued_executions_are_counted_apart(store: Store) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    for second in range(3):
        await claim(store, NOW + second * SECOND)
    spy = Spy()
    await store.claim(claim_request(NOW + 3 * SECOND), spy)
    assert [live for _, _, live, _ in spy.asked] == [Live(running=1, queued=2)]


async def test_ended_executions_are_not_live(store: Store) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.SKIP)
    await add(store, of)
    await join(store)
    await record(store, succeed(await claim_one(store), NOW))
    spy = Spy()
    await store.claim(claim_request(NOW + SECOND), spy)
    assert [live for _, _, live, _ in spy.asked] == [Live()]


async def test_a_job_that_cannot_be_planned_holds_up_no_other_and_loses_nothing(
    store: Store,
) -> None:
    bad, good = job(schedule=at(NOW)), job(schedule=at(NOW + 1))
    await add(store, bad, good)
    await join(store)

    def broken(of: Job, due: Timer, live: Live, window: Window) -> FirePlan:
        if of.id == bad.id:
            raise ZeroDivisionError
        return plan_fires(of, due, live, window)

    claimed = await store.claim(claim_request(NOW + 1, ahead=0), broken)
    assert [one.job.id for one in claimed.claims] == [good.id]
    assert (await view(store, bad)) == JobView(job=bad, next_fire_at=NOW, last_execution=None)
    assert list((await claim(store, NOW + MINUTE, ahead=0)).claims) == [], "it is left alone"
    later = await claim_one(store, NOW + MINUTE + 1)
    assert later.job.id == bad.id
    assert (later.execution.fire_time, later.execution.due) == (NOW, NOW)


# --- overlap at the claim -----------------------------------------------------------------------


async def test_skip_skips_a_fire_while_another_is_live(store: Store) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.SKIP)
    await add(store, of)
    await join(store)
    first = await claim_one(store)
    claimed = await claim(store, NOW + SECOND)
    assert [(one.fire_time - NOW, one.reason) for one in claimed.closed] == [
        (1_000, Reason.OVERLAP)
    ]
    await record(store, succeed(first, NOW + 1_500), now=NOW + 1_500)
    assert (await claim_one(store, NOW + 2_000)).execution.fire_time == NOW + 2_000


async def test_a_retry_to_come_is_live(store: Store) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.SKIP, retry=RetryPolicy(initial=HOUR))
    await add(store, of)
    await join(store)
    await record(store, fail(await claim_one(store), NOW))
    claimed = await claim(store, NOW + SECOND)
    assert [one.reason for one in claimed.closed] == [Reason.OVERLAP]


async def test_replace_ends_the_old_one_and_says_whose_it_was(store: Store) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.REPLACE)
    await add(store, of)
    await join(store, "inc-a", "inc-b")
    old = await claim_one(store, incarnation="inc-b")
    claimed = await claim(store, NOW + SECOND)
    assert [one.execution.fire_time - NOW for one in claimed.claims] == [1_000]
    (gone,) = claimed.closed
    assert (gone.id, gone.owner) == (old.execution.id, "inc-b")
    assert (gone.state, gone.reason, gone.finished_at) == (
        State.CANCELLED,
        Reason.REPLACED,
        NOW + SECOND,
    )
    assert await stored(store, old) == gone
    assert list(await store.owned("inc-b")) == []


async def test_a_timer_that_an_edit_set_back_does_not_replace_what_it_calls_for(
    store: Store,
) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.REPLACE)
    await add(store, of)
    await join(store)
    live = await claim_one(store)
    # The editor read the job before that claim: its timer is the fire that is live by now.
    await change(store, of, timer=timer(of, after=live.execution.fire_time - 1))
    claimed = await claim(store, live.execution.fire_time)
    assert (list(claimed.claims), list(claimed.closed)) == ([], [])
    assert (await stored(store, live)).state is State.CLAIMED


async def test_replace_ends_what_waits_for_a_retry(store: Store) -> None:
    of = job(
        schedule=every(MINUTE), overlap=Overlap.REPLACE, retry=RetryPolicy(initial=HOUR, jitter=0)
    )
    await add(store, of)
    await join(store)
    old = await claim_one(store)
    await record(store, fail(old, NOW))
    claimed = await claim(store, NOW + MINUTE)
    assert ids(claimed.closed) == {old.execution.id}
    assert [one.execution.fire_time for one in claimed.claims] == [NOW + MINUTE]
    assert (await stored(store, old)).reason is Reason.REPLACED


async def test_a_due_retry_and_the_fire_that_replaces_it_do_not_both_run(store: Store) -> None:
    of = job(
        schedule=every(MINUTE), overlap=Overlap.REPLACE, retry=RetryPolicy(initial=SECOND, jitter=0)
    )
    await add(store, of)
    await join(store)
    old = await claim_one(store)
    await record(store, fail(old, NOW))
    claimed = await claim(store, NOW + MINUTE)
    assert [one.execution.fire_time for one in claimed.claims] == [NOW + MINUTE]
    assert ids(claimed.closed) == {old.execution.id}
    assert (await stored(store, old)).reason is Reason.REPLACED
    assert len(await store.owned("inc-a")) == 1


async def test_a_retry_is_replaced_although_room_for_that_was_found_late(store: Store) -> None:
    """A dropped row gives its room back, and the fire that gets it replaces the retry."""
    known = job("known", at(NOW + MINUTE - 1), overlap=Overlap.SKIP)
    of = job(
        schedule=every(MINUTE), overlap=Overlap.REPLACE, retry=RetryPolicy(initial=SECOND, jitter=0)
    )
    await add(store, of)
    await join(store)
    old = await claim_one(store)
    await record(store, fail(old, NOW))
    await add(store, known)
    exists = execution(
        known, NOW + MINUTE - 1, state=State.SKIPPED, available_at=None, finished_at=NOW
    )
    await change(store, known, closing=[exists], timer=timer(known))
    claims: list[Claim] = []
    closed: list[Execution] = []
    for _ in range(3):
        claimed = await claim(store, NOW + MINUTE, exact_limit=2)
        assert not ids(claimed.claims) & ids(claimed.closed)
        claims += claimed.claims
        closed += claimed.closed
    owned = ids(await store.owned("inc-a"))
    assert owned == {execution_id(of.id, NOW + MINUTE)}
    assert owned <= ids(claims)
    assert ids(closed) == {old.execution.id}


async def test_a_queued_fire_goes_once_nothing_else_of_its_job_is_live(store: Store) -> None:
    of = job(schedule=every(SECOND, ends_at=NOW + 2 * SECOND), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    claimed = await claim_one(store)
    await claim(store, NOW + SECOND)
    await claim(store, NOW + 2 * SECOND)
    for turn in (1, 2):
        now = NOW + MINUTE + turn
        assert list((await claim(store, now)).claims) == []
        await record(store, succeed(claimed, now), now=now)
        claimed = await claim_one(store, now)
        assert claimed.execution.fire_time == NOW + turn * SECOND
        assert claimed.execution.available_at == NOW + turn * SECOND


async def test_a_queued_fire_waits_for_the_retries_of_the_older_one(store: Store) -> None:
    of = job(
        schedule=every(SECOND, ends_at=NOW + SECOND),
        overlap=Overlap.QUEUE,
        retry=RetryPolicy(max_attempts=2, initial=HOUR, jitter=0),
    )
    await add(store, of)
    await join(store)
    first = await claim_one(store)
    await claim(store, NOW + SECOND)
    await record(store, fail(first, NOW + SECOND), now=NOW + SECOND)
    assert list((await claim(store, NOW + MINUTE)).claims) == []
    retried = await claim_one(store, NOW + SECOND + HOUR)
    assert retried.execution.id == first.execution.id
    await record(store, fail(retried, NOW + 2 * HOUR), now=NOW + 2 * HOUR)
    assert (await claim_one(store, NOW + 2 * HOUR)).execution.fire_time == NOW + SECOND


async def test_only_one_of_a_queue_is_claimed_at_a_time(store: Store) -> None:
    of = job(
        schedule=every(SECOND, ends_at=NOW + 5 * SECOND),
        overlap=Overlap.QUEUE,
        misfire=Misfire(policy=MisfirePolicy.ALL),
    )
    await add(store, of)
    await join(store, "inc-a", "inc-b")
    first = await claim_one(store, NOW + MINUTE)
    await record(store, succeed(first, NOW + MINUTE), now=NOW + MINUTE)
    done = [
        await claim(store, NOW + MINUTE, incarnation=one) for one in ("inc-a", "inc-b", "inc-a")
    ]
    assert [len(claimed.claims) for claimed in done] == [1, 0, 0]


async def test_a_queue_whose_head_was_cancelled_goes_on(store: Store) -> None:
    of = job(schedule=every(SECOND, ends_at=NOW + 2 * SECOND), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    first = await claim_one(store)
    await claim(store, NOW + SECOND)
    await store.cancel_executions(
        reason=Reason.REQUESTED, now=NOW + SECOND, execution_id=first.execution.id
    )
    assert (await claim_one(store, NOW + SECOND)).execution.fire_time == NOW + SECOND


async def test_a_queued_fire_waits_for_one_with_a_later_id_too(store: Store) -> None:
    """A fire with jitter comes after what a person asked for since its fire time."""
    of = job(schedule=every(HOUR, jitter=MINUTE), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    by_hand = triggered(of, NOW + 1)
    await trigger(store, by_hand, now=NOW + 1)
    asked_for = await claim_one(store, NOW + 1)
    assert list((await claim(store, NOW + MINUTE)).claims) == []
    (queued,) = await executions(store, states=(State.PENDING,))
    assert queued.queued
    assert queued.id < asked_for.execution.id
    assert list((await claim(store, NOW + 2 * MINUTE)).claims) == []
    await record(store, succeed(asked_for, NOW + 3 * MINUTE), now=NOW + 3 * MINUTE)
    assert (await claim_one(store, NOW + 3 * MINUTE)).execution.id == queued.id


@pytest.mark.parametrize("room", [1, 1_000])
async def test_a_fire_planned_late_goes_before_what_queued_up_since(
    store: Store, room: int
) -> None:
    """A trigger waits for a run; when that ends, a fire time before the trigger was yet to plan."""
    of = job(schedule=every(MINUTE, ends_at=NOW + MINUTE), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    running = await claim_one(store)
    by_hand = triggered(of, NOW + MINUTE + 1)
    await trigger(store, by_hand, now=NOW + MINUTE + 1)
    now = NOW + MINUTE + SECOND
    await record(store, succeed(running, now), now=now)
    claimed = await claim(store, now, exact_limit=room)
    (first,) = claimed.claims
    assert (first.execution.fire_time, first.execution.queued) == (NOW + MINUTE, False)
    assert not claimed.more
    assert ids(await store.owned("inc-a")) == {first.execution.id}
    assert (await stored(store, by_hand)).queued
    assert list((await claim(store, now)).claims) == []
    await record(store, succeed(first, now), now=now)
    assert (await claim_one(store, now)).execution.id == by_hand.id


async def test_the_head_of_a_queue_is_what_exists_not_what_a_plan_would_add(store: Store) -> None:
    """A timer that an edit set back calls for what has ended: that holds up no queue."""
    of = job(schedule=every(MINUTE, ends_at=NOW + MINUTE), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    known = await change(store, of, timer=timer(of, after=NOW))
    over = closed(execution(of, NOW + MINUTE), State.SKIPPED, Reason.MISFIRE, NOW)
    running, waiting = (triggered(of, NOW + n, salt=str(n)) for n in (1, MINUTE + 1))
    await trigger(store, running, now=NOW + 1)
    claimed = await claim_one(store, NOW + 1)
    await trigger(store, waiting, now=NOW + MINUTE + 1)
    await change(store, known, closing=[over], timer=timer(of, after=NOW))
    now = NOW + MINUTE + SECOND
    await record(store, succeed(claimed, now), now=now)
    assert (await claim_one(store, now)).execution.id == waiting.id


async def test_a_queue_ends_where_overlap_is_allowed_from_now_on(store: Store) -> None:
    of = job(schedule=every(SECOND, ends_at=NOW + 2 * SECOND), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    running = await claim_one(store)
    await claim(store, NOW + SECOND)
    await claim(store, NOW + 2 * SECOND)
    await change(store, (await view(store, of)).job, overlap=Overlap.ALLOW)
    claimed = await claim(store, NOW + 2 * SECOND)
    assert [one.execution.fire_time for one in claimed.claims] == [NOW + SECOND, NOW + 2 * SECOND]
    assert ids(await store.owned("inc-a")) >= {running.execution.id}


async def test_a_full_queue_skips_what_comes_after(store: Store) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    for second in range(QUEUE_AT_MOST + 1):
        await claim(store, NOW + second * SECOND)
    claimed = await claim(store, NOW + (QUEUE_AT_MOST + 1) * SECOND)
    assert [one.reason for one in claimed.closed] == [Reason.QUEUE_FULL]
    assert len(await executions(store, states=(State.PENDING,))) == QUEUE_AT_MOST


async def test_queues_of_different_jobs_do_not_wait_for_each_other(store: Store) -> None:
    one, other = (job(schedule=every(SECOND), overlap=Overlap.QUEUE) for _ in range(2))
    await add(store, one)
    await join(store)
    await claim(store, NOW)
    await add(store, other, after=NOW)
    claimed = await claim(store, NOW + SECOND)
    assert [c.job.id for c in claimed.claims] == [other.id]


# --- retries and other pending executions -------------------------------------------------------


async def test_a_retry_is_claimed_when_it_is_due_and_keeps_its_attempts(store: Store) -> None:
    of = job(schedule=at(NOW), retry=RetryPolicy(initial=10_000, jitter=0))
    await add(store, of)
    await join(store, "inc-a", "inc-b")
    first = await claim_one(store)
    await record(store, fail(first, NOW), now=NOW)
    assert list((await claim(store, NOW + 8_999)).claims) == []
    again = await claim_one(store, NOW + 9_000, incarnation="inc-b")
    assert again.execution.id == first.execution.id
    assert len(again.execution.attempts) == 1
    assert (again.execution.owner, again.execution.available_at) == ("inc-b", NOW + 10_000)
    assert (again.execution.fire_time, again.execution.due) == (NOW, NOW)
    assert await stored(store, again) == again.execution


async def test_a_retry_of_an_exact_job_is_claimed_at_its_instant(store: Store) -> None:
    of = job(schedule=at(NOW), overlap=Overlap.SKIP, retry=RetryPolicy(initial=10_000, jitter=0))
    await add(store, of)
    await join(store)
    await record(store, fail(await claim_one(store), NOW))
    assert list((await claim(store, NOW + 9_999, ahead=60_000)).claims) == []
    assert len((await claim(store, NOW + 10_000, ahead=0)).claims) == 1


async def test_a_retry_goes_out_with_the_present_definition(store: Store) -> None:
    of = job(schedule=every(HOUR), retry=RetryPolicy(initial=SECOND, jitter=0))
    await add(store, of)
    await join(store)
    await record(store, fail(await claim_one(store), NOW))
    new = await change(store, of, target=LogTarget(text="new"), now=NOW + 1)
    again = await claim_one(store, NOW + SECOND)
    assert again.job == new
    assert again.execution.job_version == of.version


async def test_what_waits_for_a_deleted_job_ends(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    first = await claim_one(store)
    await delete(store, of)
    await store.give_back("inc-a", [first.execution.id], now=NOW + 5)
    claimed = await claim(store, NOW + 6)
    assert list(claimed.claims) == []
    (gone,) = claimed.closed
    assert (gone.id, gone.state, gone.reason, gone.finished_at) == (
        first.execution.id,
        State.CANCELLED,
        Reason.DELETED,
        NOW + 6,
    )
    assert await stored(store, first) == gone


async def test_what_waits_for_a_paused_job_ends(store: Store) -> None:
    """It was given back by a node that had not heard of the pause."""
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    claimed = await claim_one(store)
    await pause(store, of)
    await store.give_back("inc-a", [claimed.execution.id], now=NOW)
    after = await claim(store, NOW + MINUTE)
    assert list(after.claims) == []
    assert [(one.state, one.reason) for one in after.closed] == [(State.CANCELLED, Reason.PAUSED)]


async def test_a_manual_execution_of_a_paused_job_is_claimed(store: Store) -> None:
    of = job(status=JobStatus.PAUSED)
    await add(store, of)
    await join(store)
    await trigger(store, triggered(of))
    assert (await claim_one(store)).job == of


async def test_pending_executions_are_claimed_once_by_any_number_of_nodes(store: Store) -> None:
    of = job(schedule=every(HOUR, anchor=NOW + HOUR))
    await add(store, of)
    nodes = [f"inc-{n}" for n in range(5)]
    await join(store, *nodes)
    for n in range(50):
        await trigger(store, triggered(of, salt=str(n)))
    claims: list[Claim] = []
    for _ in range(5):
        # What one has locked and leaves for lack of room, the others pass over in that round.
        done = await asyncio.gather(*(claim(store, incarnation=one, limit=20) for one in nodes))
        claims += [one for claimed in done for one in claimed.claims]
    assert len(claims) == len(ids(claims)) == 50


async def test_what_is_claimed_cannot_be_claimed_again(store: Store) -> None:
    of = job(schedule=every(HOUR, anchor=NOW + HOUR))
    await add(store, of)
    await join(store)
    await trigger(store, triggered(of))
    await claim_one(store)
    assert list((await claim(store, NOW + MINUTE)).claims) == []


# --- pausing, resuming, and a long outage -------------------------------------------------------


async def test_a_resumed_job_is_planned_from_now(store: Store) -> None:
    of = job(schedule=every(MINUTE))
    await add(store, of)
    await join(store)
    await claim(store)
    paused = await pause(store, (await view(store, of)).job, now=NOW + 1)
    assert list((await claim(store, NOW + HOUR)).claims) == []
    await resume(store, paused, now=NOW + HOUR + 1)
    assert list((await claim(store, NOW + HOUR + 1)).claims) == []
    assert (await claim_one(store, NOW + HOUR + MINUTE)).execution.fire_time == (
        NOW + HOUR + MINUTE
    )


async def test_a_long_outage_is_worked_off_in_several_claims(store: Store) -> None:
    of = job(schedule=every(SECOND, jitter=0), misfire=Misfire(grace=5_000))
    await add(store, of)
    await join(store)
    now = NOW + 2 * LOOK_AT_MOST * SECOND
    claims: list[Claim] = []
    rounds, more = 0, True
    while more:
        claimed = await claim(store, now, ahead=0)
        claims += claimed.claims
        rounds, more = rounds + 1, claimed.more
    assert rounds == 3
    assert len(claims) == 1 + 6, "the newest that was missed, and what is within its grace"
    rows = await executions(store)
    skipped = sum(row.skipped_count or 1 for row in rows if row.state is State.SKIPPED)
    assert skipped + len(claims) == 2 * LOOK_AT_MOST + 1
    assert await store.last_planned(of.id) == now


async def test_ids_of_claims_can_be_computed(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    assert (await claim_one(store)).execution.id == execution_id(of.id, NOW)


async def test_a_thousand_jobs_are_claimed_at_once(store: Store) -> None:
    many = [job(f"job-{n}", every(HOUR)) for n in range(1_500)]
    await add(store, *(NewJob(job=one, timer=timer(one)) for one in many))
    await join(store)
    claims = await claim_all(store, limit=2_000)
    assert {one.job.id for one in claims} == {one.id for one in many}
    assert len(await store.owned("inc-a")) == 1_500
