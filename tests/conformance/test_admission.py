"""The port, part 4: executions that a person asked for, and overlap at the trigger."""

from typing import Any

import pytest

from tests.support.build import (
    HOUR,
    NOW,
    SECOND,
    every,
    execution,
    fail,
    job,
    request,
    succeed,
    triggered,
)
from tests.support.drive import (
    add,
    by_overlap,
    claim,
    claim_one,
    delete,
    executions,
    ids,
    join,
    record,
    stored,
    trigger,
)
from tocsin.domain.errors import Conflict, NotFound
from tocsin.domain.execution import Execution, Reason, State
from tocsin.domain.job import DeliveryMode, Job, JobStatus, Overlap
from tocsin.domain.planning import QUEUE_AT_MOST, Admission, Live
from tocsin.domain.retry import RetryPolicy
from tocsin.store.port import Request, Store


class Witness:
    """An admitter that remembers what it saw."""

    def __init__(self) -> None:
        self.saw: list[tuple[Job, Live]] = []

    def __call__(self, of: Job, live: Live) -> Admission:
        self.saw.append((of, live))
        return by_overlap(of, live)


async def add_by_hand(
    store: Store, one: Execution, *, now: int = NOW
) -> tuple[Execution, list[Execution]]:
    """Trigger, and expect a new or existing execution."""
    done = await trigger(store, one, now=now)
    assert not isinstance(done, Request)
    return done[0], list(done[1])


async def running_job(store: Store, overlap: Overlap, **fields: Any) -> tuple[Job, Execution]:
    """A job with an execution under way."""
    of = job(schedule=every(HOUR), overlap=overlap, **fields)
    await add(store, of)
    await join(store)
    return of, (await claim_one(store)).execution


async def test_a_triggered_execution_waits_to_be_claimed(store: Store) -> None:
    of = job(schedule=every(HOUR, anchor=NOW + HOUR))
    await add(store, of)
    await join(store)
    by_hand = triggered(of, NOW + 5)
    done, replaced = await add_by_hand(store, by_hand, now=NOW + 5)
    assert (done, replaced) == (by_hand, [])
    assert await stored(store, by_hand) == by_hand
    claimed = await claim_one(store, NOW + 5)
    assert claimed.execution.id == by_hand.id
    assert claimed.job == of


async def test_a_trigger_does_not_move_the_next_fire(store: Store) -> None:
    of = job(schedule=every(HOUR, anchor=NOW + HOUR))
    await add(store, of)
    await trigger(store, triggered(of, NOW + 5))
    found = await store.get_job("default", of.id, now=NOW + 5)
    assert found is not None
    assert found.next_fire_at == NOW + HOUR


async def test_admission_sees_the_job_as_it_is(store: Store) -> None:
    of, _ = await running_job(store, Overlap.ALLOW)
    witness = Witness()
    await store.add_execution(triggered(of, NOW + 1), admit=witness, now=NOW + 1)
    assert witness.saw == [(of, Live(running=1))]


async def test_admission_sees_what_is_claimed_and_what_waits(store: Store) -> None:
    of, first = await running_job(store, Overlap.QUEUE)
    witness = Witness()

    async def one_more(n: int) -> None:
        await store.add_execution(triggered(of, NOW + n), admit=witness, now=NOW + n)

    await one_more(1)
    await one_more(2)
    await store.cancel_executions(reason=Reason.REQUESTED, now=NOW + 3, execution_id=first.id)
    await one_more(3)
    assert [live for _, live in witness.saw] == [
        Live(running=1),
        Live(running=1, queued=1),
        Live(queued=2),
    ]


async def test_what_waits_for_a_retry_is_running(store: Store) -> None:
    of, _ = await running_job(store, Overlap.SKIP)
    (claimed,) = await store.owned("inc-a")
    await record(store, fail(claimed, NOW + 1), now=NOW + 1)
    witness = Witness()
    await store.add_execution(triggered(of, NOW + 2), admit=witness, now=NOW + 2)
    assert [live for _, live in witness.saw] == [Live(running=1)]


