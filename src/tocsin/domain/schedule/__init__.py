"""Schedules: pure values that say when a job fires.

::

    kinds        Cron, Every, At: what calls for a fire
    model        Schedule: a kind within bounds, with its zone and jitter; all the answers
    parsing      from and to JSON, with every check
    describe     a schedule in words (cron_words: a cron expression in words)
    cron_syntax  reading cron expressions (cron_field: one field)
    cron_times   the fire times of a cron expression in a zone, and the rule for clock changes
    zones        time zones and their offsets
"""

from tocsin.domain.schedule.describe import once
from tocsin.domain.schedule.kinds import At, Cron, Every, Kind
from tocsin.domain.schedule.model import LocalFire, Schedule
from tocsin.domain.schedule.parsing import parse_schedule, schedule_from_json

__all__ = [
    "At",
    "Cron",
    "Every",
    "Kind",
    "LocalFire",
    "Schedule",
    "once",
    "parse_schedule",
    "schedule_from_json",
]
