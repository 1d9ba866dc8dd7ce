"""What becomes of due fire times, example by example; the laws are in tests/property."""

from dataclasses import replace
from typing import Any

import pytest
from tests.support.build import (
    DAY,
    MINUTE,
    NOW,
    SECOND,
    at,
    cron,
    every,
    job,
    log_job,
    spec,
    timer,
    window,
)

from tocsin.domain.execution import Execution, Reason, State, TriggerKind, execution_id
from tocsin.domain.instant import Millis
from tocsin.domain.job import DeliveryMode, Job, Misfire, MisfirePolicy, Overlap
from tocsin.domain.planning import (
    LOOK_AT_MOST,
    QUEUE_AT_MOST,
    Admission,
    FirePlan,
    Live,
    Timer,
    Window,
    admit,
    first_timer,
    plan_fires,
)
from tocsin.domain.schedule import Schedule

IDLE = Live()
BUSY = Live(running=1)


def first(of: Job) -> Timer:
    found = timer(of)
    assert found is not None
    return found


def plan(of: Job, now: Millis, live: Live = IDLE, **kwargs: int) -> FirePlan:
    return plan_fires(of, first(of), live, window(now, **kwargs))


def fire_times(rows: tuple[Execution, ...], *states: State) -> list[Millis]:
    return [row.fire_time - NOW for row in rows if row.state in states]


def runs(rows: tuple[Execution, ...]) -> list[Millis]:
    """Fire times that run, as offsets from ``NOW``."""
    return fire_times(rows, State.CLAIMED, State.PENDING)


def skips(rows: tuple[Execution, ...]) -> list[tuple[Millis, Millis, int, Reason | None]]:
    """Skipped ranges: first and last offset from ``NOW``, how many, and why."""
    return [
        (
            row.fire_time - NOW,
            (row.skipped_until or row.fire_time) - NOW,
            row.skipped_count or 1,
            row.reason,
        )
        for row in rows
        if row.state is State.SKIPPED
    ]


# --- a fire on time -----------------------------------------------------------------------------


def test_a_due_fire_time_is_claimed_with_all_that_its_call_needs() -> None:
    report = job("report", every(MINUTE), version=7, namespace="ops")
    planned = plan(report, NOW)
    assert planned.executions == (
        Execution(
            id=execution_id(report.id, NOW),
            job_id=report.id,
            job_name="report",
            namespace="ops",
            job_version=7,
            trigger=TriggerKind.SCHEDULE,
            fire_time=NOW,
            due=NOW,
            state=State.CLAIMED,
            available_at=NOW,
            lane=report.spec.lane,
            exact=False,
            owner="inc-a",
        ),
    )
    assert (planned.job_id, planned.job_version, planned.fire_at) == (report.id, 7, NOW)
    assert not planned.replaces


def test_the_timer_moves_to_the_first_fire_time_outside_of_the_window() -> None:
    planned = plan(job(schedule=every(SECOND)), NOW, ahead=2_500)
    assert runs(planned.executions) == [0, 1_000, 2_000]
    assert planned.next is not None
    assert planned.next.fire_at == NOW + 3_000


def test_a_fire_time_at_the_very_end_of_the_window_is_due() -> None:
    assert runs(plan(job(schedule=every(SECOND)), NOW, ahead=1_000).executions) == [0, 1_000]


def test_a_timer_that_is_not_due_stays_where_it_is() -> None:
    idle = job(schedule=every(MINUTE))
    planned = plan(idle, NOW - 1)
    assert planned.executions == ()
    assert planned.next == first(idle)


def test_the_last_fire_ends_the_timer() -> None:
    planned = plan(job(schedule=at(NOW)), NOW)
    assert runs(planned.executions) == [0]
    assert planned.next is None


def test_the_end_of_the_schedule_ends_the_timer() -> None:
    bounded = every(MINUTE, ends_at=NOW + MINUTE)
    planned = plan(job(schedule=bounded), NOW + MINUTE)
    assert runs(planned.executions) == [0, MINUTE]
    assert planned.next is None


def test_jitter_decides_when_a_fire_is_due_and_the_fire_time_is_kept() -> None:
    spread = job("spread", every(MINUTE, jitter=30 * SECOND))
    start = first(spread)
    assert NOW < start.due_at < NOW + 30 * SECOND, "the name was chosen to be spread"
    early = plan_fires(spread, start, IDLE, window(start.due_at - 1))
    assert early.executions == ()
    assert early.next == start
    (row,) = plan_fires(spread, start, IDLE, window(start.due_at)).executions
    assert (row.fire_time, row.due, row.available_at) == (NOW, start.due_at, start.due_at)
    assert row.id == execution_id(spread.id, NOW)


