"""What follows from the end of an attempt, known or not."""

from dataclasses import replace
from typing import Any

import pytest
from tests.support.build import NOW, attempt, execution, failed_attempt, job, triggered

from tocsin.domain.execution import (
    LOST_IN_A_ROW,
    Attempt,
    ErrorKind,
    Execution,
    Reason,
    State,
    TriggerKind,
)
from tocsin.domain.job import DeliveryMode, Job, JobStatus
from tocsin.domain.retry import RetryPolicy
from tocsin.domain.settle import rescue, settle, void, waiting

RETRIES = RetryPolicy(max_attempts=3, initial=1_000, factor=2, jitter=0)
AT_MOST_ONCE = DeliveryMode.AT_MOST_ONCE

LATER = NOW + 40


def claimed(of: Job, *attempts: Attempt, **fields: Any) -> Execution:
    return execution(
        of, **{"state": State.CLAIMED, "owner": "inc-a", "attempts": attempts, **fields}
    )


def lost(number: int) -> Attempt:
    return failed_attempt(number, http_status=None, error_kind=ErrorKind.LOST)


# --- settle -------------------------------------------------------------------------------------


def test_a_call_that_went_well_ends_the_execution() -> None:
    of = job()
    done = settle(claimed(of), attempt(), of.spec, now=LATER, request_written=True)
    assert (done.state, done.reason, done.finished_at) == (State.SUCCEEDED, None, LATER)
    assert done.attempts == (attempt(),)
    assert done.available_at is None
    assert done.owner == "inc-a"


def test_a_failed_call_waits_for_its_retry_and_belongs_to_nobody() -> None:
    of = job(retry=RETRIES)
    again = settle(claimed(of), failed_attempt(), of.spec, now=LATER, request_written=True)
    assert (again.state, again.available_at) == (State.PENDING, LATER + 1_000)
    assert (again.owner, again.finished_at) == (None, None)
    assert again.attempts == (failed_attempt(),)


def test_each_retry_waits_longer_by_the_factor() -> None:
    of = job(retry=RETRIES)
    before = claimed(of, failed_attempt(1))
    again = settle(before, failed_attempt(2), of.spec, now=LATER, request_written=True)
    assert again.available_at == LATER + 2_000


def test_the_last_attempt_ends_as_failed() -> None:
    of = job(retry=RETRIES)
    before = claimed(of, failed_attempt(1), failed_attempt(2))
    done = settle(before, failed_attempt(3), of.spec, now=LATER, request_written=True)
    assert (done.state, done.reason, done.finished_at) == (State.FAILED, None, LATER)
    assert len(done.attempts) == 3


def test_a_single_attempt_is_never_retried() -> None:
    of = job(retry=RetryPolicy(max_attempts=1))
    done = settle(claimed(of), failed_attempt(), of.spec, now=LATER, request_written=False)
    assert done.state is State.FAILED


def test_lost_attempts_do_not_count_towards_the_maximum() -> None:
    of = job(retry=RETRIES)
    before = claimed(of, lost(1), lost(2), failed_attempt(3))
    again = settle(before, failed_attempt(4), of.spec, now=LATER, request_written=True)
    assert again.state is State.PENDING
    assert again.available_at == LATER + 2_000, "it is the second retry of those that count"


def test_a_result_that_the_policy_does_not_name_is_not_retried() -> None:
    of = job(retry=replace(RETRIES, on=("5xx",)))
    refused = failed_attempt(http_status=404)
    assert (
        settle(claimed(of), refused, of.spec, now=LATER, request_written=True).state is State.FAILED
    )


def test_retry_after_lengthens_the_wait() -> None:
    of = job(retry=RETRIES)
    again = settle(
        claimed(of),
        failed_attempt(http_status=429),
        of.spec,
        now=LATER,
        request_written=True,
        retry_after=60_000,
    )
    assert again.available_at == LATER + 60_000


def test_at_most_once_gives_up_where_a_byte_of_the_request_may_have_left() -> None:
    of = job(retry=RETRIES, delivery=AT_MOST_ONCE)
    cut = failed_attempt(http_status=None, error_kind=ErrorKind.CONNECTION)
    done = settle(claimed(of), cut, of.spec, now=LATER, request_written=True)
    assert done.state is State.FAILED


def test_at_most_once_tries_again_where_nothing_was_written() -> None:
    of = job(retry=RETRIES, delivery=AT_MOST_ONCE)
    refused = failed_attempt(http_status=None, error_kind=ErrorKind.CONNECTION)
    again = settle(claimed(of), refused, of.spec, now=LATER, request_written=False)
    assert again.state is State.PENDING


