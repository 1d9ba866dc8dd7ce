"""When to claim: ahead of its instant what may be, at the instant the rest.

Two loops, so that what must go at its instant does not wait for a claim of a thousand others.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from tocsin.domain.errors import Revoked
from tocsin.domain.instant import Millis
from tocsin.engine.claiming import Came, Claiming
from tocsin.engine.loop import Troubles
from tocsin.store.port import Claimed

BATCH = 1_000
"""Executions in one claim at most."""

SMALL_BATCH = 250
"""The same while claims at their instant are expected, which wait for the one under way."""

NEVER: Millis = 10**15

EXPECTED: Millis = 1_000
"""For how long before, and after, something that goes at its instant it is expected."""

LEAD: Millis = 100
"""How long before its instant a claim should begin, so that the call leaves on time."""

GATHER = 0.002
"""Seconds between two claims at least, so that a stream of hints is one claim, not many."""


class FireLoop:
    """Claims again and again: when something is due, after a hint, and after a poll."""

    name = ""

    def __init__(self, *, claiming: Claiming, poll: Millis) -> None:
        self._claiming = claiming
        self._dispatcher = claiming.dispatcher
        self._lease = claiming.lease
        self._clock = claiming.clock
        self._poll = poll
        self._wake = asyncio.Event()
        self._troubles = Troubles(self.name, claiming.meter)
        self.last_step = float("-inf")
        """When a claim last succeeded, on the monotonic clock."""
        self._looks_at = float("inf")
        """When the next claim begins; while one is under way it may have missed anything."""
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self.on_revoked: Callable[[str], None] = lambda _incarnation: None

    @property
    def trouble(self) -> str:
        """What the store said, where the last claim failed by it."""
        return self._troubles.told

    def nudge(self, due_at: Millis) -> None:
        """Say that something is due at an instant; looks at once where the next look is too late.

        Where that comes in time anyway there is no hurry: each node hears of all that is due soon,
        and most of it another one has claimed by then.
        """
        soon = self._clock.now() + max(self._sees, self._poll)
        if due_at <= min(self._looks_at, soon) + LEAD:
            self._wake.set()

    @property
    def _sees(self) -> Millis:
        """How far ahead a claim looks."""
        return 0

    def stop(self) -> None:
        """Let ``run`` end after the claim that is under way, if any."""
        self._stopping = True
        self._wake.set()

    async def step(self, now: Millis) -> Millis:
        """Claim what can be taken on; returns when to look again at the latest."""
        if not (self._lease.held and self._clock.ready):
            return now + self._poll
        claimed = await self._claim(now)
        self.last_step = self._clock.monotonic()
        if claimed is None:
            return now + self._poll
        # Where nothing was done although there is more, the dispatcher says when.
        if claimed.more and (claimed.claims or claimed.closed):
            return now
        return self._after(now, claimed.wake_at)

    def _after(self, now: Millis, wake_at: Millis | None) -> Millis:
        look_again = now + self._poll
        return look_again if wake_at is None else min(look_again, max(wake_at, now + 1))

    async def _claim(self, now: Millis) -> Claimed | None:
        """Make one claim; ``None`` where there is no room for any."""
        raise NotImplementedError

    async def run(self) -> None:
        """Claim until ``stop``."""
        while not self._stopping:
            self._wake.clear()
            try:
                look_again = await self.step(self._clock.now())
            except Revoked as error:
                self.on_revoked(error.incarnation)
                await asyncio.sleep(self._poll / 1_000)
                continue
            except Exception as error:  # noqa: BLE001  # a loop outlives every error
                await asyncio.sleep(self._troubles.failed(error))
                continue
            self._troubles.passed()
            await asyncio.sleep(GATHER)
            self._arm(look_again)
            await self._wake.wait()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._looks_at = float("inf")

    def _arm(self, look_again: Millis) -> None:
        """Wake at an instant; never later than a poll: the wall clock may have been set back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock.now()
        delay = min(look_again - now, self._poll) / 1_000
        if delay <= 0:
            self._wake.set()
        elif not self._wake.is_set():
            self._looks_at = now + delay * 1_000
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake.set)


