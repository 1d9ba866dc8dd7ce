"""Leases go by the database's clock, and locks keep them apart from claims."""

import asyncio
import threading
import time
from dataclasses import replace

import psycopg
import pytest

from tests.postgres.conftest import Sql
from tests.postgres.waiting import until_waiting
from tests.support.build import MINUTE, NOW, claim_request, job, node, succeed
from tests.support.drive import add, claim_all, claim_one, record
from tests.support.process import PATIENCE
from tocsin.domain.errors import Revoked
from tocsin.domain.execution import State
from tocsin.domain.job import Job
from tocsin.domain.planning import FirePlan, Live, Timer, Window, plan_fires
from tocsin.store.postgres import PostgresStore

WRONG = (-10 * MINUTE, 0, 10 * MINUTE)
"""How wrong the callers' clocks are."""


def present() -> int:
    return time.time_ns() // 1_000_000


class Held:
    """A planner that stops in the middle of a claim until it is let go."""

    def __init__(self) -> None:
        self.there, self.go_on = threading.Event(), threading.Event()

    def __call__(self, job: Job, timer: Timer, live: Live, window: Window) -> FirePlan:
        self.there.set()
        assert self.go_on.wait(PATIENCE)
        return plan_fires(job, timer, live, window)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.there.wait, PATIENCE)


async def test_the_time_is_that_of_the_server(store: PostgresStore) -> None:
    before = present()
    told = await store.time()
    assert told is not None
    assert before - 1 <= told <= present() + 1


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_lease_begins_at_the_servers_present(store: PostgresStore, wrong: int) -> None:
    before = present()
    await store.register(node("inc-a", now=before + wrong, ttl=5_000))
    (found,) = await store.nodes()
    assert before - 1 <= found.heartbeat_at <= present() + 1
    assert found.lease_until == found.heartbeat_at + 5_000


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_renewal_counts_from_the_servers_present(store: PostgresStore, wrong: int) -> None:
    await store.register(node("inc-a"))
    before = present()
    until = await store.renew("inc-a", now=before + wrong, ttl=7_000)
    assert until is not None
    assert before + 6_999 <= until <= present() + 7_001
    (found,) = await store.nodes()
    assert found.lease_until == until


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_has_lapsed_is_for_the_server_to_say(store: PostgresStore, wrong: int) -> None:
    await store.register(node("living", ttl=60_000))
    await store.register(node("lapsed", ttl=-1))
    revoked = await store.revoke_lapsed(now=present() + wrong, by="me")
    assert [one.incarnation for one in revoked] == ["lapsed"]
    assert await store.renew("lapsed", now=present() + wrong, ttl=5_000) is None


async def test_a_renewal_and_a_revocation_at_once_agree(
    stores: list[PostgresStore], sql: Sql
) -> None:
    for _ in range(30):
        await stores[0].register(node("inc-a", ttl=-1))
        renewing = asyncio.create_task(stores[0].renew("inc-a", now=NOW, ttl=5_000))
        revoked = await asyncio.gather(
            *(one.revoke_lapsed(now=NOW, by="me") for one in stores[1:5])
        )
        until = await renewing
        times = sum(map(len, revoked))
        assert times == (0 if until is not None else 1)
        assert len(await stores[0].nodes()) == 1 - times


async def test_a_node_is_not_revoked_in_the_middle_of_its_claim(
    stores: list[PostgresStore], sql: Sql
) -> None:
    claiming, other = stores[:2]
    await add(other, job("one"))
    await claiming.register(node("inc-a", ttl=-1))
    held = Held()
    claim = asyncio.create_task(claiming.claim(claim_request(NOW), held))
    await held.reached()
    # It has lapsed, but is passed over, and its own renewal does not wait either.
    assert await other.revoke_lapsed(now=NOW, by="inc-b") == []
    assert await claiming.renew("inc-a", now=NOW, ttl=-1) is not None
    held.go_on.set()
    assert len((await claim).claims) == 1
    assert len(await other.revoke_lapsed(now=NOW, by="inc-b")) == 1


async def test_a_node_that_is_being_revoked_waits_and_is_refused(
    store: PostgresStore, url: str
) -> None:
    await add(store, job("one"))
    await store.register(node("inc-a"))
    claimed = await claim_one(store)
    with psycopg.connect(url) as conn:
        conn.execute("DELETE FROM nodes")
        claim = asyncio.create_task(claim_all(store, NOW + MINUTE))
        recording = asyncio.create_task(record(store, succeed(claimed, NOW + 1), now=NOW + 1))
        renewal = asyncio.create_task(store.renew("inc-a", now=NOW, ttl=5_000))
        await until_waiting(url, 3)
    for refused in (claim, recording):
        with pytest.raises(Revoked):
            await refused
    assert await renewal is None
    found = await store.get_execution(claimed.execution.id)
    assert found is not None
    assert (found.state, found.attempts) == (State.CLAIMED, ())


async def test_a_node_that_was_given_up_for_dead_is_not_there_again(store: PostgresStore) -> None:
    await store.register(node("inc-a"))
    await store.register(replace(node("inc-a"), name="again"))
    assert [one.name for one in await store.nodes()] == ["again"]
    await store.leave("inc-a")
    assert await store.renew("inc-a", now=NOW, ttl=5_000) is None
    assert await store.nodes() == []
