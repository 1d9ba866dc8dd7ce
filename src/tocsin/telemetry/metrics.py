"""What ``/metrics`` shows: counts, distributions and levels, in Prometheus' words."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Gauge, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tocsin.domain.errors import StoreError
from tocsin.domain.execution import ErrorKind, Execution, Reason, State, TriggerKind
from tocsin.domain.job import JobStatus
from tocsin.store.port import Limits, Stats, Usage
from tocsin.telemetry.series import Counts, Distribution

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"

LATENESS_BOUNDS = (
    0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600,
)  # fmt: skip
CALL_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STORE_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BATCH_BOUNDS = (0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_000)

_FINAL = tuple(state for state in State if state.final)


class Metrics(Collector):
    """Everything that is measured; also a ``Meter`` for the engine.

    Belongs to the thread of the event loop. Series per fire cost well under a microsecond.
    """

    def __init__(self, *, version: str, node: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._node = node
        self._fires = Counts(
            "tocsin_fires",
            "Fire times of schedules that ended; each of a skipped range counts",
            ["state"],
        )
        self._executions = Counts(
            "tocsin_executions",
            "Executions that ended, of schedules and by hand; a skipped range is one",
            ["state", "reason"],
        )
        self._attempts = Counts(
            "tocsin_attempts", "Calls that ended, by error kind or success", ["outcome"]
        )
        self._lateness = Distribution(
            "tocsin_lateness_seconds", "Delay of the first call after its due", LATENESS_BOUNDS
        )
        self._calls = Distribution(
            "tocsin_call_duration_seconds", "Length of a call, whatever its end", CALL_BOUNDS
        )
        self._claim_seconds = Distribution(
            "tocsin_claim_duration_seconds", "Length of a claim in the store", STORE_BOUNDS
        )
        self._claim_sizes = Distribution(
            "tocsin_claim_batch_size", "Executions taken by a claim", BATCH_BOUNDS
        )
        self._record_seconds = Distribution(
            "tocsin_record_duration_seconds", "Length of a record in the store", STORE_BOUNDS
        )
        self._record_sizes = Distribution(
            "tocsin_record_batch_size", "Results stored by a record", BATCH_BOUNDS
        )
        self._rejections = Counts(
            "tocsin_capacity_rejections", "Requests refused because a limit is reached", ["limit"]
        )
        self._store_errors = Counts("tocsin_store_errors", "Errors of the store", ["code"])
        self._series: tuple[Counts | Distribution, ...] = (
            self._fires,
            self._executions,
            self._attempts,
            self._lateness,
            self._calls,
            self._claim_seconds,
            self._claim_sizes,
            self._record_seconds,
            self._record_sizes,
            self._rejections,
            self._store_errors,
        )
        for state in _FINAL:
            self._fires.start(state.value)
        for state in (State.SUCCEEDED, State.FAILED):
            self._executions.start(state.value, "")
        self._executions.start(State.FAILED.value, Reason.LOST.value)
        self._attempts.start("success")
        for limit in ("jobs", "bytes", "disk", "connections"):
            self._rejections.start(limit)

        self._in_flight = Gauge(
            "tocsin_in_flight", "Calls under way on this node", registry=self.registry
        )
        self._held = Gauge(
            "tocsin_held", "Executions claimed by this node and not ended", registry=self.registry
        )
        self._lease_held = Gauge(
            "tocsin_lease_held",
            "Whether this node can prove its lease, and so may claim and call",
            registry=self.registry,
        )
        self._store_up = Gauge(
            "tocsin_store_up",
            "Whether the store answered when these metrics were read",
            registry=self.registry,
        )
        self._levels: list[Metric] = []
        Info("tocsin_build", "What is running", registry=self.registry).info(
            {"version": version, "node": node}
        )
        self.registry.register(self)

    # --- told by the engine

    def claimed(self, *, claims: int, seconds: float) -> None:
        """A claim took so many executions in so long."""
        self._claim_seconds.observe(seconds)
        self._claim_sizes.observe(claims)

    def recorded(self, executions: Sequence[Execution], *, seconds: float) -> None:
        """A batch of results was stored in so long; ended and retried ones."""
        self._record_seconds.observe(seconds)
        self._record_sizes.observe(len(executions))
        self._observe(executions, called=True)

    def closed(self, executions: Sequence[Execution]) -> None:
        """Executions ended without this node's call: skipped, cancelled, replaced, lost."""
        self._observe(executions, called=False)

    def store_failed(self, error: StoreError) -> None:
        """The store could not do something."""
        self._store_errors.add((error.code,))

    def _observe(self, executions: Iterable[Execution], *, called: bool) -> None:
        late: list[float] = []
        durations: list[float] = []
        # Most of a batch is alike, so it is counted by kind first and told to the series after.
        alike: dict[tuple[State, Reason | None, bool, ErrorKind | str | None], int] = {}
        for execution in executions:
            outcome: ErrorKind | str | None = None
            if execution.attempts:
                last = execution.attempts[-1]
                outcome = last.error_kind or _SUCCESS
                if called:
                    durations.append(last.duration_ms / 1_000)
                    if last.number == 1:
                        late.append(max(0, last.started_at - execution.due) / 1_000)
            by_schedule = execution.trigger is TriggerKind.SCHEDULE
            key = (execution.state, execution.reason, by_schedule, outcome)
            alike[key] = alike.get(key, 0) + 1
            if execution.skipped_count and by_schedule:
                self._fires.add((execution.state.value,), execution.skipped_count - 1)
        for (state, reason, by_schedule, outcome), count in alike.items():
            if outcome is not None and (called or outcome is ErrorKind.LOST):
                self._attempts.add((str(outcome),), count)
            if state.final:
                self._executions.add((state.value, "" if reason is None else reason.value), count)
                if by_schedule:
                    self._fires.add((state.value,), count)
        self._lateness.observe_all(late)
        self._calls.observe_all(durations)

    # --- told by the API

    def rejected(self, limit: str) -> None:
        """Somebody was refused because a limit is reached.

        It is ``jobs``, ``bytes``, ``disk`` or ``connections``.
        """
        self._rejections.add((limit,))

    # --- levels

    def watch(
        self,
        *,
        in_flight: Callable[[], int],
        held: Callable[[], int],
        lease_held: Callable[[], bool],
        clock_offset: Callable[[], float] | None = None,
    ) -> None:
        """Where the levels of this node are read from when metrics are asked for.

        Without ``clock_offset`` it is not shown: there is nothing to compare the clock with.
        """
        self._in_flight.set_function(in_flight)
        self._held.set_function(held)
        self._lease_held.set_function(lease_held)
        if clock_offset is not None:
            Gauge(
                "tocsin_clock_offset_seconds",
                "What must be added to this machine's clock for the database's time",
                registry=self.registry,
            ).set_function(clock_offset)

    def set_store(self, stats: Stats, usage: Usage, limits: Limits, *, nodes: int) -> None:
        """What the store holds now; ``nodes`` are those whose lease is held."""
        self._store_up.set(1)
        members = GaugeMetricFamily("tocsin_nodes", "Nodes whose lease is held", value=nodes)
        queue = GaugeMetricFamily(
            "tocsin_queue_depth", "Executions that have not ended, by state", labels=["state"]
        )
        queue.add_metric(["pending"], stats.pending)
        queue.add_metric(["claimed"], stats.claimed)
        jobs = GaugeMetricFamily("tocsin_jobs", "Jobs by status", labels=["status"])
        for status in JobStatus:
            if status is not JobStatus.DELETED:
                jobs.add_metric([status.value], usage.by_status.get(status, 0))
        used = GaugeMetricFamily(
            "tocsin_capacity_used", "What is used of a limit", labels=["limit"]
        )
        used.add_metric(["jobs"], usage.jobs)
        used.add_metric(["bytes"], usage.bytes)
        limit = GaugeMetricFamily("tocsin_capacity_limit", "The limit", labels=["limit"])
        limit.add_metric(["jobs"], limits.max_jobs)
        limit.add_metric(["bytes"], limits.max_bytes)
        self._levels = [members, queue, jobs, used, limit]

    def set_store_down(self) -> None:
        """The store did not answer: its levels are not shown."""
        self._store_up.set(0)
        self._levels = []

    # --- reading

    def collect(self) -> Iterable[Metric]:
        """Every series, for the registry."""
        for series in self._series:
            yield from series.collect()
        yield from self._levels

    def render(self) -> bytes:
        """Everything as text."""
        return generate_latest(self.registry)

    def render_for_host(self, *, with_store: bool) -> bytes:
        """The same for a host with several nodes: what is this node's own carries its name.

        What the store holds is the same wherever it is read, so it is shown by one node alone:
        ``with_store``.
        """
        families = []
        for family in self.registry.collect():
            if family.name not in _OF_STORE:
                for at, sample in enumerate(family.samples):
                    family.samples[at] = sample._replace(
                        labels={**sample.labels, "node": self._node}
                    )
            elif not with_store:
                continue
            families.append(family)
        return generate_latest(_Families(families))


_SUCCESS = "success"

_OF_STORE = frozenset(
    {
        "tocsin_store_up",
        "tocsin_nodes",
        "tocsin_queue_depth",
        "tocsin_jobs",
        "tocsin_capacity_used",
        "tocsin_capacity_limit",
    }
)


class _Families(Collector):
    """Families that are there already, to be written as text."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def merge(texts: Iterable[bytes]) -> bytes:
    """The metrics of several nodes as one text: each family once, with the samples of all."""
    families: dict[bytes, list[bytes]] = {}
    for text in texts:
        about, samples = b"", families.setdefault(b"", [])
        for line in text.splitlines(keepends=True):
            if line.startswith(b"# HELP "):
                about = line
            elif line.startswith(b"# TYPE "):
                samples = families.setdefault(about + line, [])
            elif not line.startswith(b"#"):
                samples.append(line)
    return b"".join(head + b"".join(samples) for head, samples in families.items())