def test_lateness_counts_from_the_due_instant_not_from_the_fire_time() -> None:
    spread = job("spread", every(MINUTE, jitter=30 * SECOND), misfire=Misfire(grace=0))
    start = first(spread)
    assert runs(plan_fires(spread, start, IDLE, window(start.due_at)).executions) == [0]


def test_the_first_timer_is_at_the_first_fire_time_later_than_the_instant() -> None:
    definition = spec(every(MINUTE), overlap=Overlap.SKIP)
    found = first_timer("an id", definition, NOW)
    assert found == Timer(
        job_id="an id",
        fire_at=NOW + MINUTE,
        due_at=NOW + MINUTE,
        lane=definition.lane,
        exact=True,
    )


def test_a_schedule_that_is_over_has_no_first_timer() -> None:
    assert first_timer("an id", spec(at(NOW)), NOW) is None


@pytest.mark.parametrize(
    ("fields", "exact"),
    [
        ({}, False),
        ({"overlap": Overlap.SKIP}, True),
        ({"overlap": Overlap.QUEUE}, True),
        ({"overlap": Overlap.REPLACE}, True),
        ({"delivery": DeliveryMode.AT_MOST_ONCE}, True),
    ],
)
def test_jobs_that_must_know_the_present_are_claimed_at_their_instant(
    fields: dict[str, Any], exact: bool
) -> None:
    of = job(schedule=every(MINUTE), **fields)
    assert first(of).exact is exact
    assert [row.exact for row in plan(of, NOW).executions] == [exact]


# --- misfire ------------------------------------------------------------------------------------


def missed(policy: MisfirePolicy, *, grace: Millis | None = 5_000, **fields: int) -> Job:
    """Fires every second; what is up to 5 s late runs."""
    return job(schedule=every(SECOND), misfire=Misfire(policy=policy, grace=grace, **fields))


@pytest.mark.parametrize("policy", MisfirePolicy)
def test_within_the_grace_all_fire_times_run(policy: MisfirePolicy) -> None:
    planned = plan(missed(policy), NOW + 5_000)
    assert runs(planned.executions) == [0, 1_000, 2_000, 3_000, 4_000, 5_000]
    assert skips(planned.executions) == []


def test_latest_runs_the_newest_missed_fire_time_and_skips_the_older_ones() -> None:
    planned = plan(missed(MisfirePolicy.LATEST), NOW + 9_000)
    assert skips(planned.executions) == [(0, 2_000, 3, Reason.MISFIRE)]
    assert runs(planned.executions) == [3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000]


def test_latest_with_a_single_missed_fire_time_runs_it() -> None:
    planned = plan(job(schedule=at(NOW)), NOW + DAY)
    assert runs(planned.executions) == [0]


def test_skip_runs_none_of_the_missed() -> None:
    planned = plan(missed(MisfirePolicy.SKIP), NOW + 9_000)
    assert skips(planned.executions) == [(0, 3_000, 4, Reason.MISFIRE)]
    assert runs(planned.executions) == [4_000, 5_000, 6_000, 7_000, 8_000, 9_000]


def test_all_runs_the_newest_of_the_missed_up_to_its_cap() -> None:
    planned = plan(missed(MisfirePolicy.ALL, max=2), NOW + 9_000)
    assert skips(planned.executions) == [(0, 1_000, 2, Reason.MISFIRE)]
    assert runs(planned.executions) == [m * 1_000 for m in range(2, 10)]


def test_all_runs_every_missed_one_where_the_cap_allows() -> None:
    planned = plan(missed(MisfirePolicy.ALL, max=4), NOW + 9_000)
    assert skips(planned.executions) == []
    assert runs(planned.executions) == [m * 1_000 for m in range(10)]


def test_one_skipped_fire_time_is_not_a_range() -> None:
    (row, *_) = plan(missed(MisfirePolicy.SKIP), NOW + 6_000).executions
    assert (row.state, row.fire_time) == (State.SKIPPED, NOW)
    assert (row.skipped_until, row.skipped_count) == (None, None)


def test_a_skipped_row_is_finished_and_nobody_can_claim_it() -> None:
    (row, *_) = plan(missed(MisfirePolicy.SKIP), NOW + 9_000).executions
    assert row.finished_at == NOW + 9_000
    assert (row.available_at, row.owner) == (None, None)


@pytest.mark.parametrize(
    ("schedule", "grace"),
    [
        (every(SECOND), 5_000),
        (every(20 * SECOND), 20_000),
        (every(DAY), 60_000),
        (at(NOW), 60_000),
        (cron("*/30 * * * * *"), 30_000),
    ],
)
def test_the_default_grace_is_one_interval_between_five_seconds_and_a_minute(
    schedule: Schedule, grace: Millis
) -> None:
    of = job(schedule=schedule, misfire=Misfire(policy=MisfirePolicy.SKIP))
    assert 0 in runs(plan(of, NOW + grace).executions)
    assert 0 not in runs(plan(of, NOW + grace + 1).executions)


