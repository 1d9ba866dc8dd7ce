"""What the machine can do without a scheduler, measured in the same run."""

import asyncio
import contextlib
import json
import sqlite3
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import rfc3339

from bench import load
from bench.context import AnyReceiver

CALL_BODY = b'{"hello":"world"}'


def call_headers(execution_id: str, fire_ms: int) -> list[str]:
    """The headers of a call as Tocsin sends them."""
    return [
        "User-Agent: bench",
        f"webhook-id: {execution_id}",
        f"webhook-timestamp: {fire_ms // 1_000}",
        f"Idempotency-Key: {execution_id}",
        f"Tocsin-Job-Id: {execution_id}",
        "Tocsin-Job-Name: bench",
        f"Tocsin-Fire-Time: {rfc3339(fire_ms)}",
        "Tocsin-Attempt: 1",
        f"traceparent: 00-{execution_id.replace('-', '')}-0123456789abcdef-01",
    ]


def execution_id(fire_ms: int, number: int) -> str:
    """An id that carries its fire time, as Tocsin's do."""
    time_part = format(fire_ms, "012x")
    return f"{time_part[:8]}-{time_part[8:]}-8000-8000-{number:012x}"


def raw_calls(receiver: AnyReceiver, count: int, *, concurrency: int = 250) -> float:
    """Calls per second that raw sockets bring to the receiver: its ceiling here."""
    one = load.request("POST", "/ok", receiver.port, CALL_BODY, call_headers(execution_id(0, 0), 0))
    result = load.run(lambda: load.send(receiver.port, [one] * count, concurrency=concurrency))
    result.check(200)
    return result.rate


def client_calls(receiver: AnyReceiver, count: int, *, concurrency: int = 250) -> float:
    """Calls per second of Tocsin's own HTTP client, with nothing around it."""
    return load.run(lambda: _client_calls(receiver, count, concurrency))


async def _client_calls(receiver: AnyReceiver, count: int, concurrency: int) -> float:
    from tocsin.delivery.http import AllowAll, HttpClient, HttpRequest

    client = HttpClient(guard=AllowAll(), max_connections_per_origin=concurrency)
    headers = [
        (name, value)
        for name, _, value in (
            line.partition(": ") for line in call_headers(execution_id(0, 0), 0)[1:]
        )
    ]
    request = HttpRequest(
        method="POST",
        url=receiver.url("/ok"),
        headers=headers,
        body=CALL_BODY,
        timeout=30.0,
        redirects=0,
        max_body=65_536,
        excerpt=4_096,
        fresh_connection=False,
    )
    left = count

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            outcome = await client.call(request)
            if outcome.status != 200:
                raise RuntimeError(outcome.error)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    seconds = time.perf_counter() - began
    await client.close()
    return count / seconds


def timer_lateness(
    receiver: AnyReceiver, *, jobs: int, seconds: int, spread: bool
) -> tuple[list[float], int]:
    """Lateness in ms of calls that bare timers make at the same instants, and the first of them.

    The arrivals are those at the receiver from the returned position on.
    """
    seen = receiver.count()
    start = (time.time_ns() // 1_000_000_000 + 2) * 1_000
    calls = []
    for second in range(seconds):
        for number in range(jobs):
            fire = start + second * 1_000 + (number * 1_000 // jobs if spread else 0)
            id_ = execution_id(fire, number)
            data = load.request("POST", "/ok", receiver.port, CALL_BODY, call_headers(id_, fire))
            calls.append((fire / 1_000, data))
    load.run(lambda: load.send_at(receiver.port, calls, connections=250))
    arrivals = receiver.arrivals()[seen:]
    return [arrival.at_ns / 1e6 - arrival.fire_ms for arrival in arrivals], seen


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """What writing rows came to."""

    rate: float
    cpu: float
    """Seconds per row."""


def sqlite_executions(directory: Path, count: int, *, batch: int = 1_000) -> float:
    """Rows per second of ``sqlite_rows``."""
    return sqlite_rows(directory, count, batch=batch).rate


def sqlite_rows(directory: Path, count: int, *, batch: int = 1_000) -> Rows:
    """Rows that are inserted and then updated, in batches, each durable (FULL).

    The least that a scheduler on SQLite must do per fire: one row at the claim, one update at the
    end, with the index on what is not finished.
    """
    with _database(directory / "baseline-executions.db") as connection:
        connection.execute(
            "CREATE TABLE executions (id TEXT PRIMARY KEY, job_id TEXT, name TEXT, fire_at INT, "
            "state TEXT, owner TEXT, attempts TEXT) WITHOUT ROWID"
        )
        connection.execute(
            "CREATE INDEX live ON executions (fire_at) WHERE state IN ('pending', 'claimed')"
        )
        connection.execute("CREATE INDEX of_job ON executions (job_id, id)")
        attempts = json.dumps(
            [{"number": 1, "started_at": 1, "http_status": 200, "node": "n", "excerpt": "ok"}]
        )
        ids = [execution_id(1_700_000_000_000, number) for number in range(count)]
        jobs = [str(uuid.uuid4()) for _ in range(count)]
        cpu, began = time.process_time(), time.perf_counter()
        for start in range(0, count, batch):
            part = range(start, min(count, start + batch))
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO executions VALUES (?, ?, ?, ?, 'claimed', 'me', '[]')",
                [(ids[n], jobs[n], "name", 1_700_000_000_000) for n in part],
            )
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE executions SET state = 'succeeded', attempts = ? WHERE id = ? "
                "AND owner = 'me'",
                [(attempts, ids[n]) for n in part],
            )
            connection.execute("COMMIT")
        seconds = time.perf_counter() - began
        return Rows(rate=count / seconds, cpu=(time.process_time() - cpu) / count)


