"""Counts of what ended in a minute on a node, and how late the calls left."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import Millis

MINUTE: Millis = 60_000

BOUNDS_MS = (
    0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 250, 500, 1_000, 2_500, 5_000,
    10_000, 30_000, 60_000, 300_000, 3_600_000,
)  # fmt: skip
"""The upper bounds of the lateness histogram in milliseconds; a last bucket takes the rest."""


@dataclass(kw_only=True, slots=True)
class Tally:
    """Counts that can be added up over nodes and minutes."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0
    attempts: int = 0
    lateness: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    """How many executions left at most so late, by ``BOUNDS_MS``."""

    def add(self, execution: Execution) -> None:
        """Count an execution that has just ended; a skipped range counts each fire time."""
        match execution.state:
            case State.SUCCEEDED:
                self.succeeded += 1
            case State.FAILED:
                self.failed += 1
            case State.CANCELLED:
                self.cancelled += 1
            case State.SKIPPED:
                self.skipped += execution.skipped_count or 1
            case State.PENDING | State.CLAIMED:
                return
        self.attempts += len(execution.attempts)
        late = lateness(execution)
        if late is not None:
            self.lateness[bisect_left(BOUNDS_MS, late)] += 1

    def merge(self, other: "Tally") -> None:
        """Add the counts of another."""
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.skipped += other.skipped
        self.attempts += other.attempts
        self.lateness = [a + b for a, b in zip(self.lateness, other.lateness, strict=True)]

    def percentile(self, part: float) -> float | None:
        """The lateness in milliseconds that ``part`` (0 .. 1) of the executions stay within.

        Interpolated within a bucket; ``None`` where nothing was counted.
        """
        total = sum(self.lateness)
        if total == 0:
            return None
        rank = part * total
        below = 0
        for index, count in enumerate(self.lateness):
            if count and below + count >= rank:
                high = float(BOUNDS_MS[min(index, len(BOUNDS_MS) - 1)])
                low = float(BOUNDS_MS[index - 1]) if index else 0.0
                return low + (high - low) * max(0.0, rank - below) / count
            below += count
        return float(BOUNDS_MS[-1])

    def to_json(self) -> dict[str, int | list[int]]:
        """As a JSON value, for the store."""
        return {
            "succeeded": self.succeeded,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "skipped": self.skipped,
            "attempts": self.attempts,
            "lateness": self.lateness,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, int | list[int]]) -> "Tally":
        """The reverse of ``to_json``."""
        return cls(**data)  # type: ignore[arg-type]  # the store returns what to_json wrote


def tally_of(executions: Iterable[Execution]) -> Tally:
    """The counts of a batch."""
    tally = Tally()
    for execution in executions:
        tally.add(execution)
    return tally


def lateness(execution: Execution) -> Millis | None:
    """How long after its due instant the first call left; ``None`` where none did."""
    if not execution.attempts:
        return None
    return max(0, execution.attempts[0].started_at - execution.due)


def minute_of(instant: Millis) -> Millis:
    """The start of the minute an instant lies in."""
    return instant - instant % MINUTE
