"""Who gets the next call slot: each lane its share, so that a hanging target blocks only itself."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from tocsin.engine.held import Held


class Lanes:
    """Ready claims by lane, and how many calls of each lane are under way.

    Lanes take turns; one whose calls under way have reached its limit is passed over until one of
    them ends.
    """

    def __init__(self, *, max_in_flight: int, max_per_lane: int) -> None:
        self._max_in_flight = max_in_flight
        self._max_per_lane = max_per_lane
        self._ready: dict[int, deque[Held]] = {}
        self._calling: dict[int, int] = {}
        self._turns: deque[int] = deque()
        self._in_turns: set[int] = set()
        self.in_flight = 0

    def add(self, lane: int, claims: Iterable[Held]) -> None:
        """Put claims at the end of their lane."""
        waiting = self._ready.get(lane)
        if waiting is None:
            waiting = self._ready[lane] = deque()
        waiting.extend(claims)
        self._give_turn(lane)

    @property
    def startable(self) -> bool:
        """Whether ``take`` has something to give."""
        return bool(self._turns) and self.in_flight < self._max_in_flight

    def take(self) -> Iterator[Held]:
        """Claims that may start now; each takes a slot that ``ended`` gives back."""
        while self._turns and self.in_flight < self._max_in_flight:
            lane = self._turns.popleft()
            self._in_turns.discard(lane)
            waiting = self._ready[lane]
            held = waiting.popleft()
            if not waiting:
                del self._ready[lane]
            self.in_flight += 1
            self._calling[lane] = self._calling.get(lane, 0) + 1
            self._give_turn(lane)
            yield held

    def ended(self, lane: int) -> None:
        """Give back the slot of a call that ended."""
        self.in_flight -= 1
        left = self._calling[lane] - 1
        if left:
            self._calling[lane] = left
        else:
            del self._calling[lane]
        self._give_turn(lane)

    def remove(self, held: Held) -> None:
        """Take a claim that has not started out of its lane."""
        lane = held.claim.execution.lane
        waiting = self._ready.get(lane)
        if waiting is None or held not in waiting:
            return
        waiting.remove(held)
        if not waiting:
            del self._ready[lane]
            if lane in self._in_turns:
                self._in_turns.discard(lane)
                self._turns.remove(lane)

    def clear(self) -> None:
        """Forget what is ready; calls under way still give back their slots."""
        self._ready.clear()
        self._turns.clear()
        self._in_turns.clear()

    def turn_away(self, claims: Sequence[Held]) -> list[Held]:
        """Take those ready claims out of their lanes for which there is no slot, the last first."""
        away = []
        missing = -self._unused
        for held in reversed(claims):
            lane = held.claim.execution.lane
            if self._load(lane) <= self._max_per_lane:
                if missing <= 0:
                    continue
                missing -= 1
            self.remove(held)
            away.append(held)
        return away

    @property
    def free_slots(self) -> int:
        """How many more calls could start if their lanes allow."""
        return max(0, self._unused)

    @property
    def _unused(self) -> int:
        """Slots that what is ready leaves over; negative where some of it must wait for one.

        What is ready in a lane without a free slot waits for that lane alone, and takes nothing
        from the others.
        """
        ready = sum(
            min(len(waiting), self._max_per_lane - self._calling.get(lane, 0))
            for lane, waiting in self._ready.items()
        )
        return self._max_in_flight - self.in_flight - ready

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

    def _give_turn(self, lane: int) -> None:
        if (
            lane not in self._in_turns
            and lane in self._ready
            and self._calling.get(lane, 0) < self._max_per_lane
        ):
            self._in_turns.add(lane)
            self._turns.append(lane)