class ExactLoop(FireLoop):
    """Claims what must be claimed at its instant, into free call slots."""

    name = "fire_exact"

    def __init__(self, *, claiming: Claiming, poll: Millis) -> None:
        # The other loop looks by the way at each of its polls; this one only where that does not.
        super().__init__(claiming=claiming, poll=poll * 3 // 2)
        self._slots = BATCH
        """How many call slots are filled with one claim; few where a lane turns most away."""
        self._last = -NEVER
        self._next = NEVER
        """The instants of the last claim that was not in vain and of the next one."""
        self._heard = NEVER
        """The earliest instant that it heard of since it last looked itself: what the other loop
        finds may be older than the news."""

    def expecting(self) -> bool:
        """Whether something goes at its instant soon, or went just now, so that more may come."""
        now = self._clock.now()
        return self._next - now <= EXPECTED or now - self._last <= EXPECTED

    def nudge(self, due_at: Millis) -> None:
        """As in ``FireLoop``."""
        self._heard = min(self._heard, due_at)
        super().nudge(due_at)

    @property
    def slots(self) -> int:
        """How many call slots one claim may fill."""
        return min(self._slots, self._dispatcher.free_slots)

    def looked(self, now: Millis, came: Came) -> None:
        """Know what a claim of this kind came to, whoever has made it."""
        claimed, need_slots, turned_away = came
        self.last_step = self._clock.monotonic()
        self._next = NEVER if claimed.exact_at is None else claimed.exact_at
        if need_slots:
            self._last = now
        if turned_away:
            # They crowd into a lane with few free slots: claiming many of them again and again,
            # for each slot that gets free, would only be to give them back.
            self._slots = max(1, 2 * (need_slots - turned_away))
        elif need_slots:
            self._slots = min(BATCH, 2 * self._slots)
        if self._timer is not None:
            # It was the other loop.
            at_once = claimed.more and (need_slots or claimed.closed)
            look_again = now if at_once else self._after(now, claimed.exact_at)
            self._arm(min(look_again, self._heard))

    async def _claim(self, now: Millis) -> Claimed | None:
        self._heard = NEVER
        dispatcher = self._dispatcher
        slots, full = self.slots, dispatcher.full_lanes()
        claimed: Claimed | None = None
        if slots:
            came = await self._claiming.claim(now, exact=slots, busy_lanes=full)
            self.looked(now, came)
            claimed = came.claimed
        no_slot = not dispatcher.free_slots
        if full or dispatcher.busy_jobs() or no_slot:
            dispatcher.note_limited(
                self._wake.set, room=lambda: dispatcher.free_slots, by_room=no_slot
            )
        return claimed


class AheadLoop(FireLoop):
    """Claims what may be claimed before it is due.

    And by the way, where there is room for all and nothing is expected at its instant, what must be
    claimed at it: so an idle node looks once, not twice.
    """

    name = "fire"

    def __init__(self, *, claiming: Claiming, poll: Millis, exact: ExactLoop) -> None:
        super().__init__(claiming=claiming, poll=poll)
        self._exact = exact

    @property
    def _sees(self) -> Millis:
        return self._claiming.horizon

    async def _claim(self, now: Millis) -> Claimed | None:
        dispatcher = self._dispatcher
        saturated = dispatcher.saturated_lanes()
        hurried = self._exact.expecting()
        ahead = min(SMALL_BATCH if hurried else BATCH, dispatcher.ahead_limit)
        slots = self._exact.slots
        # A crowded lane is passed over here, and not there.
        if hurried or saturated or dispatcher.full_lanes() or ahead + slots > dispatcher.room:
            slots = 0
        claimed: Claimed | None = None
        if ahead:
            came = await self._claiming.claim(now, ahead=ahead, exact=slots, busy_lanes=saturated)
            claimed = came.claimed
            if slots:
                claimed = self._share(now, came)
        no_room = not dispatcher.ahead_limit
        if saturated or dispatcher.busy_jobs() or no_room:
            dispatcher.note_limited(
                self._wake.set, room=lambda: dispatcher.ahead_limit, by_room=no_room
            )
        return claimed

    def _share(self, now: Millis, came: Came) -> Claimed:
        """Leave to the other loop what will be its own."""
        claimed = came.claimed
        self._exact.looked(now, came)
        if claimed.wake_at is not None and claimed.wake_at <= now + self._claiming.horizon:
            # All that may be claimed ahead is claimed until then.
            return replace(claimed, wake_at=None)
        return claimed
