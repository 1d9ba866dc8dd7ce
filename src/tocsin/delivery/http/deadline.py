"""Deadlines of exchanges: many of them on few timers."""

import asyncio
from typing import Protocol

_PER_SECOND = 50


class Expiring(Protocol):
    """Something that is to be told when its time is up."""

    def expire(self) -> None:
        """Its time is up."""
        ...


class Deadlines:
    """Tells at an instant of the loop's time, at most 20 ms late.

    A timer of the event loop costs 2 to 3 µs, a good part of a call, and hardly one in a thousand
    ever fires.  So all that is due within the same 20 ms shares one.
    """

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: dict[int, tuple[set[Expiring], asyncio.TimerHandle]] = {}

    def add(self, deadline: float, who: Expiring) -> set[Expiring]:
        """Tell ``who`` at ``deadline`` (in the loop's time); discard it from the set to cancel."""
        slot = int(deadline * _PER_SECOND) + 1
        entry = self._slots.get(slot)
        if entry is None:
            timer = asyncio.get_running_loop().call_at(slot / _PER_SECOND, self._due, slot)
            entry = self._slots[slot] = (set(), timer)
        due = entry[0]
        due.add(who)
        return due

    def close(self) -> None:
        """Tell nobody any more."""
        for _, timer in self._slots.values():
            timer.cancel()
        self._slots.clear()

    def _due(self, slot: int) -> None:
        due, _ = self._slots.pop(slot)
        while due:
            due.pop().expire()