async def test_a_queued_one_that_was_claimed_is_running(store: Store) -> None:
    of, _ = await running_job(store, Overlap.QUEUE)
    await trigger(store, triggered(of, NOW + 1), now=NOW + 1)
    (claimed,) = await store.owned("inc-a")
    await record(store, succeed(claimed, NOW + 2), now=NOW + 2)
    taken = await claim_one(store, NOW + 2)
    assert not taken.execution.queued
    witness = Witness()
    await store.add_execution(triggered(of, NOW + 3), admit=witness, now=NOW + 3)
    assert [live for _, live in witness.saw] == [Live(running=1)]


async def test_executions_of_other_jobs_are_not_live_for_this_one(store: Store) -> None:
    await running_job(store, Overlap.SKIP)
    of = job(schedule=every(HOUR, anchor=NOW + HOUR), overlap=Overlap.SKIP)
    await add(store, of)
    done, _ = await add_by_hand(store, triggered(of))
    assert done.state is State.PENDING


async def test_skip_ends_the_trigger_at_once(store: Store) -> None:
    of, _ = await running_job(store, Overlap.SKIP)
    done, replaced = await add_by_hand(store, triggered(of, NOW + 1), now=NOW + 9)
    assert (done.state, done.reason, done.finished_at) == (
        State.SKIPPED,
        Reason.OVERLAP,
        NOW + 9,
    )
    assert replaced == []
    assert await stored(store, done) == done
    (claimed,) = await store.owned("inc-a")
    await record(store, succeed(claimed, NOW + 10), now=NOW + 10)
    assert list((await claim(store, NOW + 10)).claims) == []


async def test_queue_lets_the_trigger_wait_for_what_is_live(store: Store) -> None:
    of, _ = await running_job(store, Overlap.QUEUE)
    done, _ = await add_by_hand(store, triggered(of, NOW + 1), now=NOW + 1)
    assert (done.state, done.queued) == (State.PENDING, True)
    assert await stored(store, done) == done
    assert list((await claim(store, NOW + 2)).claims) == []
    (claimed,) = await store.owned("inc-a")
    await record(store, succeed(claimed, NOW + 3), now=NOW + 3)
    assert (await claim_one(store, NOW + 3)).execution.id == done.id


async def test_a_full_queue_skips_the_trigger(store: Store) -> None:
    of, _ = await running_job(store, Overlap.QUEUE)
    for n in range(1, QUEUE_AT_MOST + 1):
        done, _ = await add_by_hand(store, triggered(of, NOW + n), now=NOW + n)
        assert done.state is State.PENDING
    done, _ = await add_by_hand(store, triggered(of, NOW + 50), now=NOW + 50)
    assert (done.state, done.reason) == (State.SKIPPED, Reason.QUEUE_FULL)


async def test_replace_cancels_whatever_is_live_and_tells_its_owner(store: Store) -> None:
    of, first = await running_job(store, Overlap.REPLACE)
    done, replaced = await add_by_hand(store, triggered(of, NOW + 1), now=NOW + 7)
    assert (done.state, done.queued) == (State.PENDING, False)
    (gone,) = replaced
    assert (gone.id, gone.owner) == (first.id, "inc-a")
    assert (gone.state, gone.reason, gone.finished_at) == (
        State.CANCELLED,
        Reason.REPLACED,
        NOW + 7,
    )
    assert await stored(store, first) == gone
    assert (await claim_one(store, NOW + 7)).execution.id == done.id


async def test_replace_cancels_what_waits_too(store: Store) -> None:
    of, first = await running_job(store, Overlap.REPLACE)
    (claimed,) = await store.owned("inc-a")
    await record(store, fail(claimed, NOW + 1), now=NOW + 1)
    done, replaced = await add_by_hand(store, triggered(of, NOW + 2), now=NOW + 2)
    assert ids(replaced) == {first.id}
    assert replaced[0].owner is None
    assert ids(await executions(store, states=(State.PENDING,))) == {done.id}