def test_a_grace_of_zero_still_runs_what_is_exactly_on_time() -> None:
    assert runs(plan(missed(MisfirePolicy.SKIP, grace=0), NOW).executions) == [0]


# --- a long outage ------------------------------------------------------------------------------


def test_a_plan_looks_at_a_thousand_fire_times_and_leaves_the_rest_to_the_next() -> None:
    down = missed(MisfirePolicy.SKIP)
    planned = plan(down, NOW + DAY)
    assert skips(planned.executions) == [
        (0, (LOOK_AT_MOST - 1) * 1_000, LOOK_AT_MOST, Reason.MISFIRE)
    ]
    assert planned.next is not None
    assert planned.next.fire_at == NOW + LOOK_AT_MOST * 1_000


@pytest.mark.parametrize(
    ("policy", "held_back"), [(MisfirePolicy.LATEST, 1), (MisfirePolicy.ALL, 100)]
)
def test_fire_times_that_may_be_the_newest_missed_wait_for_the_next_plan(
    policy: MisfirePolicy, held_back: int
) -> None:
    planned = plan(missed(policy), NOW + DAY)
    seen = LOOK_AT_MOST - held_back
    assert skips(planned.executions) == [(0, (seen - 1) * 1_000, seen, Reason.MISFIRE)]
    assert runs(planned.executions) == []
    assert planned.next is not None
    assert planned.next.fire_at == NOW + seen * 1_000


def test_three_days_down_every_second_end_in_few_plans_and_without_a_flood() -> None:
    down, now = missed(MisfirePolicy.LATEST), NOW + 3 * DAY
    at_timer: Timer | None = first(down)
    plans = 0
    rows: list[Execution] = []
    while at_timer is not None and at_timer.due_at <= now:
        planned = plan_fires(down, at_timer, IDLE, window(now))
        plans += 1
        rows += planned.executions
        at_timer = planned.next
    fires, in_grace = 3 * 86_400 + 1, 6  # 0 .. 5 seconds late
    assert plans <= fires / (LOOK_AT_MOST - 1) + 1
    assert runs(tuple(rows)) == [3 * DAY - late * 1_000 for late in range(in_grace, -1, -1)]
    assert len(skips(tuple(rows))) <= plans
    assert sum(count for _, _, count, _ in skips(tuple(rows))) == fires - in_grace - 1


# --- overlap ------------------------------------------------------------------------------------


def overlapping(overlap: Overlap, *, misfire: MisfirePolicy = MisfirePolicy.ALL) -> Job:
    """Fires every second and is never late."""
    return job(
        schedule=every(SECOND),
        overlap=overlap,
        misfire=Misfire(policy=misfire, grace=MINUTE),
    )


@pytest.mark.parametrize(
    ("overlap", "live", "admission"),
    [
        (Overlap.ALLOW, IDLE, Admission(state=State.PENDING)),
        (Overlap.ALLOW, Live(running=50), Admission(state=State.PENDING)),
        (Overlap.SKIP, IDLE, Admission(state=State.PENDING)),
        (Overlap.SKIP, BUSY, Admission(state=State.SKIPPED, reason=Reason.OVERLAP)),
        (Overlap.QUEUE, IDLE, Admission(state=State.PENDING)),
        (Overlap.QUEUE, BUSY, Admission(state=State.PENDING, queued=True)),
        (Overlap.QUEUE, Live(queued=1), Admission(state=State.PENDING, queued=True)),
        (
            Overlap.QUEUE,
            Live(running=1, queued=QUEUE_AT_MOST - 1),
            Admission(state=State.PENDING, queued=True),
        ),
        (
            Overlap.QUEUE,
            Live(running=1, queued=QUEUE_AT_MOST),
            Admission(state=State.SKIPPED, reason=Reason.QUEUE_FULL),
        ),
        (Overlap.REPLACE, IDLE, Admission(state=State.PENDING)),
        (Overlap.REPLACE, BUSY, Admission(state=State.PENDING, replaces=True)),
        (Overlap.REPLACE, Live(queued=1), Admission(state=State.PENDING, replaces=True)),
    ],
)
def test_admission_by_overlap_and_what_is_live(
    overlap: Overlap, live: Live, admission: Admission
) -> None:
    assert admit(overlap, live) == admission


def test_allow_runs_beside_whatever_is_live() -> None:
    planned = plan(overlapping(Overlap.ALLOW), NOW + 2_000, Live(running=9))
    assert runs(planned.executions) == [0, 1_000, 2_000]
    assert not planned.replaces


