"""New jobs that come one after the other, without an end in sight: each is for itself.

They are stored in parts, as many as have come while the part before was written, so that memory is
bounded and the price of a commit is shared. What is wrong with one of them costs the others
nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tocsin.domain.errors import (
    CapacityExceeded,
    Conflict,
    InvalidInput,
    NotFound,
    StoreError,
)
from tocsin.domain.instant import Millis
from tocsin.domain.quick import maker, quick
from tocsin.services.bulk import BulkReader, Fresh
from tocsin.services.creation import JobCreation
from tocsin.services.requests import Keyed
from tocsin.store.port import JobView

RENEWED: Millis = 500
"""How old the instant may be that definitions are checked at: as in a large batch."""

MOST_KEY = 200
"""Characters of an idempotency key: the number of each line is added to it."""

OPERATION = "jobs.create_line"


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """A job that an earlier request has created."""

    view: JobView


Checked: TypeAlias = Fresh | Exception
"""A new job that is sound, or why there is none."""
Outcome: TypeAlias = Fresh | Replayed | Exception
"""A job that is stored now, one that was before, or why there is none."""


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One definition of a stream, and what came of checking it."""

    number: int
    checked: Checked
    keyed: Keyed | None = None


_make_line = maker(Line)


class JobStream:
    """Checks and stores the jobs of one stream.

    With an idempotency key each of them has a key of its own: that of the stream and its number.
    So a stream that broke off can be sent again from its start, and makes no job twice.
    """

    def __init__(
        self,
        creation: JobCreation,
        *,
        namespace: str,
        now: Callable[[], Millis],
        key: str | None,
    ) -> None:
        """Raises ``InvalidInput`` for a key that cannot be one."""
        if key is not None and len(key) > MOST_KEY:
            raise InvalidInput.of(
                "Idempotency-Key", f"is longer than {MOST_KEY} characters, for a stream", "too_long"
            )
        Keyed.of(namespace, OPERATION, key, None)
        self._creation = creation
        self._namespace = namespace
        self._now = now
        self._key = key
        self._read_at = now()
        self._reader: BulkReader = creation.reader(self._read_at)

    async def check(self, numbered: Sequence[tuple[int, object]]) -> list[Line]:
        """Check some definitions, each with its number in the stream."""
        now = self._now()
        if now - self._read_at >= RENEWED:
            self._read_at = now
            self._reader.renew(now)
        checked = await self._creation.check(self._reader, [data for _, data in numbered])
        key = self._key
        if key is None:
            return [
                _make_line(number, one, None)
                for (number, _), one in zip(numbered, checked, strict=True)
            ]
        return [
            self._keyed(Line(number=number, checked=one), data, f"{key}:{number}")
            for (number, data), one in zip(numbered, checked, strict=True)
        ]

    async def store(self, lines: Sequence[Line]) -> Sequence[Outcome]:
        """Store what is sound; what came of each of them, in their order.

        Raises nothing but what no one has foreseen.
        """
        now = self._now()
        if self._key is None:
            fresh = [line.checked for line in lines if isinstance(line.checked, Fresh)]
            refused = await self._store_together(fresh, now)
            if refused is None:
                return [line.checked for line in lines]
            if isinstance(refused, StoreError):
                return [
                    refused if isinstance(line.checked, Fresh) else line.checked for line in lines
                ]
        return await self._store_each(lines, now)

    async def _store_together(self, fresh: Sequence[Fresh], now: Millis) -> Exception | None:
        """Store new jobs as one change; why it could not be done."""
        if not fresh:
            return None
        try:
            await self._creation.store_together(fresh, now)
        except (InvalidInput, Conflict, CapacityExceeded, StoreError) as error:
            return error
        return None

    async def _store_each(self, lines: Sequence[Line], now: Millis) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        todo = [(line.checked, line.keyed) for line in lines if isinstance(line.checked, Fresh)]
        stored = iter(await self._creation.store_each(todo, now))
        for line in lines:
            checked = line.checked
            if isinstance(checked, Fresh):
                outcome = next(stored)
                if outcome is None:
                    outcomes.append(checked)
                elif isinstance(outcome, JobView):
                    outcomes.append(Replayed(view=outcome))
                else:
                    outcomes.append(outcome)
            elif line.keyed is not None and isinstance(checked, InvalidInput):
                outcomes.append(await self._replayed_or(line.keyed, checked))
            else:
                outcomes.append(checked)
        return outcomes

    async def _replayed_or(self, keyed: Keyed, error: InvalidInput) -> Outcome:
        try:
            return Replayed(view=await self._creation.replay_or(keyed, error))
        except (InvalidInput, NotFound, Conflict, StoreError) as refused:
            return refused

    def _keyed(self, line: Line, data: object, key: str) -> Line:
        try:
            return replace(line, keyed=Keyed.of(self._namespace, OPERATION, key, data))
        except InvalidInput as error:  # nested too deep to be compared
            return replace(line, checked=error)
