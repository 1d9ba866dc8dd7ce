"""Requests that come at the same time share a commit; each is answered for itself."""

import asyncio
from typing import Any

import httpx

from tests.api.harness import JOB, JOBS, Api


async def ask_all(api: Api, *asked: dict[str, Any]) -> list[httpx.Response]:
    """Create jobs at once; an ``Idempotency-Key`` among the fields goes into the header."""

    async def ask(fields: dict[str, Any]) -> httpx.Response:
        headers = {name: fields[name] for name in ("Idempotency-Key",) if name in fields}
        body = {**JOB, **{name: fields[name] for name in fields if name not in headers}}
        return await api.client.post(JOBS, json=body, headers=headers)

    return list(await asyncio.gather(*map(ask, asked)))


async def test_each_gets_its_own_job(api: Api) -> None:
    answers = await ask_all(api, *({"name": f"job-{number}"} for number in range(50)))
    for number, answer in enumerate(answers):
        assert answer.status_code == 201
        assert answer.json()["name"] == f"job-{number}"
        assert (await api.get(f"{JOBS}/{answer.json()['id']}"))["name"] == f"job-{number}"
    assert api.changes() == ["created"] * 50


async def test_what_is_refused_leaves_its_companions_alone(api: Api) -> None:
    await api.create(name="taken")
    answers = await ask_all(
        api, {"name": "a"}, {"name": "taken"}, {"name": "B"}, {"name": "c"}, {"tags": ["x"]}
    )
    assert [answer.status_code for answer in answers] == [201, 409, 422, 201, 201]
    refused = answers[1].json()
    assert refused["code"] == "name_taken"
    assert [(one["field"], one["code"]) for one in refused["errors"]] == [("name", "name_taken")]
    assert len((await api.get(JOBS))["items"]) == 4


async def test_one_name_is_given_once(api: Api) -> None:
    answers = await ask_all(api, *([{"name": "report"}] * 8))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert len((await api.get(JOBS))["items"]) == 1


async def test_one_key_makes_one_job(api: Api) -> None:
    same = {"Idempotency-Key": "k", "tags": ["keyed"]}
    answers = await ask_all(api, same, {"name": "other"}, same, same, {"name": "more"}, same)
    assert {answer.status_code for answer in answers} == {201}
    keyed = [answers[index] for index in (0, 2, 3, 5)]
    assert len({answer.json()["id"] for answer in keyed}) == 1
    replayed = [answer.headers.get("idempotency-replayed") for answer in keyed]
    assert sorted(replayed, key=str) == [None, "true", "true", "true"]
    assert len((await api.get(JOBS))["items"]) == 3


async def test_one_key_with_two_bodies(api: Api) -> None:
    answers = await ask_all(
        api,
        {"Idempotency-Key": "k", "name": "a"},
        {"Idempotency-Key": "k", "name": "b"},
        {"name": "c"},
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201, 201, 422]
    (refused,) = (answer.json() for answer in answers if answer.status_code == 422)
    assert refused["code"] == "idempotency_key_reused"


async def test_batches_and_puts_come_along(api: Api) -> None:
    batch, put, single = await asyncio.gather(
        api.client.post(f"{JOBS}:batch", json={"jobs": [{**JOB, "name": f"b-{n}"} for n in "xyz"]}),
        api.client.put(f"{JOBS}/put", json=JOB),
        api.client.post(JOBS, json={**JOB, "name": "single"}),
    )
    assert [batch.status_code, put.status_code, single.status_code] == [201] * 3
    assert len((await api.get(JOBS))["items"]) == 5


async def test_a_put_that_comes_second_replaces(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.client.put(f"{JOBS}/same", json={**JOB, "description": text}) for text in "abcd")
    )
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len((await api.get(JOBS))["items"]) == 1
    assert (await api.get(f"{JOBS}/same"))["version"] == 4
