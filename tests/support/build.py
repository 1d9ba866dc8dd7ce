"""Small builders of domain values: every field has a default that a test need not care about."""

import itertools
from dataclasses import replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from tocsin.domain.execution import (
    Attempt,
    ErrorKind,
    Execution,
    State,
    TriggerKind,
    execution_id,
)
from tocsin.domain.instant import DAY, HOUR, MINUTE, SECOND, Millis
from tocsin.domain.job import HttpTarget, Job, JobSpec, JobStatus, LogTarget
from tocsin.domain.planning import LOOK_AT_MOST, Timer, Window, first_timer
from tocsin.domain.retry import RetryPolicy
from tocsin.domain.schedule import At, Cron, Every, Schedule
from tocsin.domain.settle import settle
from tocsin.store.port import Claim, ClaimRequest, Limits, NewJob, Node, Request

__all__ = ["DAY", "HOUR", "LOOK_AT_MOST", "MINUTE", "NOW", "SECOND"]

NOW: Millis = 1_767_225_600_000
"""2026-01-01T00:00:00Z: a whole minute, hour and day."""

NO_LIMITS = Limits(max_jobs=1_000_000, max_bytes=2**50)

URL = "https://example.com/hook"

_numbers = itertools.count()


def every(interval: Millis, *, anchor: Millis = NOW, **bounds: Any) -> Schedule:
    """An interval schedule, by default from ``NOW`` on."""
    return Schedule(kind=Every(interval=interval, anchor=anchor), **bounds)


def at(instant: Millis) -> Schedule:
    """A schedule that fires once."""
    return Schedule(kind=At(instant=instant))


def cron(expression: str, timezone: str = "UTC", **bounds: Any) -> Schedule:
    """A cron schedule."""
    return Schedule(kind=Cron(expression=expression), timezone=timezone, **bounds)


def spec(schedule: Schedule | None = None, **fields: Any) -> JobSpec:
    """A definition: every minute, a POST to ``URL``, no jitter of retries."""
    fields.setdefault("target", HttpTarget(url=URL))
    fields.setdefault("retry", RetryPolicy(jitter=0.0))
    return JobSpec(schedule=every(MINUTE) if schedule is None else schedule, **fields)


def job(name: str | None = None, schedule: Schedule | None = None, **fields: Any) -> Job:
    """An active job; fields of ``Job`` are taken as such, all others belong to the spec."""
    name = f"job-{next(_numbers)}" if name is None else name
    namespace = fields.pop("namespace", "default")
    own = {
        field: fields.pop(field)
        for field in ("id", "status", "version", "created_at", "updated_at")
        if field in fields
    }
    own.setdefault("id", str(uuid5(NAMESPACE_URL, f"{namespace}/{name}")))
    definition = fields.pop("spec", None) or spec(schedule, **fields)
    own.setdefault("status", JobStatus.ACTIVE)
    own.setdefault("version", 1)
    own.setdefault("created_at", NOW)
    own.setdefault("updated_at", NOW)
    return Job(name=name, namespace=namespace, spec=definition, **own)


def log_job(name: str | None = None, schedule: Schedule | None = None, **fields: Any) -> Job:
    """An active job that only writes a line."""
    return job(name, schedule, target=LogTarget(text="tick"), **fields)


def changed(old: Job, *, now: Millis, **fields: Any) -> Job:
    """The next version of a job; fields of ``Job`` are taken as such, others belong to the spec."""
    own = {field: fields.pop(field) for field in ("name", "status", "spec") if field in fields}
    after = replace(old, version=old.version + 1, updated_at=now, **own)
    return replace(after, spec=replace(after.spec, **fields)) if fields else after


def timer(of: Job, *, after: Millis = NOW - 1) -> Timer | None:
    """The timer for the first fire time later than ``after`` (so one at ``NOW`` counts)."""
    return first_timer(of.id, of.spec, after)


