"""Where the time goes when a batch is created: each stage alone, in this process."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from bench.context import Bench
from bench.create import BATCH, definitions
from bench.report import Figure, Figures


class _Account:
    """The CPU time of this thread, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.thread_time() - began


def run(bench: Bench) -> list[Figure]:
    """Microseconds per job of batches of 1,000; on SQLite, from empty tables on."""
    count = 8_000 if bench.quick else 50_000
    figures = Figures(f"stages of batches of {BATCH:,}")
    for kind in ("at", "cron"):
        for number in range(bench.runs):
            bench.say(f"stages {number + 1}/{bench.runs}: {count:,} {kind} jobs")
            jobs = definitions(count, f"{kind}-{number}", kind=kind)
            bodies = [
                orjson.dumps({"jobs": jobs[start : start + BATCH]})
                for start in range(0, count, BATCH)
            ]
            gc.disable()  # as the service does during a batch
            seconds = _account(bench, bodies).seconds
            gc.enable()
            for stage, spent in seconds.items():
                figures.add(f"{kind} jobs: {stage}", "µs", spent / count * 1e6)
    return figures.all()


def _account(bench: Bench, bodies: list[bytes]) -> _Account:
    from tocsin.api.body import parse_json
    from tocsin.api.render import fresh_jobs
    from tocsin.services import lifecycle
    from tocsin.services.bulk import BulkReader
    from tocsin.services.definitions import JobDefaults, read_definition
    from tocsin.services.ids import Uuid7
    from tocsin.store.port import Limits, NewJob
    from tocsin.store.sql.jobs import create_jobs
    from tocsin.store.sqlite import migrate
    from tocsin.store.sqlite.engine import Connections
    from tocsin.store.sqlite.statements import SqliteStatements

    account, statements = _Account(), SqliteStatements()
    defaults, limits = JobDefaults(), Limits(max_jobs=10**9, max_bytes=10**12)
    now = time.time_ns() // 1_000_000
    new_id = Uuid7(lambda: time.time_ns() // 1_000_000)

    def alone(data: object) -> NewJob:
        definition = read_definition(data, defaults=defaults, now=now)
        return lifecycle.created(definition, job_id=new_id(), namespace="default", now=now)

    with bench.directory() as directory:
        path = str(directory / "stages.db")
        migrate(path)
        connections = Connections(path)
        connections.open()

        def write(news: list[NewJob]) -> None:
            connections.write(lambda conn: create_jobs(conn, statements, news, limits=limits))

        for body in bodies:
            with account.stage("parse"):
                items = parse_json(body)["jobs"]
            reader = BulkReader(defaults=defaults, now=now, namespace="default", new_id=new_id)
            with account.stage("check and build"):
                fresh = [reader.read(data) for data in items]
            with account.stage("the same, each job by itself"):
                for data in items:
                    alone(data)
            news = [one.new for one in fresh]
            with account.stage("write and commit"):
                write(news)
            with account.stage("answer"):
                fresh_jobs(fresh)
        connections.close()
    return account
