"""What is in another namespace, or carries none of a key's tags, does not exist."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.access import Guarded, guarded
from tests.api.harness import EXECUTIONS, JOB, JOBS
from tests.api.test_events import EVENTS, parse, streaming
from tests.support import build
from tests.support.build import MINUTE, NOW
from tocsin.domain.instant import format_instant
from tocsin.services import insights
from tocsin.store.port import Store


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Guarded]:
    async with guarded(store) as made:
        yield made


async def ok(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def names(client: httpx.AsyncClient, path: str = JOBS, **params: Any) -> list[str]:
    items = (await ok(await client.get(path, params=params)))["items"]
    return sorted(item.get("job_name") or item["name"] for item in items)


async def check_absent(client: httpx.AsyncClient, job: dict[str, Any], execution: str) -> None:
    """Nothing that one can ask of a job and its execution tells that they are there."""
    for ref in (job["id"], job["name"]):
        for method, path in (
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/pause"),
            ("POST", "/resume"),
            ("POST", "/cancel"),
            ("POST", "/trigger"),
            ("GET", "/status"),
            ("GET", "/stats"),
            ("GET", "/preview"),
            ("GET", "/executions"),
        ):
            body = {"json": {}} if method == "PATCH" else {}
            answer = await client.request(method, f"{JOBS}/{ref}{path}", **body)
            assert answer.status_code == 404, f"{method} {path}: {answer.text}"
    assert (await client.put(f"{JOBS}/{job['id']}", json=JOB)).status_code == 404
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        answer = await client.request(method, f"{EXECUTIONS}/{execution}{path}")
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"
    answer = await client.get(EXECUTIONS, params={"job": job["id"]})
    assert answer.status_code == 404
    assert job["name"] not in await names(client)
    assert job["name"] not in await names(client, EXECUTIONS)


async def test_namespaces_know_nothing_of_each_other(api: Guarded) -> None:
    ours = await api.of(role="admin", namespace="ours")
    theirs = await api.of(role="admin", namespace="theirs")
    job = await ok(await theirs.post(JOBS, json={**JOB, "name": "secret"}))
    execution = await ok(await theirs.post(f"{JOBS}/secret/trigger"))
    await check_absent(ours, job, execution["id"])
    assert (await ok(await theirs.get(f"{JOBS}/secret")))["version"] == 1
    stats = await ok(await ours.get("/api/v1/stats"))
    assert (stats["jobs"]["active"], stats["executions"]["pending"]) == (0, 0)
    assert stats["next_fires"] == []
    assert stats["capacity"] is None
    stats = await ok(await theirs.get("/api/v1/stats"))
    assert (stats["jobs"]["active"], stats["executions"]["pending"]) == (1, 1)
    # The same name means another job here.
    assert (await ours.put(f"{JOBS}/secret", json=JOB)).status_code == 201
    audit = await ok(await ours.get("/api/v1/audit"))
    assert {entry["namespace"] for entry in audit["items"]} == {"ours"}
    assert job["id"] not in str(audit)


async def test_a_key_of_one_namespace_cannot_name_another(api: Guarded) -> None:
    client = await api.of(role="admin", namespace="ours")
    for given in ({"headers": {"Tocsin-Namespace": "theirs"}}, {"params": {"namespace": "theirs"}}):
        answer = await client.get(JOBS, **given)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await client.get(JOBS, params={"namespace": "ours"})).status_code == 200


async def test_a_key_of_all_namespaces_names_one(api: Guarded) -> None:
    admin = api.api.client
    for given in ({"headers": {"Tocsin-Namespace": "a"}}, {"params": {"namespace": "b"}}, {}):
        await ok(await admin.post(JOBS, json={**JOB, "name": "same"}, **given))
    for namespace in ("a", "b", "default"):
        assert await names(admin, namespace=namespace) == ["same"]
    found = await api.api.get("/api/v1/namespaces")
    assert found["items"] == [{"name": "a"}, {"name": "b"}, {"name": "default"}]
    assert (await api.api.get("/api/v1/session"))["namespaces"] == ["a", "b", "default"]
    both = {"headers": {"Tocsin-Namespace": "a"}, "params": {"namespace": "b"}}
    assert (await admin.get(JOBS, **both)).status_code == 422


async def test_a_namespace_is_heard_however_its_parameter_is_spelled(api: Guarded) -> None:
    created = await api.api.client.post(f"{JOBS}?%6eamespace=a", json=JOB)
    assert created.status_code == 201
    assert await names(api.api.client, namespace="a") == [created.json()["name"]]
    assert await api.api.problems("POST", f"{JOBS}?namespace", json=JOB) == [
        ("namespace", "pattern")
    ]


@pytest.mark.parametrize("name", ["*", "A", "a/b", "a b", "-a", "x" * 64, "ä", "a@b", ""])
async def test_what_is_no_name_of_a_namespace_is_refused(api: Guarded, name: str) -> None:
    problems = await api.api.problems("GET", JOBS, params={"namespace": name})
    assert problems == [("namespace", "pattern")]


async def test_a_key_of_one_namespace_reaches_that(api: Guarded) -> None:
    client = await api.of(namespace="ours")
    assert (await ok(await client.get("/api/v1/namespaces")))["items"] == [{"name": "ours"}]


async def test_jobs_without_a_tag_of_the_key_do_not_exist(api: Guarded) -> None:
    client = await api.of(role="editor", tags=["mine", "ours"])
    hidden = await api.api.create(name="hidden", tags=["theirs"])
    await api.api.create(name="seen", tags=["theirs", "ours"])
    execution = (await api.api.ask("POST", f"{JOBS}/hidden/trigger", status=202)).json()
    seen = await ok(await client.post(f"{JOBS}/seen/trigger"))
    await check_absent(client, hidden, execution["id"])
    assert await names(client) == ["seen"]
    assert await names(client, EXECUTIONS) == ["seen"]
    assert (await ok(await client.get(f"{EXECUTIONS}/{seen['id']}")))["job_name"] == "seen"
    # A name that is taken has to be said to be, and no more is said.
    answer = await client.put(f"{JOBS}/hidden", json={**JOB, "tags": ["mine"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


async def test_a_key_that_is_limited_to_tags_makes_no_job_without_them(api: Guarded) -> None:
    client = await api.of(role="editor", tags=["mine"])
    batch = {"jobs": [{**JOB, "tags": ["mine"]}, JOB]}
    for method, path, body in (
        ("POST", JOBS, JOB),
        ("PUT", f"{JOBS}/new", JOB),
        ("POST", f"{JOBS}:batch", batch),
    ):
        answer = await client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "mine" in answer.json()["detail"]
    assert await names(api.api.client) == []
    job = await ok(await client.post(JOBS, json={**JOB, "tags": ["mine", "x"]}))
    for body in ({"tags": ["x"]}, {"tags": None}):
        answer = await client.patch(f"{JOBS}/{job['id']}", json=body)
        assert answer.status_code == 403
    await ok(await client.patch(f"{JOBS}/{job['id']}", json={"tags": ["mine"]}))


async def test_a_key_that_is_limited_to_tags_is_not_told_of_all_jobs(api: Guarded) -> None:
    client = await api.of(role="admin", tags=["mine"])
    for path in ("/api/v1/stats", "/api/v1/audit"):
        assert (await client.get(path)).status_code == 403


async def test_the_timeline_of_a_key_that_is_limited_to_tags_is_of_its_own_jobs(
    api: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, retry = api.api, {"max_attempts": 1}
    await inner.create(name="own", schedule={"every": "1m"}, retry=retry, tags=["mine"])
    await inner.create(name="hidden", schedule={"every": "1m"}, retry=retry, tags=["theirs"])
    # Fires too, and is not told of: it is somebody else's namespace.
    body = {**JOB, "name": "own", "schedule": {"every": "1m"}, "tags": ["mine"]}
    await ok(await inner.client.post(JOBS, json=body, headers={"Tocsin-Namespace": "elsewhere"}))
    for settle in (build.succeed, build.fail):
        inner.clock.now += MINUTE
        for claim in await inner.claim():
            await inner.record(settle(claim, inner.clock.now))
    params = {
        "since": format_instant(NOW - MINUTE),
        "until": format_instant(NOW + 7 * MINUTE),
        "step": "4m",
    }
    # The one who sees all first: what is kept for it is nothing for the other.
    everything = await inner.get("/api/v1/timeline", **params)
    assert {one["job_name"] for one in everything["fires"]} == {"own", "hidden"}
    client = await api.of(role="viewer", tags=["mine"])
    found = await ok(await client.get("/api/v1/timeline", params=params))
    assert found["past"] == [
        {
            "start": format_instant(NOW - MINUTE),
            "succeeded": 1,
            "failed": 1,
            "cancelled": 0,
            "skipped": 0,
        }
    ]
    assert {one["job_name"] for one in found["fires"]} == {"own"}
    # At 3 to 6 minutes.
    assert found["ahead"] == [{"start": format_instant(NOW + 3 * MINUTE), "fires": 4}]
    assert found["complete_since"] == params["since"]
    # Where there is more than is counted, it says from when on it has counted all.
    monkeypatch.setattr(insights, "COUNTED", 1)
    monkeypatch.setattr(insights, "_PAGE", 1)
    found = await ok(await client.get("/api/v1/timeline", params=params))
    assert [(one["succeeded"], one["failed"]) for one in found["past"]] == [(0, 1)]
    assert found["complete_since"] == format_instant(NOW + 2 * MINUTE)
    other = await api.of(role="viewer", tags=["nobody's"])
    found = await ok(await other.get("/api/v1/timeline", params=params))
    assert (found["past"], found["ahead"], found["fires"]) == ([], [], [])


async def test_an_idempotency_key_opens_nothing_that_is_hidden(api: Guarded) -> None:
    key = {"Idempotency-Key": "one"}
    body = {**JOB, "tags": ["mine"]}
    limited, ours = await api.of(role="editor", tags=["mine"]), await api.of(role="editor")
    job = await ok(await ours.post(JOBS, json=body, headers=key))
    await ok(await ours.patch(f"{JOBS}/{job['id']}", json={"tags": ["theirs"]}))
    assert (await limited.post(JOBS, json=body, headers=key)).status_code == 404
    elsewhere = await api.of(role="editor", namespace="elsewhere")
    other = await ok(await elsewhere.post(JOBS, json=body, headers=key))
    assert other["id"] != job["id"]


async def test_events_are_of_the_namespace_and_the_tags_of_the_reader(
    api: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.api.eventlog.GATHER", 0.0)

    async def read(**fields: Any) -> Any:
        key = (await api.make(**fields))["key"]
        return streaming(api.api, EVENTS, Authorization=f"Bearer {key}")

    async with (
        await read(namespace="ours") as ours,
        await read(namespace="theirs") as theirs,
        await read(namespace="theirs", tags=["a"]) as tagged,
    ):
        await reading(api, 3)
        for name, namespace, tags in (
            ("one", "ours", ["a"]),
            ("two", "theirs", ["a"]),
            ("three", "theirs", ["b"]),
            ("four", "theirs", ["a"]),
        ):
            body = {**JOB, "name": name, "tags": tags}
            headers = {"Tocsin-Namespace": namespace}
            await ok(await api.api.client.post(JOBS, json=body, headers=headers))
            if namespace == "theirs":
                path = f"{JOBS}/{name}/trigger"
                await ok(await api.api.client.post(path, headers=headers))
        # The second of these cannot see the job any more once it is told of that.
        await ok(
            await api.api.client.patch(
                f"{JOBS}/four", json={"tags": ["b"]}, headers={"Tocsin-Namespace": "theirs"}
            )
        )
        await give_time(api)
    for request, expected in (
        (ours, ["one"]),
        (theirs, ["two", "two", "three", "three", "four", "four", "four"]),
        (tagged, ["two", "two"]),
    ):
        shown = [json.loads(event["data"]) for event in parse(request.result().content)]
        found = [one.get("job_name") or one["name"] for one in shown]
        assert found[: len(expected)] == expected
        assert request is not tagged or set(found) <= {"two", "four"}


async def reading(api: Guarded, count: int) -> None:
    """Wait until so many streams have begun."""
    async with asyncio.timeout(30):
        while api.api.context.events.readers < count:
            await asyncio.sleep(0)


async def give_time(api: Guarded) -> None:
    """Give a reader that looks at the store the time to do so."""
    for _ in range(200):
        await api.api.store.namespaces()
        await asyncio.sleep(0)


async def test_a_stream_of_events_ends_with_its_key(
    api: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.api.routes.events.RECHECKED", 0.01)
    made = await api.make()
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with streaming(api.api, EVENTS, **headers) as request:
        await reading(api, 1)
        await api.api.ask("DELETE", f"/api/v1/keys/{made['id']}", status=204)
        async with asyncio.timeout(30):
            assert (await request).status_code == 200
