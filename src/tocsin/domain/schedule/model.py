"""A schedule: a pure value that knows when to fire."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import assert_never

from tocsin.domain.duration import format_duration
from tocsin.domain.instant import MAX_INSTANT, MINUTE, SECOND, Millis, format_instant
from tocsin.domain.quick import quick
from tocsin.domain.schedule.cron_gap import shortest_gap
from tocsin.domain.schedule.cron_syntax import read_cron
from tocsin.domain.schedule.cron_times import cron_times
from tocsin.domain.schedule.describe import describe
from tocsin.domain.schedule.kinds import At, Cron, Every, Kind
from tocsin.domain.schedule.zones import local_text, zone_offsets

MIN_GRACE: Millis = 5 * SECOND
MAX_GRACE: Millis = MINUTE


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalFire:
    """A fire time of a preview.

    `local` is RFC 3339 in the schedule's zone, with its offset; `offset_changed` says that the
    clocks were changed since the fire before it (for the first: since the start of the preview).
    """

    fire_time: Millis
    local: str
    offset_changed: bool


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When a job fires: its kind, within bounds.

    `starts_at` and `ends_at` are both included; ``None`` is no bound. `jitter` (0 to 24 h) is the
    longest delay of a fire. `timezone` is an IANA name: cron expressions are read in it, and
    previews and descriptions are given in it. `parse_schedule` makes one from what people write
    and checks it; the class itself trusts its values.
    """

    kind: Kind
    timezone: str = "UTC"
    starts_at: Millis | None = None
    ends_at: Millis | None = None
    jitter: Millis = 0

    def next_after(self, instant: Millis) -> Millis | None:
        """The smallest fire time greater than `instant`, or None: never.

        Fire times lie in the years 1970 to 9999; those of cron on whole seconds. Raises
        ``ValueError`` where this machine does not know the zone of a stored schedule.
        """
        if self.starts_at is not None and instant < self.starts_at:
            instant = self.starts_at - 1
        found = self._unbounded_next(instant)
        if found is None or (self.ends_at is not None and found > self.ends_at):
            return None
        return found

    def interval_at(self, fire_time: Millis) -> Millis | None:
        """The gap from a fire time to the one that follows it, or None if none does.

        `ends_at` plays no part: to move it changes neither the jitter nor the grace of the last
        fire before it.
        """
        following = self._unbounded_next(fire_time)
        return None if following is None else following - fire_time

    def shortest_gap(self) -> Millis | None:
        """How close two fire times can be, changes of the clock left out; None where one is all."""
        match self.kind:
            case Cron(expression=expression):
                return shortest_gap(read_cron(expression))
            case Every(interval=interval):
                return interval
            case At():
                return None
            case _:
                assert_never(self.kind)

    def due(self, fire_time: Millis, job_id: str) -> Millis:
        """When a fire leaves: its fire time, plus this job's jitter for it.

        The delay is spread evenly over 0 .. `jitter`, and stays below the gap to the next fire
        time. It is derived from its arguments alone, so every node computes the same one, also
        after a restart. It may lie after `ends_at`, which bounds fire times only.
        """
        if not self.jitter:
            return fire_time
        gap = self.interval_at(fire_time)
        bound = self.jitter if gap is None else min(self.jitter, gap)
        digest = blake2b(f"{job_id}:{fire_time}".encode(), digest_size=8).digest()
        return fire_time + (int.from_bytes(digest, "big") * bound >> 64)

    def default_grace(self, fire_time: Millis) -> Millis:
        """How late a fire may be noticed and still run, where the job does not say.

        One interval, bounded to 5 s .. 1 min; 1 min where nothing follows.
        """
        gap = self.interval_at(fire_time)
        return MAX_GRACE if gap is None else min(max(gap, MIN_GRACE), MAX_GRACE)

    def preview(self, after: Millis, count: int) -> list[Millis]:
        """The next fire times after an instant: `count` of them, or fewer where they end."""
        found: list[Millis] = []
        following = self.next_after(after) if count > 0 else None
        while following is not None and len(found) < count:
            found.append(following)
            following = self.next_after(following)
        return found

    def preview_local(self, after: Millis, count: int) -> list[LocalFire]:
        """The same as `preview`, as local times that show where the clocks change."""
        offsets = zone_offsets(self.timezone)
        fires: list[LocalFire] = []
        offset = offsets.offset_at(after)
        for fire_time in self.preview(after, count):
            before, offset = offset, offsets.offset_at(fire_time)
            fires.append(
                LocalFire(
                    fire_time=fire_time,
                    local=local_text(fire_time, self.timezone),
                    offset_changed=offset != before,
                )
            )
        return fires

    def describe(self) -> str:
        """A sentence for people, such as ``At 02:00 every day, Europe/Berlin``."""
        return describe(
            self.kind,
            timezone=self.timezone,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            jitter=self.jitter,
        )

    def to_json(self) -> dict[str, str | None]:
        """The shape of the API, every default written out; `schedule_from_json` reads it back."""
        kind: dict[str, str | None]
        match self.kind:
            case Cron(expression=expression):
                kind = {"cron": expression}
            case Every(interval=interval, anchor=anchor):
                kind = {"every": format_duration(interval), "anchor": format_instant(anchor)}
            case At(instant=instant):
                kind = {"at": format_instant(instant)}
            case _:
                assert_never(self.kind)
        return kind | {
            "timezone": self.timezone,
            "starts_at": None if self.starts_at is None else format_instant(self.starts_at),
            "ends_at": None if self.ends_at is None else format_instant(self.ends_at),
            "jitter": format_duration(self.jitter),
        }

    def _unbounded_next(self, instant: Millis) -> Millis | None:
        kind = self.kind
        if isinstance(kind, Cron):
            return cron_times(kind.expression, self.timezone).next_after(instant)
        if isinstance(kind, Every):
            if instant < kind.anchor:
                return kind.anchor
            found = instant + kind.interval - (instant - kind.anchor) % kind.interval
            return found if found <= MAX_INSTANT else None
        if isinstance(kind, At):
            return kind.instant if kind.instant > instant else None
        assert_never(kind)