def sqlite_jobs(directory: Path, count: int, *, batch: int) -> float:
    """Jobs per second that are inserted with their timer, ``batch`` per durable transaction."""
    path = directory / f"baseline-jobs-{batch}.db"
    with _database(path) as connection:
        connection.execute(
            "CREATE TABLE jobs (id TEXT PRIMARY KEY, name TEXT UNIQUE, spec TEXT) WITHOUT ROWID"
        )
        connection.execute(
            "CREATE TABLE timers (job_id TEXT PRIMARY KEY, due_at INT) WITHOUT ROWID"
        )
        connection.execute("CREATE INDEX due ON timers (due_at)")
        spec = json.dumps({"schedule": {"at": "2100-01-01T00:00:00Z"}, "target": {"url": "x" * 40}})
        ids = [str(uuid.uuid4()) for _ in range(count)]
        began = time.perf_counter()
        for start in range(0, count, batch):
            part = ids[start : start + batch]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO jobs VALUES (?, ?, ?)", [(id_, f"name-{id_}", spec) for id_ in part]
            )
            connection.executemany(
                "INSERT INTO timers VALUES (?, ?)", [(id_, 4_102_444_800_000) for id_ in part]
            )
            connection.execute("COMMIT")
        return count / (time.perf_counter() - began)


def sqlite_same_jobs(directory: Path, source: Path, prefix: str, *, batch: int) -> float:
    """Jobs per second where a bare loop writes a node's rows again into the same empty tables.

    The jobs are those of the database ``source`` whose name begins with ``prefix``.
    """
    from tocsin.store.sqlite import migrate

    path = directory / "baseline-same-jobs.db"
    migrate(str(path))
    tables = []
    with contextlib.closing(sqlite3.connect(source)) as connection:
        for table, key in (("jobs", "id"), ("job_tags", "job_id"), ("timers", "job_id")):
            rows = connection.execute(
                f"SELECT t.* FROM {table} t JOIN jobs j ON j.id = t.{key} "
                "WHERE substr(j.name, 1, ?) = ? ORDER BY j.id",
                (len(prefix), prefix),
            ).fetchall()
            marks = ", ".join("?" * len(rows[0]))
            tables.append((f"INSERT INTO {table} VALUES ({marks})", rows))
    count = len(tables[0][1])
    with _connected(path) as connection:
        began = time.perf_counter()
        for start in range(0, count, batch):
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in tables:
                connection.executemany(statement, rows[start : start + batch])
            connection.execute("COMMIT")
        return count / (time.perf_counter() - began)


def _database(path: Path) -> contextlib.closing[sqlite3.Connection]:
    path.unlink(missing_ok=True)
    return _connected(path)


def _connected(path: Path) -> contextlib.closing[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    return contextlib.closing(connection)
