"""How often a job may fire in this installation."""

from tocsin.domain.duration import format_duration
from tocsin.domain.errors import InvalidInput
from tocsin.domain.instant import SECOND, Millis
from tocsin.domain.schedule import Cron, Schedule

SHORTEST: Millis = SECOND
"""No schedule fires more often, whatever the installation says."""


def require_seldom(schedule: Schedule, least: Millis, previous: Schedule | None = None) -> None:
    """Raise ``InvalidInput`` where fires can be closer than ``least`` milliseconds.

    A schedule that a job has already is left to it.
    """
    if least <= SHORTEST or schedule == previous:
        return
    gap = schedule.shortest_gap()
    if gap is None or gap >= least:
        return
    field = "cron" if isinstance(schedule.kind, Cron) else "every"
    raise InvalidInput.of(
        field,
        f"fires every {format_duration(gap)} at its most often, and this server takes "
        f"{format_duration(least)} or more (TOCSIN_MIN_INTERVAL)",
        "too_often",
    )