def test_skip_runs_the_first_and_skips_what_would_overlap_with_it() -> None:
    planned = plan(overlapping(Overlap.SKIP), NOW + 3_000)
    assert runs(planned.executions) == [0]
    assert skips(planned.executions) == [(1_000, 3_000, 3, Reason.OVERLAP)]


def test_skip_skips_everything_while_an_execution_is_live() -> None:
    planned = plan(overlapping(Overlap.SKIP), NOW + 1_000, BUSY)
    assert skips(planned.executions) == [(0, 1_000, 2, Reason.OVERLAP)]
    assert runs(planned.executions) == []


def test_queue_lets_the_first_run_and_the_others_wait_their_turn() -> None:
    planned = plan(overlapping(Overlap.QUEUE), NOW + 2_000)
    assert [(row.state, row.queued) for row in planned.executions] == [
        (State.CLAIMED, False),
        (State.PENDING, True),
        (State.PENDING, True),
    ]
    assert [row.owner for row in planned.executions] == ["inc-a", None, None]


def test_queue_holds_ten_and_skips_the_rest() -> None:
    planned = plan(overlapping(Overlap.QUEUE), NOW + 14_000)
    assert sum(row.queued for row in planned.executions) == QUEUE_AT_MOST == 10
    assert skips(planned.executions) == [(11_000, 14_000, 4, Reason.QUEUE_FULL)]


def test_a_full_queue_skips_although_the_queue_was_filled_before() -> None:
    planned = plan(overlapping(Overlap.QUEUE), NOW, Live(running=1, queued=10))
    assert skips(planned.executions) == [(0, 0, 1, Reason.QUEUE_FULL)]


def test_replace_runs_only_the_newest_in_the_place_of_what_is_live() -> None:
    planned = plan(overlapping(Overlap.REPLACE), NOW + 3_000, BUSY)
    assert planned.replaces
    assert skips(planned.executions) == [(0, 2_000, 3, Reason.REPLACED)]
    assert runs(planned.executions) == [3_000]


def test_replace_with_nothing_live_replaces_nothing() -> None:
    planned = plan(overlapping(Overlap.REPLACE), NOW)
    assert not planned.replaces
    assert runs(planned.executions) == [0]


def test_replace_leaves_the_live_one_alone_where_every_fire_time_is_skipped() -> None:
    of = job(
        schedule=every(SECOND, ends_at=NOW + 1_000),
        overlap=Overlap.REPLACE,
        misfire=Misfire(policy=MisfirePolicy.SKIP, grace=0),
    )
    planned = plan(of, NOW + DAY, BUSY)
    assert not planned.replaces
    assert skips(planned.executions) == [(0, 1_000, 2, Reason.MISFIRE)]


def test_skips_for_different_reasons_are_told_apart() -> None:
    of = replace(missed(MisfirePolicy.SKIP))
    of = replace(of, spec=replace(of.spec, overlap=Overlap.SKIP))
    planned = plan(of, NOW + 9_000, BUSY)
    assert skips(planned.executions) == [
        (0, 3_000, 4, Reason.MISFIRE),
        (4_000, 9_000, 6, Reason.OVERLAP),
    ]


# --- room ---------------------------------------------------------------------------------------


def test_what_finds_no_room_is_left_pending_the_oldest_go_first() -> None:
    planned = plan(job(schedule=every(SECOND)), NOW, ahead=3_000, room=2)
    assert [(row.state, row.owner) for row in planned.executions] == [
        (State.CLAIMED, "inc-a"),
        (State.CLAIMED, "inc-a"),
        (State.PENDING, None),
        (State.PENDING, None),
    ]
    assert [row.available_at for row in planned.executions] == [
        NOW + offset for offset in (0, 1_000, 2_000, 3_000)
    ]


def test_what_waits_in_a_queue_or_is_skipped_takes_no_room() -> None:
    planned = plan(overlapping(Overlap.QUEUE), NOW + 14_000, room=1)
    assert [row.state for row in planned.executions].count(State.CLAIMED) == 1


def test_what_waits_for_room_is_live_for_the_overlap_policy() -> None:
    planned = plan(overlapping(Overlap.SKIP), NOW + 1_000, room=0)
    assert [row.state for row in planned.executions] == [State.PENDING, State.SKIPPED]


def test_a_plan_is_made_of_its_arguments_alone() -> None:
    of = log_job("echo", cron("*/7 * * * * *", jitter=5_000), overlap=Overlap.QUEUE)
    at_window = Window(now=NOW + DAY, until=NOW + DAY, owner="inc-b", room=3)
    assert plan_fires(of, first(of), BUSY, at_window) == plan_fires(of, first(of), BUSY, at_window)