def new_job(of: Job, *, after: Millis = NOW - 1) -> NewJob:
    """A job with its first timer; none unless it is active."""
    return NewJob(job=of, timer=timer(of, after=after) if of.status is JobStatus.ACTIVE else None)


def execution(of: Job, fire_time: Millis = NOW, *, salt: str = "", **fields: Any) -> Execution:
    """A pending execution by schedule, available at its fire time."""
    fields = {
        "id": execution_id(of.id, fire_time, salt),
        "job_name": of.name,
        "job_version": of.version,
        "namespace": of.namespace,
        "due": fire_time,
        "state": State.PENDING,
        "available_at": fire_time,
        "lane": of.spec.lane,
        "exact": of.spec.exact,
        **fields,
    }
    return Execution(job_id=of.id, fire_time=fire_time, **fields)


def triggered(of: Job, now: Millis = NOW, *, salt: str = "by hand", **fields: Any) -> Execution:
    """An execution that a person asked for."""
    return execution(of, now, salt=salt, trigger=TriggerKind.MANUAL, **fields)


def attempt(number: int = 1, *, started_at: Millis = NOW, **fields: Any) -> Attempt:
    """An attempt that went well, unless ``error_kind`` says otherwise."""
    return Attempt(
        number=number, started_at=started_at, **{"duration_ms": 12.5, "node": "node-a", **fields}
    )


def failed_attempt(number: int = 1, *, started_at: Millis = NOW, **fields: Any) -> Attempt:
    """An attempt that was answered with 503."""
    return attempt(
        number,
        started_at=started_at,
        **{
            "http_status": 503,
            "error_kind": ErrorKind.HTTP_STATUS,
            "error": "answered 503",
            **fields,
        },
    )


def succeed(claim: Claim, now: Millis, **fields: Any) -> Execution:
    """What comes of a claim whose call goes well."""
    return _settled(claim, attempt, now, {"http_status": 200, **fields})


def fail(claim: Claim, now: Millis, **fields: Any) -> Execution:
    """What comes of a claim whose call is answered with 503: a retry while there are any left."""
    return _settled(claim, failed_attempt, now, fields)


def _settled(claim: Claim, make: Any, now: Millis, fields: dict[str, Any]) -> Execution:
    number = len(claim.execution.attempts) + 1
    return settle(
        claim.execution,
        make(number, **{"started_at": now, **fields}),
        claim.job.spec,
        now=now,
        request_written=True,
    )


def window(now: Millis = NOW, *, ahead: Millis = 0, room: int = 1_000_000) -> Window:
    """What a claim at an instant looks at."""
    return Window(now=now, until=now + ahead, owner="inc-a", room=room)


def node(incarnation: str = "inc-a", *, now: Millis = NOW, ttl: Millis = 5_000) -> Node:
    """A node that has just joined."""
    return Node(
        incarnation=incarnation,
        name=f"node of {incarnation}",
        address="127.0.0.1:8080",
        version="0.1.0",
        started_at=now,
        heartbeat_at=now,
        lease_until=now + ttl,
    )


def claim_request(
    now: Millis = NOW,
    *,
    incarnation: str = "inc-a",
    ahead: Millis = 1_000,
    limit: int = 1_000,
    exact_limit: int = 1_000,
    busy_lanes: frozenset[int] = frozenset(),
    busy_jobs: frozenset[str] = frozenset(),
) -> ClaimRequest:
    """A claim by a node with plenty of room, one second ahead."""
    return ClaimRequest(
        incarnation=incarnation,
        now=now,
        ahead_until=now + ahead,
        ahead_limit=limit,
        exact_limit=exact_limit,
        busy_lanes=busy_lanes,
        busy_jobs=busy_jobs,
    )


def request(key: str = "key-1", **fields: Any) -> Request:
    """A request with an idempotency key."""
    return Request(
        **{
            "namespace": "default",
            "operation": "jobs.create",
            "key": key,
            "fingerprint": "abc",
            "result": {"ids": ["1", "2"]},
            "created_at": NOW,
            **fields,
        }
    )
