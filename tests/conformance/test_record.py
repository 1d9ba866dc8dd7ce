"""The port, part 8: recording what came of executions."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.build import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    at,
    attempt,
    every,
    execution,
    fail,
    job,
    succeed,
)
from tests.support.drive import (
    add,
    change,
    claim,
    claim_one,
    delete,
    executions,
    join,
    pause,
    record,
    rescue_all,
    stored,
    view,
)
from tocsin.domain.errors import Revoked
from tocsin.domain.execution import (
    Execution,
    Reason,
    ResponseExcerpt,
    State,
    Timings,
    closed,
)
from tocsin.domain.job import Job, JobStatus, Overlap
from tocsin.domain.retry import RetryPolicy
from tocsin.store.port import Claim, Store


async def claimed_one(store: Store, of: Job | None = None) -> Claim:
    """A job with one claimed execution."""
    await add(store, of or job(schedule=every(HOUR)))
    await join(store, "inc-a", "inc-b")
    return await claim_one(store)


# --- results ------------------------------------------------------------------------------------


async def test_a_success_is_stored(store: Store) -> None:
    done = succeed(await claimed_one(store), NOW + 40)
    recorded = await record(store, done, now=NOW + 41)
    assert list(recorded.stored) == [done]
    assert list(recorded.rejected) == []
    assert await stored(store, done) == done
    assert list(await store.owned("inc-a")) == []


async def test_everything_that_is_known_of_an_attempt_is_stored(store: Store) -> None:
    claimed = await claimed_one(store)
    done = fail(
        claimed,
        NOW + 40,
        http_status=404,
        error="answered 404 — nicht gefunden",
        timings=Timings(dns_ms=0.1, connect_ms=0.2, first_byte_ms=3.5, total_ms=4.0),
        response=ResponseExcerpt(excerpt='<h1>\u0000 "gone" ☃</h1>', truncated=True),
    )
    await record(store, done)
    assert await stored(store, claimed) == done


async def test_a_failure_is_stored(store: Store) -> None:
    claimed = await claimed_one(store, job(retry=RetryPolicy(max_attempts=1)))
    done = fail(claimed, NOW + 40)
    assert done.state is State.FAILED
    await record(store, done)
    assert await stored(store, claimed) == done


async def test_a_retry_is_free_to_be_claimed_by_any_node(store: Store) -> None:
    claimed = await claimed_one(store, job(schedule=at(NOW)))
    again = fail(claimed, NOW + 40)
    recorded = await record(store, again)
    assert list(recorded.stored) == [again]
    assert await stored(store, claimed) == again
    assert (again.state, again.available_at) == (State.PENDING, NOW + 40 + SECOND)
    taken = await claim_one(store, NOW + 40 + SECOND, incarnation="inc-b")
    assert taken.execution.attempts == again.attempts


async def test_a_given_up_claim_is_stored_without_an_attempt(store: Store) -> None:
    """Its fire time is not called for any more, so its owner ends it."""
    claimed = await claimed_one(store)
    given_up = closed(claimed.execution, State.CANCELLED, Reason.CHANGED, NOW + 1)
    recorded = await record(store, given_up)
    assert list(recorded.stored) == [given_up]
    assert await stored(store, claimed) == given_up


async def test_many_results_are_stored_at_once(store: Store) -> None:
    await add(store, *(job() for _ in range(1_000)))
    await join(store)
    claims = (await claim(store, limit=1_000)).claims
    results = [(succeed if n % 3 else fail)(claimed, NOW + n) for n, claimed in enumerate(claims)]
    recorded = await record(store, *results, now=NOW + 1_000)
    assert {one.id: one for one in recorded.stored} == {one.id: one for one in results}
    assert {one.id: one for one in await executions(store)} == {one.id: one for one in results}


async def test_no_results_are_no_error(store: Store) -> None:
    await join(store)
    recorded = await record(store)
    assert (list(recorded.stored), list(recorded.rejected)) == ([], [])


# --- who may record -----------------------------------------------------------------------------


async def test_a_revoked_node_cannot_record(store: Store) -> None:
    claimed = await claimed_one(store)
    await store.leave("inc-a")
    with pytest.raises(Revoked):
        await record(store, succeed(claimed, NOW + 1))
    assert await stored(store, claimed) == claimed.execution


async def test_a_node_whose_lease_lapsed_but_was_not_revoked_may_record(store: Store) -> None:
    claimed = await claimed_one(store)
    done = succeed(claimed, NOW + HOUR)
    recorded = await record(store, done, now=NOW + HOUR)
    assert list(recorded.stored) == [done]


async def test_the_result_of_another_incarnation_is_rejected(store: Store) -> None:
    claimed = await claimed_one(store)
    recorded = await record(store, succeed(claimed, NOW + 1), incarnation="inc-b")
    assert (list(recorded.stored), list(recorded.rejected)) == ([], [claimed.execution.id])
    assert await stored(store, claimed) == claimed.execution


async def test_a_result_is_rejected_after_a_rescue(store: Store) -> None:
    claimed = await claimed_one(store)
    await store.leave("inc-a")
    (rescued,) = await rescue_all(store, NOW + SECOND)
    await join(store, "inc-a")
    recorded = await record(store, succeed(claimed, NOW + SECOND))
    assert list(recorded.rejected) == [claimed.execution.id]
    assert await stored(store, claimed) == rescued


async def test_a_result_is_rejected_after_another_node_has_taken_over(store: Store) -> None:
    claimed = await claimed_one(store)
    await store.leave("inc-a")
    await rescue_all(store, NOW + SECOND)
    await join(store, "inc-a")
    theirs = await claim_one(store, NOW + SECOND, incarnation="inc-b")
    await record(store, succeed(claimed, NOW + 2 * SECOND))
    assert await stored(store, claimed) == theirs.execution
    done = succeed(theirs, NOW + 3 * SECOND)
    recorded = await record(store, done, incarnation="inc-b")
    assert list(recorded.stored) == [done]


async def test_what_does_not_exist_is_rejected(store: Store) -> None:
    await join(store)
    unknown = closed(execution(job(), attempts=(attempt(),)), State.SUCCEEDED, None, NOW)
    recorded = await record(store, unknown)
    assert (list(recorded.stored), list(recorded.rejected)) == ([], [unknown.id])


async def test_what_was_given_back_is_rejected(store: Store) -> None:
    claimed = await claimed_one(store)
    await store.give_back("inc-a", [claimed.execution.id], now=NOW + 1)
    recorded = await record(store, succeed(claimed, NOW + 2))
    assert list(recorded.rejected) == [claimed.execution.id]
    assert (await stored(store, claimed)).state is State.PENDING


async def test_good_results_are_stored_beside_rejected_ones(store: Store) -> None:
    await add(store, *(job() for _ in range(3)))
    await join(store)
    claims = (await claim(store)).claims
    await store.cancel_executions(
        reason=Reason.REQUESTED, now=NOW, execution_id=claims[1].execution.id
    )
    results = [succeed(claimed, NOW + 1) for claimed in claims]
    recorded = await record(store, *results)
    assert {one.id for one in recorded.stored} == {results[0].id, results[2].id}
    assert list(recorded.rejected) == [results[1].id]


# --- repetition ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [succeed, fail])
async def test_a_repeated_record_finds_its_own_result(store: Store, make: Any) -> None:
    claimed = await claimed_one(store)
    done = make(claimed, NOW + 40)
    await record(store, done)
    before = await stored(store, claimed)
    recorded = await record(store, done, now=NOW + MINUTE)
    assert list(recorded.stored) == [before]
    assert list(recorded.rejected) == []
    assert await stored(store, claimed) == before


async def test_a_repeated_record_is_counted_once(store: Store) -> None:
    claimed = await claimed_one(store)
    done = succeed(claimed, NOW + 40)
    for _ in range(3):
        await record(store, done)
    tally = (await store.stats(since=NOW, now=NOW + 1)).tally
    assert (tally.succeeded, tally.attempts, sum(tally.lateness)) == (1, 1, 1)


async def test_a_retry_that_was_claimed_again_still_counts_as_stored(store: Store) -> None:
    claimed = await claimed_one(store)
    again = fail(claimed, NOW)
    await record(store, again)
    taken = await claim_one(store, NOW + SECOND, incarnation="inc-b")
    recorded = await record(store, again)
    assert list(recorded.stored) == [taken.execution]
    assert await stored(store, claimed) == taken.execution


async def test_a_repeated_record_takes_no_later_attempt_back(store: Store) -> None:
    first = await claimed_one(
        store, job(schedule=every(HOUR), retry=RetryPolicy(max_attempts=9, initial=SECOND))
    )
    once = fail(first, NOW)
    await record(store, once)
    again = await claim_one(store, NOW + MINUTE, incarnation="inc-b")
    twice = fail(again, NOW + MINUTE)
    await record(store, twice, incarnation="inc-b", now=NOW + MINUTE)
    third = await claim_one(store, NOW + HOUR - MINUTE)
    repeated = await record(store, once, now=NOW + HOUR - MINUTE)
    assert list(repeated.stored) == [third.execution]
    assert await stored(store, once) == third.execution
    assert len(third.execution.attempts) == 2


async def test_another_attempt_of_the_same_number_is_not_the_same_result(store: Store) -> None:
    claimed = await claimed_one(store)
    await record(store, succeed(claimed, NOW + 40))
    before = await stored(store, claimed)
    for other in (
        succeed(claimed, NOW + 41),
        succeed(claimed, NOW + 40, node="another node"),
    ):
        recorded = await record(store, other)
        assert list(recorded.rejected) == [other.id]
    assert await stored(store, claimed) == before


async def test_a_repetition_in_part_stores_the_rest(store: Store) -> None:
    await add(store, job(), job())
    await join(store)
    first, second = (await claim(store)).claims
    done = [succeed(first, NOW + 1), succeed(second, NOW + 1)]
    await record(store, done[0])
    recorded = await record(store, *done)
    assert {one.id: one for one in recorded.stored} == {one.id: one for one in done}
    tally = (await store.stats(since=NOW, now=NOW + 1)).tally
    assert tally.succeeded == 2


async def test_a_result_that_comes_twice_in_a_batch_is_stored_once(store: Store) -> None:
    claimed = await claimed_one(store)
    done = succeed(claimed, NOW + 1)
    recorded = await record(store, done, done)
    assert list(recorded.rejected) == []
    assert {one.id for one in recorded.stored} == {done.id}
    assert (await store.stats(since=NOW, now=NOW + 1)).tally.succeeded == 1


# --- what changed meanwhile ---------------------------------------------------------------------


@pytest.mark.parametrize(("end", "reason"), [(pause, Reason.PAUSED), (delete, Reason.DELETED)])
async def test_a_retry_that_must_not_start_any_more_ends(
    store: Store, end: Any, reason: Reason
) -> None:
    of = job(schedule=every(HOUR))
    claimed = await claimed_one(store, of)
    await end(store, of, now=NOW + 1)
    recorded = await record(store, fail(claimed, NOW + 2), now=NOW + 3)
    (ended,) = recorded.stored
    assert (ended.state, ended.reason, ended.finished_at) == (State.CANCELLED, reason, NOW + 3)
    assert len(ended.attempts) == 1
    assert ended.available_at is None
    assert await stored(store, claimed) == ended


async def test_a_success_counts_although_the_job_was_paused_meanwhile(store: Store) -> None:
    of = job(schedule=every(HOUR))
    claimed = await claimed_one(store, of)
    await pause(store, of)
    done = succeed(claimed, NOW + 2)
    assert list((await record(store, done)).stored) == [done]


async def test_the_one_that_decides_on_void_sees_the_result_and_the_present_job(
    store: Store,
) -> None:
    of = job(schedule=every(HOUR), retry=RetryPolicy(initial=SECOND))
    claimed = await claimed_one(store, of)
    new = await change(store, of, description="new")
    asked: list[tuple[Execution, Job | None]] = []

    def witness(result: Execution, known: Job | None) -> Reason | None:
        asked.append((result, known))
        return None

    again = fail(claimed, NOW + 1)
    await store.record("inc-a", [again], now=NOW + 1, void=witness)
    assert asked == [(again, new)]


async def test_only_retries_can_be_void(store: Store) -> None:
    claimed = await claimed_one(store)
    done = succeed(claimed, NOW + 1)
    recorded = await store.record(
        "inc-a", [done], now=NOW + 1, void=lambda _result, _job: Reason.DELETED
    )
    assert list(recorded.stored) == [done]


async def test_a_result_of_what_was_cancelled_is_rejected_and_keeps_its_attempts(
    store: Store,
) -> None:
    claimed = await claimed_one(store)
    (cancelled,) = await store.cancel_executions(
        reason=Reason.REQUESTED, now=NOW + 1, execution_id=claimed.execution.id
    )
    aborted = fail(claimed, NOW, http_status=None)
    recorded = await record(store, aborted, now=NOW + 2)
    assert (list(recorded.stored), list(recorded.rejected)) == ([], [claimed.execution.id])
    after = await stored(store, claimed)
    assert after == replace(cancelled, attempts=aborted.attempts)


async def test_the_attempts_of_a_replaced_execution_are_kept(store: Store) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.REPLACE)
    claimed = await claimed_one(store, of)
    await claim_one(store, NOW + SECOND)
    await record(store, succeed(claimed, NOW + SECOND))
    after = await stored(store, claimed)
    assert (after.state, after.reason) == (State.CANCELLED, Reason.REPLACED)
    assert after.attempts == succeed(claimed, NOW + SECOND).attempts


async def test_what_was_cancelled_before_it_was_claimed_keeps_no_attempts_of_others(
    store: Store,
) -> None:
    claimed = await claimed_one(store)
    await store.give_back("inc-a", [claimed.execution.id], now=NOW)
    taken = await claim_one(store, NOW, incarnation="inc-b")
    await store.cancel_executions(
        reason=Reason.REQUESTED, now=NOW + 1, execution_id=taken.execution.id
    )
    recorded = await record(store, succeed(claimed, NOW + 2))
    assert list(recorded.rejected) == [claimed.execution.id]
    assert (await stored(store, claimed)).attempts == ()


async def test_an_ended_execution_is_not_changed_by_a_late_result(store: Store) -> None:
    of = job(retry=RetryPolicy(max_attempts=1))
    claimed = await claimed_one(store, of)
    done = succeed(claimed, NOW + 1)
    await record(store, done)
    await record(store, fail(claimed, NOW + 2))
    assert await stored(store, claimed) == done


# --- bad rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", ["\ud800 is no character", "\0", "\ufffe\uffff", "x" * 1_000_000]
)
async def test_an_answer_that_cannot_be_stored_costs_no_other_result(
    store: Store, answer: str
) -> None:
    await add(store, *(job() for _ in range(3)))
    await join(store)
    first, second, third = (await claim(store)).claims
    odd = succeed(second, NOW + 1, response=ResponseExcerpt(excerpt=answer, truncated=False))
    good = [succeed(first, NOW + 1), succeed(third, NOW + 1)]
    recorded = await record(store, good[0], odd, good[1])
    assert {one.id for one in recorded.stored} >= {one.id for one in good}
    assert set(recorded.rejected) <= {odd.id}
    assert {one.id for one in recorded.stored} | set(recorded.rejected) == {
        odd.id,
        *(one.id for one in good),
    }
    for one in good:
        assert await stored(store, one) == one
    tally = (await store.stats(since=NOW, now=NOW)).tally
    assert tally.succeeded == len(recorded.stored)


async def test_a_rejected_bad_row_is_as_it_was(store: Store) -> None:
    claimed = await claimed_one(store)
    odd = succeed(claimed, NOW + 1, error="\ud800")
    recorded = await record(store, odd)
    after = await stored(store, claimed)
    if recorded.rejected:
        assert after == claimed.execution
    else:
        assert after.state is State.SUCCEEDED


# --- the job's own row --------------------------------------------------------------------------


async def test_recording_leaves_the_job_and_its_timer_alone(store: Store) -> None:
    of = job(schedule=every(HOUR))
    claimed = await claimed_one(store, of)
    await record(store, succeed(claimed, NOW + 1))
    found = await view(store, of)
    assert (found.job, found.next_fire_at) == (of, NOW + HOUR)


async def test_a_result_of_a_completed_job_is_stored(store: Store) -> None:
    of = job(schedule=at(NOW))
    claimed = await claimed_one(store, of)
    assert (await view(store, of)).job.status is JobStatus.COMPLETED
    done = succeed(claimed, NOW + 1)
    assert list((await record(store, done)).stored) == [done]
