"""The shared store of a simulation: the memory store, every commit of which is witnessed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.memory_store import K, MemoryState, V
from tests.support.virtual_loop import Process
from tocsin.domain.execution import Execution
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job
from tocsin.domain.planning import Timer


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """What one transaction changed."""

    at: float
    """Virtual seconds."""
    process: Process | None
    method: str
    now: Millis
    """The committing process's wall clock; for a claim, the ``now`` that it asked with."""
    executions: dict[str, tuple[Execution | None, Execution | None]]
    """By id: the row before and after."""
    jobs: dict[str, tuple[Job | None, Job | None]]
    timers: dict[str, tuple[Timer | None, Timer | None]]
    incarnation: str | None
    """On whose behalf, where the method says so."""


class SimState(MemoryState):
    """The tables, with a witness."""

    def __init__(self, witness: Callable[[dict[str, dict[str, Any]]], None]) -> None:
        super().__init__()
        self._witness = witness
        self._before: dict[str, dict[str, Any]] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._before = {"executions": {}, "jobs": {}, "timers": {}, "nodes": {}}
        with super().transaction():
            yield
        self._witness(self._before)

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        self._note(table, key)
        super().put(table, key, value)

    def drop(self, table: dict[K, V], key: K) -> None:
        self._note(table, key)
        super().drop(table, key)

    def _note(self, table: Any, key: Any) -> None:
        for name, before in self._before.items():
            if table is getattr(self, name):
                before.setdefault(key, table.get(key))
