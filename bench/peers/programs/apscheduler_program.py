"""APScheduler 3: scheduler, jobs and store in one process."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import calls
import common
import uvloop
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import Engine, create_engine, event

BREATHE = 50
"""Jobs that are added before the loop may do something else."""


def durable(path: str) -> Engine:
    """SQLite as a service would have it: a write-ahead log, and durable as Tocsin's file is."""
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    return engine


async def main() -> None:
    """Schedule until standard input ends."""
    logging.basicConfig(level=logging.WARNING)
    config = common.config()
    calls.open_session(config["receiver"], config["connections"])
    store = SQLAlchemyJobStore(engine=durable(config["sqlite"])) if config["sqlite"] else None
    # The asyncio scheduler runs coroutines without a thread for each: its cheapest executor.
    scheduler = AsyncIOScheduler(
        jobstores={"default": store or MemoryJobStore()},
        # By default a run that is over 1 s late is dropped, several late ones become one, and one
        # that overlaps with itself is dropped: under load calls would be missing.
        job_defaults={"misfire_grace_time": None, "coalesce": False, "max_instances": 1_000},
        timezone=UTC,
    )
    scheduler.start()

    def instant(ms: float) -> datetime:
        return datetime.fromtimestamp(ms / 1_000, UTC)

    async def create(command: common.Command) -> Mapping[str, Any]:
        at = instant(command["at"])

        async def one(number: int) -> None:
            scheduler.add_job(calls.call, "date", run_date=at, args=[number])
            if number % BREATHE == 0:
                await asyncio.sleep(0)

        # It has no call for many jobs.
        return await common.create({**command, "how": "single", "at_once": 1}, one)

    async def schedule(command: common.Command) -> Mapping[str, Any]:
        for number, start in enumerate(command["starts"]):
            scheduler.add_job(
                calls.call, "interval", seconds=1, start_date=instant(start), args=[number]
            )
            if number % BREATHE == 0:
                await asyncio.sleep(0)
        return {}

    await common.answer({"create": create, "schedule": schedule})


uvloop.run(main())
