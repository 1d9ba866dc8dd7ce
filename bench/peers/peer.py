"""What the workloads know of a peer."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from bench.context import Bench
from bench.nginx import Nginx
from bench.nodes import tree_cpu_seconds
from bench.peers.program import PeerError, Program, memory_mb


class Seconds(Enum):
    """What schedules that fire every second a peer has."""

    NONE = "none"
    SPREAD = "spread"
    """Each job has a phase of its own: 1,000 jobs fire a millisecond apart."""
    TOGETHER = "together"
    """All fire at the full second."""
    DRIFTING = "drifting"
    """The next is due a second after the last one left: no fire time that one could name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Where and with what a peer runs."""

    bench: Bench
    home: Path
    receiver: Nginx
    options: dict[str, Any]
    per_second_jobs: int = 0
    """How many fire every second, for those that are told so at their start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Created:
    """What a creation came to."""

    count: int
    seconds: float


@dataclass(kw_only=True)
class Running:
    """A peer that runs."""

    control: Program
    schedulers: Sequence[Program]
    stores: Sequence[int] = ()
    """Process ids; an embedded store is part of its scheduler."""
    at_once: dict[str, int] = field(default_factory=lambda: {"single": 32, "batch": 4})

    def create(
        self, count: int, *, at: int, how: str, first: int = 0, seconds: float | None = None
    ) -> Created:
        """Create one-shot jobs ``single`` or by ``batch``, for so many seconds at most."""
        answer = self.control.ask(
            "create",
            count=count,
            at=at,
            how=how,
            first=first,
            seconds=seconds,
            at_once=self.at_once[how],
            batch=1_000,
        )
        return Created(count=answer["created"], seconds=answer["seconds"])

    def schedule(self, jobs: int, base: int, *, spread: bool) -> None:
        """Let jobs fire every second from an instant on, each at an offset of its own or not."""
        offsets = [number * 1_000 // jobs if spread else 0 for number in range(jobs)]
        self.control.ask("schedule", starts=[base + offset for offset in offsets])

    def anything_left(self) -> bool:
        """Whether the store still has something to do or to record."""
        return bool(self.control.ask("left")["left"])

    def assert_alive(self) -> None:
        """Fail where a process has ended."""
        for program in (self.control, *self.schedulers):
            program.assert_alive()

    def cpu_seconds(self) -> float:
        """What the scheduler and its store have used; not what created the jobs."""
        pids = [program.pid for program in self.schedulers]
        return sum(tree_cpu_seconds(pid) for pid in [*pids, *self.stores])

    def memory_mb(self) -> tuple[float, float]:
        """Of the scheduler, and of its store where that is a server."""
        return (
            sum(memory_mb(program.pid) for program in self.schedulers),
            sum(memory_mb(pid) for pid in self.stores),
        )


class Peer(ABC):
    """A scheduler that is measured."""

    name: ClassVar[str]
    title: ClassVar[str]
    against: ClassVar[str] = "tocsin"
    """The Tocsin that it is compared with: that with the most similar store."""
    seconds: ClassVar[Seconds] = Seconds.NONE
    tells_fire: ClassVar[bool] = True
    """Whether a call of a per-second job can carry its fire time; otherwise it is counted out."""
    waits_for_store: ClassVar[bool] = True
    """Whether its store can be asked if something is left to do."""
    keeps_record: ClassVar[bool] = True
    """Whether a record of each job that ran stays in its store."""
    batches: ClassVar[bool] = True
    """Whether it has a call that creates many jobs."""
    slow: ClassVar[bool] = False
    """Whether one run is enough where time is short: it is far behind, and takes long."""
    creation_rate: ClassVar[int] = 1_000
    """Jobs per second that it creates for sure: says how far ahead an instant has to be."""
    defaults: ClassVar[dict[str, Any]] = {}
    """Options, as they are best; ``--set`` tries others."""
    note: ClassVar[str] = ""

    @abstractmethod
    def open(self, setup: Setup) -> "contextlib.AbstractContextManager[Running]":
        """Start it with an empty store."""

    @abstractmethod
    def versions(self) -> str:
        """Of it and its store."""

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Its options, some of them replaced."""
        unknown = given.keys() - self.defaults.keys()
        if unknown:
            raise PeerError(
                f"{self.name} has no option {', '.join(sorted(unknown))}; "
                f"it has {', '.join(self.defaults) or 'none'}"
            )
        return {**self.defaults, **given}
