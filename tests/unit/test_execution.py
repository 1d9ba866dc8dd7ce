"""Ids of executions, and what can be read off their attempts."""

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.build import NOW, attempt, execution, failed_attempt, job
from tests.support.scale import examples

from tocsin.domain.execution import (
    ErrorKind,
    Reason,
    State,
    closed,
    counted_attempts,
    execution_id,
    lost_attempt,
    lost_in_a_row,
)
from tocsin.domain.instant import MAX_INSTANT

instants = st.integers(0, MAX_INSTANT)
job_ids = st.uuids().map(str)
salts = st.text(max_size=20)


@given(job_ids, instants, salts)
@examples(300)
def test_an_execution_id_is_a_valid_uuid_of_version_8(
    job_id: str, fire_time: int, salt: str
) -> None:
    text = execution_id(job_id, fire_time, salt)
    read = UUID(text)
    assert str(read) == text
    assert (read.version, read.variant) == (8, RFC_4122)


@given(job_ids, instants, salts)
@examples(200)
def test_an_execution_id_begins_with_its_fire_time(job_id: str, fire_time: int, salt: str) -> None:
    assert UUID(execution_id(job_id, fire_time, salt)).int >> 80 == fire_time


@given(job_ids, job_ids, instants, instants, salts, salts)
@examples(200)
def test_execution_ids_sort_by_fire_time(
    job_a: str, job_b: str, a: int, b: int, salt_a: str, salt_b: str
) -> None:
    if a < b:
        assert execution_id(job_a, a, salt_a) < execution_id(job_b, b, salt_b)


def test_an_execution_id_is_the_same_on_every_machine_and_for_ever() -> None:
    """Stored ids are found again by computing them: this one must never change."""
    job_id = "0190b5a8-0000-7000-8000-000000000001"
    assert execution_id(job_id, NOW) == "019b76da-a800-8cf8-9215-c72f6a81d232"


def test_execution_ids_differ_by_job_fire_time_and_salt() -> None:
    ids = {
        execution_id(job_id, fire_time, salt)
        for job_id in ("a", "b", "c")
        for fire_time in range(NOW, NOW + 1_000)
        for salt in ("", "x", "y")
    }
    assert len(ids) == 9_000


def test_execution_ids_of_many_jobs_at_one_instant_differ() -> None:
    assert len({execution_id(f"job-{n}", NOW) for n in range(50_000)}) == 50_000


def test_a_lost_attempt_says_what_is_known() -> None:
    before = execution(job(), state=State.CLAIMED, attempts=(failed_attempt(1),), due=NOW)
    lost = lost_attempt(before, node="node-b", now=NOW + 70)
    assert (lost.number, lost.started_at, lost.duration_ms) == (2, NOW, 70.0)
    assert (lost.error_kind, lost.node, lost.http_status) == (ErrorKind.LOST, "node-b", None)
    assert "node-b" in (lost.error or "")


def test_a_lost_retry_started_when_it_became_available() -> None:
    before = execution(job(), available_at=NOW + 50, due=NOW)
    assert lost_attempt(before, node="n", now=NOW + 70).started_at == NOW + 50


def test_a_lost_attempt_never_starts_in_the_future() -> None:
    lost = lost_attempt(execution(job(), available_at=NOW + 50), node="n", now=NOW)
    assert (lost.started_at, lost.duration_ms) == (NOW, 0.0)


L = ErrorKind.LOST
F = ErrorKind.TIMEOUT


@pytest.mark.parametrize(
    ("kinds", "counted", "in_a_row"),
    [
        ([], 0, 0),
        ([F], 1, 0),
        ([L], 0, 1),
        ([L, L, L], 0, 3),
        ([L, F, L, L], 1, 2),
        ([L, L, F], 1, 0),
        ([F, F, None], 3, 0),
    ],
)
def test_how_many_attempts_count_and_how_many_were_lost_in_a_row(
    kinds: list[ErrorKind | None], counted: int, in_a_row: int
) -> None:
    attempts = tuple(attempt(n, error_kind=kind) for n, kind in enumerate(kinds, 1))
    assert counted_attempts(attempts) == counted
    assert lost_in_a_row(attempts) == in_a_row


@pytest.mark.parametrize("state", State)
def test_a_state_is_final_or_live(state: State) -> None:
    live = state in {State.PENDING, State.CLAIMED}
    assert state.final is not live
    assert execution(job(), state=state).live is live


def test_an_ended_execution_cannot_be_claimed_and_keeps_its_owner() -> None:
    before = execution(job(), state=State.CLAIMED, owner="inc-a", queued=True)
    after = closed(before, State.CANCELLED, Reason.REQUESTED, NOW + 9)
    assert (after.state, after.reason, after.finished_at) == (
        State.CANCELLED,
        Reason.REQUESTED,
        NOW + 9,
    )
    assert (after.available_at, after.queued, after.owner) == (None, False, "inc-a")
