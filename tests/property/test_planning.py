"""The laws of planning, over random schedules, policies, outages and repeated plans."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.build import NOW, job
from tests.support.scale import examples
from tests.support.strategies import intervals
from tocsin.domain.execution import Execution, Reason, State, execution_id
from tocsin.domain.instant import DAY, HOUR, MINUTE, SECOND, Millis
from tocsin.domain.job import Job, Misfire, MisfirePolicy, Overlap
from tocsin.domain.planning import (
    LOOK_AT_MOST,
    QUEUE_AT_MOST,
    FirePlan,
    Live,
    Timer,
    Window,
    _plan_any,
    _plan_one,
    first_timer,
    plan_fires,
)
from tocsin.domain.schedule import At, Cron, Every, Schedule
from tocsin.domain.schedule.kinds import Kind

IDLE = Live()
ROOM = 1_000_000

kinds = (
    st.builds(Every, interval=intervals, anchor=st.integers(NOW, NOW + DAY))
    | st.builds(
        Cron,
        expression=st.sampled_from(
            ["* * * * * *", "*/7 * * * * *", "30 */5 * * * *", "* * * * *", "0 9-17 * * *"]
        ),
    )
    | st.builds(At, instant=st.integers(NOW, NOW + DAY))
)


@dataclass(frozen=True)
class Outage:
    """A job, and how long nobody looked at it."""

    job: Job
    timer: Timer
    now: Millis
    ahead: Millis

    @property
    def until(self) -> Millis:
        return self.now + self.ahead

    def fires(self) -> list[Millis]:
        """The due fire times, found without the planner."""
        return [
            fire_time
            for fire_time in fire_times(self.job, self.timer.fire_at)
            if self.job.spec.schedule.due(fire_time, self.job.id) <= self.until
        ]

    def missed(self) -> list[Millis]:
        """Those whose grace is over."""
        schedule, fixed = self.job.spec.schedule, self.job.spec.misfire.grace
        return [
            fire_time
            for fire_time in self.fires()
            if self.now - schedule.due(fire_time, self.job.id)
            > (schedule.default_grace(fire_time) if fixed is None else fixed)
        ]


def fire_times(of: Job, first: Millis, last: Millis | None = None) -> Iterator[Millis]:
    """The fire times from ``first`` on, at most ``MOST`` of them."""
    fire_time: Millis | None = first
    for _ in range(MOST):
        if fire_time is None or (last is not None and fire_time > last):
            return
        yield fire_time
        fire_time = of.spec.schedule.next_after(fire_time)


MOST = 2_600
"""So many fire times are due at most: some outages need three plans."""


@st.composite
def outages(draw: st.DrawFn, *, overlap: Overlap | None = Overlap.ALLOW) -> Outage:
    """A job with a random schedule and policies, and a random number of fire times missed."""
    kind = draw(kinds)
    regular = isinstance(kind, Every)
    # A cron job's gaps differ, so that with jitter one fire can be past its grace and the one
    # after it not; what is newest is only well defined without.
    jitter = draw(st.sampled_from([0, 0, 50, 3 * SECOND, HOUR])) if regular else 0
    schedule = Schedule(
        kind=kind,
        jitter=jitter,
        ends_at=draw(st.none() | st.integers(NOW, NOW + 30 * DAY)),
    )
    of = job(
        draw(st.sampled_from("abcdefgh")),
        schedule,
        overlap=draw(st.sampled_from(Overlap)) if overlap is None else overlap,
        misfire=Misfire(
            policy=draw(st.sampled_from(MisfirePolicy)),
            grace=draw(st.sampled_from([None, None, 0, 1, 5 * SECOND, HOUR])),
            max=draw(st.sampled_from([1, 2, 100, 500])),
        ),
    )
    timer = first_timer(of.id, of.spec, NOW - 1)
    assume(timer is not None)
    assert timer is not None
    # How many fire times back: few, around one plan's limit, or more than two plans' worth.
    back = draw(
        st.integers(0, 20)
        | st.integers(LOOK_AT_MOST - 3, LOOK_AT_MOST + 3)
        | st.integers(0, MOST - 100)
    )
    last = timer.fire_at
    for index, fire_time in enumerate(fire_times(of, timer.fire_at)):
        last = fire_time
        if index == back:
            break
    late = draw(st.sampled_from([0, 1, 4_999, 5_000, 5_001, 3 * MINUTE]))
    return Outage(
        job=of,
        timer=timer,
        now=last + late % _gap(of, last),
        ahead=draw(st.sampled_from([0, 0, 1_000])),
    )


def _gap(of: Job, fire_time: Millis) -> Millis:
    return of.spec.schedule.interval_at(fire_time) or DAY


def window(outage: Outage, *, room: int = ROOM) -> Window:
    return Window(now=outage.now, until=outage.until, owner="inc-a", room=room)


def plan_all(outage: Outage, *, live: Live = IDLE, room: int = ROOM) -> list[FirePlan]:
    """Plan again and again until nothing is due, as repeated claims do.

    What was planned stays live, except with ``allow``, where it does not matter.
    """
    plans: list[FirePlan] = []
    timer: Timer | None = outage.timer
    while timer is not None and timer.due_at <= outage.until:
        plan = plan_fires(outage.job, timer, live, window(outage, room=room))
        plans.append(plan)
        assert len(plans) <= MOST, "planning goes round in circles"
        running = [row for row in plan.executions if row.live]
        if plan.replaces:
            live = IDLE
        live = Live(
            running=live.running + sum(not row.queued for row in running),
            queued=live.queued + sum(row.queued for row in running),
        )
        timer = plan.next
    return plans


def rows_of(plans: list[FirePlan]) -> list[Execution]:
    return [row for plan in plans for row in plan.executions]


def runs_of(plans: list[FirePlan]) -> list[Millis]:
    return [row.fire_time for row in rows_of(plans) if row.live]


def covered(of: Job, row: Execution) -> list[Millis]:
    """The fire times that a row stands for, by the schedule."""
    last = row.fire_time if row.skipped_until is None else row.skipped_until
    return list(fire_times(of, row.fire_time, last))


# --- nothing is lost and nothing doubled --------------------------------------------------------


@given(outages(overlap=None), st.sampled_from([IDLE, Live(running=1), Live(running=1, queued=9)]))
@examples(120)
def test_every_due_fire_time_runs_or_lies_in_one_skipped_range(outage: Outage, live: Live) -> None:
    rows = rows_of(plan_all(outage, live=live))
    assert [one for row in rows for one in covered(outage.job, row)] == outage.fires()


@given(outages(overlap=None))
@examples(80)
def test_a_skipped_range_says_how_many_fire_times_it_stands_for(outage: Outage) -> None:
    for row in rows_of(plan_all(outage)):
        count = len(covered(outage.job, row))
        if row.state is State.SKIPPED and count > 1:
            assert row.skipped_count == count
            assert row.skipped_until is not None
        else:
            assert (row.skipped_until, row.skipped_count, count) == (None, None, 1)


@given(outages(overlap=None))
@examples(60)
def test_rows_are_keyed_by_their_first_fire_time_and_never_repeated(outage: Outage) -> None:
    rows = rows_of(plan_all(outage))
    assert [row.id for row in rows] == [execution_id(outage.job.id, row.fire_time) for row in rows]
    assert len({row.id for row in rows}) == len(rows)


@given(outages(overlap=None), st.data())
@examples(60)
def test_plans_made_as_time_passes_cover_the_same_fire_times(
    outage: Outage, data: st.DataObject
) -> None:
    instants = sorted(
        data.draw(
            st.lists(st.integers(outage.timer.fire_at - SECOND, outage.now), max_size=5),
            label="looks in between",
        )
    )
    rows: list[Execution] = []
    timer: Timer | None = outage.timer
    for now in (*instants, outage.now):
        if timer is not None:
            look = replace(outage, timer=timer, now=now)
            plans = plan_all(look)
            rows += rows_of(plans)
            timer = plans[-1].next if plans else timer
    assert [one for row in rows for one in covered(outage.job, row)] == outage.fires()


# --- bounds and progress ------------------------------------------------------------------------


@given(outages(overlap=None))
@examples(80)
def test_a_plan_looks_at_a_bounded_number_of_fire_times_and_makes_progress(
    outage: Outage,
) -> None:
    timer = outage.timer
    for plan in plan_all(outage):
        assert plan.fire_at == timer.fire_at
        planned = [one for row in plan.executions for one in covered(outage.job, row)]
        assert 0 < len(planned) <= LOOK_AT_MOST
        if plan.next is not None:
            assert planned[-1] < plan.next.fire_at
            assert plan.next == replace(
                timer,
                fire_at=plan.next.fire_at,
                due_at=outage.job.spec.schedule.due(plan.next.fire_at, outage.job.id),
            )
            timer = plan.next


@given(outages(overlap=None))
@examples(80)
def test_a_plan_leaves_off_at_the_first_fire_time_that_it_did_not_plan(outage: Outage) -> None:
    for plan in plan_all(outage):
        planned = [one for row in plan.executions for one in covered(outage.job, row)]
        following = outage.job.spec.schedule.next_after(planned[-1])
        assert (None if plan.next is None else plan.next.fire_at) == following


@given(outages(overlap=None))
@examples(60)
def test_few_plans_are_enough(outage: Outage) -> None:
    """At least half of what a plan looks at is done with, because `all` holds back 500 at most."""
    assert len(plan_all(outage)) <= len(outage.fires()) / (LOOK_AT_MOST / 2) + 1


# --- misfire ------------------------------------------------------------------------------------


@given(outages())
@examples(80)
def test_within_the_grace_all_run(outage: Outage) -> None:
    missed = set(outage.missed())
    runs = set(runs_of(plan_all(outage)))
    assert [one for one in outage.fires() if one not in missed and one not in runs] == []


@given(outages())
@examples(120)
def test_of_the_missed_the_newest_run_as_many_as_the_policy_says(outage: Outage) -> None:
    missed = outage.missed()
    misfire = outage.job.spec.misfire
    wanted = {
        MisfirePolicy.LATEST: 1,
        MisfirePolicy.ALL: misfire.max,
        MisfirePolicy.SKIP: 0,
    }[misfire.policy]
    runs = set(runs_of(plan_all(outage)))
    assert [one for one in missed if one in runs] == missed[
        len(missed) - min(wanted, len(missed)) :
    ]


@given(outages())
@examples(60)
def test_what_is_skipped_was_missed_and_says_so(outage: Outage) -> None:
    missed = set(outage.missed())
    for row in rows_of(plan_all(outage)):
        if row.state is State.SKIPPED:
            assert row.reason is Reason.MISFIRE
            assert missed.issuperset(covered(outage.job, row))


# --- overlap ------------------------------------------------------------------------------------


@given(outages(overlap=Overlap.SKIP), st.booleans())
@examples(60)
def test_skip_never_has_two_live(outage: Outage, busy: bool) -> None:
    plans = plan_all(outage, live=Live(running=1) if busy else IDLE)
    assert len(runs_of(plans)) <= (0 if busy else 1)
    assert not any(plan.replaces for plan in plans)


@given(outages(overlap=Overlap.QUEUE), st.integers(0, 1), st.integers(0, QUEUE_AT_MOST))
@examples(80)
def test_queue_never_has_two_running_or_more_than_ten_waiting(
    outage: Outage, running: int, queued: int
) -> None:
    plans = plan_all(outage, live=Live(running=running, queued=queued))
    live = [row for row in rows_of(plans) if row.live]
    assert running + sum(not row.queued for row in live) <= 1
    assert queued + sum(row.queued for row in live) <= QUEUE_AT_MOST
    assert not any(row.queued and row.state is State.CLAIMED for row in live)
    full = [row for row in rows_of(plans) if row.reason is Reason.QUEUE_FULL]
    if full:
        assert queued + sum(row.queued for row in live) == QUEUE_AT_MOST


@given(outages(overlap=Overlap.REPLACE), st.booleans())
@examples(60)
def test_replace_runs_one_per_plan_and_replaces_only_where_something_is_live(
    outage: Outage, busy: bool
) -> None:
    is_live = busy
    for plan in plan_all(outage, live=Live(running=1) if busy else IDLE):
        live = [row for row in plan.executions if row.live]
        assert len(live) <= 1
        assert plan.replaces == (is_live and bool(live))
        is_live = is_live or bool(live)


@given(outages(overlap=Overlap.REPLACE))
@examples(60)
def test_replace_lets_the_newest_of_those_that_would_run_run(outage: Outage) -> None:
    for plan in plan_all(outage):
        skipped = [row for row in plan.executions if row.reason is Reason.REPLACED]
        for live in (row for row in plan.executions if row.live):
            assert all((row.skipped_until or row.fire_time) < live.fire_time for row in skipped)


# --- room ---------------------------------------------------------------------------------------


@given(outages(overlap=None), st.integers(0, 30))
@examples(80)
def test_room_bounds_the_claims_and_the_oldest_have_it(outage: Outage, room: int) -> None:
    for plan in plan_all(outage, room=room):
        free = [row for row in plan.executions if row.live and not row.queued]
        claimed = [row for row in free if row.state is State.CLAIMED]
        assert len(claimed) == min(room, len(free))
        assert claimed == free[: len(claimed)]


@given(outages(overlap=None), st.integers(0, 30))
@examples(60)
def test_room_changes_who_takes_a_fire_and_nothing_else(outage: Outage, room: int) -> None:
    def without_claims(plans: list[FirePlan]) -> list[Execution]:
        return [
            replace(row, state=State.PENDING, owner=None) if row.live else row
            for row in rows_of(plans)
        ]

    assert without_claims(plan_all(outage, room=room)) == without_claims(plan_all(outage))


@given(
    outages(overlap=None),
    st.sampled_from([-1_500, -980, 0, 1, 4_999, 5_000, 5_001, 60_001]),
    st.sampled_from([0, 1, 1_000]),
    st.integers(0, 2),
    st.builds(Live, running=st.integers(0, 1), queued=st.integers(0, 1)),
)
@examples(200)
def test_the_short_way_comes_to_the_same(
    outage: Outage, late: Millis, ahead: Millis, room: int, live: Live
) -> None:
    now = outage.timer.due_at + late
    around = Window(now=now, until=now + ahead, owner="inc-a", room=room)
    plan = _plan_one(outage.job, outage.timer, around)
    assert plan is None or plan == _plan_any(outage.job, outage.timer, live, around)


@pytest.mark.parametrize(
    "kind", [At(instant=NOW), Every(interval=MINUTE, anchor=NOW), Cron(expression="* * * * *")]
)
@pytest.mark.parametrize("late", [-980, 0, 4_999])
def test_a_fire_that_is_on_time_goes_the_short_way(kind: Kind, late: Millis) -> None:
    of = job("a", Schedule(kind=kind))
    timer = first_timer(of.id, of.spec, NOW - 1)
    assert timer is not None
    around = Window(now=timer.due_at + late, until=timer.due_at + 4_999, owner="inc-a", room=1)
    assert _plan_one(of, timer, around) is not None
