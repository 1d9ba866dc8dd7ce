"""A database with a past, for pages to show: jobs as a team has them, and weeks of results.

The past is made by the store itself, claim by claim, on a clock that runs ahead; only the calls
are made up. Whatever is shown of the time after that is real.
"""

import asyncio
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import build
from tests.support.process import now_ms
from tocsin import databases
from tocsin.domain.execution import Attempt, ErrorKind, ResponseExcerpt, Timings
from tocsin.domain.instant import DAY, HOUR, MINUTE, Millis
from tocsin.domain.planning import plan_fires
from tocsin.domain.settle import settle, void
from tocsin.services.definitions import JobDefaults
from tocsin.services.ids import Uuid7
from tocsin.services.jobs import JobService
from tocsin.store.bus import Bus
from tocsin.store.port import Claim, Limits, Store

NODE = "eu-west-1a"
_INCARNATION = "5e0c2a4e-54f5-4c7d-9a3e-0f0d8f3b6c11"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A job of the stage, and how it behaves."""

    age: Millis
    """How long ago it was created."""
    name: str
    description: str
    schedule: Mapping[str, Any]
    path: str
    tags: tuple[str, ...] = ()
    typical: float = 40.0
    """Milliseconds that a call takes, most of the time."""
    failing: float = 0.0
    """The share of attempts that fail."""
    broken: Millis | None = None
    """For how long by now each attempt has failed."""
    more: Mapping[str, Any] | None = None


PARTS = (
    Part(
        age=84 * DAY, name="nightly-report", description="Sends the report of the day to finance",
        schedule={"cron": "0 2 * * *", "timezone": "Europe/Berlin"}, path="/ok?bytes=120",
        tags=("reports",), typical=2_100, failing=0.09,
        more={"retry": {"max_attempts": 2, "initial": "30s"}},
    ),
    Part(
        age=84 * DAY, name="invoice-run", description="Writes the invoices of the week",
        schedule={"cron": "30 7 * * MON-FRI", "timezone": "Europe/Berlin"}, path="/ok",
        tags=("billing",), typical=8_300, failing=0.04,
    ),
    Part(
        age=60 * DAY, name="backup-databases", description="Starts the backup of every database",
        schedule={"cron": "15 3 * * *", "timezone": "UTC"}, path="/slow?ms=350",
        tags=("ops", "backup"), typical=41_000, failing=0.03, more={"delivery": "at_most_once"},
    ),
    Part(
        age=2 * DAY, name="sync-crm-contacts", description="Pulls changed contacts from the CRM",
        schedule={"every": "10m"}, path="/fail?n=1", tags=("sync",), typical=640, failing=0.25,
        more={"retry": {"max_attempts": 3, "initial": "2s"}},
    ),
    Part(
        age=2 * DAY, name="refresh-search-index", description="",
        schedule={"cron": "*/15 * * * *"}, path="/ok", tags=("search",), typical=180,
    ),
    Part(
        age=26 * HOUR, name="expire-sessions", description="Ends sessions that nobody uses",
        schedule={"every": "5m"}, path="/ok", tags=("auth",), typical=22,
    ),
    Part(
        age=3 * HOUR, name="push-price-updates", description="Tells the shop of new prices",
        schedule={"cron": "*/2 * * * *", "timezone": "America/New_York"},
        path="/status?code=503", tags=("shop", "sync"), typical=95, broken=36 * MINUTE,
        more={"retry": {"max_attempts": 3, "initial": "2s"}},
    ),
    Part(
        age=70 * MINUTE, name="health-probe-eu", description="Asks the gateway whether it is well",
        schedule={"every": "10s"}, path="/ok", tags=("ops",), typical=9,
        more={"target": {"method": "GET"}},
    ),
    Part(
        age=70 * MINUTE, name="queue-depth-metrics", description="",
        schedule={"every": "30s", "jitter": "3s"}, path="/ok", tags=("ops", "metrics"), typical=14,
    ),
    Part(
        age=30 * HOUR, name="export-to-warehouse", description="Hourly export; never two at once",
        schedule={"cron": "5 * * * *"}, path="/slow?ms=900", tags=("data",), typical=26_000,
        failing=0.06, more={"overlap": "skip"},
    ),
    Part(
        age=9 * DAY, name="rotate-signing-keys", description="",
        schedule={"cron": "0 4 * * MON"}, path="/ok", tags=("auth",), typical=310,
    ),
)  # fmt: skip


class Past:
    """Makes the past of a store."""

    def __init__(self, store: Store, *, base_url: str, now: Millis) -> None:
        self._store = store
        self._base_url = base_url
        self._end = now
        self._now = now
        self._chance = random.Random(11)
        self._jobs = JobService(
            store=store,
            bus=Bus(),
            now=lambda: self._now,
            new_id=Uuid7(lambda: self._now),
            limits=Limits(max_jobs=100_000, max_bytes=1_000_000_000),
            defaults=JobDefaults(),
        )

    async def make(self) -> None:
        """Create each job at its time, and let everything fire until now."""
        waiting = sorted(PARTS, key=lambda part: -part.age)
        self._now = self._end - waiting[0].age
        await self._store.register(
            build.node(_INCARNATION, now=self._now, ttl=self._end - self._now + DAY)
        )
        for part in waiting:
            await self._run_until(self._end - part.age)
            await self._create(part)
        # What fell into an outage of ten minutes was noticed too late.
        await self._run_until(self._end - 50 * MINUTE)
        self._now = self._end - 40 * MINUTE
        await self._run_until(self._end)
        # What came due while all this was made.
        await self._run_until(now_ms())
        await self._store.leave(_INCARNATION)

    async def _create(self, part: Part) -> None:
        more = dict(part.more or {})
        target = {
            "url": self._base_url + part.path,
            "headers": {"X-Team": part.tags[0] if part.tags else "core"},
            "timeout": "60s",
            **more.pop("target", {"body": {"job": "{{ job_name }}", "at": "{{ fire_time }}"}}),
        }
        await self._jobs.create(
            {
                "name": part.name,
                "description": part.description,
                "schedule": part.schedule,
                "target": target,
                "tags": list(part.tags),
                **more,
            }
        )

    async def _run_until(self, end: Millis) -> None:
        while True:
            request = build.claim_request(self._now, incarnation=_INCARNATION, ahead=0)
            claimed = await self._store.claim(request, plan_fires)
            for claim in claimed.claims:
                await self._store.record(
                    _INCARNATION, [self._result(claim)], now=self._now, void=void
                )
            if claimed.more or claimed.claims:
                continue
            if claimed.wake_at is None or claimed.wake_at >= end:
                self._now = max(self._now, end)
                return
            self._now = max(self._now + 1, claimed.wake_at)

    def _result(self, claim: Claim) -> Any:
        part = next(one for one in PARTS if one.name == claim.job.name)
        chance = self._chance
        late = min(int(chance.expovariate(1 / 3)) + 1, 60)
        took = round(part.typical * chance.lognormvariate(0, 0.28), 3)
        broken = part.broken is not None and self._now > self._end - part.broken
        failed = broken or chance.random() < part.failing
        status, kind, error = 200, None, None
        excerpt = f'{{"accepted": true, "job": "{part.name}"}}'
        if failed:
            status, kind = 503, ErrorKind.HTTP_STATUS
            error = "answered 503 Service Unavailable; success is 2xx"
            excerpt = '{"error": "upstream unavailable", "retry": true}'
        attempt = Attempt(
            number=len(claim.execution.attempts) + 1,
            started_at=self._now + late,
            duration_ms=took,
            http_status=status,
            error_kind=kind,
            error=error,
            node=NODE,
            timings=Timings(
                dns_ms=round(0.4 + chance.random(), 3),
                connect_ms=round(0.8 + chance.random() * 2, 3),
                first_byte_ms=round(took * 0.8, 3),
                total_ms=took,
            ),
            response=ResponseExcerpt(excerpt=excerpt, truncated=False),
        )
        return settle(
            claim.execution,
            attempt,
            claim.job.spec,
            now=self._now + late + int(took),
            request_written=True,
        )


async def make_past(database: Path, *, base_url: str, now: Millis) -> None:
    """Fill a new SQLite file; targets are paths below ``base_url``."""
    url = f"sqlite:///{database}"
    databases.migrate(url)
    store = databases.make_store(url, prepare=True, lease_ttl=5_000)
    await store.open()
    try:
        await Past(store, base_url=base_url, now=now).make()
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(make_past(Path(sys.argv[1]), base_url=sys.argv[2], now=int(sys.argv[3])))
