"""Starting each call at its instant, and never more at once than there are slots."""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Protocol

import structlog

from tocsin.domain.execution import (
    Attempt,
    ErrorKind,
    Execution,
    Reason,
    State,
    TriggerKind,
    closed,
)
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job
from tocsin.domain.settle import rescue, settle, void
from tocsin.engine.caller import Caller, CallResult, CallUnderWay, NotStarted
from tocsin.engine.clock import Clock
from tocsin.engine.held import Held, HeldClaims, Stage
from tocsin.engine.lanes import EAGER, PATIENCE, RESERVE, Lanes
from tocsin.engine.lease import Lease
from tocsin.store.bus import Bus, CallsStarted
from tocsin.store.port import Claim

log = structlog.stdlib.get_logger("tocsin.engine")


class Results(Protocol):
    """Takes what came of executions, to be stored."""

    def put(self, execution: Execution) -> None:
        """Store this soon."""


ROOM_CHECK = 0.01
"""Seconds between two looks for room while something is limited, so that they cost nothing."""


BUSY_JOBS = 100
"""Jobs that a claim is asked to pass over at most."""

START_AT_ONCE = 64
"""Calls that start in one go: about a millisecond of work."""

# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_CALLING = Stage.CALLING
_RECORDING = Stage.RECORDING


@dataclass(slots=True, eq=False)
class Taking:
    """What happens while claims are on their way here from the store."""

    before: tuple[Held, ...]
    """What was held when it began; only where it was asked for."""
    seen: set[str]
    """Ids that are or were held since it began; with ``before`` only."""
    jobs: list[Job] = field(default_factory=list)
    """Jobs that changed since."""
    aborted: list[str] = field(default_factory=list)
    """Executions that were ended elsewhere since."""
    expected: int = 0
    """How many claims it may still bring: so much of the room is promised."""


@dataclass(frozen=True, slots=True)
class Limited:
    """Why somebody could not claim all there was, to be told when that is over."""

    blocked: frozenset[int | str]
    """Lanes and jobs that had enough then."""
    room: Callable[[], int]
    """How much there is room for; without any there is nothing to tell."""
    by_room: bool
    """Whether there was no room at all."""


