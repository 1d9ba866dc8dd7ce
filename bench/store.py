"""CPU time per fire in the store: claim and record with nothing around them.

In one process, with the real store and the real planner: jobs are created, all that is due is
claimed in batches, ends with one attempt, and is recorded in batches.
"""

import asyncio
import gc
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tests.support.process import now_ms

from bench import baselines, baselines_postgres
from bench.context import Bench
from bench.nodes import tree_cpu_seconds
from bench.report import Figure, Figures
from tocsin.domain.execution import Attempt, Execution, ResponseExcerpt, Timings
from tocsin.domain.instant import Millis
from tocsin.domain.job import BodyKind, HttpTarget, Job, JobSpec, JobStatus
from tocsin.domain.planning import first_timer, plan_fires
from tocsin.domain.schedule import Schedule, parse_schedule
from tocsin.domain.settle import settle, void
from tocsin.node import GC_THRESHOLDS
from tocsin.store.port import Claim, ClaimRequest, Limits, NewJob, Node, Store
from tocsin.store.postgres import PostgresStore
from tocsin.store.sqlite import SqliteStore, migrate

T = TypeVar("T")

BATCH = 1_000
NO_LIMITS = Limits(max_jobs=1 << 40, max_bytes=1 << 60)
ROUNDS = 3
"""Fires of each cron job."""


@dataclass(kw_only=True)
class Costs:
    """CPU seconds by stage: what this process used, and what the server did."""

    client: dict[str, float] = field(default_factory=dict)
    server: dict[str, float] = field(default_factory=dict)
    fires: int = 0


class Account:
    """Measures stages; ``server`` is the process of the database, if it has one."""

    def __init__(self, server: int | None) -> None:
        self._server = server
        self.costs = Costs()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what the block costs to a stage."""
        server = 0.0 if self._server is None else tree_cpu_seconds(self._server)
        client = time.process_time()
        yield
        client = time.process_time() - client
        costs = self.costs
        costs.client[name] = costs.client.get(name, 0.0) + client
        if self._server is not None:
            server = tree_cpu_seconds(self._server) - server
            costs.server[name] = costs.server.get(name, 0.0) + server


def run(bench: Bench) -> list[Figure]:
    """On SQLite, then on PostgreSQL: one-shot jobs that are known, that are not, and cron."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        return _run(bench)
    finally:
        gc.set_threshold(*before)


def _run(bench: Bench) -> list[Figure]:
    count = 2_000 if bench.quick else 10_000
    figures: dict[str, Figures] = {}
    for number in range(bench.runs):
        bench.say(f"store {number + 1}/{bench.runs}: SQLite")
        with bench.directory() as directory:
            bare = baselines.sqlite_rows(directory, count)
        for name, schedule, is_known in _kinds():
            with bench.directory() as directory:
                path = str(directory / "store.db")
                migrate(path)
                costs = _measure(lambda path=path: SqliteStore(path), schedule, is_known, count)  # type: ignore[misc]
            title = f"{name}, SQLite"
            _note(figures.setdefault(title, Figures(title)), costs, bare.cpu, None)
    for number in range(bench.runs):
        bench.say(f"store {number + 1}/{bench.runs}: PostgreSQL")
        rows = baselines_postgres.executions(bench.database(), count)
        for name, schedule, is_known in _kinds():
            url = bench.database()
            costs = _measure(
                lambda url=url: PostgresStore(url),  # type: ignore[misc]
                schedule,
                is_known,
                count,
                server=bench.server.pid,
            )
            bench.server.drop(url)
            title = f"{name}, PostgreSQL"
            _note(
                figures.setdefault(title, Figures(title)), costs, rows.client_cpu, rows.database_cpu
            )
    return [figure for each in figures.values() for figure in each.all()]


