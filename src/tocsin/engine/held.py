"""The claims in this node's hands, from the claim until the result is stored."""

from collections.abc import Iterable, Iterator
from enum import Enum, auto
from heapq import heappop, heappush

from tocsin.domain.instant import Millis
from tocsin.store.port import Claim


class Stage(Enum):
    """Where a held claim is."""

    WAITING = auto()
    """For its instant."""
    READY = auto()
    """For a free call slot."""
    STARTING = auto()
    """It has its slot, and its call leaves in a moment: the last place where it can be stopped
    without a trace."""
    CALLING = auto()
    RECORDING = auto()
    """Its result is on the way to the store."""


class Held:
    """One claim and where it is."""

    __slots__ = ("again", "claim", "leaves_at", "since", "stage")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        execution = claim.execution
        self.leaves_at = execution.due if execution.available_at is None else execution.available_at
        self.stage = Stage.WAITING
        self.since = 0.0
        """When its call started, on the monotonic clock."""
        self.again = False
        """Whether it was claimed again (for a retry) while its result was on the way."""


class HeldClaims:
    """All held claims by id and by job, and the order in which waiting ones leave."""

    def __init__(self) -> None:
        self._by_id: dict[str, Held] = {}
        self._by_job: dict[str, list[Held]] = {}
        self._by_lane: dict[int, int] = {}
        # Claims that leave at the same millisecond share one entry of the heap, so that a burst
        # of any size costs one heap operation.
        self._instants: list[Millis] = []
        self._leaving: dict[Millis, list[Held]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, execution_id: str) -> bool:
        return execution_id in self._by_id

    def get(self, execution_id: str) -> Held | None:
        """The held claim with this id."""
        return self._by_id.get(execution_id)

    def all(self) -> Iterable[Held]:
        """Every held claim."""
        return self._by_id.values()

    def of_job(self, job_id: str) -> Iterator[Held]:
        """The held claims of a job."""
        yield from tuple(self._by_job.get(job_id, ()))

    def add(self, claim: Claim) -> bool:
        """Hold a claim; ``False`` where it is held already."""
        execution = claim.execution
        if execution.id in self._by_id:
            return False
        held = Held(claim)
        self._by_id[execution.id] = held
        self._by_job.setdefault(execution.job_id, []).append(held)
        self._by_lane[execution.lane] = self._by_lane.get(execution.lane, 0) + 1
        sharing = self._leaving.get(held.leaves_at)
        if sharing is None:
            self._leaving[held.leaves_at] = [held]
            heappush(self._instants, held.leaves_at)
        else:
            sharing.append(held)
        return True

    def drop(self, execution_id: str) -> Held | None:
        """Let go of a claim; where it waits, its instant passes without it."""
        held = self._by_id.pop(execution_id, None)
        if held is None:
            return None
        execution = held.claim.execution
        of_job = self._by_job[execution.job_id]
        of_job.remove(held)
        if not of_job:
            del self._by_job[execution.job_id]
        self._by_lane[execution.lane] -= 1
        if not self._by_lane[execution.lane]:
            del self._by_lane[execution.lane]
        return held

    def crowded(self, limit: int) -> frozenset[int]:
        """Lanes of which so many claims are held, in whatever stage."""
        if len(self._by_id) < limit:
            return frozenset()
        return frozenset(lane for lane, count in self._by_lane.items() if count >= limit)

    def clear(self) -> None:
        """Let go of everything."""
        self._by_id.clear()
        self._by_job.clear()
        self._by_lane.clear()
        self._instants.clear()
        self._leaving.clear()

    def next_instant(self) -> Millis | None:
        """The earliest instant that claims wait for."""
        return self._instants[0] if self._instants else None

    def leave(self, now: Millis) -> Iterator[Held]:
        """Take the claims whose instant has come, earliest first; they become ready."""
        while self._instants and self._instants[0] <= now:
            for held in self._leaving.pop(heappop(self._instants)):
                # Those that were dropped or given up are only found here: taking them out of the
                # middle would cost more.
                waits = held.stage is Stage.WAITING
                if waits and self._by_id.get(held.claim.execution.id) is held:
                    held.stage = Stage.READY
                    yield held
