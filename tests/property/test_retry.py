"""Delays of retries: within bounds, and the same wherever they are computed."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.scale import examples
from tocsin.domain.instant import DAY
from tocsin.domain.retry import RETRY_AFTER_BOUND, RetryPolicy

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    initial=st.integers(0, DAY),
    factor=st.floats(1, 1_000),
    max=st.integers(0, 7 * DAY),
    jitter=st.floats(0, 1),
)
plain_policies = st.builds(
    RetryPolicy,
    initial=st.integers(0, DAY),
    factor=st.floats(1, 1_000),
    max=st.integers(0, 7 * DAY),
    jitter=st.just(0.0),
)
retries = st.integers(1, 100)
ids = st.uuids().map(str)


@given(policies, retries, ids)
@examples(300)
def test_a_wait_lies_within_the_spread_around_the_plain_one(
    policy: RetryPolicy, retry: int, execution_id: str
) -> None:
    wait = policy.delay(retry, execution_id=execution_id)
    # The exponent is cut so that the oracle does not overflow; by then any maximum is reached
    # unless there is no growth or nothing to grow.
    grown = policy.initial * policy.factor ** min(retry - 1, 99)
    plain = min(grown, policy.max)
    assert 0 <= wait <= policy.max
    assert plain * (1 - policy.jitter) - 1 <= wait <= plain * (1 + policy.jitter) + 1


@given(policies, retries, ids)
@examples(200)
def test_a_wait_is_the_same_each_time_it_is_computed(
    policy: RetryPolicy, retry: int, execution_id: str
) -> None:
    first = policy.delay(retry, execution_id=execution_id)
    assert policy.delay(retry, execution_id=execution_id) == first


@given(plain_policies, st.integers(1, 99), ids)
@examples(200)
def test_without_spread_a_wait_never_gets_shorter(
    policy: RetryPolicy, retry: int, execution_id: str
) -> None:
    sooner = policy.delay(retry, execution_id=execution_id)
    assert policy.delay(retry + 1, execution_id=execution_id) >= sooner


@given(policies, retries, ids, st.integers(0, 10 * RETRY_AFTER_BOUND))
@examples(200)
def test_retry_after_only_lengthens_a_wait_and_is_bounded(
    policy: RetryPolicy, retry: int, execution_id: str, retry_after: int
) -> None:
    plain = policy.delay(retry, execution_id=execution_id)
    asked = policy.delay(retry, execution_id=execution_id, retry_after=retry_after)
    assert asked == max(plain, min(retry_after, RETRY_AFTER_BOUND))
