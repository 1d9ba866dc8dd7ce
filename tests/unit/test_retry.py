"""Which results are tried again, and after how long."""

import pytest

from tocsin.domain.execution import ErrorKind
from tocsin.domain.retry import RETRY_AFTER_BOUND, RetryPolicy

PLAIN = RetryPolicy(initial=1_000, factor=2, max=300_000, jitter=0)


def delays(policy: RetryPolicy, count: int) -> list[int]:
    return [policy.delay(retry, execution_id="x") for retry in range(1, count + 1)]


def test_the_wait_grows_by_the_factor_up_to_the_maximum() -> None:
    assert delays(PLAIN, 10) == [
        1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000,
    ]  # fmt: skip


def test_a_factor_of_one_waits_the_same_each_time() -> None:
    assert delays(RetryPolicy(initial=500, factor=1, jitter=0), 3) == [500, 500, 500]


def test_an_initial_wait_above_the_maximum_is_cut() -> None:
    assert delays(RetryPolicy(initial=5_000, max=2_000, jitter=0), 2) == [2_000, 2_000]


def test_no_initial_wait_means_no_wait() -> None:
    assert delays(RetryPolicy(initial=0), 3) == [0, 0, 0]


@pytest.mark.parametrize("factor", [10.0, 1e6, 1e300])
def test_the_hundredth_retry_with_any_factor_waits_the_maximum(factor: float) -> None:
    policy = RetryPolicy(max_attempts=100, factor=factor, jitter=0)
    assert policy.delay(100, execution_id="x") == policy.max


def test_no_initial_wait_stays_none_with_any_factor() -> None:
    assert RetryPolicy(initial=0, factor=1e300).delay(100, execution_id="x") == 0


def test_a_slow_growth_goes_on_to_the_hundredth_retry() -> None:
    policy = RetryPolicy(initial=1_000, factor=1.05, jitter=0)
    assert policy.delay(99, execution_id="x") == round(1_000 * 1.05**98)


def test_the_spread_differs_by_execution_and_by_retry() -> None:
    policy = RetryPolicy(initial=100_000, factor=1, jitter=0.5)
    waits = {
        policy.delay(retry, execution_id=one) for retry in range(1, 11) for one in "abcdefghij"
    }
    assert len(waits) > 90
    assert min(waits) < 60_000
    assert max(waits) > 140_000


def test_the_spread_never_exceeds_the_maximum() -> None:
    policy = RetryPolicy(initial=1_000, max=1_000, jitter=1)
    assert all(policy.delay(1, execution_id=str(one)) <= 1_000 for one in range(100))


def test_retry_after_lengthens_the_wait_and_never_shortens_it() -> None:
    assert PLAIN.delay(1, execution_id="x", retry_after=30_000) == 30_000
    assert PLAIN.delay(1, execution_id="x", retry_after=10) == 1_000
    assert PLAIN.delay(1, execution_id="x", retry_after=0) == 1_000


def test_retry_after_may_exceed_the_maximum_but_not_an_hour() -> None:
    assert PLAIN.delay(1, execution_id="x", retry_after=600_000) == 600_000
    assert PLAIN.delay(1, execution_id="x", retry_after=10**12) == RETRY_AFTER_BOUND == 3_600_000


@pytest.mark.parametrize(
    ("kind", "status", "again"),
    [
        (ErrorKind.CONNECTION, None, True),
        (ErrorKind.DNS, None, True),
        (ErrorKind.TIMEOUT, None, True),
        (ErrorKind.TLS, None, False),
        (ErrorKind.PROTOCOL, None, False),
        (ErrorKind.TOO_LARGE, None, False),
        (ErrorKind.REDIRECT, 302, False),
        (ErrorKind.BLOCKED, None, False),
        (ErrorKind.HTTP_STATUS, 408, True),
        (ErrorKind.HTTP_STATUS, 425, True),
        (ErrorKind.HTTP_STATUS, 429, True),
        (ErrorKind.HTTP_STATUS, 500, True),
        (ErrorKind.HTTP_STATUS, 599, True),
        (ErrorKind.HTTP_STATUS, 404, False),
        (ErrorKind.HTTP_STATUS, None, False),
    ],
)
def test_what_is_retried_by_default(kind: ErrorKind, status: int | None, again: bool) -> None:
    assert RetryPolicy().retries(kind, status) is again


def test_what_is_retried_can_be_chosen() -> None:
    policy = RetryPolicy(on=("tls", "404", "500-502"))
    assert policy.retries("tls", None)
    assert policy.retries("http_status", 404)
    assert policy.retries("http_status", 502)
    assert not policy.retries("http_status", 503)
    assert not policy.retries("connection", None)


def test_a_status_counts_only_where_the_status_is_the_error() -> None:
    """A time-out while a 503 is read is a time-out."""
    assert not RetryPolicy(on=("5xx",)).retries("timeout", 503)


def test_nothing_can_be_retried() -> None:
    assert not RetryPolicy(on=()).retries("connection", None)


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(ValueError, match="'sometimes' is not a status rule"):
        RetryPolicy(on=("sometimes",))


def test_policies_compare_by_what_was_written() -> None:
    assert RetryPolicy() == RetryPolicy()
    assert hash(RetryPolicy()) == hash(RetryPolicy())
    assert RetryPolicy(on=("500",)) != RetryPolicy(on=("501",))
