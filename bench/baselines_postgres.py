"""What a PostgreSQL server can do without a scheduler: a bare psycopg loop, in the same run."""

import json
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from bench.baselines import execution_id
from bench.nodes import tree_cpu_seconds

_INSERT = b"""
    INSERT INTO executions (id, job_id, job_name, state, queued, owner, lane, exact, fire_time, due,
        trigger, namespace, job_version, attempt_count)
    SELECT id, job_id, job_name, 'claimed', false, 'me', 1, false, at, at,
        'schedule', 'default', 1, 0
    FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::bigint[]) AS v (id, job_id, job_name, at)"""
_UPDATE = b"""
    UPDATE executions e SET state = 'succeeded', finished_at = v.at, attempt_count = 1,
        attempts = v.attempts
    FROM unnest(%s::uuid[], %s::bigint[], %s::text[]) AS v (id, at, attempts)
    WHERE e.id = v.id AND e.id = ANY (%s::uuid[]) AND e.owner = 'me'"""
_ATTEMPTS = json.dumps(
    [
        {
            "number": 1,
            "started_at": 1_700_000_000_000,
            "duration_ms": 12,
            "http_status": 200,
            "node": "node",
            "timings": {"connect_ms": 0.4, "first_byte_ms": 1.2, "total_ms": 1.3},
            "response": {"excerpt": "ok", "truncated": False},
        }
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """What writing rows came to."""

    rate: float
    database_cpu: float
    """Seconds per row that the server used."""
    client_cpu: float
    """Seconds per row that the loop used."""


def executions(url: str, count: int, *, batch: int = 1_000) -> Rows:
    """Rows per second that are inserted and then updated, in batches, each durable.

    The least that a scheduler on PostgreSQL must do per fire: one row at the claim, one update at
    the end, in Tocsin's own table of executions, with all its indexes and its days.
    """
    at = time.time_ns() // 1_000_000
    ids = [execution_id(at, number) for number in range(count)]
    jobs = [str(uuid.uuid4()) for _ in range(count)]
    with psycopg.connect(url, autocommit=True) as connection:
        server = _postmaster(connection)
        cpu, began = tree_cpu_seconds(server), time.perf_counter()
        own = time.process_time()
        for start in range(0, count, batch):
            part = ids[start : start + batch]
            instants = _array([at] * len(part))
            names = _array(["burst-1700000000000-1234"] * len(part))
            connection.execute(
                _INSERT, (_array(part), _array(jobs[start : start + batch]), names, instants)
            )
            connection.execute(
                _UPDATE, (_array(part), instants, _array([_ATTEMPTS] * len(part)), _array(part))
            )
        seconds = time.perf_counter() - began
        own = time.process_time() - own
        return Rows(
            rate=count / seconds,
            database_cpu=(tree_cpu_seconds(server) - cpu) / count,
            client_cpu=own / count,
        )


def jobs(url: str, count: int, *, batch: int) -> float:
    """Jobs per second that are inserted with their timer, ``batch`` per durable transaction."""
    far = 4_102_444_800_000
    spec = json.dumps({"schedule": {"at": "2100-01-01T00:00:00Z"}, "target": {"url": "x" * 40}})
    ids = [str(uuid.uuid4()) for _ in range(count)]
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        for start in range(0, count, batch):
            part = ids[start : start + batch]
            with connection.transaction():
                connection.execute(
                    "INSERT INTO jobs SELECT id, 'default', id::text, 'at', 'active', 1, 0, 0, 1, "
                    "'', %s FROM unnest(%s::uuid[]) AS v (id)",
                    (spec, _array(part)),
                )
                connection.execute(
                    "INSERT INTO timers SELECT id, %s, %s, 1, false FROM unnest(%s::uuid[]) AS v "
                    "(id)",
                    (far, far, _array(part)),
                )
        return count / (time.perf_counter() - began)


def same_jobs(url: str, source: str, prefix: str, *, batch: int) -> float:
    """Jobs per second where a bare loop writes a node's rows again into the same empty tables.

    The jobs are those of the database ``source`` whose name begins with ``prefix``.
    """
    tables: list[tuple[bytes, list[tuple[Any, ...]]]] = []
    with psycopg.connect(source, autocommit=True) as connection:
        for table, key in (("jobs", "id"), ("job_tags", "job_id"), ("timers", "job_id")):
            cursor = connection.execute(
                f"SELECT t.* FROM {table} t JOIN jobs j ON j.id = t.{key} "
                "WHERE starts_with(j.name, %s) ORDER BY j.id".encode(),
                (prefix,),
            )
            types = [_type(connection, column.type_code) for column in cursor.description or ()]
            arrays = ", ".join(f"%s::{one}[]" for one in types)
            insert = f"INSERT INTO {table} SELECT * FROM unnest({arrays})".encode()
            tables.append((insert, cursor.fetchall()))
    count = len(tables[0][1])
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        for start in range(0, count, batch):
            with connection.transaction():
                for insert, rows in tables:
                    part = rows[start : start + batch]
                    connection.execute(insert, _columns(part))
        return count / (time.perf_counter() - began)


def _postmaster(connection: "psycopg.Connection[tuple[Any, ...]]") -> int:
    """The process that is the parent of all others of the server."""
    from pathlib import Path

    pid = connection.info.backend_pid
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _type(connection: "psycopg.Connection[tuple[Any, ...]]", oid: int) -> str:
    found = connection.adapters.types.get(oid)
    assert found is not None
    return found.name


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    return [_array(column) for column in zip(*rows, strict=True)]


def _array(values: Iterable[object]) -> str:
    """An array literal: the driver would take several times as long for it."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
