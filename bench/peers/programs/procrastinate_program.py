"""procrastinate: jobs with ``schedule_at``, and periodic tasks (its cron knows seconds)."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import calls
import common
import uvloop
from procrastinate import App, PsycopgConnector

config = common.config()
# As many connections as work at the same time; more only wait for two cores.
app = App(connector=PsycopgConnector(conninfo=config["postgres"], max_size=config["pool"]))


@app.task(name="call", pass_context=False)
async def call(job: int) -> None:
    """A job that runs once."""
    await calls.call(job)


@app.task(name="tick", pass_context=False)
async def tick(timestamp: int, job: int) -> None:
    """A job that runs every second."""
    await calls.call(job, timestamp * 1_000)


async def worker() -> None:
    """Work until standard input ends."""
    calls.open_session(config["receiver"], config["concurrency"])
    for number in range(config["per_second_jobs"]):
        app.periodic(cron="* * * * * *", periodic_id=str(number), task_kwargs={"job": number})(tick)
    working = asyncio.create_task(
        app.run_worker_async(
            # Calls wait for others ("Concurrency").
            concurrency=config["concurrency"],
            # Jobs with an instant are found by polling, every 5 s by default; that would be their
            # lateness.
            fetch_job_polling_interval=config["poll_seconds"],
            install_signal_handlers=False,
            # Finished jobs are kept, as is the default: they are the record of what ran.
        )
    )
    ended = asyncio.create_task(common.until_stdin_ends())
    await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()


async def control() -> None:
    """Answer commands until standard input ends."""
    await app.schema_manager.apply_schema_async()

    async def create(command: common.Command) -> Mapping[str, Any]:
        later = call.configure(schedule_at=datetime.fromtimestamp(command["at"] / 1_000, UTC))

        async def one(number: int) -> None:
            await later.defer_async(job=number)

        async def many(numbers: list[int]) -> None:
            await later.batch_defer_async(*[{"job": number} for number in numbers])

        return await common.create(command, one, many)

    async def left(_: common.Command) -> Mapping[str, Any]:
        row = await app.connector.execute_query_one_async(
            "SELECT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing')) "
            "AS any"
        )
        return {"left": int(row["any"])}

    await common.answer({"create": create, "left": left})


async def main() -> None:
    """Do what the role says."""
    logging.basicConfig(level=logging.WARNING)
    async with app.open_async():
        await (worker() if config["role"] == "worker" else control())


uvloop.run(main())
