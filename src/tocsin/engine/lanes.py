"""Who gets the next call slot: each lane its share, so that a hanging target blocks only itself."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from tocsin.engine.held import Held

Key = TypeVar("Key", int, str)


RESERVE = 16
"""One call slot in so many is for claims that come at their instant: they are claimed into free
slots only, and a burst that was claimed ahead would leave none for as long as it lasts."""

EAGER = 64
"""Calls of one lane that are under way at most while none of them has lasted.

What answers within a few milliseconds needs no more of them: to open another connection costs as
much as two fires, and each that is open takes room in the processor's caches.
"""

PATIENCE = 0.005
"""Seconds after which a call lasts: its lane may have another one beside the eager ones, up to its
limit. So a lane gets nearly 13,000 calls a second while no answer comes at all, and as many as a
node can make where answers come within three milliseconds."""


class Lanes:
    """Ready claims by lane, and how many calls of each lane and of each job are under way.

    Lanes take turns; one whose calls under way have reached its limit is passed over until one of
    them ends, and one that has its ``eager`` ones until one of them ends or is seen to last. What
    is ready of a job whose calls have reached their limit is set aside until then. Claims that came
    at their instant go before the others of their lane, and their lanes first.
    """

    def __init__(
        self, *, max_in_flight: int, max_per_lane: int, max_per_job: int, eager: int = EAGER
    ) -> None:
        self._max_in_flight = max_in_flight
        self._max_ahead = max_in_flight - max_in_flight // RESERVE
        self._max_per_lane = max_per_lane
        self._max_per_job = max_per_job
        self._eager = min(eager, max_per_lane)
        self._slow: dict[int, int] = {}
        """How many of a lane's calls were seen to last."""
        self._held_back: set[int] = set()
        """Lanes that have their eager calls and less than their limit, but for some that have
        nothing ready any more."""
        self._ready: dict[int, deque[Held]] = {}
        self._calling: dict[int, int] = {}
        self._calling_of_job: dict[str, int] = {}
        self._set_aside: dict[str, dict[int, deque[Held]]] = {}
        """By job and lane: a job that has got another target has claims in both lanes."""
        self._turns: deque[int] = deque()
        self._in_turns: set[int] = set()
        self.in_flight = 0

    def add(self, lane: int, claims: Iterable[Held]) -> None:
        """Put claims at the end of their lane."""
        waiting = self._ready.get(lane)
        if waiting is None:
            waiting = self._ready[lane] = deque()
        first = []
        for held in claims:
            if held.claim.execution.exact:
                first.append(held)
            else:
                waiting.append(held)
        if first:
            at = _first_ahead(waiting)
            for place, held in enumerate(first, at):
                waiting.insert(place, held)
            self._take_turn(lane)  # It gets a better one.
        self._give_turn(lane)

    @property
    def startable(self) -> bool:
        """Whether ``take`` may have something to give."""
        return bool(self._turns) and self.in_flight < self._limit(self._turns[0])

    @property
    def holds_back(self) -> bool:
        """Whether a lane may go on as soon as one of its calls is seen to last."""
        if not self._held_back:
            return False
        self._held_back.intersection_update(self._ready)
        return bool(self._held_back)

    def lasts(self, held: Held) -> None:
        """Know that a call that is under way lasts: its lane may have another one beside it."""
        if not held.slow:
            held.slow = True
            lane = held.claim.execution.lane
            self._slow[lane] = self._slow.get(lane, 0) + 1
            self._give_turn(lane)

    def take(self) -> Iterator[Held]:
        """Claims that may start now; each takes a slot that ``ended`` gives back."""
        while self._turns:
            lane = self._turns[0]
            if self.in_flight >= self._limit(lane):
                break
            self._turns.popleft()
            self._in_turns.discard(lane)
            waiting = self._ready[lane]
            held = waiting.popleft()
            if not waiting:
                del self._ready[lane]
            job_id = held.claim.execution.job_id
            of_job = self._calling_of_job.get(job_id, 0)
            if of_job >= self._max_per_job:
                aside = self._set_aside.setdefault(job_id, {}).setdefault(lane, deque())
                if held.set_aside:  # It was let in, and another lane has got the slot.
                    aside.appendleft(held)
                else:
                    held.set_aside = True
                    aside.append(held)
                self._give_turn(lane)
                continue
            self.in_flight += 1
            self._calling[lane] = self._calling.get(lane, 0) + 1
            self._calling_of_job[job_id] = of_job + 1
            self._give_turn(lane)
            yield held

    def ended(self, held: Held) -> None:
        """Give back the slot of a call that ended."""
        execution = held.claim.execution
        lane, job_id = execution.lane, execution.job_id
        self.in_flight -= 1
        _count_down(self._calling, lane)
        _count_down(self._calling_of_job, job_id)
        if held.slow:
            held.slow = False
            _count_down(self._slow, lane)
        if lane not in self._in_turns:
            self._give_turn(lane)
        if self._set_aside and job_id in self._set_aside:
            self._let_in(job_id)

    def remove(self, held: Held) -> None:
        """Take a claim that has not started out of its lane."""
        execution = held.claim.execution
        aside = self._set_aside.get(execution.job_id)
        if aside is not None and held in aside.get(execution.lane, ()):
            aside[execution.lane].remove(held)
            self._forget_empty(execution.job_id, execution.lane)
            return
        waiting = self._ready.get(execution.lane)
        if waiting is None or held not in waiting:
            return
        waiting.remove(held)
        if not waiting:
            del self._ready[execution.lane]
            self._take_turn(execution.lane)
        elif execution.exact and not waiting[0].claim.execution.exact:
            self._take_turn(execution.lane)  # What is left must not stand before exact claims.
            self._give_turn(execution.lane)
        if aside is not None and held.set_aside:
            self._let_in(execution.job_id)  # The slot that it was let in for is free still.

    def clear(self) -> None:
        """Forget what is ready; calls under way still give back their slots."""
        self._ready.clear()
        self._set_aside.clear()
        self._turns.clear()
        self._in_turns.clear()
        self._held_back.clear()

    def turn_away(self, claims: Sequence[Held]) -> list[Held]:
        """Take those ready claims out of their lanes for which there is no slot, the last first.

        They are claims that came at their instant, so nothing that is ready goes before them.
        """
        away = []
        room = self._max_in_flight - self.in_flight
        lanes, jobs = Counter(self._calling), Counter(self._calling_of_job)
        for held in claims:
            execution = held.claim.execution
            lane, job_id = execution.lane, execution.job_id
            if room and lanes[lane] < self._max_per_lane and jobs[job_id] < self._max_per_job:
                room -= 1
                lanes[lane] += 1
                jobs[job_id] += 1
            else:
                self.remove(held)
                away.append(held)
        return away[::-1]

    def free_slots(self, due: int = 0) -> int:
        """How many more calls could start if their lanes allow, for claims at their instant.

        So many claims are ``due`` but have not been added yet. What is ready in a lane without a
        free slot waits for that lane alone, and takes nothing from the others; none of it takes
        what is reserved.
        """
        ready = sum(
            min(len(waiting), self._max_per_lane - self._calling.get(lane, 0))
            for lane, waiting in self._ready.items()
        )
        ahead = min(ready + due, max(0, self._max_ahead - self.in_flight))
        return max(0, self._max_in_flight - self.in_flight - ahead)

    def full(self) -> frozenset[int]:
        """Lanes in which nothing more could start at once."""
        return frozenset(
            lane
            for lane in self._ready.keys() | self._calling.keys()
            if self._load(lane) >= self._max_per_lane
        )

    def saturated(self) -> frozenset[int]:
        """Lanes that have a whole refill of calls waiting; claiming more would only hoard."""
        return frozenset(lane for lane in self._ready if self._load(lane) >= 2 * self._max_per_lane)

    def _load(self, lane: int) -> int:
        return self._calling.get(lane, 0) + len(self._ready.get(lane, ()))

    def _limit(self, lane: int) -> int:
        """How many calls may be under way for the first claim of a lane to start."""
        exact = self._ready[lane][0].claim.execution.exact
        return self._max_in_flight if exact else self._max_ahead

    def _let_in(self, job_id: str) -> None:
        """Put what was set aside back into its lane, where its job may have one more call.

        The first of each lane: which of them has a slot next is not known, and one that waits for
        its lane must not keep back another. Who comes too late is set aside again.
        """
        if self._calling_of_job.get(job_id, 0) >= self._max_per_job:
            return
        for lane, aside in list(self._set_aside[job_id].items()):
            held = aside.popleft()
            self._forget_empty(job_id, lane)
            self._put_back(lane, held)

    def _forget_empty(self, job_id: str, lane: int) -> None:
        aside = self._set_aside[job_id]
        if not aside[lane]:
            del aside[lane]
        if not aside:
            del self._set_aside[job_id]

    def _put_back(self, lane: int, held: Held) -> None:
        exact = held.claim.execution.exact
        waiting = self._ready.setdefault(lane, deque())
        place = 0 if exact else _first_ahead(waiting)
        for other in islice(waiting, place, None):
            # Before all that was not set aside, but behind those that were let in earlier.
            if not other.set_aside or other.claim.execution.exact is not exact:
                break
            place += 1
        waiting.insert(place, held)
        if exact:
            self._take_turn(lane)  # It gets a better one.
        self._give_turn(lane)

    def _give_turn(self, lane: int) -> None:
        if lane in self._in_turns or not (waiting := self._ready.get(lane)):
            return
        calling = self._calling.get(lane, 0)
        if calling >= self._max_per_lane:
            return
        if waiting[0].claim.execution.exact:
            # It was claimed into a free slot, and what it must know is true only now.
            self._turns.appendleft(lane)
        elif calling < self._eager or calling - self._slow.get(lane, 0) < self._eager:
            self._turns.append(lane)
        else:
            self._held_back.add(lane)
            return
        self._in_turns.add(lane)
        if self._held_back:
            self._held_back.discard(lane)

    def _take_turn(self, lane: int) -> None:
        if lane in self._in_turns:
            self._in_turns.discard(lane)
            self._turns.remove(lane)


def _first_ahead(waiting: Iterable[Held]) -> int:
    """The place of the first claim that was claimed ahead."""
    place = 0
    for held in waiting:
        if not held.claim.execution.exact:
            break
        place += 1
    return place


def _count_down(counts: dict[Key, int], key: Key) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
