"""The domain as JSON values in the shapes of ``schemas``."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

import orjson

from tocsin.api.schemas import (
    ExecutionCounts,
    ExecutionOut,
    ExecutionSummary,
    JobOut,
    JobStatsOut,
    JobStatusOut,
    LatenessOut,
    PercentilesOut,
    PreviewOut,
    StatsOut,
)
from tocsin.domain.codec import SPEC_START, attempts_to_json, spec_text, spec_to_json
from tocsin.domain.duration import format_duration
from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import MINUTE, Millis, format_instant
from tocsin.domain.job import JobStatus
from tocsin.domain.schedule import Schedule
from tocsin.domain.tally import Tally, lateness
from tocsin.services.bulk import Fresh
from tocsin.services.executions import JobState
from tocsin.services.previews import Preview
from tocsin.services.stats import JobFigures, Overview, Percentiles
from tocsin.store.port import JobView, Limits, Usage

T = TypeVar("T")


def dumps(value: object) -> bytes:
    """A JSON value as bytes."""
    return orjson.dumps(value)


def job_json(view: JobView) -> JobOut:
    """A job as the API shows it."""
    job = view.job
    shown = spec_to_json(job.spec)
    shown["schedule"]["description"] = _describe(job.spec.schedule)
    return cast("JobOut", {"id": job.id, "name": job.name, **shown, **_state_of(view)})


def fresh_jobs(fresh: Sequence[Fresh]) -> bytes:
    """New jobs as JSON, with commas between them.

    To write their definitions again would be most of the cost of a batch's answer, so the rest is
    put around the text that is stored. Names, ids and instants need no escapes.
    """
    return ",".join(map(_fresh_job, fresh)).encode()


def _fresh_job(fresh: Fresh) -> str:
    new = fresh.new
    job = new.job
    written = spec_text(job.spec) if new.written is None else new.written
    created = _created(job.created_at)
    return (
        f'{{"id":"{job.id}","name":"{job.name}","schedule":{{"description":{fresh.described},'
        f'{written[len(SPEC_START) : -1]},"status":"{job.status._value_}","version":{job.version},'
        f'"created_at":"{created}","updated_at":"{created}","next_fire_at":{fresh.fires},'
        '"last_execution":null}'
    )


# The jobs of a batch were all created at one instant.
_created = lru_cache(maxsize=16)(format_instant)


def _state_of(view: JobView) -> dict[str, object]:
    """What a job has beside its names and its definition."""
    job, last = view.job, view.last_execution
    created = format_instant(job.created_at)
    changed = job.updated_at != job.created_at
    return {
        "status": job.status,
        "version": job.version,
        "created_at": created,
        "updated_at": format_instant(job.updated_at) if changed else created,
        "next_fire_at": _instant(view.next_fire_at),
        "last_execution": None if last is None else summary_json(last),
    }


# Many jobs share a schedule, and a list of jobs describes each.
@lru_cache(maxsize=4_096)
def _describe(schedule: Schedule) -> str:
    return schedule.describe()


def summary_json(execution: Execution) -> ExecutionSummary:
    """An execution without its attempts."""
    attempts = execution.attempts
    last = attempts[-1] if attempts else None
    return {
        "id": execution.id,
        "job_id": execution.job_id,
        "job_name": execution.job_name,
        "job_version": execution.job_version,
        "fire_time": format_instant(execution.fire_time),
        "due": format_instant(execution.due),
        "trigger": execution.trigger,
        "state": execution.state,
        "reason": execution.reason,
        "queued": execution.queued,
        "available_at": _instant(execution.available_at),
        "skipped_until": _instant(execution.skipped_until),
        "skipped_count": execution.skipped_count,
        "retry_of": execution.retry_of,
        "attempt_count": len(attempts),
        "started_at": format_instant(attempts[0].started_at) if attempts else None,
        "finished_at": _instant(execution.finished_at),
        "duration_ms": duration_of(execution),
        "lateness_ms": lateness(execution),
        "http_status": None if last is None else last.http_status,
        "error_kind": None if last is None else last.error_kind,
        "error": None if last is None else last.error,
        "node": None if last is None else last.node,
    }


def execution_json(execution: Execution) -> ExecutionOut:
    """An execution with its attempts."""
    shown = cast("ExecutionOut", summary_json(execution))
    shown["attempts"] = cast("list[Any]", attempts_to_json(execution.attempts))
    return shown


def duration_of(execution: Execution) -> float | None:
    """Milliseconds from the first call's start to the last one's end, once it has ended."""
    if not execution.attempts or not execution.state.final:
        return None
    first, last = execution.attempts[0], execution.attempts[-1]
    return round(last.started_at - first.started_at + last.duration_ms, 3)


def job_status_json(state: JobState) -> JobStatusOut:
    """How a job is doing."""
    job = state.view.job
    return {
        "id": job.id,
        "name": job.name,
        "status": job.status,
        "version": job.version,
        "next_fire_at": _instant(state.view.next_fire_at),
        "live": {
            "items": [summary_json(one) for one in state.live.items],
            "more": state.live.next is not None,
        },
        "last_execution": _maybe(summary_json, state.view.last_execution),
        "last_succeeded": _maybe(summary_json, state.last_succeeded),
        "last_failed": _maybe(summary_json, state.last_failed),
    }


def preview_json(preview: Preview) -> PreviewOut:
    """What a schedule calls for."""
    return {
        "description": preview.schedule.describe(),
        "timezone": preview.schedule.timezone,
        "items": [
            {
                "fire_time": format_instant(fire.fire_time),
                "local": fire.local,
                "offset_changed": fire.offset_changed,
            }
            for fire in preview.fires
        ],
        "errors": [
            {"field": one.field, "message": one.message, "code": one.code}
            for one in preview.problems
        ],
    }


def stats_json(
    overview: Overview,
    usage: Usage | None,
    limits: Limits,
    window: Millis,
    step: Millis = MINUTE,
) -> StatsOut:
    """The state of a namespace, its minutes added up to steps.

    ``usage`` is of all namespaces, for who may know.
    """
    stats, tally = overview.stats, overview.stats.tally
    minutes = max(window / MINUTE, 1.0)
    ended = tally.succeeded + tally.failed + tally.cancelled + tally.skipped
    return {
        "window": format_duration(window),
        "since": format_instant(overview.since),
        "jobs": {
            "active": stats.jobs.get(JobStatus.ACTIVE, 0),
            "paused": stats.jobs.get(JobStatus.PAUSED, 0),
            "completed": stats.jobs.get(JobStatus.COMPLETED, 0),
            "cancelled": stats.jobs.get(JobStatus.CANCELLED, 0),
        },
        "executions": {
            "pending": stats.pending,
            "claimed": stats.claimed,
            "succeeded": tally.succeeded,
            "failed": tally.failed,
            "cancelled": tally.cancelled,
            "skipped": tally.skipped,
        },
        "success_ratio": _ratio(tally.succeeded, tally.failed),
        "rates": {
            "ended_per_minute": round(ended / minutes, 3),
            "failed_per_minute": round(tally.failed / minutes, 3),
            "attempts_per_minute": round(tally.attempts / minutes, 3),
        },
        "lateness_ms": _lateness(tally),
        "minutes": [
            {
                "minute": format_instant(minute),
                "succeeded": one.succeeded,
                "failed": one.failed,
                "cancelled": one.cancelled,
                "skipped": one.skipped,
                "lateness_ms": _lateness(one),
            }
            for minute, one in _by_step(stats.minutes, step)
        ],
        "next_fires": [
            {"job_id": job.id, "job_name": job.name, "due": format_instant(due)}
            for job, due in stats.next_fires
        ],
        "capacity": None
        if usage is None
        else {
            "jobs": {"used": usage.jobs, "limit": limits.max_jobs},
            "definition_bytes": {"used": usage.bytes, "limit": limits.max_bytes},
        },
    }


def job_stats_json(figures: JobFigures, window: Millis) -> JobStatsOut:
    """How a job did over a window."""
    counts = figures.counts
    executions: ExecutionCounts = {
        "pending": counts[State.PENDING],
        "claimed": counts[State.CLAIMED],
        "succeeded": counts[State.SUCCEEDED],
        "failed": counts[State.FAILED],
        "cancelled": counts[State.CANCELLED],
        "skipped": counts[State.SKIPPED],
    }
    return {
        "window": format_duration(window),
        "since": format_instant(figures.since),
        "complete": figures.complete,
        "executions": executions,
        "attempts": figures.attempts,
        "success_ratio": _ratio(counts[State.SUCCEEDED], counts[State.FAILED]),
        "duration_ms": _percentiles(figures.duration),
        "lateness_ms": _percentiles(figures.lateness),
    }


def items_json(shown: Iterable[object], next_cursor: str | None) -> dict[str, object]:
    """A page of a list."""
    return {"items": list(shown), "next_cursor": next_cursor}


def _ratio(succeeded: int, failed: int) -> float | None:
    ended = succeeded + failed
    return round(succeeded / ended, 6) if ended else None


def _by_step(
    minutes: Iterable[tuple[Millis, Tally]], step: Millis
) -> Iterable[tuple[Millis, Tally]]:
    if step == MINUTE:
        return minutes
    steps: dict[Millis, Tally] = {}
    for minute, tally in minutes:
        steps.setdefault(minute - minute % step, Tally()).merge(tally)
    return steps.items()


def _lateness(tally: Tally) -> LatenessOut:
    return {
        "p50": _rounded(tally.percentile(0.50)),
        "p95": _rounded(tally.percentile(0.95)),
        "p99": _rounded(tally.percentile(0.99)),
    }


def _percentiles(values: Percentiles) -> PercentilesOut:
    return {
        "p50": _rounded(values.p50),
        "p95": _rounded(values.p95),
        "p99": _rounded(values.p99),
        "max": _rounded(values.max),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _instant(instant: Millis | None) -> str | None:
    return None if instant is None else format_instant(instant)


def _maybe(show: Callable[[Execution], T], execution: Execution | None) -> T | None:
    return None if execution is None else show(execution)
