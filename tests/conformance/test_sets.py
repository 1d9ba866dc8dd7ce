"""The port, part 6: new jobs of several callers at once."""

from dataclasses import replace

import pytest

from tests.support.build import NO_LIMITS, every, job, new_job, request
from tests.support.drive import add, jobs, view
from tocsin.domain.errors import CapacityExceeded, InvalidInput
from tocsin.domain.job import Job
from tocsin.store.port import Created, Limits, NewJobs, Request, Store


def a_set(*some: Job, request: Request | None = None) -> NewJobs:
    return NewJobs(jobs=[new_job(one) for one in some], request=request)


async def create(store: Store, *sets: NewJobs, limits: Limits = NO_LIMITS) -> list[Created]:
    return list(await store.create_sets(sets, limits=limits))


async def names(store: Store) -> list[str]:
    return [one.job.name for one in await jobs(store)]


def problems(outcome: Created) -> list[tuple[str, str]]:
    assert isinstance(outcome, InvalidInput), outcome
    return [(one.field, one.code) for one in outcome.problems]


async def test_sets_are_stored_with_all_that_belongs_to_them(store: Store) -> None:
    report = job("report", every(60_000), tags=("a", "b"))
    others = [job(f"job-{number}", tags=("a",)) for number in range(70)]
    assert (
        await create(store, a_set(report), a_set(*others[:60]), a_set(*others[60:])) == [None] * 3
    )
    assert (await view(store, report)).job == report
    assert (await view(store, report)).next_fire_at is not None
    assert len(await jobs(store, tags=("a",))) == 71
    usage = await store.usage()
    assert usage.jobs == 71
    assert usage.bytes > 0


async def test_nothing_is_asked_for(store: Store) -> None:
    assert await create(store) == []
    assert await create(store, a_set(), a_set()) == [None, None]
    assert await names(store) == []


async def test_what_is_refused_concerns_no_other(store: Store) -> None:
    await add(store, job("taken"))
    before = (await store.usage()).bytes
    done = await create(
        store,
        a_set(job("a")),
        a_set(job("b"), job("taken", id=job().id), job("c")),
        a_set(job("d"), job("d", id=job().id)),
        a_set(job("e")),
    )
    assert done[0] is None
    assert problems(done[1]) == [("jobs.1.name", "name_taken")]
    assert problems(done[2]) == [("jobs.1.name", "name_taken")]
    assert done[3] is None
    assert await names(store) == ["a", "e", "taken"]
    usage = await store.usage()
    assert usage.jobs == 3
    assert before < usage.bytes < 4 * before


async def test_of_two_that_want_one_name_the_first_gets_it(store: Store) -> None:
    first, second = job("report"), job("report", id=job().id)
    done = await create(store, a_set(first), a_set(second), a_set(job("other")))
    assert done[0] is None
    assert problems(done[1]) == [("jobs.0.name", "name_taken")]
    assert done[2] is None
    assert (await view(store, first)).job == first
    assert await names(store) == ["other", "report"]


async def test_a_refused_set_takes_no_name_from_a_later_one(store: Store) -> None:
    await add(store, job("taken"))
    done = await create(
        store,
        a_set(job("free"), job("taken", id=job().id)),
        a_set(job("free", id=job().id)),
    )
    assert problems(done[0]) == [("jobs.1.name", "name_taken")]
    assert done[1] is None
    assert await names(store) == ["free", "taken"]


async def test_who_exceeds_a_limit_is_refused_alone(store: Store) -> None:
    await add(store, job("old"))
    limits = replace(NO_LIMITS, max_jobs=3)
    done = await create(
        store,
        a_set(job("a")),
        a_set(job("b"), job("c")),
        a_set(job("d")),
        a_set(job("e")),
        limits=limits,
    )
    assert done[0] is None
    assert isinstance(done[1], CapacityExceeded)
    assert done[1].limit == "jobs"
    assert done[2] is None
    assert isinstance(done[3], CapacityExceeded)
    assert await names(store) == ["a", "d", "old"]
    assert (await store.usage()).jobs == 3


async def test_bytes_are_limited_too(store: Store) -> None:
    await add(store, job("old"))
    size = (await store.usage()).bytes
    limits = Limits(max_jobs=100, max_bytes=3 * size)
    done = await create(
        store,
        a_set(job("a")),
        a_set(job("b", description="x")),
        a_set(job("c")),
        limits=limits,
    )
    assert done[0] is None
    assert isinstance(done[1], CapacityExceeded)
    assert done[1].limit == "bytes"
    assert done[2] is None
    assert (await store.usage()).bytes == 3 * size


async def test_a_taken_name_is_told_before_a_limit(store: Store) -> None:
    await add(store, job("taken"))
    full = replace(NO_LIMITS, max_jobs=1)
    done = await create(store, a_set(job("taken", id=job().id)), a_set(job("b")), limits=full)
    assert problems(done[0]) == [("jobs.0.name", "name_taken")]
    assert isinstance(done[1], CapacityExceeded)


# --- idempotency keys ---------------------------------------------------------------------------


async def test_each_set_has_its_own_key(store: Store) -> None:
    old = request("old")
    await create(store, a_set(job("old"), request=old))
    done = await create(
        store,
        a_set(job("a"), request=request("k1")),
        a_set(job("b"), request=replace(old, fingerprint="other", result=[])),
        a_set(job("c")),
    )
    assert done == [None, old, None]
    assert await names(store) == ["a", "c", "old"]
    assert await store.find_request("default", "jobs.create", "k1") == request("k1")


@pytest.mark.parametrize("beside", [(), ("x", "y")])
async def test_the_same_key_at_once_is_carried_out_once(
    store: Store, beside: tuple[str, ...]
) -> None:
    first = request("k", result=["first"])
    done = await create(
        store,
        a_set(job("a"), request=first),
        *(a_set(job(name)) for name in beside),
        a_set(job("b"), request=request("k", result=["second"])),
        a_set(job("c"), request=request("k", result=["third"])),
    )
    assert done == [None, *(None for _ in beside), first, first]
    assert await names(store) == sorted(["a", *beside])


async def test_a_set_with_a_key_that_came_before_keeps_its_turn(store: Store) -> None:
    await add(store, job("taken"))
    key = request("key")
    done = await create(
        store,
        a_set(job("taken", id=job().id), request=key),
        a_set(job("mine"), request=key),
        a_set(job("mine", id=job().id)),
    )
    assert problems(done[0]) == [("jobs.0.name", "name_taken")]
    assert done[1] is None
    assert problems(done[2]) == [("jobs.0.name", "name_taken")]


async def test_a_refused_set_leaves_its_key_to_the_next(store: Store) -> None:
    await add(store, job("taken"))
    second = request("k", result=["second"])
    done = await create(
        store,
        a_set(job("taken", id=job().id), request=request("k", result=["first"])),
        a_set(job("b"), request=second),
        a_set(job("c")),
        a_set(job("taken", id=job().id), request=request("free")),
    )
    assert problems(done[0]) == [("jobs.0.name", "name_taken")]
    assert done[1:3] == [None, None]
    assert problems(done[3]) == [("jobs.0.name", "name_taken")]
    assert await names(store) == ["b", "c", "taken"]
    assert await store.find_request("default", "jobs.create", "k") == second
    assert await store.find_request("default", "jobs.create", "free") is None
