"""Cron fire times against two other implementations: croniter, and cronsim's own iterator.

croniter is only asked about the calendar: it runs on naive local times, and the rule for clock
changes is applied to its answers here with ``datetime``, a second time and in another way
than in the code under test. cronsim's iterator is compared away from clock changes.

Known differences, which the expressions below stay away from or which are translated:

* croniter: the last Friday is ``L5``, not ``5L``; ``LW`` and a list that mixes ``#`` with plain
  days are unknown to it; with ``#`` both day fields must match, where for cron either is enough;
  ``5-5/2`` is read as ``*/2``, where cron reads ``5``; ``1/2`` among the
  days of the week ends on Saturday, where Debian's cron goes on to 7, a Sunday; ``50-10`` is
  accepted. Its day fields need ``implement_cron_bug`` to be those of cron, and its own
  treatment of clock changes is another one altogether.
* cronsim: ``FRIL``, ``5-5/2`` and ``L/2`` (see ``cron_field``). Around clock changes its answer
  depends on its start: the first test below says where.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from croniter import CroniterBadDateError, croniter
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tocsin.domain.schedule.cron_syntax import NeverFiresError, read_cron
from tocsin.domain.schedule.cron_times import CronTimes
from tocsin.domain.schedule.zones import zone_names, zone_offsets

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
LAST_YEAR = 2080

# Each is odd in its own way: half an hour, midnight, Ramadan, a lost day, hours off the hour,
# three quarters, the southern summer, two changes within a week.
ODD_ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Asia/Gaza",
    "America/Caracas",
    "Antarctica/Troll",
    "Europe/Dublin",
]


# --- what is drawn


def field(low: int, high: int, *, star: int = 2, step_from: bool = True) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    span = st.tuples(value, value).filter(lambda ends: ends[0] < ends[1])
    step = st.integers(1, high)
    items: list[st.SearchStrategy[str]] = [
        value.map(str),
        span.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(span, step).map(lambda t: f"{t[0][0]}-{t[0][1]}/{t[1]}"),
    ]
    if step_from:
        items.append(st.tuples(st.integers(low, high - 1), step).map(lambda t: f"{t[0]}/{t[1]}"))
    lists = st.lists(st.one_of(items), min_size=1, max_size=3).map(",".join)
    stars = st.just("*") | step.map(lambda n: f"*/{n}")
    return st.one_of([lists, stars, *[st.just("*")] * star])


MONTHS = ("jan", "FEB", "Mar", "apr", "may", "JUN", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "MON", "Tue", "wed", "thu", "FRI", "sat")

# Seconds come in few values, or croniter takes minutes for an hour of them.
seconds = st.one_of(st.integers(0, 59).map(str), st.sampled_from(["0,30", "*/20", "7/26", "58-59"]))
minutes = field(0, 59, star=1)
hours = field(0, 23)
days = field(1, 31, star=5) | st.just("L")
months = field(1, 12, star=8) | st.sampled_from(MONTHS)
weekdays = (
    field(0, 7, star=5, step_from=False)
    | st.sampled_from(WEEKDAYS)
    | st.tuples(st.sampled_from(WEEKDAYS), st.integers(1, 5)).map(lambda t: f"{t[0]}#{t[1]}")
)


@st.composite
def expressions(draw: st.DrawFn, at_hours: st.SearchStrategy[str] = hours) -> str:
    parts = [draw(part) for part in (minutes, at_hours, days, months, weekdays)]
    if "#" in parts[4]:
        parts[2] = "*"
    if draw(st.integers(0, 3)) == 0:
        parts.insert(0, draw(seconds))
    return " ".join(parts)


@cache
def changes(zone: str) -> list[int]:
    """When the clocks of a zone change, in seconds since the epoch."""
    info = ZoneInfo(zone)
    found = []
    for day in range(0, (LAST_YEAR - 1970) * 365 * 86_400, 86_400):
        low, high = day, day + 86_400
        if offset_at(info, low) != offset_at(info, high):
            before = offset_at(info, low)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset_at(info, middle) == before else (low, middle)
            found.append(high)
    return found


def offset_at(info: ZoneInfo, second: int) -> timedelta:
    offset = datetime.fromtimestamp(second, info).utcoffset()
    assert offset is not None
    return offset


@st.composite
def near_changes(draw: st.DrawFn) -> tuple[str, int]:
    zone = draw(st.sampled_from(ODD_ZONES))
    change = draw(st.sampled_from(changes(zone)))
    distance = draw(
        st.one_of(
            st.integers(-3 * 86_400, 2 * 86_400),
            st.integers(-7_500, 7_500),
            st.sampled_from([-3_601, -3_600, -1_800, -1, 0, 1, 1_799, 1_800, 3_599, 3_600]),
        )
    )
    return zone, max(0, change + distance)


@st.composite
def cases_near_changes(draw: st.DrawFn) -> tuple[str, str, int]:
    """An expression that often names hours that are skipped or repeated, a zone, an instant."""
    zone, second = draw(near_changes())
    known = changes(zone)
    change = known[min(bisect_left(known, second), len(known) - 1)]
    hour = datetime.fromtimestamp(change - 1, ZoneInfo(zone)).hour
    close = st.lists(st.integers(-1, 2).map(lambda d: str((hour + d) % 24)), min_size=1, max_size=3)
    expression = draw(expressions(hours | close.map(",".join)))
    if draw(st.booleans()):
        expression = " ".join([*expression.split()[:-3], "*", "*", "*"])
    return expression, zone, second


anywhere = st.tuples(
    st.sampled_from(sorted(zone_names())), st.integers(0, (LAST_YEAR - 1970) * 31_536_000)
)


def ours(expression: str, zone: str, second: int) -> int | None:
    found = CronTimes(read_cron(expression), zone_offsets(zone)).next_after(second * 1_000)
    return None if found is None else found // 1_000


def readable(expression: str) -> None:
    try:
        read_cron(expression)
    except NeverFiresError:
        assume(False)


# --- the oracle


def walls(expression: str, start: datetime) -> Iterator[datetime]:
    """The naive local times that match, from `start` on."""
    calendar = croniter(
        expression,
        start - SECOND,
        ret_type=datetime,
        implement_cron_bug=True,
        second_at_beginning=True,
    )
    while True:
        try:
            yield calendar.get_next(datetime)
        except CroniterBadDateError:
            return


def instants(wall: datetime, info: ZoneInfo, *, fixed: bool) -> list[int]:
    """When a local time fires, in seconds since the epoch: never, once or twice."""
    readings = [wall.replace(tzinfo=info, fold=fold) for fold in (0, 1)]
    stamps = [int((reading - EPOCH) / SECOND) for reading in readings]
    real = [
        stamp
        for stamp in stamps
        if datetime.fromtimestamp(stamp, info).replace(tzinfo=None, fold=0) == wall
    ]
    if fixed and not real:
        # The change is between what the two readings make of a time that does not exist.
        known = changes(info.key)
        return [known[bisect_left(known, min(stamps))]]
    return sorted(set(real))[:1] if fixed else sorted(set(real))


def oracle(expression: str, zone: str, second: int) -> int | None:
    info = ZoneInfo(zone)
    parts = expression.split()
    fixed = len(parts) == 5 and not parts[0].startswith("*") and not parts[1].startswith("*")
    # Local time may go back by as much as the clocks change around here.
    near = [offset_at(info, max(0, second + d * 3_600)) for d in range(-30, 31)]
    slack = max(near) - min(near)
    local = datetime.fromtimestamp(second, info).replace(tzinfo=None, fold=0)
    best: int | None = None
    for wall in walls(expression, local - slack):
        if best is not None and wall > local + 2 * slack + SECOND:
            latest = datetime.fromtimestamp(best, info).replace(tzinfo=None, fold=0)
            if wall > latest + 2 * slack:
                break
        if wall.year > LAST_YEAR - 2:
            break
        for instant in instants(wall, info, fixed=fixed):
            if instant > second and (best is None or instant < best):
                best = instant
    return best


# --- the comparisons


@given(cases_near_changes())
@settings(max_examples=300, deadline=None)
def test_agrees_with_croniter_around_clock_changes(case: tuple[str, str, int]) -> None:
    expression, zone, second = case
    readable(expression)
    expected = oracle(expression, zone, second)
    assume(expected is not None)
    assert ours(expression, zone, second) == expected


@given(expressions(), anywhere)
@settings(max_examples=350, deadline=None)
def test_agrees_with_croniter_in_utc(expression: str, where: tuple[str, int]) -> None:
    readable(expression)
    second = where[1]
    start = datetime.fromtimestamp(second, UTC).replace(tzinfo=None) + SECOND
    expected = next(walls(expression, start), None)
    assert expected is not None
    assert ours(expression, "UTC", second) == int((expected.replace(tzinfo=UTC) - EPOCH) / SECOND)


more_days = st.sampled_from(["LW", "L,15", "LW,1-3", "*/31", "13"]) | days
more_weekdays = st.sampled_from(["5L", "1#2,3L", "0L,4", "7#5", "1/2", "*/7"]) | weekdays


@given(minutes, hours, more_days, months, more_weekdays, st.booleans(), anywhere | near_changes())
@settings(max_examples=350, deadline=None)
def test_agrees_with_cronsim_away_from_clock_changes(
    minute: str,
    hour: str,
    day: str,
    month: str,
    weekday: str,
    with_seconds: bool,
    where: tuple[str, int],
) -> None:
    expression = f"{'5 ' if with_seconds else ''}{minute} {hour} {day} {month} {weekday}"
    readable(expression)
    zone, second = where
    found = ours(expression, zone, second)
    assume(found is not None)
    assert found is not None
    near = [s for at in (second, found) for s in range(at - 172_800, at + 172_801, 21_600)]
    assume(len({offset_at(ZoneInfo(zone), max(0, s)) for s in near}) <= 2)
    for at in (second, found):
        around = [offset_at(ZoneInfo(zone), max(0, at + d * 21_600)) for d in range(-8, 9)]
        assume(len(set(around)) == 1)
    expected = next(CronSim(expression, datetime.fromtimestamp(second, ZoneInfo(zone))))
    assert found == int(expected.timestamp())


@pytest.mark.parametrize(
    ("expression", "zone", "after", "theirs"),
    [
        # Within a repeated hour it answers with an instant that has passed.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00+00:00", "2026-10-25T02:30:00+02:00"),
        # Where clocks change by half an hour it loses the first half of the hour it looks for.
        (
            "* 8 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T12:00:00+00:00",
            "2026-04-05T08:30:00+10:30",
        ),
    ],
)
def test_the_answers_of_cronsim_that_are_not_taken(
    expression: str, zone: str, after: str, theirs: str
) -> None:
    """When this fails, cronsim has changed, and the walk through time may go back to it."""
    start = datetime.fromisoformat(after)
    found = next(CronSim(expression, start.astimezone(ZoneInfo(zone))))
    assert found.isoformat() == theirs
    second = int(start.timestamp())
    assert ours(expression, zone, second) == oracle(expression, zone, second)


@pytest.mark.parametrize("zone", ODD_ZONES)
@pytest.mark.parametrize("expression", ["*/10 * * * *", "*/15 */2 * * *", "* 0-3 * * *"])
def test_agrees_with_a_walk_through_every_minute(expression: str, zone: str) -> None:
    """For what goes with the clock the rule is short: it fires when the local time matches."""
    change = [at for at in changes(zone) if at % 60 == 0][-1]
    start, end = change - 86_400, change + 86_400
    info = ZoneInfo(zone)
    fields = read_cron(expression)
    expected = []
    for minute in range(start // 60 * 60 + 60, end, 60):
        local = datetime.fromtimestamp(minute, info)
        if local.minute in fields.minute.values and local.hour in fields.hour.values:
            expected.append(minute)
    times = CronTimes(fields, zone_offsets(zone))
    found, instant = [], times.next_after(start * 1_000)
    while instant is not None and instant < end * 1_000:
        found.append(instant // 1_000)
        instant = times.next_after(instant)
    assert found == expected


@pytest.mark.parametrize("zone", ODD_ZONES)
@pytest.mark.parametrize("expression", ["0,15,30,45 0-23 * * *", "20 0,1,2,3,23 * * *"])
def test_times_of_the_day_fire_once_on_each_day(expression: str, zone: str) -> None:
    """Every local time around each change since 2005 is on the list once, skipped ones too."""
    fields = read_cron(expression)
    times = CronTimes(fields, zone_offsets(zone))
    info = ZoneInfo(zone)
    for change in [at for at in changes(zone) if 1_104_537_600 < at < 2_000_000_000][-12:]:
        start, end = change - 40_000, change + 40_000
        wall = datetime.fromtimestamp(start, info).replace(tzinfo=None, fold=0, minute=0, second=0)
        expected = set()
        for hour in range(-30, 60):
            for minute in fields.minute.values:
                at = wall + timedelta(hours=hour, minutes=minute)
                if at.hour in fields.hour.values:
                    expected.update(instants(at, info, fixed=True))
        found, instant = [], times.next_after(start * 1_000)
        while instant is not None and instant <= end * 1_000:
            found.append(instant // 1_000)
            instant = times.next_after(instant)
        assert found == sorted(at for at in expected if start < at <= end)
