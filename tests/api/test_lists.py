"""Lists of jobs: filters, orders, pages."""

from typing import Any

import pytest

from tests.api.harness import JOBS, Api
from tests.support.build import HOUR, MINUTE, NOW
from tocsin.domain.instant import format_instant

SORTS = ("name", "created_at", "updated_at", "next_fire_at")


@pytest.fixture
async def jobs(api: Api) -> dict[str, dict[str, Any]]:
    """Some jobs, by name."""
    definitions: dict[str, dict[str, Any]] = {
        "backup": {"schedule": {"cron": "0 3 * * *"}, "tags": ["ops", "disk"]},
        "report": {"schedule": {"every": "1m"}, "tags": ["ops"], "description": "Weekly REPORT"},
        "remind": {"schedule": {"every": "2m"}, "target": {"log": "Straße frei"}},
        "once": {
            "schedule": {"at": format_instant(NOW + HOUR)},
            "target": {"url": "https://shop.example/100%_sure"},
        },
        "idle": {"schedule": {"every": "1h"}},
    }
    for name, definition in definitions.items():
        api.clock.now += 1
        await api.create(name=name, **definition)
    api.clock.now += 1
    await api.ask("POST", f"{JOBS}/idle/pause")
    return {name: await api.get(f"{JOBS}/{name}") for name in definitions}


async def names(api: Api, **params: Any) -> list[str]:
    """The names of a list over all its pages."""
    found: list[str] = []
    cursor = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = await api.get(JOBS, **params, **more)
        found += [one["name"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def test_the_shape(api: Api, jobs: dict[str, Any]) -> None:
    page = await api.get(JOBS, limit=2)
    assert set(page) == {"items", "next_cursor"}
    assert page["items"] == [jobs["backup"], jobs["idle"]]
    assert page["next_cursor"].isascii()
    assert (await api.get(JOBS))["next_cursor"] is None


@pytest.mark.parametrize("sort", [*SORTS, *(f"-{sort}" for sort in SORTS)])
async def test_every_order_page_by_page(api: Api, jobs: dict[str, Any], sort: str) -> None:
    field = sort.removeprefix("-")
    known = sorted(jobs.values(), key=lambda job: job["id"])
    with_value = [job for job in known if job[field] is not None]
    with_value.sort(key=lambda job: job[field], reverse=sort.startswith("-"))
    expected = [job["name"] for job in with_value]
    expected += [job["name"] for job in known if job[field] is None]
    for limit in (1, 2, 3, 100):
        assert await names(api, sort=sort, limit=limit) == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"status": "paused"}, ["idle"]),
        ({"status": ["paused", "active"]}, ["backup", "idle", "once", "remind", "report"]),
        ({"status": "completed"}, []),
        ({"tag": "ops"}, ["backup", "report"]),
        ({"tag": ["ops", "disk"]}, ["backup"]),
        ({"tag": "op"}, []),
        ({"kind": "cron"}, ["backup"]),
        ({"kind": "every"}, ["idle", "remind", "report"]),
        ({"kind": "at"}, ["once"]),
        ({"text": "REP"}, ["report"]),
        ({"text": "weekly rep"}, ["report"]),
        ({"text": "straße"}, ["remind"]),
        ({"text": "SHOP.example"}, ["once"]),
        ({"text": "%"}, ["once"]),
        ({"text": "0%_s"}, ["once"]),
        ({"text": "_"}, ["once"]),
        ({"text": "nothing like it"}, []),
        ({"kind": "every", "tag": "ops", "text": "e"}, ["report"]),
    ],
)
async def test_filters(
    api: Api, jobs: dict[str, Any], params: dict[str, Any], expected: list[str]
) -> None:
    assert await names(api, **params) == expected
    assert await names(api, **params, limit=1) == expected


async def test_by_the_last_result(api: Api, jobs: dict[str, Any]) -> None:
    await api.ask("PATCH", f"{JOBS}/report", json={"retry": {"max_attempts": 1}})
    api.clock.now = NOW + MINUTE + 10
    await api.run(ok=False)
    api.clock.now = NOW + 2 * MINUTE + 10
    (claim, other) = sorted(await api.claim(), key=lambda claim: claim.job.name)
    assert (claim.job.name, other.job.name) == ("remind", "report")
    from tests.support import build

    await api.record(build.succeed(claim, api.clock.now))
    assert await names(api, last_result="failed") == ["report"]
    assert await names(api, last_result="succeeded") == ["remind"]


async def test_jobs_that_come_meanwhile_do_not_shift_pages(api: Api, jobs: dict[str, Any]) -> None:
    page = await api.get(JOBS, limit=2)
    await api.create(name="aaa")
    await api.ask("DELETE", f"{JOBS}/idle", status=204)
    page = await api.get(JOBS, limit=2, cursor=page["next_cursor"])
    assert [one["name"] for one in page["items"]] == ["once", "remind"]


async def test_a_cursor_fits_its_order_only(api: Api, jobs: dict[str, Any]) -> None:
    cursor = (await api.get(JOBS, limit=2))["next_cursor"]
    for sort in ("-name", "created_at"):
        path = f"{JOBS}?cursor={cursor}&sort={sort}"
        assert await api.problems("GET", path) == [("cursor", "bad_cursor")]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "bnVsbA",  # null
        "WyJuYW1lIl0",  # ["name"]
        "WyJuYW1lIiwxLCJ4Il0",  # ["name",1,"x"]
        "WyJuYW1lIiwiYSIsImIiXQ",  # ["name","a","b"]
        "WyJuYW1lIiwiYSIsImIiXQ==",
        "%00",
        "ä",
    ],
)
async def test_what_is_no_cursor(api: Api, cursor: str) -> None:
    assert await api.problems("GET", f"{JOBS}?cursor={cursor}") == [("cursor", "bad_cursor")]