def test_an_aborted_call_ends_as_cancelled() -> None:
    of = job(retry=RETRIES)
    aborted = failed_attempt(http_status=None, error_kind=ErrorKind.CANCELLED)
    done = settle(claimed(of), aborted, of.spec, now=LATER, request_written=True)
    assert (done.state, done.reason) == (State.CANCELLED, Reason.REQUESTED)


# --- rescue -------------------------------------------------------------------------------------


def rescued(of: Job, before: Execution, *, now: int = LATER) -> Execution:
    return rescue(before, of, node="node-b", now=now)


def test_what_was_not_due_yet_cannot_have_started_and_just_goes_back() -> None:
    of = job()
    after = rescued(of, claimed(of), now=NOW - 1)
    assert (after.state, after.available_at, after.owner) == (State.PENDING, NOW, None)
    assert after.attempts == ()


def test_what_was_due_may_have_started_and_counts_as_a_lost_attempt() -> None:
    of = job()
    after = rescued(of, claimed(of))
    assert (after.state, after.available_at, after.owner) == (State.PENDING, LATER, None)
    (attempt_,) = after.attempts
    assert (attempt_.number, attempt_.error_kind, attempt_.node) == (1, ErrorKind.LOST, "node-b")
    assert (attempt_.started_at, attempt_.duration_ms) == (NOW, 40.0)


def test_a_retry_that_was_not_due_yet_just_goes_back() -> None:
    of = job()
    before = claimed(of, failed_attempt(), available_at=LATER + 1)
    after = rescued(of, before)
    assert after.available_at == LATER + 1
    assert after.attempts == before.attempts


def test_at_most_once_is_not_tried_again_after_a_loss() -> None:
    of = job(delivery=AT_MOST_ONCE)
    after = rescued(of, claimed(of))
    assert (after.state, after.reason, after.finished_at) == (State.FAILED, Reason.LOST, LATER)
    assert [a.error_kind for a in after.attempts] == [ErrorKind.LOST]


def test_at_most_once_may_have_started_whatever_the_clock_says_now() -> None:
    """It was claimed at its instant, so the clock of whoever rescues it has been set back."""
    of = job(delivery=AT_MOST_ONCE)
    assert rescued(of, claimed(of), now=NOW - 1).state is State.FAILED


def test_five_losses_in_a_row_are_the_end() -> None:
    of = job()
    before = claimed(of, *(lost(n) for n in range(1, LOST_IN_A_ROW)))
    after = rescued(of, before)
    assert (after.state, after.reason) == (State.FAILED, Reason.LOST)
    assert len(after.attempts) == LOST_IN_A_ROW == 5


def test_losses_with_an_answer_in_between_are_not_in_a_row() -> None:
    of = job()
    before = claimed(of, lost(1), lost(2), lost(3), failed_attempt(4), lost(5))
    assert rescued(of, before).state is State.PENDING


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (JobStatus.PAUSED, Reason.PAUSED),
        (JobStatus.CANCELLED, Reason.REQUESTED),
        (JobStatus.DELETED, Reason.DELETED),
    ],
)
@pytest.mark.parametrize(("now", "attempts"), [(NOW - 1, 0), (LATER, 1)])
def test_a_rescue_ends_what_its_job_no_longer_wants(
    status: JobStatus, reason: Reason, now: int, attempts: int
) -> None:
    of = job(status=status)
    after = rescued(of, claimed(of), now=now)
    assert (after.state, after.reason, after.finished_at) == (State.CANCELLED, reason, now)
    assert len(after.attempts) == attempts


def test_a_rescue_ends_what_has_no_job_any_more() -> None:
    after = rescue(claimed(job()), None, node="node-b", now=LATER)
    assert (after.state, after.reason) == (State.CANCELLED, Reason.DELETED)


# --- void and waiting ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "by_schedule", "by_hand"),
    [
        (JobStatus.ACTIVE, None, None),
        (JobStatus.COMPLETED, None, None),
        (JobStatus.PAUSED, Reason.PAUSED, None),
        (JobStatus.CANCELLED, Reason.REQUESTED, Reason.REQUESTED),
        (JobStatus.DELETED, Reason.DELETED, Reason.DELETED),
    ],
)
def test_what_must_not_start_by_the_status_of_its_job(
    status: JobStatus, by_schedule: Reason | None, by_hand: Reason | None
) -> None:
    of = job(status=status)
    assert void(execution(of), of) is by_schedule
    assert void(triggered(of), of) is by_hand
    retry = replace(triggered(of), trigger=TriggerKind.RETRY)
    assert void(retry, of) is by_hand


def test_nothing_starts_without_a_job() -> None:
    assert void(triggered(job()), None) is Reason.DELETED


def test_waiting_belongs_to_nobody_and_keeps_the_rest() -> None:
    before = claimed(job(), failed_attempt())
    after = waiting(before, LATER)
    assert after == replace(before, state=State.PENDING, owner=None, available_at=LATER)
