"""Frozen dataclasses that are cheap to make are frozen dataclasses in every other way."""

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest
from tests.support.build import NOW, attempt, execution, job

from tocsin.domain.execution import Execution, Reason, State, closed
from tocsin.domain.job import JobStatus, completed
from tocsin.domain.planning import Timer, Window, make_timer, make_window
from tocsin.domain.quick import maker, quick
from tocsin.store.port import Claim, make_claim


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Quick:
    """Some fields of each sort."""

    must: int
    may: str = "default"
    made: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """The same fields, as Python makes it."""

    must: int
    may: str = "default"
    made: list[int] = field(default_factory=list)


@pytest.mark.parametrize(
    "given",
    [{"must": 1}, {"must": 1, "may": "b"}, {"must": 1, "made": [3]}, {"made": [], "must": None}],
)
def test_it_is_made_with_the_same_fields(given: dict[str, object]) -> None:
    one, other = Quick(**given), Plain(**given)  # type: ignore[arg-type]
    assert type(one) is Quick
    assert [getattr(one, each.name) for each in fields(one)] == [
        getattr(other, each.name) for each in fields(other)
    ]
    assert repr(one) == repr(other).replace("Plain", "Quick")
    assert one == Quick(**given)  # type: ignore[arg-type]
    assert one != other


def test_a_default_that_is_made_is_made_for_each() -> None:
    assert Quick(must=1).made is not Quick(must=1).made


@pytest.mark.parametrize("given", [{}, {"must": 1, "more": 2}])
def test_what_is_missing_or_unknown_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Quick(**given)  # type: ignore[arg-type]


def test_fields_are_named() -> None:
    with pytest.raises(TypeError):
        Quick(1)  # type: ignore[call-arg, misc]


def test_it_cannot_be_changed() -> None:
    one = Quick(must=1)
    with pytest.raises(FrozenInstanceError):
        one.must = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.must
    with pytest.raises((AttributeError, TypeError)):
        one.other = 2  # type: ignore[attr-defined]


def test_it_is_copied_replaced_and_pickled() -> None:
    one = Quick(must=1, made=[2])
    assert replace(one, may="b") == Quick(must=1, may="b", made=[2])
    for again in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert again == one
        assert type(again) is Quick


def test_it_hashes_by_its_fields() -> None:
    of = job("a")
    assert hash(execution(of)) == hash(execution(of))
    assert len({execution(of), execution(of), execution(of, NOW + 1)}) == 2


def test_a_maker_takes_all_fields_in_their_order() -> None:
    made = maker(Quick)(1, "b", [3])
    assert type(made) is Quick
    assert made == Quick(must=1, may="b", made=[3])
    with pytest.raises(FrozenInstanceError):
        made.must = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        maker(Quick)(1, "b")


def test_the_makers_of_what_a_fire_makes_put_each_field_in_its_place() -> None:
    assert make_timer("a", 1, 2, 3, True) == Timer(
        job_id="a", fire_at=1, due_at=2, lane=3, exact=True
    )
    assert make_window(1, 2, "a", 3) == Window(now=1, until=2, owner="a", room=3)
    one = job("a")
    assert make_claim(execution(one), one) == Claim(execution=execution(one), job=one)


def test_misfits_are_refused() -> None:
    @dataclass(kw_only=True, slots=True)
    class NotFrozen:
        one: int

    @dataclass(frozen=True, kw_only=True)
    class NoSlots:
        one: int

    @dataclass(frozen=True, slots=True)
    class Positional:
        one: int

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Inherits(Plain):
        one: int

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Computes:
        one: int

        def __post_init__(self) -> None:
            raise AssertionError

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Hides:
        one: int = field(init=False, default=1)

    class NoDataclass:
        pass

    for misfit in (NotFrozen, NoSlots, Positional, Inherits, Computes, Hides, NoDataclass):
        with pytest.raises(TypeError):
            quick(misfit)


def test_nothing_inherits_from_it() -> None:
    with pytest.raises(TypeError, match="Heir cannot inherit from Quick"):

        class Heir(Quick):
            __slots__ = ()


def test_what_ends_keeps_every_field_but_those_of_its_end() -> None:
    of = job("a")
    live = Execution(
        id=execution(of).id,
        job_id=of.id,
        job_name="a",
        namespace="other",
        job_version=7,
        trigger=execution(of).trigger,
        fire_time=NOW,
        due=NOW + 1,
        state=State.CLAIMED,
        reason=Reason.REQUESTED,
        queued=True,
        available_at=NOW + 2,
        lane=3,
        exact=True,
        owner="inc-a",
        retry_of="another",
        input={"a": 1},
        skipped_until=NOW + 3,
        skipped_count=4,
        attempts=(attempt(),),
        finished_at=None,
    )
    ended = closed(live, State.CANCELLED, Reason.PAUSED, NOW + 5)
    assert ended == replace(
        live,
        state=State.CANCELLED,
        reason=Reason.PAUSED,
        queued=False,
        available_at=None,
        finished_at=NOW + 5,
    )
    assert closed(live, State.FAILED, None, NOW, attempts=()).attempts == ()


def test_a_completed_job_differs_by_its_status_alone() -> None:
    one = job("report", namespace="other", version=7, created_at=3, updated_at=5)
    assert completed(one) == replace(one, status=JobStatus.COMPLETED)
