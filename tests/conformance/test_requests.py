"""The port, part 5: requests that carry an idempotency key."""

import asyncio
from dataclasses import replace

import pytest

from tests.support.build import NO_LIMITS, NOW, job, new_job, request, triggered
from tests.support.drive import add, executions, jobs, trigger
from tocsin.domain.errors import CapacityExceeded, InvalidInput
from tocsin.domain.job import Job, Overlap
from tocsin.store.port import Request, Store


async def create(store: Store, *some: Job, request: Request) -> Request | None:
    return await store.create_jobs(
        [new_job(one) for one in some], limits=NO_LIMITS, request=request
    )


async def test_the_first_request_is_carried_out(store: Store) -> None:
    assert await create(store, job("a"), request=request("k")) is None
    assert len(await jobs(store)) == 1


async def test_a_repeated_request_does_nothing_and_is_given_what_was_stored(store: Store) -> None:
    first = request("k", fingerprint="f1", result={"ids": ["x"], "n": 1}, created_at=NOW)
    await create(store, job("a"), request=first)
    second = request("k", fingerprint="f2", result={"ids": ["y"]}, created_at=NOW + 5)
    assert await create(store, job("b"), request=second) == first
    assert [view.job.name for view in await jobs(store)] == ["a"]


async def test_a_repeated_request_is_found_before_its_names_look_taken(store: Store) -> None:
    same = job("a")
    await create(store, same, request=request("k"))
    assert await create(store, same, request=request("k")) == request("k")


@pytest.mark.parametrize("field", ["namespace", "operation", "key"])
async def test_a_request_that_differs_in_its_key_is_another(store: Store, field: str) -> None:
    await create(store, job("a"), request=request("k"))
    other = request(**{"key": "k", field: "another"})
    assert await create(store, job("b"), request=other) is None
    assert len(await jobs(store)) == 2


async def test_a_refused_request_leaves_its_key_free(store: Store) -> None:
    await add(store, job("taken"))
    with pytest.raises(InvalidInput):
        await create(store, job("taken", id=job().id), request=request("k"))
    with pytest.raises(CapacityExceeded):
        await store.create_jobs(
            [new_job(job())], limits=replace(NO_LIMITS, max_jobs=0), request=request("k")
        )
    assert await create(store, job("fresh"), request=request("k")) is None


async def test_of_two_requests_at_once_one_is_carried_out(store: Store) -> None:
    done = await asyncio.gather(
        *(create(store, job(f"job-{n}"), request=request("k")) for n in range(5))
    )
    assert done.count(None) == 1
    assert done.count(request("k")) == 4
    assert len(await jobs(store)) == 1


async def test_a_repeated_trigger_is_given_what_was_stored(store: Store) -> None:
    of = job()
    await add(store, of)
    first = request("k", operation="jobs.trigger", result={"id": triggered(of).id})
    done = await trigger(store, triggered(of), request=first)
    assert not isinstance(done, Request)
    assert done[0] == triggered(of)
    second = replace(first, fingerprint="other", result=None)
    assert await trigger(store, triggered(of, salt="again"), request=second) == first
    assert len(await executions(store)) == 1


async def test_a_request_is_found_by_its_key(store: Store) -> None:
    asked = request("k")
    await create(store, job("a"), request=asked)
    assert await store.find_request(asked.namespace, asked.operation, "k") == asked
    assert await store.find_request(asked.namespace, asked.operation, "other") is None
    assert await store.find_request(asked.namespace, "other", "k") is None
    assert await store.find_request("other", asked.operation, "k") is None


async def test_a_skipped_trigger_keeps_its_key_too(store: Store) -> None:
    of = job(overlap=Overlap.SKIP)
    await add(store, of)
    await trigger(store, triggered(of))
    asked = request("k", operation="jobs.trigger")
    done = await trigger(store, triggered(of, NOW + 1), request=asked)
    assert not isinstance(done, Request)
    assert await trigger(store, triggered(of, NOW + 2), request=asked) == asked


@pytest.mark.parametrize("result", [None, [], {}, "id", {"ids": [], "n": 2.5, "ok": True}])
async def test_a_result_is_given_back_as_it_was(store: Store, result: object) -> None:
    asked = request("k", result=result)
    await create(store, job("a"), request=asked)
    assert await create(store, job("b"), request=asked) == asked