async def test_replace_leaves_other_jobs_alone(store: Store) -> None:
    _, other = await running_job(store, Overlap.REPLACE)
    of = job(schedule=every(HOUR, anchor=NOW + HOUR), overlap=Overlap.REPLACE)
    await add(store, of)
    _, replaced = await add_by_hand(store, triggered(of))
    assert replaced == []
    assert (await stored(store, other)).state is State.CLAIMED


@pytest.mark.parametrize(
    "fields", [{"overlap": Overlap.QUEUE}, {"delivery": DeliveryMode.AT_MOST_ONCE}]
)
async def test_a_trigger_of_an_exact_job_is_claimed_as_such(
    store: Store, fields: dict[str, Any]
) -> None:
    of = job(schedule=every(HOUR, anchor=NOW + HOUR), **fields)
    await add(store, of)
    await join(store)
    await trigger(store, triggered(of))
    assert list((await claim(store, exact_limit=0)).claims) == []
    assert len((await claim(store, limit=0)).claims) == 1


async def test_an_execution_that_exists_is_returned_and_nothing_is_replaced(store: Store) -> None:
    of, first = await running_job(store, Overlap.REPLACE)
    again, replaced = await add_by_hand(store, execution(of, NOW), now=NOW + 1)
    assert (again, replaced) == (first, [])
    assert await stored(store, first) == first


async def test_an_execution_that_exists_is_returned_as_it_is_now(store: Store) -> None:
    of = job(schedule=every(HOUR, anchor=NOW + HOUR), retry=RetryPolicy(max_attempts=1))
    await add(store, of)
    await join(store)
    await trigger(store, triggered(of))
    result = fail(await claim_one(store), NOW + SECOND)
    await record(store, result)
    again, _ = await add_by_hand(store, triggered(of))
    assert again == await stored(store, triggered(of))
    assert again.state is State.FAILED


# --- what cannot be triggered -------------------------------------------------------------------


async def test_a_job_that_does_not_exist_cannot_be_triggered(store: Store) -> None:
    unknown = job()
    with pytest.raises(NotFound):
        await trigger(store, triggered(unknown))
    assert await executions(store) == []


async def test_a_deleted_job_cannot_be_triggered(store: Store) -> None:
    old = job()
    await add(store, old)
    await delete(store, old)
    with pytest.raises(NotFound):
        await trigger(store, triggered(old))
    assert await executions(store) == []


async def test_a_cancelled_job_cannot_be_triggered(store: Store) -> None:
    of = job(status=JobStatus.CANCELLED)
    await add(store, of)
    with pytest.raises(Conflict):
        await trigger(store, triggered(of))
    assert await executions(store) == []


@pytest.mark.parametrize("status", [JobStatus.PAUSED, JobStatus.COMPLETED])
async def test_a_job_that_does_not_fire_by_itself_can_be_triggered(
    store: Store, status: JobStatus
) -> None:
    of = job(status=status)
    await add(store, of)
    await join(store)
    await trigger(store, triggered(of))
    assert (await claim_one(store)).job == of


async def test_a_refused_trigger_leaves_its_key_free(store: Store) -> None:
    of = job(status=JobStatus.CANCELLED)
    await add(store, of)
    asked = request("k", operation="jobs.trigger")
    with pytest.raises(Conflict):
        await trigger(store, triggered(of), request=asked)
    other = job()
    await add(store, other)
    assert not isinstance(await trigger(store, triggered(other), request=asked), Request)


async def test_an_admission_that_raises_changes_nothing(store: Store) -> None:
    of, first = await running_job(store, Overlap.REPLACE)

    def broken(of: Job, live: Live) -> Admission:
        raise ZeroDivisionError

    asked = request("k", operation="jobs.trigger")
    with pytest.raises(ZeroDivisionError):
        await store.add_execution(triggered(of, NOW + 1), admit=broken, now=NOW + 1, request=asked)
    assert await executions(store) == [first]
    assert not isinstance(await trigger(store, triggered(of, NOW + 1), request=asked), Request)
