"""The port, part 9: nodes and their leases, rescue, and what a node owns."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.support.build import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    at,
    every,
    execution,
    fail,
    job,
    node,
    succeed,
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
    join,
    pause,
    record,
    rescue_all,
    stored,
    trigger,
)
from tocsin.domain.errors import Revoked
from tocsin.domain.execution import ErrorKind, Execution, Reason, State
from tocsin.domain.job import DeliveryMode, Job, LogTarget, Overlap
from tocsin.domain.retry import RetryPolicy
from tocsin.domain.settle import waiting
from tocsin.store.port import Store

TTL = 5_000


# --- leases -------------------------------------------------------------------------------------


async def test_a_registered_node_is_listed_as_it_is(store: Store) -> None:
    one = replace(node("inc-a"), load={"held": 3, "clock": {"offset_ms": -0.5}})
    await store.register(one)
    assert list(await store.nodes()) == [one]


async def test_leases_go_by_the_clock_of_the_store_where_it_has_one(store: Store) -> None:
    before = await store.time()
    await store.register(node("inc-a"))
    (joined,) = await store.nodes()
    until = await store.renew("inc-a", now=NOW + SECOND, ttl=TTL)
    after = await store.time()
    if before is None or after is None:
        assert (before, after) == (None, None)
        assert (joined.heartbeat_at, joined.lease_until) == (NOW, NOW + TTL)
        assert until == NOW + SECOND + TTL
    else:
        assert before <= joined.heartbeat_at <= after
        assert joined.lease_until == joined.heartbeat_at + TTL
        assert joined.lease_until <= (until or 0) <= after + TTL
        assert list(await store.revoke_lapsed(now=NOW + HOUR * 10**6, by="inc-b")) == []


async def test_nodes_are_listed_by_name_and_start(store: Store) -> None:
    some = [
        replace(node(f"inc-{n}"), name=name, started_at=NOW + start)
        for n, (name, start) in enumerate([("b", 1), ("a", 2), ("b", 0), ("a", 1)])
    ]
    for one in some:
        await store.register(one)
    assert [(one.name, one.started_at - NOW) for one in await store.nodes()] == [
        ("a", 1),
        ("a", 2),
        ("b", 0),
        ("b", 1),
    ]


async def test_processes_on_one_machine_are_different_nodes(store: Store) -> None:
    for incarnation in ("inc-a", "inc-b"):
        await store.register(replace(node(incarnation), name="host"))
    assert {one.incarnation for one in await store.nodes()} == {"inc-a", "inc-b"}


async def test_a_renewal_extends_the_lease_and_is_a_heartbeat(store: Store) -> None:
    await join(store)
    until = await store.renew("inc-a", now=NOW + 900, ttl=TTL, load={"held": 2})
    assert until == NOW + 900 + TTL
    (one,) = await store.nodes()
    assert (one.heartbeat_at, one.lease_until, one.load) == (
        NOW + 900,
        NOW + 900 + TTL,
        {"held": 2},
    )
    assert one.started_at == NOW


async def test_a_lease_that_lapsed_but_was_not_revoked_can_be_renewed(store: Store) -> None:
    await join(store)
    assert await store.renew("inc-a", now=NOW + HOUR, ttl=TTL) == NOW + HOUR + TTL


async def test_an_unknown_incarnation_cannot_renew(store: Store) -> None:
    await join(store)
    assert await store.renew("inc-b", now=NOW, ttl=TTL) is None
    assert len(await store.nodes()) == 1


async def test_a_node_that_leaves_is_gone(store: Store) -> None:
    await join(store, "inc-a", "inc-b")
    await store.leave("inc-a")
    await store.leave("inc-a")
    assert [one.incarnation for one in await store.nodes()] == ["inc-b"]
    assert await store.renew("inc-a", now=NOW, ttl=TTL) is None


async def test_lapsed_leases_are_revoked_and_told(store: Store) -> None:
    for incarnation, joined in (("old", 0), ("older", -1_000), ("young", 1_000), ("self", -9_000)):
        await join(store, incarnation, now=NOW + joined)
    revoked = await store.revoke_lapsed(now=NOW + TTL + 1, by="self")
    assert {one.incarnation for one in revoked} == {"old", "older"}
    assert {one.incarnation for one in await store.nodes()} == {"young", "self"}


async def test_a_lease_is_over_after_its_last_millisecond(store: Store) -> None:
    await join(store, "inc-a", "inc-b")
    assert list(await store.revoke_lapsed(now=NOW + TTL, by="inc-b")) == []
    assert len(await store.revoke_lapsed(now=NOW + TTL + 1, by="inc-b")) == 1


async def test_a_revoked_node_is_told_with_all_that_is_known(store: Store) -> None:
    lapsed = replace(node("inc-a"), load={"held": 7})
    await store.register(lapsed)
    assert list(await store.revoke_lapsed(now=NOW + HOUR, by="inc-b")) == [lapsed]


async def test_a_revoked_node_can_neither_renew_nor_claim_nor_record(store: Store) -> None:
    await add(store, job(schedule=every(SECOND)))
    await join(store)
    claimed = await claim_one(store, ahead=0)
    await store.revoke_lapsed(now=NOW + HOUR, by="inc-b")
    assert await store.renew("inc-a", now=NOW + HOUR, ttl=TTL) is None
    with pytest.raises(Revoked):
        await claim(store, NOW + HOUR)
    with pytest.raises(Revoked):
        await record(store, succeed(claimed, NOW + HOUR))


async def test_of_two_nodes_that_revoke_the_same_one_only_one_is_told(store: Store) -> None:
    await join(store, "inc-a")
    await join(store, "inc-b", "inc-c", now=NOW + HOUR)
    done = await asyncio.gather(
        *(store.revoke_lapsed(now=NOW + HOUR, by=one) for one in ("inc-b", "inc-c"))
    )
    assert sorted(len(revoked) for revoked in done) == [0, 1]


# --- rescue -------------------------------------------------------------------------------------


async def test_what_a_gone_node_had_claimed_is_free_again(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store, "inc-a", "inc-b")
    claimed = await claim_one(store)
    await store.leave("inc-a")
    (rescued,) = await rescue_all(store, NOW + SECOND)
    assert rescued == await stored(store, claimed)
    assert (rescued.state, rescued.owner) == (State.PENDING, None)
    assert [one.error_kind for one in rescued.attempts] == [ErrorKind.LOST]
    taken = await claim_one(store, NOW + SECOND, incarnation="inc-b")
    assert taken.execution.id == claimed.execution.id


async def test_what_a_living_node_has_claimed_is_left_alone(store: Store) -> None:
    await add(store, job(), job())
    await join(store, "inc-a", "inc-b")
    (mine,) = (await claim(store, limit=1)).claims
    (theirs,) = (await claim(store, limit=1, incarnation="inc-b")).claims
    await store.leave("inc-b")
    assert ids(await rescue_all(store, NOW + HOUR)) == {theirs.execution.id}
    assert await stored(store, mine) == mine.execution


async def test_what_nobody_has_claimed_is_left_alone(store: Store) -> None:
    of = job()
    await add(store, of)
    await trigger(store, triggered(of))
    assert await rescue_all(store, NOW + HOUR) == []


async def test_what_has_ended_is_left_alone(store: Store) -> None:
    await add(store, job())
    await join(store)
    claimed = await claim_one(store)
    await record(store, succeed(claimed, NOW))
    await store.leave("inc-a")
    assert await rescue_all(store, NOW + HOUR) == []


async def test_a_rescue_can_be_decided_as_an_end(store: Store) -> None:
    await add(store, job(delivery=DeliveryMode.AT_MOST_ONCE))
    await join(store)
    claimed = await claim_one(store)
    await store.leave("inc-a")
    (lost,) = await rescue_all(store, NOW + SECOND)
    assert (lost.state, lost.reason) == (State.FAILED, Reason.LOST)
    assert await stored(store, claimed) == lost
    stats = await store.stats(since=NOW, now=NOW + SECOND)
    assert (stats.tally.failed, stats.pending, stats.claimed) == (1, 0, 0)
    assert await rescue_all(store, NOW + SECOND) == []


async def test_a_rescue_is_decided_with_the_execution_and_the_present_job(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    claimed = await claim_one(store)
    new = await change(store, of, description="new")
    await store.leave("inc-a")
    asked: list[tuple[Execution, Job | None]] = []

    def witness(one: Execution, known: Job | None) -> Execution:
        asked.append((one, known))
        return waiting(one, NOW + 9)

    rescued = await store.rescue(now=NOW + SECOND, decide=witness)
    assert asked == [(claimed.execution, new)]
    assert list(rescued) == [waiting(claimed.execution, NOW + 9)]
    assert await stored(store, claimed) == waiting(claimed.execution, NOW + 9)


@pytest.mark.parametrize(("end", "reason"), [(pause, Reason.PAUSED), (delete, Reason.DELETED)])
async def test_what_its_job_no_longer_wants_ends_with_the_rescue(
    store: Store, end: Any, reason: Reason
) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    claimed = await claim_one(store)
    await end(store, of)
    await store.leave("inc-a")
    (ended,) = await rescue_all(store, NOW + SECOND)
    assert (ended.state, ended.reason) == (State.CANCELLED, reason)
    assert await stored(store, claimed) == ended


async def test_a_rescue_takes_no_more_than_its_limit(store: Store) -> None:
    await add(store, *(job() for _ in range(7)))
    await join(store)
    await claim(store)
    await store.leave("inc-a")
    sizes = [len(await rescue_all(store, NOW + SECOND, limit=3)) for _ in range(4)]
    assert sizes == [3, 3, 1, 0]


async def test_a_decision_that_raises_changes_nothing(store: Store) -> None:
    await add(store, job(), job())
    await join(store)
    claimed = (await claim(store)).claims
    await store.leave("inc-a")
    asked: list[str] = []

    def broken(one: Execution, known: Job | None) -> Execution:
        asked.append(one.id)
        if len(asked) == 2:
            raise ZeroDivisionError
        return waiting(one, NOW)

    with pytest.raises(ZeroDivisionError):
        await store.rescue(now=NOW, decide=broken)
    for one in claimed:
        assert await stored(store, one) == one.execution


async def test_an_execution_is_rescued_once_by_any_number_of_nodes(store: Store) -> None:
    await add(store, *(job() for _ in range(20)))
    await join(store)
    await claim(store)
    await store.leave("inc-a")
    done = await asyncio.gather(*(rescue_all(store, NOW + SECOND) for _ in range(4)))
    rescued = [one for part in done for one in part]
    assert len(rescued) == len(ids(rescued)) == 20
    assert {len(one.attempts) for one in await executions(store)} == {1}


async def test_five_losses_in_a_row_end_an_execution(store: Store) -> None:
    await add(store, job(schedule=at(NOW)))
    now = NOW
    for turn in range(5):
        now += SECOND
        incarnation = f"inc-{turn}"
        await join(store, incarnation, now=now)
        await claim_one(store, now, incarnation=incarnation)
        await store.leave(incarnation)
        await rescue_all(store, now + 1)
    (after,) = await executions(store)
    assert (after.state, after.reason, len(after.attempts)) == (State.FAILED, Reason.LOST, 5)


async def test_a_queue_goes_on_after_a_rescue_in_its_order(store: Store) -> None:
    of = job(schedule=every(SECOND, ends_at=NOW + SECOND), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store, "inc-a", "inc-b")
    first = await claim_one(store)
    await claim(store, NOW + SECOND)
    await store.leave("inc-a")
    await rescue_all(store, NOW + 2 * SECOND)
    taken = await claim_one(store, NOW + 2 * SECOND, incarnation="inc-b")
    assert taken.execution.id == first.execution.id


# --- what a node owns ---------------------------------------------------------------------------


async def test_a_node_owns_what_it_claimed_until_it_ends(store: Store) -> None:
    await add(store, job(), job(), job())
    await join(store, "inc-a", "inc-b")
    mine = (await claim(store, limit=2)).claims
    await claim_one(store, incarnation="inc-b")
    owned = await store.owned("inc-a")
    assert {one.execution.id: one for one in owned} == {one.execution.id: one for one in mine}
    await record(store, succeed(mine[0], NOW))
    assert ids(await store.owned("inc-a")) == {mine[1].execution.id}
    await record(store, fail(mine[1], NOW))
    assert list(await store.owned("inc-a")) == []


async def test_what_is_owned_comes_with_the_present_definition(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store)
    claimed = await claim_one(store)
    new = await change(store, of, target=LogTarget(text="new"))
    (owned,) = await store.owned("inc-a")
    assert (owned.execution, owned.job) == (claimed.execution, new)
    gone = await delete(store, new)
    (owned,) = await store.owned("inc-a")
    assert owned.job == gone


async def test_what_is_owned_is_told_apart_by_id_and_version(store: Store) -> None:
    await add(store, job(), job())
    await join(store)
    one, other = (await claim(store, limit=2)).claims
    assert await store.owned_versions("inc-a") == {
        one.execution.id: one.job.version,
        other.execution.id: other.job.version,
    }
    new = await change(store, one.job, target=LogTarget(text="new"))
    assert (await store.owned_versions("inc-a"))[one.execution.id] == new.version
    (owned,) = await store.owned("inc-a", ids=[one.execution.id, "no-such-id"])
    assert (owned.execution.id, owned.job) == (one.execution.id, new)
    assert list(await store.owned("inc-a", ids=[])) == []
    await record(store, succeed(one, NOW), succeed(other, NOW))
    assert await store.owned_versions("inc-a") == {}


async def test_an_unknown_incarnation_owns_nothing(store: Store) -> None:
    assert list(await store.owned("inc-z")) == []
    assert await store.owned_versions("inc-z") == {}
    assert await store.still_owned("inc-z", []) == set()


async def test_a_node_asks_which_of_its_claims_are_still_its_own(store: Store) -> None:
    await add(store, *(job() for _ in range(4)))
    await join(store, "inc-a", "inc-b")
    kept, recorded, cancelled = (await claim(store, limit=3)).claims
    theirs = await claim_one(store, incarnation="inc-b")
    await record(store, succeed(recorded, NOW))
    await store.cancel_executions(
        reason=Reason.REQUESTED, now=NOW, execution_id=cancelled.execution.id
    )
    asked = [one.execution.id for one in (kept, recorded, cancelled, theirs)] + [
        execution(job()).id
    ]
    assert await store.still_owned("inc-a", asked) == {kept.execution.id}


async def test_a_node_asks_for_a_thousand_claims_at_once(store: Store) -> None:
    await add(store, *(job() for _ in range(1_000)))
    await join(store)
    claimed = ids((await claim(store, limit=1_000)).claims)
    assert len(claimed) == 1_000
    assert await store.still_owned("inc-a", list(claimed)) == claimed


async def test_a_revoked_node_owns_nothing_after_the_rescue(store: Store) -> None:
    await add(store, job())
    await join(store)
    claimed = await claim_one(store)
    await store.leave("inc-a")
    await rescue_all(store, NOW + SECOND)
    assert await store.still_owned("inc-a", [claimed.execution.id]) == set()


# --- giving back --------------------------------------------------------------------------------


async def test_what_was_given_back_is_as_if_never_claimed(store: Store) -> None:
    of = job(schedule=every(HOUR))
    await add(store, of)
    await join(store, "inc-a", "inc-b")
    claimed = await claim_one(store)
    await store.give_back("inc-a", [claimed.execution.id], now=NOW + 5)
    after = await stored(store, claimed)
    assert after == execution(of, NOW)
    assert (await claim_one(store, NOW + 5, incarnation="inc-b")).execution.attempts == ()


async def test_a_retry_that_was_given_back_is_available_from_its_old_instant(
    store: Store,
) -> None:
    await add(store, job(schedule=at(NOW), retry=RetryPolicy(initial=MINUTE, jitter=0)))
    await join(store)
    await record(store, fail(await claim_one(store), NOW))
    retried = await claim_one(store, NOW + MINUTE - SECOND, ahead=1_000)
    await store.give_back("inc-a", [retried.execution.id], now=NOW + MINUTE - SECOND)
    after = await stored(store, retried)
    assert (after.state, after.available_at) == (State.PENDING, NOW + MINUTE)
    assert len(after.attempts) == 1


async def test_only_its_own_claims_can_be_given_back(store: Store) -> None:
    await add(store, job(), job(), job())
    await join(store, "inc-a", "inc-b")
    mine, done = (await claim(store, limit=2)).claims
    theirs = await claim_one(store, incarnation="inc-b")
    await record(store, succeed(done, NOW))
    asked = [one.execution.id for one in (mine, done, theirs)] + [execution(job()).id]
    await store.give_back("inc-a", asked, now=NOW + 1)
    assert (await stored(store, mine)).state is State.PENDING
    assert (await stored(store, done)).state is State.SUCCEEDED
    assert await stored(store, theirs) == theirs.execution


async def test_thousands_of_claims_are_given_back(store: Store) -> None:
    await add(store, *(job() for _ in range(1_500)))
    await join(store)
    claimed = ids((await claim(store, limit=2_000)).claims)
    await store.give_back("inc-a", list(claimed), now=NOW + 1)
    assert list(await store.owned("inc-a")) == []
    assert (await store.stats(since=NOW, now=NOW)).pending == 1_500


async def test_nothing_to_give_back_is_no_error(store: Store) -> None:
    await store.give_back("inc-z", [], now=NOW)
