"""What the API is handed by whoever puts the program together."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from limits import RateLimitItem

from tocsin.api.auth import Gate
from tocsin.api.eventlog import EventLog
from tocsin.api.rates import Rates
from tocsin.api.throttle import Identify
from tocsin.domain.instant import Millis
from tocsin.services.audit import AuditService
from tocsin.services.cluster import ClusterService
from tocsin.services.executions import ExecutionService
from tocsin.services.insights import InsightService
from tocsin.services.jobs import JobService
from tocsin.services.keys import KeyService
from tocsin.services.secrets import SecretService
from tocsin.services.stats import StatsService
from tocsin.services.trials import TrialService
from tocsin.telemetry.metrics import Metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that must hold for this node to fire."""

    name: str
    ok: bool
    detail: str = ""
    """Why not, for people; empty where all is well."""


Readiness: TypeAlias = Callable[[], Awaitable[Sequence[Check]]]
"""Looks at everything that a firing node needs; must not raise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyLimits:
    """Bytes of a request's body, at most."""

    body: int = 1_048_576
    batch: int = 67_108_864


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiContext:
    """The collaborators of the API, ready to use."""

    gate: Gate
    jobs: JobService
    executions: ExecutionService
    stats: StatsService
    cluster: ClusterService
    keys: KeyService
    audit: AuditService
    namespaces: Callable[[], Awaitable[Sequence[str]]]
    """The names of all namespaces that have something in them."""
    secrets: SecretService
    insights: InsightService
    trials: TrialService
    events: EventLog
    metrics: Metrics
    readiness: Readiness
    now: Callable[[], Millis]
    version: str
    body_limits: BodyLimits = BodyLimits()
    sibling_metrics: Callable[[], Awaitable[Sequence[bytes]]] | None = None
    """Asks the other processes behind this address, where there are several."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may read answers; never with a session."""
    public_metrics: bool = False
    """Whether ``/metrics`` is there for everybody."""
    rates: Rates | None = None
    """Counts requests; ``None``: nobody is held to a limit."""
    rate: RateLimitItem | None = None
    """The limit of writes; ``None`` likewise."""
    identify: Identify | None = None
    """Knows keys that have a limit of their own."""
    ui: Path | None = None
    """The folder with the built pages; ``None`` where they were not built."""
    demo: bool = False
    """Whether the demonstration's echo endpoint is there."""
