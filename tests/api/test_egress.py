"""Places that the egress guard would never let be called are refused when a job is saved."""

import pytest

from tests.api.harness import JOB, JOBS, serving
from tocsin.domain.egress import EgressRules
from tocsin.services.definitions import JobDefaults
from tocsin.store.port import Store

DEFAULTS = JobDefaults(why_never=EgressRules.read(allow="10.0.0.1:8080").why_never)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://127.1:8080/x", "http://0X7F.1/", "http://2130706433/"),
        *(
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]:80/",
            "http://LocalHost/",
            "http://a.localhost/",
        ),
        *("http://169.254.169.254/latest", "https://10.0.0.1/", "http://10.0.0.1:80800/"),
        *("http://\uff11\uff12\uff17.1/", "http://127.0.0.1/{{ job_id }}"),
    ],
)
async def test_a_forbidden_place_is_refused(store: Store, url: str) -> None:
    async with serving(store, defaults=DEFAULTS) as api:
        answer = await api.ask("POST", JOBS, status=422, json={**JOB, "target": {"url": url}})
        assert answer.json()["errors"][0]["field"] == "target.url"
        assert (await api.get(JOBS))["items"] == []


@pytest.mark.parametrize(
    "url", ["https://example.com/", "http://10.0.0.1:8080/", "http://8.8.8.8/", "http://intern/"]
)
async def test_other_places_are_not(store: Store, url: str) -> None:
    async with serving(store, defaults=DEFAULTS) as api:
        await api.create(target={"url": url})


async def test_a_job_cannot_be_turned_to_a_forbidden_place(store: Store) -> None:
    async with serving(store, defaults=DEFAULTS) as api:
        job = await api.create()
        patch = {"target": {"url": "http://127.0.0.1/"}}
        path = f"{JOBS}/{job['id']}"
        assert await api.problems("PATCH", path, json=patch) == [("target.url", "blocked")]
        assert await api.problems("PUT", path, json={**JOB, **patch}) == [("target.url", "blocked")]
        batch = {"jobs": [JOB, {**JOB, **patch}]}
        assert await api.problems("POST", f"{JOBS}:batch", json=batch) == [
            ("jobs.1.target.url", "blocked")
        ]
        assert await api.get(path) == job