class Dispatcher:
    """Holds claims until their instant, makes their calls and hands on the results.

    A claim stays held until ``forget``: the recorder says so once its result is stored.
    """

    def __init__(
        self,
        *,
        caller: Caller,
        results: Results,
        lease: Lease,
        clock: Clock,
        bus: Bus,
        node_name: str,
        max_held: int,
        max_in_flight: int,
        max_per_lane: int,
        max_per_job: int,
        eager: int = EAGER,
    ) -> None:
        self._caller = caller
        self._results = results
        self._lease = lease
        self._clock = clock
        self._bus = bus
        self._node_name = node_name
        self._max_held = max_held
        # What hangs is noticed by its calls, long before (``saturated``); this is for a burst to
        # one target that is not due yet, which should be claimed ahead as a whole where it can.
        self._max_held_per_lane = max(1, max_held // 2)
        # What comes at its instant finds room although a burst has filled the memory.
        self._reserve = min(math.ceil(max_in_flight / RESERVE), max_held // 2)
        self._claims = HeldClaims(many_of_job=max_per_job)
        self._lanes = Lanes(
            max_in_flight=max_in_flight,
            max_per_lane=max_per_lane,
            max_per_job=max_per_job,
            eager=eager,
        )
        self._under_way: dict[Held, asyncio.Task[None] | CallUnderWay] = {}
        """The calls, the oldest first; a task may not have begun its call yet."""
        self._none_left: asyncio.Future[None] | None = None
        self._pump_again: asyncio.Handle | None = None
        self._patience: asyncio.Handle | None = None
        """Ends when what is under way by now is a call that lasts."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_for: Millis | None = None
        self._limited: dict[Callable[[], None], Limited] = {}
        """Who is to be told."""
        self._room_check: asyncio.TimerHandle | None = None
        self._takings: list[Taking] = []
        self._doubtful = 0
        self.on_stray: Callable[[], None] = lambda: None
        """Called when this node may own a claim that it does not hold."""

    # --- what the fire loop asks

    @property
    def held(self) -> int:
        """How many claims are held, in whatever stage."""
        return len(self._claims)

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return self._lanes.in_flight

    @property
    def unstarted(self) -> int:
        """How many claims are held of which no call has begun."""
        stages = {Stage.WAITING, Stage.READY, Stage.STARTING}
        return sum(held.stage in stages for held in self._claims.all())

    @property
    def room(self) -> int:
        """How many more claims may be asked for: those that are on their way have their place."""
        promised = sum(taking.expected for taking in self._takings)
        return max(0, self._max_held - len(self._claims) - promised - self._doubtful)

    @property
    def ahead_limit(self) -> int:
        """How many claims may come ahead at once: a part of the memory at most.

        So that none fills all of it with claims of one lane before that is seen to be crowded.
        """
        return min(max(0, self.room - self._reserve), max(1, self._max_held // 8))

    @property
    def free_slots(self) -> int:
        """How many calls could start at once, for claims that must not wait."""
        return min(self._lanes.free_slots(self._claims.due), self.room)

    def full_lanes(self) -> frozenset[int]:
        """Lanes without a free slot."""
        return self._lanes.full()

    def saturated_lanes(self) -> frozenset[int]:
        """Lanes for which nothing should be claimed ahead either.

        Those with a refill of calls waiting, and those whose claims fill their share of the
        memory: what waits for a target that hangs must leave room for the others.
        """
        return self._lanes.saturated() | self._claims.crowded(self._max_held_per_lane)

    def busy_jobs(self) -> frozenset[str]:
        """Jobs of which as many claims are held as calls may be under way; of some of them.

        What is due of them beyond that waits in the store, except where there are so many of these
        jobs that the list would cost more than it saves.
        """
        return frozenset(islice(self._claims.crowded_jobs, BUSY_JOBS))

    def note_limited(
        self, tell: Callable[[], None], *, room: Callable[[], int], by_room: bool
    ) -> None:
        """Ask for ``tell`` to be called once, when there is ``room`` for what there was none for.

        That is: when one of the lanes or jobs that are full now is not any more, or, where
        ``by_room`` says that there was no room at all, as soon as there is some.
        """
        self._limited[tell] = Limited(self._blocked(), room, by_room)
        self._look_for_room()

    def _blocked(self) -> frozenset[int | str]:
        return frozenset((*self._lanes.full(), *self.saturated_lanes(), *self.busy_jobs()))

    @contextmanager
    def taking(self, *, all_owned: bool = False, expected: int = 0) -> Iterator[Taking]:
        """Bracket a read of ``expected`` claims at most from the store and their ``hold``.

        The store's answer is as old as its transaction; news that overtook it is applied to the
        claims when they are held. ``all_owned``: whatever the node owns is read, so it is noted
        what is held meanwhile.
        """
        before = tuple(self._claims.all()) if all_owned else ()
        taking = Taking(before, {held.claim.execution.id for held in before}, expected=expected)
        self._takings.append(taking)
        try:
            yield taking
        finally:
            self._takings.remove(taking)
            self._look_for_room()

    @property
    def doubtful(self) -> int:
        """How many claims this node may own without knowing: their answers were lost."""
        return self._doubtful

    def doubt(self, count: int) -> None:
        """Keep room for so many more of these; they are adopted, or were never claimed."""
        self._doubtful += count

    def doubt_no_more(self, count: int) -> None:
        """Know what became of so many of these."""
        self._doubtful = max(0, self._doubtful - count)
        self._look_for_room()

    def holds(self, execution_id: str) -> bool:
        """Whether this claim is held, in whatever stage."""
        return execution_id in self._claims

    def hold(self, claims: Sequence[Claim]) -> None:
        """Take over claims; those that are held already are left alone."""
        for claim in claims:
            execution = claim.execution
            if self._claims.add(claim):
                for taking in self._takings:
                    taking.seen.add(execution.id)
                reason = void(execution, claim.job)
                if reason is not None and (held := self._claims.get(execution.id)) is not None:
                    self._give_up(held, reason)
            elif (held := self._claims.get(execution.id)) is not None:
                held.again = held.stage is Stage.RECORDING
        if self._takings:
            self._revise([job for taking in self._takings for job in taking.jobs])
            self._abort([one for taking in self._takings for one in taking.aborted])
        self.pump()

    def unfamiliar(self, taking: Taking, versions: Mapping[str, int]) -> list[str]:
        """Ids of what is owned but was not held, or is held with another version of its job."""
        held_versions = {held.claim.execution.id: held.claim.job.version for held in taking.before}
        return [
            one
            for one, version in versions.items()
            if held_versions.get(one, version if one in taking.seen else None) != version
        ]

    def reconcile(
        self, taking: Taking, versions: Mapping[str, int], claims: Sequence[Claim]
    ) -> list[Claim]:
        """Let what was held before a read of whatever this node owns follow what was read.

        So that the truth arrives also where the news of it was lost. ``versions`` are all that
        was owned, ``claims`` those of them that were unfamiliar. Returns what is owned but was
        never held since.
        """
        by_id = {claim.execution.id: claim for claim in claims}
        for held in taking.before:
            execution_id = held.claim.execution.id
            if self._claims.get(execution_id) is held:
                if execution_id not in versions:
                    self._abort_held(held)
                elif execution_id in by_id:
                    self._revise_held(held, by_id[execution_id].job)
        return [claim for one, claim in by_id.items() if one not in taking.seen]

    # --- calls

    def clock_moved(self) -> None:
        """Wait anew for the next instant: the timer was set by a clock that was corrected since."""
        self._timer_for = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.pump()

    def pump(self) -> None:
        """Start whatever may start now.

        Of a burst only some, and the rest when the loop has seen to everything else.
        """
        now = self._clock.now()
        claims, lanes = self._claims, self._lanes
        for lane, ready in claims.leave(now):
            lanes.add(lane, ready)
        may_start = self._lease.held and self._start_some(now)
        if claims.due or (may_start and lanes.startable):
            self._pump_soon()
        if self._patience is None and lanes.holds_back:
            self._be_patient()
        self._arm(now)
        self._look_for_room()

    def _be_patient(self) -> None:
        """Find out which of the calls under way last, where lanes wait for that."""
        self._patience = asyncio.get_running_loop().call_later(
            PATIENCE, self._patience_ends, self._clock.monotonic(), 2
        )

    def _patience_ends(self, since: float, turns: int) -> None:
        if turns:
            # Answers that have come while the loop was busy are read first.
            self._patience = asyncio.get_running_loop().call_soon(
                self._patience_ends, since, turns - 1
            )
            return
        self._patience = None
        for held in self._under_way:
            if held.since <= since:
                self._lanes.lasts(held)
        self.pump()

    def _pump_soon(self) -> None:
        if self._pump_again is None:
            self._pump_again = asyncio.get_running_loop().call_soon(self._pump_now)

    def _pump_now(self) -> None:
        self._pump_again = None
        self.pump()

    def _start_some(self, now: Millis) -> bool:
        """Start ``START_AT_ONCE`` calls; whether more may start."""
        since = self._clock.monotonic()
        started: list[Execution] = []
        on = True
        for held in islice(self._lanes.take(), START_AT_ONCE):
            held.since, held.started_at = since, now
            try:
                call = self._caller.begin(held.claim, partial(self._ended, held))
            except NotStarted:
                self._lanes.ended(held)
                self._wait_again(held)
                on = False
                break
            except Exception as error:  # noqa: BLE001  # a bug of ours, see ``_broken``
                held.stage = Stage.CALLING
                self._ended(held, error)
                continue
            if call is None:
                held.stage = Stage.STARTING
                self._under_way[held] = asyncio.create_task(self._call(held))
            else:
                held.stage = _CALLING
                self._under_way[held] = call
                started.append(held.claim.execution)
        if started:
            self._bus.publish(CallsStarted(executions=started))
        return on

    def _arm(self, now: Millis) -> None:
        instant = self._claims.next_instant()
        if instant == self._timer_for:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_for = instant
        if instant is not None:
            # A timer of the loop may come up to a millisecond early; then it is set anew.
            delay = max(instant - now, 1) / 1_000
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _look_for_room(self) -> None:
        if self._limited and self._room_check is None:
            self._room_check = asyncio.get_running_loop().call_later(ROOM_CHECK, self._check_room)

    def _check_room(self) -> None:
        self._room_check = None
        if not self._limited:
            return
        blocked = self._blocked()
        for tell, limited in tuple(self._limited.items()):
            if limited.room() and (limited.by_room or limited.blocked - blocked):
                del self._limited[tell]
                tell()

    def _wake(self) -> None:
        self._timer = None
        self._timer_for = None
        self.pump()

    async def _call(self, held: Held) -> None:
        """Make a call that takes more than an idle connection."""
        claim = held.claim
        if held.stage is not Stage.STARTING:
            self._give_slot_back(held)  # It was given up before it began.
            self._pump_soon()
            return
        if not self._lease.held:
            # Time has passed since the slot was given: the loop starved or the process stopped.
            self._give_slot_back(held)
            self._wait_again(held)
            return
        held.stage = Stage.CALLING
        held.since = self._clock.monotonic()
        held.started_at = self._clock.now()
        self._bus.publish(CallsStarted(executions=(claim.execution,)))
        try:
            result: CallResult | Exception = await self._caller.call(claim)
        except NotStarted:
            self._give_slot_back(held)
            if held.stage is Stage.CALLING:
                self._wait_again(held)
        except asyncio.CancelledError:
            self._end(held, self._aborted(held))
        except Exception as error:  # noqa: BLE001  # a bug of ours, see ``_broken``
            self._ended(held, error)
        else:
            self._ended(held, result)

    def _ended(self, held: Held, result: CallResult | Exception) -> None:
        """Settle what a call came to; whatever goes wrong in it, its slot gets free."""
        try:
            outcome = (
                self._broken(held, result)
                if isinstance(result, Exception)
                else settle(
                    held.claim.execution,
                    result.attempt,
                    held.claim.job.spec,
                    now=self._clock.now(),
                    request_written=result.request_written,
                    retry_after=result.retry_after,
                )
            )
        except Exception as error:  # noqa: BLE001  # a bug of ours, as in ``_broken``
            outcome = self._broken(held, error)
        self._end(held, outcome)

    def _broken(self, held: Held, error: Exception) -> Execution:
        """The outcome of a call in which a bug of ours came to light.

        It must not be made again and again on one target.
        """
        execution = held.claim.execution
        log.error("call.broken", execution_id=execution.id, job=execution.job_name, exc_info=error)
        attempt = self._attempt(held, ErrorKind.PROTOCOL, "the call could not be made; see the log")
        attempts = (*execution.attempts, attempt)
        return closed(execution, State.FAILED, None, self._clock.now(), attempts=attempts)

    def _end(self, held: Held, outcome: Execution) -> None:
        self._give_slot_back(held)
        if self._pump_again is None:
            if self._lanes.startable:
                self._pump_soon()
            elif self._patience is None and self._lanes.holds_back:
                self._be_patient()
        # Whoever took the claim away has also decided what becomes of it.
        if held.stage is _CALLING:
            self._finish(held, outcome)

    def _wait_again(self, held: Held) -> None:
        """Let a call wait that must not start now: it goes with the next proof of the lease."""
        held.stage = Stage.READY
        self._lanes.add(held.claim.execution.lane, (held,))

    def _give_slot_back(self, held: Held) -> None:
        self._under_way.pop(held, None)
        self._lanes.ended(held)
        if self._limited:
            self._look_for_room()
        if self._none_left is not None and not self._under_way:
            self._none_left.set_result(None)
            self._none_left = None

    def _finish(self, held: Held, outcome: Execution) -> None:
        held.stage = _RECORDING
        self._results.put(outcome)

    def _aborted(self, held: Held) -> Execution:
        """The outcome of a call that was cancelled on purpose."""
        attempt = self._attempt(held, ErrorKind.CANCELLED, "the call was aborted")
        execution = held.claim.execution
        return closed(
            execution,
            State.CANCELLED,
            Reason.REQUESTED,
            self._clock.now(),
            attempts=(*execution.attempts, attempt),
        )

    def _attempt(self, held: Held, kind: ErrorKind, message: str) -> Attempt:
        return Attempt(
            number=len(held.claim.execution.attempts) + 1,
            started_at=held.started_at,
            duration_ms=round((self._clock.monotonic() - held.since) * 1_000, 3),
            error_kind=kind,
            error=message,
            node=self._node_name,
        )

    def turn_away(self, claims: Iterable[Claim]) -> list[str]:
        """Let go of those claims that found no slot in their lane; returns their ids."""
        ready = [
            held
            for claim in claims
            if (held := self._claims.get(claim.execution.id)) is not None
            and held.stage is Stage.READY
        ]
        ids = [held.claim.execution.id for held in self._lanes.turn_away(ready)]
        for execution_id in ids:
            self._claims.drop(execution_id)
        return ids

    def forget(self, execution_ids: Iterable[str]) -> None:
        """Let go of claims whose results are stored, or are not this node's to store."""
        for execution_id in execution_ids:
            held = self._claims.drop(execution_id)
            if held is not None and held.again:
                self.doubt(1)  # Its place is its own until it is adopted.
                self.on_stray()
        self._look_for_room()

    # --- changes from outside

    def revise(self, jobs: Sequence[Job]) -> None:
        """Let claims that have not started follow the new state of their jobs.

        A fire time that the new definition still calls for goes out with it; any other is
        given up and ends as cancelled.
        """
        for taking in self._takings:
            taking.jobs.extend(jobs)
        self._revise(jobs)

    def _revise(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            for held in self._claims.of_job(job.id):
                self._revise_held(held, job)

    def _revise_held(self, held: Held, job: Job) -> None:
        if held.stage in {Stage.CALLING, Stage.RECORDING}:
            return
        if job.version <= held.claim.job.version:
            return  # Old news, overtaken by newer.
        execution = held.claim.execution
        reason = void(execution, job)
        if reason is None and not _called_for(execution, job):
            reason = Reason.CHANGED
        if reason is None:
            held.claim = Claim(execution=execution, job=job)
        else:
            self._give_up(held, reason)

    def _give_up(self, held: Held, reason: Reason) -> None:
        self._lanes.remove(held)
        held.stage = Stage.RECORDING
        execution = held.claim.execution
        self._results.put(closed(execution, State.CANCELLED, reason, self._clock.now()))

    def abort(self, execution_ids: Sequence[str]) -> None:
        """Stop what was ended elsewhere: drop what waits, abort what is under way."""
        for taking in self._takings:
            taking.aborted.extend(execution_ids)
        self._abort(execution_ids)

    def _abort(self, execution_ids: Sequence[str]) -> None:
        for execution_id in execution_ids:
            held = self._claims.get(execution_id)
            if held is not None:
                self._abort_held(held)

    def _abort_held(self, held: Held) -> None:
        if held.stage is Stage.CALLING:
            call = self._under_way.get(held)
            if isinstance(call, asyncio.Task):
                call.cancel()  # Its end does the rest.
            elif call is not None:
                call.abort()
                self._end(held, self._aborted(held))
        elif held.stage is not Stage.RECORDING:
            self._lanes.remove(held)
            self._claims.drop(held.claim.execution.id)

    def calling_since(self, monotonic: float) -> list[Held]:
        """Calls that are under way since before a monotonic time, the oldest first."""
        return [
            held
            for held in self._under_way
            if held.stage is Stage.CALLING and held.since <= monotonic
        ]

    def abort_calls(self, calls: Iterable[Held]) -> None:
        """Stop these very calls, not later ones of the same executions."""
        for held in calls:
            if self._claims.get(held.claim.execution.id) is held:
                self._abort_held(held)

    # --- the end

    def abandon(self) -> None:
        """Drop everything at once, without results: this incarnation was revoked."""
        for held, call in tuple(self._under_way.items()):
            if isinstance(call, asyncio.Task):
                # One that has not begun could not give back its slot; it ends by itself, and so
                # it does where its claim was given up before that.
                if held.stage is Stage.CALLING:
                    call.cancel()
            else:
                call.abort()
                self._give_slot_back(held)
            held.stage = Stage.GONE
        self._claims.clear()
        self._lanes.clear()
        self._doubtful = 0
        self._arm(self._clock.now())

    def take_unstarted(self, *, after: Millis | None = None) -> list[str]:
        """Let go of all claims that have not started; returns their ids.

        Where ``after`` is given: only of those that wait for a later instant.
        """
        ids = []
        for held in tuple(self._claims.all()):
            if after is not None and (held.stage is not Stage.WAITING or held.leaves_at <= after):
                continue
            if held.stage in {Stage.WAITING, Stage.READY, Stage.STARTING}:
                self._lanes.remove(held)
                self._claims.drop(held.claim.execution.id)
                ids.append(held.claim.execution.id)
        self._arm(self._clock.now())
        return ids

    async def finish(self, grace: Millis) -> None:
        """Wait for the calls under way; those that outlast the grace end as lost."""
        await self._no_more_calls(grace / 1_000)
        tasks = []
        for held, call in tuple(self._under_way.items()):
            if held.stage is Stage.STARTING:
                continue  # It has not begun, and will not.
            if held.stage is Stage.CALLING:
                self._finish(
                    held,
                    rescue(
                        held.claim.execution,
                        held.claim.job,
                        node=self._node_name,
                        # It has started, even where the clock was set back since.
                        now=max(self._clock.now(), held.leaves_at),
                    ),
                )
            if isinstance(call, asyncio.Task):
                call.cancel()
                tasks.append(call)
            else:
                call.abort()
                self._give_slot_back(held)
        if tasks:
            await asyncio.wait(tasks)

    async def _no_more_calls(self, timeout: float) -> None:
        if self._under_way:
            self._none_left = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._none_left], timeout=timeout)
            self._none_left = None


def _called_for(execution: Execution, job: Job) -> bool:
    """Whether a definition calls for the fire time of an execution that has not started.

    What was tried before, or asked for by hand, stands for itself.
    """
    if execution.trigger is not TriggerKind.SCHEDULE or execution.attempts:
        return True
    fire_time: Millis | None = job.spec.schedule.next_after(execution.fire_time - 1)
    return fire_time == execution.fire_time
