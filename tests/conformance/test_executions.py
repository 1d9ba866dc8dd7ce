"""The port, part 3: reading and listing executions."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.build import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    attempt,
    every,
    execution,
    fail,
    failed_attempt,
    job,
    succeed,
    triggered,
)
from tests.support.drive import (
    add,
    change,
    claim,
    claim_all,
    claim_one,
    executions,
    join,
    record,
    stored,
    trigger,
)
from tocsin.domain.errors import InvalidInput
from tocsin.domain.execution import (
    ErrorKind,
    Execution,
    Reason,
    ResponseExcerpt,
    State,
    Timings,
    TriggerKind,
)
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job
from tocsin.domain.retry import RetryPolicy
from tocsin.store.port import ExecutionQuery, NewJob, Store


def ended(of: Job, fire_time: Millis, state: State = State.SUCCEEDED, **fields: Any) -> Execution:
    return execution(
        of, fire_time, **{"state": state, "available_at": None, "finished_at": NOW, **fields}
    )


async def history(store: Store, of: Job, *rows: Execution) -> None:
    """Put ended executions into the store as they are."""
    await add(store, of)
    await change(store, of, closing=rows)


# --- one execution ------------------------------------------------------------------------------


async def test_an_execution_that_does_not_exist_is_none(store: Store) -> None:
    assert await store.get_execution(execution(job()).id) is None


async def test_every_field_of_an_execution_is_kept(store: Store) -> None:
    of = job("report", every(HOUR), namespace="ops")
    rich = ended(
        of,
        NOW + 7,
        State.FAILED,
        job_version=12,
        job_name="as it was called then",
        trigger=TriggerKind.RETRY,
        due=NOW + 9,
        reason=Reason.LOST,
        owner="inc-z",
        retry_of=execution(of).id,
        input={"body": [1, None, 2.5, "ü\u0000\n", {}]},
        attempts=(
            attempt(
                1,
                started_at=NOW + 11,
                http_status=503,
                error_kind=ErrorKind.HTTP_STATUS,
                error="answered 503 — später",
                timings=Timings(
                    dns_ms=0.25, connect_ms=1.5, tls_ms=None, first_byte_ms=8.0, total_ms=12.5
                ),
                response=ResponseExcerpt(excerpt='{"busy": "\u2603"}\r\n', truncated=True),
            ),
            failed_attempt(2, error_kind=ErrorKind.LOST, http_status=None),
        ),
        finished_at=NOW + 99,
    )
    await history(store, of, rich)
    assert await store.get_execution(rich.id) == rich


async def test_a_skipped_range_is_kept(store: Store) -> None:
    of = job(schedule=every(SECOND))
    skipped = ended(
        of,
        NOW,
        State.SKIPPED,
        reason=Reason.MISFIRE,
        skipped_until=NOW + 41_000,
        skipped_count=42,
    )
    await history(store, of, skipped)
    assert await store.get_execution(skipped.id) == skipped


async def test_a_pending_execution_is_kept_with_its_input(store: Store) -> None:
    of = job()
    await add(store, of)
    by_hand = triggered(of, NOW + 3, input="text, not JSON", available_at=NOW + 4)
    await trigger(store, by_hand, now=NOW + 3)
    assert await store.get_execution(by_hand.id) == by_hand


@pytest.mark.parametrize("value", [0, False, "", [], {}, "null", 1e300, -(2**53)])
async def test_an_input_is_kept_also_where_it_is_empty(store: Store, value: object) -> None:
    of = job()
    await add(store, of)
    await trigger(store, triggered(of, input=value))
    assert (await stored(store, triggered(of))).input == value


async def test_an_input_goes_out_with_the_claim(store: Store) -> None:
    of = job(schedule=every(HOUR, anchor=NOW + HOUR))
    await add(store, of)
    await join(store)
    await trigger(store, triggered(of, input={"n": 1}))
    assert (await claim_one(store)).execution.input == {"n": 1}


# --- lists --------------------------------------------------------------------------------------


async def some_history(store: Store) -> Job:
    of = job("report", every(MINUTE))
    states = [State.SUCCEEDED, State.FAILED, State.SKIPPED, State.CANCELLED, State.SUCCEEDED]
    await history(
        store, of, *(ended(of, NOW + n * MINUTE, state) for n, state in enumerate(states))
    )
    return of


def minutes(found: list[Execution]) -> list[int]:
    return [(one.fire_time - NOW) // MINUTE for one in found]


async def test_executions_are_listed_newest_first(store: Store) -> None:
    await some_history(store)
    assert minutes(await executions(store)) == [4, 3, 2, 1, 0]
    assert minutes(await executions(store, ascending=True)) == [0, 1, 2, 3, 4]


async def test_executions_of_one_instant_are_listed_by_id(store: Store) -> None:
    await add(store, *(job() for _ in range(20)))
    await join(store)
    await claim_all(store)
    found = [one.id for one in await executions(store)]
    assert len(found) == 20
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ((), [4, 3, 2, 1, 0]),
        ((State.SUCCEEDED,), [4, 0]),
        ((State.SKIPPED, State.FAILED), [2, 1]),
        ((State.PENDING,), []),
        (tuple(State), [4, 3, 2, 1, 0]),
    ],
)
async def test_executions_are_found_by_state(
    store: Store, states: tuple[State, ...], found: list[int]
) -> None:
    await some_history(store)
    assert minutes(await executions(store, states=states)) == found


async def test_live_executions_are_found_by_state(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    claimed = await claim_one(store)
    await trigger(store, triggered(of, NOW + 1))
    assert [one.id for one in await executions(store, states=(State.CLAIMED,))] == [
        claimed.execution.id
    ]
    assert [one.id for one in await executions(store, states=(State.PENDING,))] == [
        triggered(of, NOW + 1).id
    ]


async def test_executions_are_found_by_job(store: Store) -> None:
    mine = await some_history(store)
    await history(store, other := job(), ended(other, NOW + MINUTE))
    assert len(await executions(store)) == 6
    assert minutes(await executions(store, job_id=mine.id)) == [4, 3, 2, 1, 0]
    assert minutes(await executions(store, job_id=other.id)) == [1]
    assert await executions(store, job_id=job().id) == []


async def test_executions_of_one_namespace_are_listed(store: Store) -> None:
    of = job("report", namespace="ops")
    await history(store, of, ended(of, NOW))
    assert await executions(store) == []
    assert len(await executions(store, namespace="ops")) == 1
    assert await executions(store, job_id=of.id) == []


async def test_executions_are_found_by_the_error_of_their_last_attempt(store: Store) -> None:
    of = job(schedule=every(MINUTE))
    dns = failed_attempt(1, error_kind=ErrorKind.DNS, http_status=None)
    await history(
        store,
        of,
        ended(of, NOW, State.FAILED, attempts=(dns,)),
        ended(of, NOW + MINUTE, State.FAILED, attempts=(dns, failed_attempt(2))),
        ended(of, NOW + 2 * MINUTE, attempts=(dns, attempt(2))),
        ended(of, NOW + 3 * MINUTE, State.CANCELLED),
    )
    assert minutes(await executions(store, error_kind=ErrorKind.DNS)) == [0]
    assert minutes(await executions(store, error_kind=ErrorKind.HTTP_STATUS)) == [1]
    assert await executions(store, error_kind=ErrorKind.TLS) == []


async def test_a_recorded_error_is_found(store: Store) -> None:
    of = job(schedule=every(HOUR), retry=RetryPolicy(max_attempts=2, initial=0))
    await add(store, of)
    await join(store)
    await record(store, fail(await claim_one(store), NOW, error_kind=ErrorKind.DNS))
    assert len(await executions(store, error_kind=ErrorKind.DNS)) == 1
    await record(store, fail(await claim_one(store), NOW + 1))
    assert await executions(store, error_kind=ErrorKind.DNS) == []
    assert len(await executions(store, error_kind=ErrorKind.HTTP_STATUS)) == 1


async def test_a_success_after_an_error_is_not_found_by_it(store: Store) -> None:
    of = job(schedule=every(HOUR), retry=RetryPolicy(initial=0))
    await add(store, of)
    await join(store)
    await record(store, fail(await claim_one(store), NOW))
    await record(store, succeed(await claim_one(store), NOW + 1))
    assert await executions(store, error_kind=ErrorKind.HTTP_STATUS) == []


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (None, None, [4, 3, 2, 1, 0]),
        (NOW + MINUTE, None, [4, 3, 2, 1]),
        (NOW + MINUTE + 1, None, [4, 3, 2]),
        (None, NOW + 3 * MINUTE, [2, 1, 0]),
        (None, NOW + 3 * MINUTE + 1, [3, 2, 1, 0]),
        (NOW + MINUTE, NOW + 3 * MINUTE, [2, 1]),
        (NOW + MINUTE, NOW + MINUTE, []),
    ],
)
@pytest.mark.parametrize("ascending", [False, True])
async def test_a_range_of_fire_times_has_its_start_and_not_its_end(
    store: Store, since: Millis | None, until: Millis | None, found: list[int], ascending: bool
) -> None:
    await some_history(store)
    listed = minutes(await executions(store, since=since, until=until, ascending=ascending))
    assert listed == (found[::-1] if ascending else found)


async def test_filters_are_combined(store: Store) -> None:
    of = await some_history(store)
    found = await executions(
        store,
        job_id=of.id,
        states=(State.SUCCEEDED, State.CANCELLED),
        since=NOW + MINUTE,
        until=NOW + 4 * MINUTE,
    )
    assert minutes(found) == [3]


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_pages_put_together_are_the_list(store: Store, ascending: bool, size: int) -> None:
    await some_history(store)
    whole = await executions(store, ascending=ascending)
    assert await executions(store, page=size, ascending=ascending) == whole


async def test_a_page_is_no_longer_than_its_limit_and_its_cursor_is_the_last_id(
    store: Store,
) -> None:
    await some_history(store)
    page = await store.list_executions(ExecutionQuery(limit=2))
    assert minutes(list(page.items)) == [4, 3]
    assert page.next == (page.items[-1].id,)


async def test_a_page_that_ends_with_the_list_has_no_next(store: Store) -> None:
    await some_history(store)
    assert (await store.list_executions(ExecutionQuery(limit=5))).next is None
    assert (await store.list_executions(ExecutionQuery(limit=4))).next is not None


async def test_pages_keep_the_filter_and_the_range(store: Store) -> None:
    of = await some_history(store)
    found = await executions(
        store, page=1, job_id=of.id, states=(State.SUCCEEDED, State.FAILED), until=NOW + HOUR
    )
    assert minutes(found) == [4, 1, 0]


async def test_a_page_goes_on_where_it_ended_whatever_came_meanwhile(store: Store) -> None:
    of = await some_history(store)
    first = await store.list_executions(ExecutionQuery(limit=2))
    await trigger(store, triggered(of, NOW + HOUR), now=NOW + HOUR)
    second = await store.list_executions(ExecutionQuery(limit=2, cursor=first.next))
    assert minutes(list(second.items)) == [2, 1]


@pytest.mark.parametrize("cursor", [(), (NOW,), (None,), ("no id",), ("an id", "an id")])
async def test_a_cursor_of_another_list_is_refused(
    store: Store, cursor: tuple[str | int | None, ...]
) -> None:
    known = execution(job()).id
    with_id = tuple(known if value == "an id" else value for value in cursor)
    with pytest.raises(InvalidInput) as refused:
        await store.list_executions(ExecutionQuery(cursor=with_id))
    assert [problem.field for problem in refused.value.problems] == ["cursor"]


# --- cancelling ---------------------------------------------------------------------------------


async def test_a_pending_execution_is_cancelled(store: Store) -> None:
    of = job()
    await add(store, NewJob(job=of, timer=None))
    await trigger(store, triggered(of))
    (ended_one,) = await store.cancel_executions(
        reason=Reason.REQUESTED, now=NOW + 5, execution_id=triggered(of).id
    )
    assert (ended_one.state, ended_one.reason, ended_one.finished_at) == (
        State.CANCELLED,
        Reason.REQUESTED,
        NOW + 5,
    )
    assert ended_one == await stored(store, ended_one)
    await join(store)
    assert list((await claim(store, NOW + HOUR)).claims) == []


async def test_a_claimed_execution_is_cancelled_and_its_owner_is_told(store: Store) -> None:
    await add(store, job())
    await join(store)
    claimed = await claim_one(store)
    (ended_one,) = await store.cancel_executions(
        reason=Reason.REQUESTED, now=NOW + 5, execution_id=claimed.execution.id
    )
    assert (ended_one.state, ended_one.owner) == (State.CANCELLED, "inc-a")
    assert await store.still_owned("inc-a", [claimed.execution.id]) == set()
    assert list(await store.owned("inc-a")) == []


@pytest.mark.parametrize("make", [succeed, fail])
async def test_what_has_ended_stays_as_it_is(store: Store, make: Any) -> None:
    of = job(retry=RetryPolicy(max_attempts=1))
    await add(store, of)
    await join(store)
    claimed = await claim_one(store)
    await record(store, make(claimed, NOW))
    before = await stored(store, claimed)
    for target in ({"execution_id": before.id}, {"job_id": of.id}):
        done = await store.cancel_executions(reason=Reason.REQUESTED, now=NOW + 5, **target)
        assert list(done) == []
    assert await stored(store, claimed) == before


async def test_cancelling_twice_ends_it_once(store: Store) -> None:
    of = job()
    await add(store, of)
    await trigger(store, triggered(of))
    one = triggered(of).id
    first = await store.cancel_executions(reason=Reason.REQUESTED, now=NOW, execution_id=one)
    again = await store.cancel_executions(reason=Reason.DELETED, now=NOW + 9, execution_id=one)
    assert (len(first), len(again)) == (1, 0)
    assert (await stored(store, triggered(of))).reason is Reason.REQUESTED


async def test_what_does_not_exist_cannot_be_cancelled(store: Store) -> None:
    for target in ({"execution_id": execution(job()).id}, {"job_id": job().id}):
        done = await store.cancel_executions(reason=Reason.REQUESTED, now=NOW, **target)
        assert list(done) == []


async def test_all_live_executions_of_a_job_are_cancelled_and_no_others(store: Store) -> None:
    of, other = job(schedule=every(MINUTE)), job(schedule=every(MINUTE))
    await add(store, of, other)
    await join(store)
    await claim(store, NOW)
    done = next(one for one in await store.owned("inc-a") if one.job.id == of.id)
    await record(store, succeed(done, NOW))
    await claim(store, NOW + MINUTE)
    await trigger(store, triggered(of, NOW + MINUTE + 1))
    ended_ones = await store.cancel_executions(
        reason=Reason.REQUESTED, now=NOW + MINUTE + 2, job_id=of.id
    )
    assert {(one.fire_time - NOW, one.owner) for one in ended_ones} == {
        (MINUTE, "inc-a"),
        (MINUTE + 1, None),
    }
    assert {one.job_id for one in ended_ones} == {of.id}
    assert {one.job.id for one in await store.owned("inc-a")} == {other.id}
    assert replace(await stored(store, done), owner=None) == replace(succeed(done, NOW), owner=None)


async def test_cancelling_leaves_the_timer_alone(store: Store) -> None:
    of = job(schedule=every(MINUTE))
    await add(store, of)
    await join(store)
    await claim(store, NOW)
    await store.cancel_executions(reason=Reason.REQUESTED, now=NOW, job_id=of.id)
    assert (await claim_one(store, NOW + MINUTE)).execution.fire_time == NOW + MINUTE
