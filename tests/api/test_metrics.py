"""What is counted of executions."""

from typing import Any

import pytest

from tests.support import build
from tests.support.build import NOW
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.execution import ErrorKind, Reason, State, TriggerKind
from tocsin.engine.meter import Meter
from tocsin.telemetry.metrics import Metrics

JOB = build.job("report")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1", node="a")


def values(metrics: Metrics) -> dict[str, float]:
    """Every series with its value."""
    lines = [line for line in metrics.render().decode().splitlines() if line[:1] != "#"]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_the_engine_can_be_handed_it(metrics: Metrics) -> None:
    meter: Meter = metrics
    meter.claimed(claims=3, seconds=0.002)
    meter.store_failed(StoreUnavailable("x"))
    found = values(metrics)
    assert found["tocsin_claim_duration_seconds_count"] == 1
    assert found["tocsin_claim_batch_size_sum"] == 3
    assert found['tocsin_store_errors_total{code="store_unavailable"}'] == 1


def test_results(metrics: Metrics) -> None:
    ok = build.execution(
        JOB, state=State.SUCCEEDED, attempts=(build.attempt(started_at=NOW + 20, duration_ms=40),)
    )
    retrying = build.execution(
        JOB,
        state=State.PENDING,
        attempts=(build.failed_attempt(started_at=NOW + 300, duration_ms=3),),
    )
    failed = build.execution(
        JOB,
        state=State.FAILED,
        trigger=TriggerKind.MANUAL,
        attempts=(
            build.failed_attempt(),
            build.attempt(2, started_at=NOW + 9_000, error_kind=ErrorKind.TIMEOUT),
        ),
    )
    metrics.recorded([ok, retrying, failed], seconds=0.004)
    found = values(metrics)
    assert found['tocsin_attempts_total{outcome="success"}'] == 1
    assert found['tocsin_attempts_total{outcome="http_status"}'] == 1
    assert found['tocsin_attempts_total{outcome="timeout"}'] == 1
    assert found['tocsin_executions_total{reason="",state="succeeded"}'] == 1
    assert found['tocsin_executions_total{reason="",state="failed"}'] == 1
    assert found['tocsin_fires_total{state="succeeded"}'] == 1
    assert found['tocsin_fires_total{state="failed"}'] == 0
    # A first attempt counts towards lateness, a retry does not.
    assert found["tocsin_lateness_seconds_count"] == 2
    assert found["tocsin_lateness_seconds_sum"] == pytest.approx(0.32)
    assert found['tocsin_lateness_seconds_bucket{le="0.025"}'] == 1
    assert found['tocsin_lateness_seconds_bucket{le="0.5"}'] == 2
    assert found['tocsin_lateness_seconds_bucket{le="+Inf"}'] == 2
    assert found["tocsin_call_duration_seconds_count"] == 3
    assert found["tocsin_record_batch_size_sum"] == 3


def test_what_ends_without_a_call(metrics: Metrics) -> None:
    skipped = build.execution(
        JOB, state=State.SKIPPED, reason=Reason.MISFIRE, skipped_count=7, available_at=None
    )
    single = build.execution(JOB, state=State.SKIPPED, reason=Reason.OVERLAP)
    cancelled = build.execution(
        JOB, state=State.CANCELLED, reason=Reason.REPLACED, attempts=(build.failed_attempt(),)
    )
    lost = build.execution(
        JOB,
        state=State.FAILED,
        reason=Reason.LOST,
        attempts=(build.attempt(error_kind=ErrorKind.LOST),),
    )
    metrics.closed([skipped, single, cancelled, lost])
    found = values(metrics)
    assert found['tocsin_fires_total{state="skipped"}'] == 8
    assert found['tocsin_executions_total{reason="misfire",state="skipped"}'] == 1
    assert found['tocsin_executions_total{reason="replaced",state="cancelled"}'] == 1
    assert found['tocsin_executions_total{reason="lost",state="failed"}'] == 1
    assert found['tocsin_attempts_total{outcome="lost"}'] == 1
    assert 'tocsin_attempts_total{outcome="http_status"}' not in found
    assert found["tocsin_lateness_seconds_count"] == 0


def test_levels_are_read_when_asked(metrics: Metrics) -> None:
    level = 3
    metrics.watch(in_flight=lambda: level, held=lambda: level * 2, lease_held=lambda: level > 3)
    found = values(metrics)
    assert (found["tocsin_in_flight"], found["tocsin_lease_held"]) == (3, 0)
    level = 5
    found = values(metrics)
    assert (found["tocsin_held"], found["tocsin_lease_held"]) == (10, 1)


def test_the_offset_of_the_clock_is_shown_where_there_is_one(metrics: Metrics) -> None:
    nothing: dict[str, Any] = {
        "in_flight": lambda: 0,
        "held": lambda: 0,
        "lease_held": lambda: True,
    }
    metrics.watch(**nothing)
    assert "tocsin_clock_offset_seconds" not in values(metrics)
    metrics.watch(**nothing, clock_offset=lambda: -600.25)
    assert values(metrics)["tocsin_clock_offset_seconds"] == -600.25


def test_two_do_not_share_anything(metrics: Metrics) -> None:
    metrics.rejected("jobs")
    other = Metrics(version="2", node="b")
    assert values(other)['tocsin_capacity_rejections_total{limit="jobs"}'] == 0
    assert values(metrics)['tocsin_capacity_rejections_total{limit="jobs"}'] == 1