def _kinds() -> Iterator[tuple[str, Callable[[Millis], Schedule], bool]]:
    def at(instant: Millis) -> Schedule:
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(instant // 1_000))
        return parse_schedule({"at": text}, now=instant)

    def cron(instant: Millis) -> Schedule:
        return parse_schedule({"cron": "* * * * * *", "timezone": "Europe/Berlin"}, now=instant)

    yield "one-shot, just created", at, True
    yield "one-shot, seen first", at, False
    yield "cron", cron, True


def _note(figures: Figures, costs: Costs, client: float, server: float | None) -> None:
    for part, stages, bare in (
        ("client", costs.client, client),
        ("server", costs.server, server),
    ):
        if not stages:
            continue
        for stage, seconds in stages.items():
            figures.add(f"CPU per fire, {part}: {stage}", "µs", seconds / costs.fires * 1e6)
        both = stages["claim"] + stages["record"]
        figures.add(
            f"CPU per fire, {part}: claim + record",
            "µs",
            both / costs.fires * 1e6,
            baseline_name="raw rows",
            baseline=None if bare is None else bare * 1e6,
        )


def _measure(
    make: Callable[[], Store],
    schedule: Callable[[Millis], Schedule],
    is_known: bool,
    count: int,
    *,
    server: int | None = None,
) -> Costs:
    account = Account(server)
    asyncio.run(_fires(make, schedule, is_known, count, account))
    return account.costs


async def _fires(
    make: Callable[[], Store],
    schedule: Callable[[Millis], Schedule],
    is_known: bool,
    count: int,
    account: Account,
) -> None:
    start = now_ms() // 1_000 * 1_000 + 60_000
    store = make()
    await store.open()
    incarnation = str(uuid.uuid4())
    await store.register(_node(incarnation, start))
    jobs = [_job(number, schedule(start), start) for number in range(count)]
    for first in range(0, count, BATCH):
        batch = jobs[first : first + BATCH]
        await store.create_jobs(
            [NewJob(job=one, timer=first_timer(one.id, one.spec, start - 1)) for one in batch],
            limits=NO_LIMITS,
        )
    if not is_known:
        await store.close()
        store = make()
        await store.open()
    repeats = jobs[0].spec.schedule.next_after(start) is not None
    for number in range(ROUNDS if repeats else 1):
        instant = start + number * 1_000
        claims: list[Claim] = []
        with account.stage("claim"):
            while len(claims) < count:
                claimed = await store.claim(_request(incarnation, instant), plan_fires)
                if not claimed.claims:
                    raise RuntimeError(f"{count} jobs are due, {len(claims)} were claimed")
                claims += claimed.claims
        with account.stage("settle"):
            results = [_settled(claim, instant) for claim in claims]
        with account.stage("record"):
            stored = 0
            for first in range(0, count, BATCH):
                recorded = await store.record(
                    incarnation, results[first : first + BATCH], now=instant + 50, void=void
                )
                stored += len(recorded.stored)
        if stored != count:
            raise RuntimeError(f"of {count} results {stored} were stored")
        account.costs.fires += count
    await store.close()


def _request(incarnation: str, instant: Millis) -> ClaimRequest:
    return ClaimRequest(
        incarnation=incarnation,
        now=instant - 1_000 + 20,
        ahead_until=instant,
        ahead_limit=BATCH,
        exact_limit=BATCH,
    )


def _settled(claim: Claim, instant: Millis) -> Execution:
    attempt = Attempt(
        number=1,
        started_at=instant + 3,
        duration_ms=1.347,
        http_status=200,
        node="node-1",
        timings=Timings(first_byte_ms=1.201, total_ms=1.347),
        response=ResponseExcerpt(excerpt='{"received":"bench"}', truncated=False),
    )
    return settle(claim.execution, attempt, claim.job.spec, now=instant + 5, request_written=True)


def _node(incarnation: str, now: Millis) -> Node:
    return Node(
        incarnation=incarnation,
        name="node-1",
        address="",
        version="bench",
        started_at=now,
        heartbeat_at=now,
        lease_until=now + 600_000,
    )


def _job(number: int, schedule: Schedule, now: Millis) -> Job:
    return Job(
        id=str(uuid.UUID(int=(now << 80) | (0x7 << 76) | (0x8 << 60) | number)),
        name=f"burst-{now}-{number}",
        spec=JobSpec(
            schedule=schedule,
            target=HttpTarget(
                url="http://127.0.0.1:8080/hook",
                body_kind=BodyKind.JSON,
                body={"hello": "world"},
            ),
        ),
        status=JobStatus.ACTIVE,
        version=1,
        created_at=now,
        updated_at=now,
    )
