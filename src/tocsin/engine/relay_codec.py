"""What nodes tell each other, as bytes: small items, put together into messages of bounded size.

A message is a JSON object ``{"from": …, "n": …, "news": [item, …]}``: who sends it, a number that
grows by one with each message of that sender, and items. An item is a list that begins with its
kind:

- ``["job", change, id, version]``: a job changed; the receiver reads it from the store.
- ``["run", started, …]``: an execution as far as events show it, after a call has left (``true``)
  or after any other change.
- ``["due", instant]``: something is due then.
- ``["lost", count]``: so many items were left out, because there were too many.
- ``["want"]``: the sender has readers of events, so it wants to hear of all executions.

Kinds that are not known are passed over, so that nodes of different versions understand each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter
from typing import Any, TypeAlias

import orjson

from tocsin.domain.execution import Attempt, ErrorKind, Execution, Reason, State, TriggerKind
from tocsin.domain.instant import Millis

MAX_MESSAGE = 7_900
"""Bytes of a message at most: PostgreSQL takes 7,999 in a notification."""

MAX_ERROR = 500
"""Characters of an error that are told; events show no more."""


@dataclass(frozen=True, slots=True)
class JobTold:
    """A job changed."""

    change: str
    job_id: str
    version: int


@dataclass(frozen=True, slots=True)
class ExecutionTold:
    """An execution changed, or its call has left."""

    execution: Execution
    started: bool


@dataclass(frozen=True, slots=True)
class DueTold:
    """Something is due."""

    at: Millis


@dataclass(frozen=True, slots=True)
class LostTold:
    """Items were left out."""

    count: int


@dataclass(frozen=True, slots=True)
class WantTold:
    """The sender wants to hear of all executions."""


Item: TypeAlias = JobTold | ExecutionTold | DueTold | LostTold | WantTold


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was understood."""

    sender: str
    number: int
    items: Sequence[Item]


_SHOWN: Callable[[Any], tuple[Any, ...]] = attrgetter(
    "id",
    "job_id",
    "job_name",
    "namespace",
    "trigger",
    "fire_time",
    "due",
    "state",
    "reason",
    "available_at",
    "finished_at",
    "skipped_until",
    "skipped_count",
    "retry_of",
    "owner",
)

_OWNER = 2 + 14
"""The place of the owner in an item."""


def encode_item(item: Item) -> bytes:
    """An item as JSON; its size is bounded."""
    match item:
        case JobTold(change, job_id, version):
            return orjson.dumps(("job", change, job_id, version))
        case ExecutionTold(execution, started):
            return _encode_execution(execution, started)
        case DueTold(at):
            return orjson.dumps(("due", at))
        case LostTold(count):
            return orjson.dumps(("lost", count))
        case WantTold():
            return b'["want"]'


def _encode_execution(execution: Execution, started: bool) -> bytes:
    shown = _SHOWN(execution)
    attempts = execution.attempts
    if not attempts:
        return orjson.dumps(("run", started, *shown))
    first, last = attempts[0], attempts[-1]
    told = (len(attempts), first.started_at, last.started_at, last.duration_ms, last.http_status)
    error = last.error
    if error is not None:
        # Half a surrogate cannot be written as UTF-8.
        error = error[:MAX_ERROR].encode("utf-8", "replace").decode()
    return orjson.dumps(("run", started, *shown, *told, last.error_kind, error, last.node))


def fits(head: bytes, size: int, item: bytes) -> bool:
    """Whether one more item has room in a message whose items take ``size`` bytes so far."""
    return len(head) + size + len(item) + 1 + len(_TAIL) <= MAX_MESSAGE


def head_of(sender: str, number: int) -> bytes:
    """How a message begins."""
    return orjson.dumps({"from": sender, "n": number})[:-1] + b',"news":['


def whole(head: bytes, items: Sequence[bytes]) -> bytes:
    """A message."""
    return head + b",".join(items) + _TAIL


_TAIL = b"]}"


def decode(message: bytes, *, only_of: str | None = None) -> Message:
    """What a message says; raises ``ValueError`` where it is none.

    With ``only_of`` executions of other owners are passed over, and so are calls that left: most
    of a message, and of what it costs.
    """
    try:
        content = orjson.loads(message)
        sender, number = content["from"], content["n"]
        if not isinstance(sender, str) or not isinstance(number, int):
            raise TypeError("no sender or number")
        items = [
            item
            for raw in content["news"]
            if (only_of is None or raw[0] != "run" or (raw[_OWNER] == only_of and not raw[1]))
            and (item := _decode_item(raw)) is not None
        ]
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"not a message: {error}") from error
    return Message(sender, number, items)


def _decode_item(raw: Any) -> Item | None:
    match raw:
        case ["run", bool(started), *shown]:
            return ExecutionTold(_decode_execution(shown), started)
        case ["job", str(change), str(job_id), int(version)]:
            return JobTold(change, job_id, version)
        case ["due", int(at)]:
            return DueTold(at)
        case ["lost", int(count)]:
            return LostTold(count)
        case ["want"]:
            return WantTold()
        case [str(), *_]:
            return None
        case _:
            raise ValueError("an item without a kind")


def _decode_execution(shown: list[Any]) -> Execution:
    (
        execution_id, job_id, job_name, namespace, trigger, fire_time, due, state, reason,
        available_at, finished_at, skipped_until, skipped_count, retry_of, owner, *tried,
    ) = shown  # fmt: skip
    return Execution(
        id=execution_id,
        job_id=job_id,
        job_name=job_name,
        namespace=namespace,
        job_version=0,
        trigger=TriggerKind(trigger),
        fire_time=fire_time,
        due=due,
        state=State(state),
        reason=None if reason is None else Reason(reason),
        available_at=available_at,
        lane=0,
        exact=False,
        owner=owner,
        retry_of=retry_of,
        skipped_until=skipped_until,
        skipped_count=skipped_count,
        attempts=_decode_attempts(tried) if tried else (),
        finished_at=finished_at,
    )


def _decode_attempts(tried: list[Any]) -> tuple[Attempt, ...]:
    """As many attempts as there were; all that is known is when the first and how the last was."""
    count, first_at, last_at, duration, http_status, error_kind, error, node = tried
    last = Attempt(
        number=count,
        started_at=last_at,
        duration_ms=duration,
        http_status=http_status,
        error_kind=None if error_kind is None else ErrorKind(error_kind),
        error=error,
        node=node,
    )
    if count == 1:
        return (last,)
    first = Attempt(number=1, started_at=first_at, duration_ms=0.0, node=node)
    return (*repeat(first, min(count - 1, 10_000)), last)
