"""Rows of tables from values of the domain, and back.

Reading trusts what it finds: rows were written by this module. A job or an execution that cannot
be read all the same raises ``StoreCorrupt``; callers decide what a single bad row may cost.
"""

import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

import orjson
import structlog

from tocsin.domain.codec import (
    attempts_from_json,
    attempts_to_json,
    json_text,
    spec_from_json,
    spec_text,
)
from tocsin.domain.errors import FieldProblem, StoreCorrupt
from tocsin.domain.execution import Execution, Reason, State, TriggerKind
from tocsin.domain.job import HttpTarget, Job, JobSpec, JobStatus, Json
from tocsin.domain.planning import Timer
from tocsin.domain.schedule import At, Cron, Every
from tocsin.domain.tally import Tally
from tocsin.store.port import Node, Request
from tocsin.store.tables import PRESENT_STATUS, executions, jobs

log = structlog.stdlib.get_logger("tocsin.store")

Row: TypeAlias = Sequence[Any]

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What reading damaged JSON raises."""

JOB_COLUMNS = tuple(column.name for column in jobs.columns)
READ_JOB_COLUMNS = (
    "id",
    "namespace",
    "name",
    "status",
    "version",
    "created_at",
    "updated_at",
    "spec",
)
"""What makes a job; the status is ``PRESENT_STATUS``."""
READ_JOB_SQL = ", ".join(
    f"{PRESENT_STATUS} AS status" if name == "status" else name for name in READ_JOB_COLUMNS
)
EXECUTION_COLUMNS = tuple(column.name for column in executions.columns)
EXECUTION_WIDTH = len(EXECUTION_COLUMNS)

_MANY_DIGITS = re.compile(r"\d{17}", re.ASCII)
_TWO_DIGITS = re.compile(r"\d\d", re.ASCII)

_BY_STATE = {state.value: state for state in State}
_BY_REASON: dict[str | None, Reason | None] = {None: None} | {
    reason.value: reason for reason in Reason
}
_BY_TRIGGER = {trigger.value: trigger for trigger in TriggerKind}
_BY_STATUS = {status.value: status for status in JobStatus}


# --- JSON ---------------------------------------------------------------------------------------

dump_json = json_text
"""JSON that every database can store as text."""


def load_json(text: str) -> Any:
    """The reverse of ``dump_json``.

    orjson takes a quarter of the time of the standard library, but reads large integers as floats
    and refuses escaped surrogates.
    """
    # Seventeen digits in a row leave two neighbours in every eighth character, which take a tenth
    # of the time to look at.
    if _TWO_DIGITS.search(text[::8]) is None or _MANY_DIGITS.search(text) is None:
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    return json.loads(text)


def storable(text: str) -> str:
    """Text for a column that only filters look at: what UTF-8 cannot hold is replaced."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", " ")


# --- jobs ---------------------------------------------------------------------------------------


def job_row(job: Job, written: str | None = None) -> tuple[Any, ...]:
    """A row of ``jobs``, in the order of its columns; ``written`` is its ``spec_text``, if made."""
    spec = spec_text(job.spec) if written is None else written
    return (
        job.id,
        job.namespace,
        job.name,
        _KINDS[type(job.spec.schedule.kind)],
        job.status._value_,  # ``value`` is a call
        job.version,
        job.created_at,
        job.updated_at,
        len(spec) if spec.isascii() else len(spec.encode()),
        search_text(job),
        spec,
    )


def job_of(row: Row) -> Job:
    """The job of a row that holds ``READ_JOB_COLUMNS``."""
    job_id, namespace, name, status, version, created_at, updated_at, spec = row
    try:
        return Job(
            id=job_id,
            namespace=namespace,
            name=name,
            spec=spec_from_json(load_json(spec)),
            status=_BY_STATUS[status],
            version=version,
            created_at=created_at,
            updated_at=updated_at,
        )
    except _UNREADABLE as error:
        raise _damaged(f"job {name!r} ({job_id})", error) from error


def with_status(job: Job, status: str) -> Job:
    """A job with the status of its row: the same version is completed without being changed."""
    return job if job.status == status else replace(job, status=_BY_STATUS[status])


_KINDS: dict[type[Cron | Every | At], str] = {Cron: "cron", Every: "every", At: "at"}


def search_text(job: Job) -> str:
    """What the text filter looks at; the separator keeps a match from spanning two fields."""
    target = job.spec.target
    shown = target.url if isinstance(target, HttpTarget) else target.text
    return folded(f"{job.name}\x1f{job.spec.description}\x1f{shown}")


def folded(text: str) -> str:
    """Text as it is compared where case does not matter."""
    return storable(text.casefold())


def tags_of(spec: JobSpec) -> AbstractSet[str]:
    """The tags of a definition as ``job_tags`` holds them."""
    return _storable_tags(spec.tags)


# The jobs of a batch mostly have the same.
@lru_cache(maxsize=1_024)
def _storable_tags(tags: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(storable, tags))


def name_taken(job: Job, field: str) -> FieldProblem:
    """The problem of a job whose name belongs to another."""
    return FieldProblem(
        field=field,
        message=f"the name {job.name!r} is taken by another job; choose another name",
        code="name_taken",
    )


def timer_row(timer: Timer) -> tuple[Any, ...]:
    """A row of ``timers``, in the order of its columns."""
    return (timer.job_id, timer.fire_at, timer.due_at, timer.lane, timer.exact)


# --- executions ---------------------------------------------------------------------------------


