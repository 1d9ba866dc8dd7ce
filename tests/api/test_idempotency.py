"""The same request, sent again with its key, is answered the same and done once."""

from typing import Any

import pytest

from tests.api.harness import EXECUTIONS, JOB, JOBS, Api
from tests.support.build import MINUTE, NOW
from tocsin.domain.instant import format_instant

KEY = {"Idempotency-Key": "order-4711"}
BATCH = f"{JOBS}:batch"


async def test_a_job_is_created_once(api: Api) -> None:
    first = await api.ask("POST", JOBS, status=201, json=JOB, headers=KEY)
    assert "idempotency-replayed" not in first.headers
    api.clock.now += MINUTE
    again = await api.ask("POST", JOBS, status=201, json=JOB, headers=KEY)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert len((await api.get(JOBS))["items"]) == 1
    assert api.changes() == ["created"]


async def test_the_order_of_fields_does_not_matter(api: Api) -> None:
    first = await api.ask("POST", JOBS, status=201, json=JOB, headers=KEY)
    turned = dict(reversed(JOB.items()))
    again = await api.ask("POST", JOBS, status=201, json=turned, headers=KEY)
    assert again.json() == first.json()


async def test_another_body_is_refused(api: Api) -> None:
    await api.ask("POST", JOBS, status=201, json=JOB, headers=KEY)
    other = {**JOB, "description": "other"}
    answer = await api.ask("POST", JOBS, status=422, json=other, headers=KEY)
    assert answer.json()["code"] == "idempotency_key_reused"
    assert len((await api.get(JOBS))["items"]) == 1


async def test_a_refused_request_leaves_its_key_free(api: Api) -> None:
    await api.ask("POST", JOBS, status=422, json={}, headers=KEY)
    await api.create(name="taken")
    await api.ask("POST", JOBS, status=409, json={**JOB, "name": "taken"}, headers=KEY)
    await api.ask("POST", JOBS, status=201, json=JOB, headers=KEY)


async def test_a_name_that_the_first_request_took(api: Api) -> None:
    named = {**JOB, "name": "report"}
    first = await api.ask("POST", JOBS, status=201, json=named, headers=KEY)
    again = await api.ask("POST", JOBS, status=201, json=named, headers=KEY)
    assert again.json() == first.json()


async def test_an_instant_that_has_passed_since(api: Api) -> None:
    at = {**JOB, "schedule": {"at": format_instant(NOW + MINUTE)}}
    first = await api.ask("POST", JOBS, status=201, json=at, headers=KEY)
    api.clock.now += 10 * MINUTE
    again = await api.ask("POST", JOBS, status=201, json=at, headers=KEY)
    assert again.json()["id"] == first.json()["id"]
    other = {"Idempotency-Key": "another"}
    assert await api.problems("POST", JOBS, json=at, headers=other) == [
        ("schedule.at", "in_the_past")
    ]


async def test_a_batch_is_created_once(api: Api) -> None:
    body = {"jobs": [JOB, JOB, JOB]}
    first = await api.ask("POST", BATCH, status=201, json=body, headers=KEY)
    again = await api.ask("POST", BATCH, status=201, json=body, headers=KEY)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await api.get(JOBS))["items"]) == 3
    await api.ask("POST", BATCH, status=422, json={"jobs": [JOB]}, headers=KEY)


async def test_operations_do_not_share_keys(api: Api) -> None:
    await api.ask("POST", JOBS, status=201, json={**JOB, "name": "a"}, headers=KEY)
    await api.ask("POST", BATCH, status=201, json={"jobs": [JOB]}, headers=KEY)
    await api.create(name="b")
    one = await api.ask("POST", f"{JOBS}/a/trigger", status=202, headers=KEY)
    other = await api.ask("POST", f"{JOBS}/b/trigger", status=202, headers=KEY)
    assert one.json()["id"] != other.json()["id"]


async def test_a_job_is_triggered_once(api: Api) -> None:
    await api.create(name="report")
    body = {"body": {"n": 1}}
    first = await api.ask("POST", f"{JOBS}/report/trigger", status=202, json=body, headers=KEY)
    api.clock.now += MINUTE
    again = await api.ask("POST", f"{JOBS}/report/trigger", status=202, json=body, headers=KEY)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await api.get(EXECUTIONS))["items"]) == 1
    answer = await api.ask("POST", f"{JOBS}/report/trigger", status=422, json={}, headers=KEY)
    assert answer.json()["code"] == "idempotency_key_reused"


async def test_an_execution_is_retried_once(api: Api) -> None:
    await api.create(name="report")
    await api.ask("POST", f"{JOBS}/report/trigger", status=202)
    (run,) = await api.run()
    path = f"{EXECUTIONS}/{run.id}/retry"
    first = await api.ask("POST", path, status=202, headers=KEY)
    api.clock.now += MINUTE
    again = await api.ask("POST", path, status=202, headers=KEY)
    assert again.json() == first.json()
    assert len((await api.get(EXECUTIONS))["items"]) == 2


async def test_a_job_that_was_deleted_since(api: Api) -> None:
    first = await api.ask("POST", JOBS, status=201, json=JOB, headers=KEY)
    await api.ask("DELETE", f"{JOBS}/{first.json()['id']}", status=204)
    again = await api.ask("POST", JOBS, status=201, json=JOB, headers=KEY)
    assert again.json()["status"] == "deleted"


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\x7f"])
async def test_keys_are_bounded(api: Api, key: str) -> None:
    sent: Any = {"json": JOB, "headers": {"Idempotency-Key": key}}
    assert await api.problems("POST", JOBS, **sent) == [("Idempotency-Key", "pattern")]


async def test_an_absurdly_deep_body_with_a_key(api: Api) -> None:
    deep = b"[" * 400 + b"]" * 400
    headers = {**KEY, "content-type": "application/json"}
    assert await api.problems("POST", JOBS, content=deep, headers=headers) == [("", "too_deep")]
