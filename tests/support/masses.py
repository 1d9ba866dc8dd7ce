"""Many jobs and much history in a database, quickly: what lists and pages are tried on.

Jobs go through the store. Executions are written as rows, because that many fires would take a
minute; they are what a store writes, by the same functions.
"""

import asyncio
import itertools
from collections.abc import Iterator

from sqlalchemy import create_engine, insert

from tests.support import build
from tocsin import databases
from tocsin.domain.execution import Execution, Reason, State
from tocsin.domain.instant import DAY, HOUR, MINUTE, Millis
from tocsin.domain.job import HttpTarget, Job, JobStatus
from tocsin.store.port import NewJob
from tocsin.store.rows import EXECUTION_COLUMNS, execution_row
from tocsin.store.tables import executions, health

FEW = 25
"""Jobs with the tag ``few``, and with ``needle`` in their description: spread over all of them."""

_BATCH = 5_000
_PER_JOB = 20


def fill(url: str, *, now: Millis, jobs: int, history: int) -> list[Job]:
    """Make so many jobs and ended executions in a new database; nothing of it fires for an hour.

    The executions belong to every twentieth job or so, twenty each, a second apart and the newest
    a minute old. Every tenth of these jobs failed last, each fiftieth job is paused.
    """
    databases.migrate(url)
    made = [_job(number, jobs, now) for number in range(jobs)]
    asyncio.run(_create(url, made, now))
    owners = [
        job for number, job in enumerate(made) if number % max(1, jobs * _PER_JOB // history) == 0
    ]
    _write_history(url, owners, history, now)
    return made


def _job(number: int, of: int, now: Millis) -> Job:
    few = number % max(1, of // FEW) == 7
    match number % 3:
        case 0:
            schedule = build.cron(f"{number % 60} {number % 24} * * *", "Europe/Berlin")
        case 1:
            schedule = build.every(DAY, anchor=now + HOUR + number * 100)
        case _:
            schedule = build.at(now + HOUR + number * 1_000)
    return build.job(
        f"job-{number:06}",
        schedule,
        target=HttpTarget(url=f"https://team-{number % 40}.example.com/hooks/{number}"),
        description="the needle in the haystack" if few else f"Does the work of number {number}",
        tags=(f"team-{number % 40}", *(["few"] if few else [])),
        status=JobStatus.PAUSED if number % 50 == 49 else JobStatus.ACTIVE,
        created_at=now - DAY + number,
        updated_at=now - DAY + (number * 7_919) % of,
    )


async def _create(url: str, made: list[Job], now: Millis) -> None:
    store = databases.make_store(url, prepare=True, lease_ttl=5_000)
    await store.open()
    try:
        for start in range(0, len(made), _BATCH):
            batch = [_new(job, now) for job in made[start : start + _BATCH]]
            await store.create_jobs(batch, limits=build.NO_LIMITS)
    finally:
        await store.close()


def _new(job: Job, now: Millis) -> NewJob:
    # Cron fires as it does; what would come within the hour comes a day later.
    timer = build.timer(job, after=now + HOUR) if job.status is JobStatus.ACTIVE else None
    return NewJob(job=job, timer=timer)


def _write_history(url: str, owners: list[Job], count: int, now: Millis) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    rows = (
        dict(zip(EXECUTION_COLUMNS, execution_row(one), strict=True))
        for one in itertools.islice(_ended(owners, now), count)
    )
    with engine.begin() as conn:
        while batch := list(itertools.islice(rows, _BATCH)):
            conn.execute(insert(executions), batch)
        conn.execute(
            insert(health),
            [
                {
                    "job_id": job.id,
                    "last_state": (State.FAILED if number % 10 == 0 else State.SUCCEEDED).value,
                    "since": now - HOUR,
                }
                for number, job in enumerate(owners)
            ],
        )
    engine.dispose()


def _ended(owners: list[Job], now: Millis) -> Iterator[Execution]:
    """The newest of each job first, and of all jobs before the next."""
    for back in range(_PER_JOB):
        for number, job in enumerate(owners):
            fire_time = now - MINUTE - back * len(owners) * 100 - number * 100
            state, reason, attempts = (
                State.SUCCEEDED,
                None,
                (build.attempt(started_at=fire_time + 3),),
            )
            if number % 10 == 0:
                state, attempts = State.FAILED, (build.failed_attempt(started_at=fire_time + 3),)
            elif back == 5 and number % 10 == 1:
                state, reason, attempts = State.SKIPPED, Reason.MISFIRE, ()
            yield build.execution(
                job,
                fire_time,
                state=state,
                reason=reason,
                attempts=attempts,
                available_at=None,
                finished_at=fire_time + 20,
            )
