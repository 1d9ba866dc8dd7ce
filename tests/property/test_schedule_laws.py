"""What holds for every schedule."""

import json
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tocsin.domain.errors import FieldProblem, InvalidInput
from tocsin.domain.instant import MAX_INSTANT, Millis
from tocsin.domain.schedule import (
    At,
    Cron,
    Every,
    Schedule,
    parse_schedule,
    schedule_from_json,
)
from tocsin.domain.schedule.cron_field import CronSyntaxError
from tocsin.domain.schedule.cron_syntax import read_cron
from tocsin.domain.schedule.cron_times import CronTimes
from tocsin.domain.schedule.zones import zone_names, zone_offsets

NOW: Millis = 1_790_000_000_000
YEAR: Millis = 31_536_000_000

EXPRESSIONS = [
    "* * * * *",
    "*/5 * * * *",
    "7-59/13 * * * *",
    "0 2 * * *",
    "30 2 * * *",
    "15,45 0-3 * * *",
    "* 0-3 * * *",
    "0 */2 * * *",
    "0 0 * * *",
    "0 9 * * MON-FRI",
    "0 0 13 * FRI",
    "0 0 L * *",
    "0 0 LW * *",
    "0 12 * * SUNL",
    "0 0 29 2 *",
    "* * * * * *",
    "*/20 */30 1-3 * * *",
    "0 30 2 * * *",
    "@hourly",
    "@weekly",
    "@yearly",
]
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Pacific/Apia",
    "Asia/Gaza",
]

# Often near a change of the clocks in Berlin, New York, Lord Howe, Cairo and Apia.
CHANGES = [
    1_774_746_000_000,
    1_792_890_000_000,
    1_772_953_200_000,
    1_775_314_800_000,
    1_776_981_600_000,
    1_325_239_200_000,
]
instants = st.one_of(
    st.integers(0, 100 * YEAR),
    st.sampled_from(CHANGES).flatmap(lambda at: st.integers(at - 8_000_000, at + 8_000_000)),
)
zones = st.sampled_from(ZONES) | st.sampled_from(sorted(zone_names()))
kinds = st.one_of(
    st.sampled_from(EXPRESSIONS).map(lambda text: Cron(expression=text)),
    st.builds(Every, interval=st.integers(1_000, YEAR), anchor=instants),
    st.builds(Every, interval=st.sampled_from([1_000, 60_000, 86_400_000]), anchor=instants),
    st.builds(At, instant=instants),
)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    bounds = sorted(draw(st.lists(instants, min_size=2, max_size=2)))
    return Schedule(
        kind=draw(kinds),
        timezone=draw(zones),
        starts_at=draw(st.sampled_from([None, None, bounds[0]])),
        ends_at=draw(st.sampled_from([None, None, bounds[1]])),
        jitter=draw(st.sampled_from([0, 1, 500, 30_000, 86_400_000])),
    )


@given(schedules(), instants)
@settings(max_examples=350, deadline=None)
def test_fire_times_come_later_and_within_bounds(schedule: Schedule, instant: Millis) -> None:
    for fire_time in schedule.preview(instant, 5):
        assert fire_time > instant
        assert schedule.starts_at is None or fire_time >= schedule.starts_at
        assert schedule.ends_at is None or fire_time <= schedule.ends_at
        instant = fire_time


@given(schedules(), instants, st.data())
@settings(max_examples=350, deadline=None)
def test_every_instant_before_a_fire_time_names_the_same(
    schedule: Schedule, instant: Millis, data: st.DataObject
) -> None:
    """Nothing lies between an instant and its next fire time, wherever one begins to look."""
    for fire_time in schedule.preview(instant, 3):
        between = data.draw(st.integers(instant, fire_time - 1))
        for start in (between, fire_time - 1, instant + 1 if instant + 1 < fire_time else instant):
            assert schedule.next_after(start) == fire_time
        instant = fire_time


