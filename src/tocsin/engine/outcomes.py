"""One log line per outcome, handed over a batch at a time."""

from collections.abc import Iterable, MutableMapping
from typing import Any, TypeAlias

import structlog

from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import format_instant
from tocsin.domain.tally import lateness

log = structlog.stdlib.get_logger("tocsin")

Line: TypeAlias = tuple[str, MutableMapping[str, Any]]
"""The name of an event and its fields."""

MANY = "outcomes"
"""The event that stands for the ``lines`` that it carries: to log each by itself would cost more
than the call that it tells of. Whatever renders events takes it apart."""

# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_SUCCEEDED = State.SUCCEEDED


def log_outcomes(executions: Iterable[Execution]) -> None:
    """Say what became of executions: ended, or waiting for a retry."""
    good: list[Line] = []
    doubtful: list[Line] = []
    bad: list[Line] = []
    for execution in executions:
        state = execution.state
        if state is _SUCCEEDED:
            good.append(("execution.succeeded", _fields(execution)))
        elif state is State.CANCELLED:
            good.append(("execution.cancelled", _fields(execution)))
        elif state is State.FAILED:
            bad.append(("execution.failed", _fields(execution)))
        elif state is State.SKIPPED:
            fields = {"fire_time": format_instant(execution.fire_time), **_fields(execution)}
            doubtful.append(("execution.skipped", fields))
        elif state is State.PENDING and execution.available_at and execution.attempts:
            fields = _fields(execution)
            fields["retry_at"] = format_instant(execution.available_at)
            doubtful.append(("execution.retrying", fields))
    if good:
        log.info(MANY, lines=good)
    if doubtful:
        log.warning(MANY, lines=doubtful)
    if bad:
        log.error(MANY, lines=bad)


def _fields(execution: Execution) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "job": execution.job_name,
        "execution_id": execution.id,
        "job_id": execution.job_id,
    }
    if execution.reason is not None:
        fields["reason"] = execution.reason.value
    if execution.skipped_count:
        fields["skipped_count"] = execution.skipped_count
    attempts = execution.attempts
    if attempts:
        last = attempts[-1]
        fields["attempt"] = last.number
        fields["duration_ms"] = int(last.duration_ms * 10 + 0.5) / 10  # ``round`` takes longer.
        fields["lateness_ms"] = lateness(execution)
        if last.http_status is not None:
            fields["http_status"] = last.http_status
        if last.error_kind is not None:
            fields["error_kind"] = last.error_kind.value
            fields["error"] = last.error
    return fields
