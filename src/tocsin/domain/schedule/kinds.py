"""The three kinds of schedule: what calls for a fire, without the bounds and the zone."""

from dataclasses import dataclass
from typing import TypeAlias

from tocsin.domain.instant import Millis


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """Fires when the local time matches a cron expression (5 fields, 6, or a macro)."""

    expression: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Every:
    """Fires at `anchor` and then every `interval` milliseconds (at least 1), without drift."""

    interval: Millis
    anchor: Millis


@dataclass(frozen=True, kw_only=True, slots=True)
class At:
    """Fires once."""

    instant: Millis


Kind: TypeAlias = Cron | Every | At