@given(st.sampled_from(EXPRESSIONS), zones, st.lists(instants, min_size=2, max_size=8))
@settings(max_examples=200, deadline=None)
def test_the_order_of_questions_plays_no_part(
    expression: str, zone: str, asked: list[Millis]
) -> None:
    shared = CronTimes(read_cron(expression), zone_offsets(zone))
    for start in asked:
        instant: Millis | None = start
        for _ in range(3):
            assume(instant is not None)
            assert instant is not None
            fresh = CronTimes(read_cron(expression), zone_offsets(zone))
            found = shared.next_after(instant)
            assert found == fresh.next_after(instant)
            instant = found


@given(schedules(), instants, st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_jitter_is_bounded_repeatable_and_never_reaches_the_next_fire(
    schedule: Schedule, instant: Millis, job_id: str
) -> None:
    job_id = job_id.encode("utf-8", "replace").decode()
    fires = schedule.preview(instant, 2)
    for fire_time in fires:
        due = schedule.due(fire_time, job_id)
        assert 0 <= due - fire_time <= schedule.jitter
        assert due == schedule.due(fire_time, job_id)
    if len(fires) == 2:
        assert schedule.due(fires[0], job_id) < fires[1]
    if schedule.jitter == 0:
        assert [schedule.due(fire_time, job_id) for fire_time in fires] == fires


@given(schedules(), instants)
@settings(max_examples=200, deadline=None)
def test_the_grace_lies_between_five_seconds_and_a_minute(
    schedule: Schedule, instant: Millis
) -> None:
    for fire_time in schedule.preview(instant, 2):
        assert 5_000 <= schedule.default_grace(fire_time) <= 60_000


@given(schedules())
@settings(max_examples=300, deadline=None)
def test_what_is_stored_is_read_back(schedule: Schedule) -> None:
    stored = json.loads(json.dumps(schedule.to_json()))
    read = schedule_from_json(stored)
    assert read == schedule
    assert read.to_json() == stored


@given(schedules())
@settings(max_examples=300, deadline=None)
def test_what_is_written_by_one_who_knows_passes_the_checks(schedule: Schedule) -> None:
    try:
        assert parse_schedule(schedule.to_json(), now=0) == schedule
    except InvalidInput as error:
        # The only complaint left: bounds that leave no fire time.
        assert {problem.code for problem in error.problems} == {"never_fires"}  # noqa: PT017
        start = -1 if schedule.starts_at is None else schedule.starts_at - 1
        assert schedule.next_after(start) is None


@given(schedules())
@settings(max_examples=300, deadline=None)
def test_everything_can_be_described(schedule: Schedule) -> None:
    words = schedule.describe()
    assert words[0].isupper()
    assert "  " not in words


pieces = st.sampled_from([*"0123456789*/,-#L? ", "LW", "MON", "jan", "@", "@daily", "59", "31"])
cron_like = st.lists(pieces, max_size=25).map("".join) | st.lists(
    st.lists(pieces, min_size=1, max_size=4).map("".join), min_size=5, max_size=6
).map(" ".join)


@given(cron_like | st.text(max_size=40), st.sampled_from(ZONES), instants)
@settings(max_examples=350, deadline=None)
def test_an_expression_is_refused_or_works(expression: str, zone: str, instant: Millis) -> None:
    try:
        read_cron(expression)
    except CronSyntaxError as error:
        assert error.reasons  # noqa: PT017
        return
    schedule = Schedule(kind=Cron(expression=expression), timezone=zone)
    assert schedule.describe()
    found = schedule.next_after(instant)
    assert found is None or instant < found <= MAX_INSTANT


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["15m", "0 2 * * *", "2026-12-24T18:00:00Z", "Europe/Berlin"]),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=5,
)
field_names = st.sampled_from(
    ["cron", "every", "at", "timezone", "anchor", "starts_at", "ends_at", "jitter", "description"]
)


@given(st.dictionaries(field_names | st.text(max_size=10), json_values, max_size=6) | json_values)
@settings(max_examples=350, deadline=None)
def test_garbage_is_refused_as_invalid_input(data: Any) -> None:
    problems: tuple[FieldProblem, ...] | None = None
    try:
        schedule = parse_schedule(data, now=NOW)
        assert schedule_from_json(schedule.to_json()) == schedule
        assert schedule.describe()
    except InvalidInput as error:
        problems = error.problems
    assert problems is None or (problems and all(problem.message for problem in problems))
