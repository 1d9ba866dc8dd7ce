"""One log line per outcome."""

from collections.abc import Iterable
from typing import Any

import structlog

from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import format_instant
from tocsin.domain.tally import lateness

log = structlog.stdlib.get_logger("tocsin")


def log_outcomes(executions: Iterable[Execution]) -> None:
    """Say what became of executions: ended, or waiting for a retry."""
    for execution in executions:
        fields: dict[str, Any] = {
            "job": execution.job_name,
            "execution_id": execution.id,
            "job_id": execution.job_id,
        }
        if execution.reason is not None:
            fields["reason"] = execution.reason.value
        if execution.skipped_count:
            fields["skipped_count"] = execution.skipped_count
        if execution.attempts:
            last = execution.attempts[-1]
            fields["attempt"] = last.number
            fields["duration_ms"] = round(last.duration_ms, 1)
            fields["lateness_ms"] = lateness(execution)
            if last.http_status is not None:
                fields["http_status"] = last.http_status
            if last.error_kind is not None:
                fields["error_kind"] = last.error_kind.value
                fields["error"] = last.error
        match execution.state:
            case State.SUCCEEDED:
                log.info("execution.succeeded", **fields)
            case State.FAILED:
                log.error("execution.failed", **fields)
            case State.CANCELLED:
                log.info("execution.cancelled", **fields)
            case State.SKIPPED:
                log.warning(
                    "execution.skipped", fire_time=format_instant(execution.fire_time), **fields
                )
            case State.PENDING:
                if execution.available_at is not None and execution.attempts:
                    fields["retry_at"] = format_instant(execution.available_at)
                    log.warning("execution.retrying", **fields)
            case State.CLAIMED:
                pass
