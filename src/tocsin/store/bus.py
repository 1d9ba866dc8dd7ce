"""News of changes, as a hint: polling is the truth, a notification only makes it faster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tocsin.domain.execution import Execution
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job


@dataclass(frozen=True, kw_only=True, slots=True)
class JobsChanged:
    """Jobs were created, edited, paused, resumed, cancelled or deleted."""

    change: str
    """``created``, ``updated``, ``paused``, ``resumed``, ``cancelled``, ``completed`` or
    ``deleted``."""
    jobs: Sequence[Job]
    due_at: Millis | None = None
    """The earliest instant at which one of them is due."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionsChanged:
    """Executions came into being, started or ended; see the state of each."""

    executions: Sequence[Execution]
    """Pending ones may be claimed from ``available_at`` on; ended ones carry their last owner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallsStarted:
    """Calls have left."""

    executions: Sequence[Execution]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkDue:
    """Something is due at an instant: another node says so, or this one has given it back."""

    at: Millis


@dataclass(frozen=True, kw_only=True, slots=True)
class NewsLost:
    """News of other nodes did not get here; whoever shows news must look at the store again."""

    count: int | None
    """How many, where that is known."""


News: TypeAlias = JobsChanged | ExecutionsChanged | CallsStarted | WorkDue | NewsLost
Listener: TypeAlias = Callable[[News], None]


class Bus:
    """Hands news to whoever listens in this process, at once and in order.

    A listener must be quick and must not raise.
    """

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the returned function removes it."""
        self._listeners += (listener,)

        def stop() -> None:
            self._listeners = tuple(known for known in self._listeners if known is not listener)

        return stop

    def publish(self, news: News) -> None:
        """Tell everybody."""
        for listener in self._listeners:
            listener(news)