def execution_row(execution: Execution) -> tuple[Any, ...]:
    """A row of ``executions``, in the order of its columns."""
    attempts = execution.attempts
    return (
        execution.id,
        execution.job_id,
        execution.state.value,
        execution.finished_at,
        execution.queued,
        execution.owner,
        execution.available_at,
        execution.lane,
        execution.exact,
        None if execution.reason is None else execution.reason.value,
        execution.fire_time,
        execution.due,
        execution.trigger.value,
        execution.namespace,
        execution.job_name,
        execution.job_version,
        execution.retry_of,
        execution.skipped_until,
        execution.skipped_count,
        len(attempts),
        last_error_kind(execution),
        None if execution.input is None else dump_json(execution.input),
        dump_json(attempts_to_json(attempts)) if attempts else None,
    )


CLAIMED_COLUMNS = (
    "id",
    "job_id",
    "owner",
    "available_at",
    "lane",
    "exact",
    "fire_time",
    "due",
    "namespace",
    "job_name",
    "job_version",
)
CLAIMED_VALUES = {
    "state": "'claimed'",
    "queued": "false",
    '"trigger"': "'schedule'",
    "attempt_count": "0",
}
"""What all rows of ``claimed_row`` have besides, in SQL; everything else is null."""


def is_first_claim(execution: Execution) -> bool:
    """Whether this is as a schedule brings it forth, claimed: then ``claimed_row`` says it all."""
    return (
        execution.state is _CLAIMED
        and execution.trigger is _SCHEDULE
        and not execution.queued
        and not execution.attempts
        and execution.reason is None
        and execution.finished_at is None
        and execution.input is None
        and execution.retry_of is None
        and execution.skipped_until is None
        and execution.skipped_count is None
    )


def claimed_row(execution: Execution) -> tuple[Any, ...]:
    """A row of ``CLAIMED_COLUMNS``: what is known of a first claim, at half the cost."""
    return (
        execution.id,
        execution.job_id,
        execution.owner,
        execution.available_at,
        execution.lane,
        execution.exact,
        execution.fire_time,
        execution.due,
        execution.namespace,
        execution.job_name,
        execution.job_version,
    )


# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_CLAIMED = State.CLAIMED
_SCHEDULE = TriggerKind.SCHEDULE


def last_error_kind(execution: Execution) -> str | None:
    """How the last attempt failed."""
    if not execution.attempts:
        return None
    kind = execution.attempts[-1].error_kind
    return None if kind is None else kind.value


def execution_of(row: Row) -> Execution:
    """The execution of a row that begins with all columns of ``executions``."""
    (
        execution_id,
        job_id,
        state,
        finished_at,
        queued,
        owner,
        available_at,
        lane,
        exact,
        reason,
        fire_time,
        due,
        trigger,
        namespace,
        job_name,
        job_version,
        retry_of,
        skipped_until,
        skipped_count,
        _attempt_count,
        _error_kind,
        request_body,
        attempts,
    ) = row[:EXECUTION_WIDTH]
    try:
        return Execution(
            id=execution_id,
            job_id=job_id,
            job_name=job_name,
            namespace=namespace,
            job_version=job_version,
            trigger=_BY_TRIGGER[trigger],
            fire_time=fire_time,
            due=due,
            state=_BY_STATE[state],
            reason=_BY_REASON[reason],
            queued=bool(queued),
            available_at=available_at,
            lane=lane,
            exact=bool(exact),
            owner=owner,
            retry_of=retry_of,
            input=None if request_body is None else load_json(request_body),
            skipped_until=skipped_until,
            skipped_count=skipped_count,
            attempts=() if attempts is None else attempts_from_json(load_json(attempts)),
            finished_at=finished_at,
        )
    except _UNREADABLE as error:
        raise _damaged(f"execution {execution_id}", error) from error


def tally_of(text: str) -> Tally:
    """The tally of a row; one that cannot be read counts as empty, since counting must go on."""
    try:
        return Tally.from_json(load_json(text))
    except _UNREADABLE:
        log.exception("tally.unreadable", remedy="the minute is counted anew")
        return Tally()


def _damaged(subject: str, error: Exception) -> StoreCorrupt:
    return StoreCorrupt(
        f"the {subject} cannot be read from its row ({type(error).__name__}: {error}); "
        "restore it from a backup"
    )


# --- nodes and requests -------------------------------------------------------------------------


def node_row(node: Node) -> dict[str, Any]:
    """A row of ``nodes``."""
    return {
        "incarnation": node.incarnation,
        "name": storable(node.name),
        "address": storable(node.address),
        "version": node.version,
        "started_at": node.started_at,
        "heartbeat_at": node.heartbeat_at,
        "lease_until": node.lease_until,
        "load": load_text(node.load),
    }


def load_text(load: Json) -> str | None:
    """What a node says of itself, as ``nodes`` holds it."""
    return None if load is None else dump_json(load)


def node_of(row: Mapping[str, Any]) -> Node:
    """The node of a row."""
    return Node(**{**row, "load": None if row["load"] is None else load_json(row["load"])})


def request_row(request: Request) -> dict[str, Any]:
    """A row of ``requests``."""
    return {
        "namespace": request.namespace,
        "operation": request.operation,
        "key": storable(request.key),
        "fingerprint": request.fingerprint,
        "result": dump_json(request.result),
        "created_at": request.created_at,
    }


def request_of(row: Mapping[str, Any]) -> Request:
    """The request of a row."""
    return Request(**{**row, "result": load_json(row["result"])})
