"""The claims in this node's hands, from the claim until the result is stored."""

from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from heapq import heappop, heappush

from tocsin.domain.instant import Millis
from tocsin.store.port import Claim

LEAVE_AT_ONCE = 2_000
"""Claims that become ready in one go, so that even a burst lets the loop go on within the
millisecond."""

TURN = 500
"""Claims of one lane that become ready before it is the next lane's turn."""


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
    GONE = auto()
    """Not held any more; only what has not noticed yet still knows of it."""


# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_WAITING = Stage.WAITING
_READY = Stage.READY
_GONE = Stage.GONE


class Held:
    """One claim and where it is."""

    __slots__ = ("again", "claim", "leaves_at", "set_aside", "since", "slow", "stage", "started_at")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        execution = claim.execution
        self.leaves_at = execution.due if execution.available_at is None else execution.available_at
        self.stage = _WAITING
        self.since = 0.0
        """When its call started, on the monotonic clock."""
        self.started_at: Millis = 0
        """The same on the other clock."""
        self.again = False
        """Whether it was claimed again (for a retry) while its result was on the way."""
        self.set_aside = False
        """Whether it has waited for a call of its job to end."""
        self.slow = False
        """Whether its call was seen to last; see ``lanes.EAGER``."""


class HeldClaims:
    """All held claims by id and by job, and the order in which waiting ones leave."""

    def __init__(self, *, many_of_job: int) -> None:
        self._many_of_job = many_of_job
        self._by_id: dict[str, Held] = {}
        self._by_job: dict[str, list[Held]] = {}
        self._by_lane: dict[int, int] = {}
        # Claims that leave at the same millisecond share one entry of the heap, and those of one
        # lane a list in it, so that a burst of any size costs next to nothing at its instant.
        self._instants: list[Millis] = []
        self._leaving: dict[Millis, dict[int, list[Held]]] = {}
        self._due: deque[tuple[int, list[Held]]] = deque()
        """What has come due but has not been looked at, by lane."""
        self.due = 0
        """How many these are."""
        self.crowded_jobs: dict[str, None] = {}
        """Jobs of which ``many_of_job`` claims are held or more, in whatever stage."""

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
        of_job = self._by_job.setdefault(execution.job_id, [])
        of_job.append(held)
        if len(of_job) == self._many_of_job:
            self.crowded_jobs[execution.job_id] = None
        lane = execution.lane
        self._by_lane[lane] = self._by_lane.get(lane, 0) + 1
        sharing = self._leaving.get(held.leaves_at)
        if sharing is None:
            self._leaving[held.leaves_at] = {lane: [held]}
            heappush(self._instants, held.leaves_at)
        elif (waiting := sharing.get(lane)) is None:
            sharing[lane] = [held]
        else:
            waiting.append(held)
        return True

    def drop(self, execution_id: str) -> Held | None:
        """Let go of a claim; where it waits, its instant passes without it."""
        held = self._by_id.pop(execution_id, None)
        if held is None:
            return None
        held.stage = _GONE
        execution = held.claim.execution
        of_job = self._by_job[execution.job_id]
        of_job.remove(held)
        if len(of_job) == self._many_of_job - 1:
            self.crowded_jobs.pop(execution.job_id, None)
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
        self.crowded_jobs.clear()
        self._by_lane.clear()
        self._instants.clear()
        self._leaving.clear()
        self._due.clear()
        self.due = 0

    def next_instant(self) -> Millis | None:
        """The earliest instant that claims wait for."""
        return self._instants[0] if self._instants else None

    def leave(self, now: Millis) -> Iterator[tuple[int, list[Held]]]:
        """Take claims whose instant has come, by lane; they become ready.

        Earliest first, ``LEAVE_AT_ONCE`` in all; where more are ``due`` lanes take turns.
        """
        while self._instants and self._instants[0] <= now:
            for lane, waiting in self._leaving.pop(heappop(self._instants)).items():
                self._due.append((lane, waiting))
                self.due += len(waiting)
        room = LEAVE_AT_ONCE
        while room > 0 and self._due:
            lane, waiting = self._due.popleft()
            part = waiting[:TURN]
            if len(waiting) > TURN:
                del waiting[:TURN]
                self._due.append((lane, waiting))
            room -= len(part)
            self.due -= len(part)
            # Those that were dropped or given up are only found here: taking them out of the
            # middle would cost more.
            ready = [held for held in part if held.stage is _WAITING]
            for held in ready:
                held.stage = _READY
            if ready:
                yield lane, ready
