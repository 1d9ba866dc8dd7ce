"""The audit log: who did what to what, from where, before and after; and what it leaves out."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.access import ADMIN, Guarded, guarded
from tests.api.harness import EXECUTIONS, JOB, JOBS, KEYS
from tests.api.test_roles import ROUTES
from tests.support import build
from tests.support.build import HOUR, NOW, SECOND
from tests.support.memory_store import MemoryStore
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.instant import format_instant
from tocsin.store.port import Store

AUDIT = "/api/v1/audit"


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Guarded]:
    async with guarded(store) as made:
        yield made


async def log(api: Guarded, **params: Any) -> list[dict[str, Any]]:
    """The entries, oldest first, but for the making of keys by the tests."""
    items: list[dict[str, Any]] = (await api.api.get(AUDIT, **params))["items"]
    return [one for one in reversed(items) if one["action"] != "key.create"]


async def test_whoever_changes_something_is_told_of(api: Guarded) -> None:
    made = await api.make(role="editor", name="ci")
    client = api.client(made["key"])
    job = (await client.post(JOBS, json={**JOB, "name": "a", "tags": ["x"]})).json()
    path = f"{JOBS}/a"
    await client.patch(path, json={"schedule": {"every": "1h"}, "tags": ["y"]})
    await client.post(f"{path}/pause")
    await client.post(f"{path}/resume")
    execution = (await client.post(f"{path}/trigger")).json()
    await client.post(f"{EXECUTIONS}/{execution['id']}/cancel")
    again = (await client.post(f"{EXECUTIONS}/{execution['id']}/retry")).json()
    await client.put(path, json={**JOB, "description": "new"})
    await client.post(f"{path}/cancel")
    await client.delete(path)
    entries = await log(api)
    assert [one["action"] for one in entries] == [
        "job.create",
        "job.update",
        "job.pause",
        "job.resume",
        "job.trigger",
        "execution.cancel",
        "execution.retry",
        "job.update",
        "job.cancel",
        "job.delete",
    ]
    for one in entries:
        assert one["actor"] == {"type": "key", "id": made["id"], "name": "ci"}
        assert one["namespace"] == "default"
        assert one["address"] == "127.0.0.1"
        assert one["at"] == format_instant(NOW)
        if one["action"].startswith("job."):
            assert one["subject"] == {"type": "job", "id": job["id"], "name": "a"}
    create, update, pause, _, trigger, _, retry, _, _, delete = entries
    assert create["before"] is None
    assert create["after"]["tags"] == ["x"]
    assert update["before"]["tags"] == ["x"]
    assert update["after"]["tags"] == ["y"]
    assert set(update["after"]) == {"schedule", "tags"}
    assert (pause["before"], pause["after"]) == ({"status": "active"}, {"status": "paused"})
    assert trigger["after"] == {"execution": execution["id"]}
    assert retry["after"] == {"execution": again["id"]}
    assert retry["subject"]["id"] == execution["id"]
    assert delete["before"]["description"] == "new"
    assert delete["after"] is None


async def test_a_batch_is_one_entry(api: Guarded) -> None:
    jobs = [{**JOB, "name": f"job-{number}"} for number in range(3)]
    answer = await api.api.ask("POST", f"{JOBS}:batch", status=201, json={"jobs": jobs})
    (entry,) = await log(api)
    assert entry["action"] == "jobs.create"
    assert entry["after"] == {"count": 3, "ids": [job["id"] for job in answer.json()["items"]]}


async def test_a_call_that_is_tried_out_is_told_of_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(_: object) -> None:
        raise StoreUnavailable("no answer")

    async with guarded(MemoryStore(), attempt=build.attempt()) as api:
        target = {**JOB["target"], "headers": {"X-Token": "t0ps3cret"}}
        tried = {**JOB, "name": "a", "target": target}
        answer = await (await api.of(role="editor")).post(f"{JOBS}:try", json=tried)
        assert answer.status_code == 200
        entry = (await log(api))[-1]
        assert (entry["action"], entry["subject"]["name"]) == ("job.try", "a")
        assert entry["actor"]["name"] == "some"
        assert entry["after"]["target"]["url"] == JOB["target"]["url"]
        assert "t0ps3cret" not in str(entry)
        # Where nobody could be told of it, it is not made.
        monkeypatch.setattr(api.api.store, "add_audit", refuse)
        assert (await api.api.client.post(f"{JOBS}:try", json=tried)).status_code == 503
        assert len(api.api.tried) == 1


async def test_what_changed_nothing_is_not_told_of(api: Guarded) -> None:
    await api.api.create(name="a")
    before = await log(api)
    await api.api.ask("PUT", f"{JOBS}/a", json=JOB)
    await api.api.ask("POST", f"{JOBS}/a/resume")
    await api.api.ask("POST", JOBS, status=409, json={**JOB, "name": "a"})
    await api.api.ask("POST", JOBS, status=422, json={})
    await api.api.ask("GET", f"{JOBS}/a")
    for _ in range(2):
        headers = {"Idempotency-Key": "k"}
        await api.api.ask("POST", f"{JOBS}/a/trigger", status=202, headers=headers)
    assert [one["action"] for one in await log(api)] == [
        *(one["action"] for one in before),
        "job.trigger",
    ]


async def test_keys_are_told_of_without_what_opens_them(api: Guarded) -> None:
    made = await api.make(name="ci", role="editor", namespace="team", expires_in="1h")
    path = f"{KEYS}/{made['id']}"
    rotated = (await api.api.ask("POST", f"{path}/rotate", json={"overlap": "0s"})).json()
    await api.api.ask("DELETE", path, status=204)
    answer = await api.api.ask("GET", AUDIT, params={"subject": made["id"]})
    revoke, rotate, create = answer.json()["items"]
    assert [one["action"] for one in (create, rotate, revoke)] == [
        "key.create",
        "key.rotate",
        "key.revoke",
    ]
    assert create["namespace"] == "team"
    assert create["after"]["expires_at"] == format_instant(NOW + HOUR)
    assert rotate["before"]["prefix"] == made["prefix"]
    assert rotate["after"]["prefix"] == rotated["prefix"]
    assert (revoke["before"]["status"], revoke["after"]["status"]) == ("active", "revoked")
    for secret in (made["key"], rotated["key"], ADMIN):
        assert secret not in answer.text


async def test_secrets_in_definitions_are_masked(api: Guarded) -> None:
    target = {
        "url": "https://example.com/hook?token=hidden-1&page=2",
        "headers": {"Authorization": "Bearer hidden-2", "X-Team": "ops", "X-Api-Key": "hidden-3"},
        "body": {"user": "ann", "deep": [{"password": "hidden-4"}]},
    }
    await api.api.create(name="a", target=target, metadata={"client_secret": "hidden-5"})
    other = {"headers": {"Authorization": "Bearer hidden-6"}}
    await api.api.ask("PATCH", f"{JOBS}/a", json={"target": other})
    await api.api.ask("PATCH", f"{JOBS}/a", json={"target": {"body_text": "hidden-7"}})
    await api.api.ask("DELETE", f"{JOBS}/a", status=204)
    answer = await api.api.ask("GET", AUDIT)
    assert "hidden" not in answer.text
    create = answer.json()["items"][-2]
    shown = create["after"]["target"]
    assert shown["url"] == "https://example.com/hook?token=********&page=2"
    assert shown["headers"] == {
        "Authorization": "********",
        "X-Team": "ops",
        "X-Api-Key": "********",
    }
    assert shown["body"] == {"user": "ann", "deep": [{"password": "********"}]}


async def test_an_entry_is_bounded(api: Guarded) -> None:
    body = {"rows": ["x" * 1_000] * 200}
    await api.api.create(name="a", target={"url": "https://example.com", "body": body})
    (entry,) = await log(api)
    assert len(json.dumps(entry)) < 20_000
    assert "bytes of JSON" in entry["after"]["target"]["body"]


async def test_entries_are_filtered_and_paged(api: Guarded) -> None:
    for number in range(4):
        api.api.clock.now = NOW + number * SECOND
        await api.api.create(name=f"job-{number}")
    api.api.clock.now += SECOND
    await api.api.ask("POST", f"{JOBS}/job-1/pause")
    pages, cursor = [], None
    while True:
        params = {"limit": 2, "action": "job"} | ({} if cursor is None else {"cursor": cursor})
        page = await api.api.get(AUDIT, **params)
        pages.append([one["subject"]["name"] for one in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [["job-1", "job-3"], ["job-2", "job-1"], ["job-0"]]

    async def names(**params: Any) -> list[str]:
        return [one["subject"]["name"] for one in await log(api, **params)]

    assert await names(subject="job-1") == ["job-1", "job-1"]
    assert await names(action="job.pause") == ["job-1"]
    assert await names(actor="nobody") == []
    assert len(await names(actor="first-admin")) == 5
    since, until = format_instant(NOW + SECOND), format_instant(NOW + 3 * SECOND)
    assert await names(since=since, until=until) == ["job-1", "job-2"]
    for params in ({"cursor": "x"}, {"since": "x"}, {"limit": 0}, {"who": "x"}):
        await api.api.problems("GET", AUDIT, params=params)


async def test_the_log_is_exported_as_lines(api: Guarded) -> None:
    for number in range(3):
        await api.api.create(name=f"job-{number}")
    answer = await api.api.client.get(
        AUDIT, params={"action": "job"}, headers={"Accept": "application/x-ndjson"}
    )
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines == (await api.api.get(AUDIT, action="job"))["items"]
    assert len(lines) == 3


async def test_who_reaches_one_namespace_sees_what_was_done_there(api: Guarded) -> None:
    headers = {"Tocsin-Namespace": "team"}
    await api.api.client.post(JOBS, json=JOB, headers=headers)
    await api.api.create(name="elsewhere")
    everything = await api.api.get(AUDIT)
    assert {one["namespace"] for one in everything["items"]} == {"team", "default", "*"}
    named = await api.api.client.get(AUDIT, headers=headers)
    assert {one["namespace"] for one in named.json()["items"]} == {"team"}
    team = await api.of(role="admin", namespace="team")
    assert {one["namespace"] for one in (await team.get(AUDIT)).json()["items"]} == {"team"}


def test_nothing_changes_what_the_log_says() -> None:
    methods = {method for method, path, _ in ROUTES if path.startswith(AUDIT)}
    assert methods == {"GET"}
