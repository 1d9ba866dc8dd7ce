"""Grants: what they allow, where, on what, and which covers which."""

import itertools

import pytest

from tocsin.domain.access import (
    ALLOWED,
    EVERYWHERE,
    UNLIMITED,
    Action,
    Grant,
    Role,
    is_namespace,
)
from tocsin.domain.key import ApiKey, KeyStatus, secret_hash

TAGS = (None, frozenset[str](), frozenset({"a"}), frozenset({"a", "b"}))
ACTIONS = (None, frozenset({Action.READ}), frozenset({Action.READ, Action.DEFINE}))
GRANTS = [
    Grant(role=role, namespace=namespace, tags=tags, actions=actions)
    for role, namespace, tags, actions in itertools.product(
        Role, (EVERYWHERE, "a", "b"), TAGS, ACTIONS
    )
]


@pytest.mark.parametrize("grant", GRANTS)
def test_what_a_grant_allows(grant: Grant) -> None:
    for action in Action:
        expected = action in ALLOWED[grant.role] and (
            grant.actions is None or action in grant.actions
        )
        assert grant.allows(action) is expected
        assert (action in grant.allowed) is expected
    assert grant.reaches("a") is (grant.namespace in {"a", EVERYWHERE})
    assert grant.sees(["x", "a"]) is (grant.tags is None or "a" in grant.tags)
    assert grant.sees([]) is (grant.tags is None)


def test_whoever_covers_may_do_whatever_the_covered_may() -> None:
    """Checked against what the two can do, one thing at a time."""
    things = list(itertools.product(Action, ("a", "b", "c"), ((), ("a",), ("b",), ("a", "b"))))

    def can(grant: Grant) -> set[object]:
        return {
            (action, namespace, tags)
            for action, namespace, tags in things
            if grant.allows(action) and grant.reaches(namespace) and grant.sees(tags)
        }

    able = {grant: can(grant) for grant in GRANTS}
    for one, other in itertools.product(GRANTS, repeat=2):
        if one.covers(other):
            assert able[other] <= able[one], f"{one} covers {other}"


def test_all_covers_everything_and_nothing_else_covers_all() -> None:
    assert all(UNLIMITED.covers(grant) for grant in GRANTS)
    assert [grant for grant in GRANTS if grant.covers(UNLIMITED)] == [UNLIMITED]


@pytest.mark.parametrize("grant", GRANTS)
def test_a_grant_covers_itself(grant: Grant) -> None:
    assert grant.covers(grant)


@pytest.mark.parametrize("name", ["default", "a", "team-1", "0.a_b", "x" * 63])
def test_names_of_namespaces(name: str) -> None:
    assert is_namespace(name)


@pytest.mark.parametrize("name", ["", "*", "A", "-a", "a@b", "a\n", "\uff41", "x" * 64, "a/b"])
def test_no_names_of_namespaces(name: str) -> None:
    assert not is_namespace(name)


def key(**fields: object) -> ApiKey:
    made: dict[str, object] = {
        "id": "1",
        "name": "k",
        "prefix": "p",
        "hash": "new",
        "grant": UNLIMITED,
        "created_at": 0,
        "created_by": "t",
        **fields,
    }
    return ApiKey(**made)  # type: ignore[arg-type]


def test_when_a_key_works() -> None:
    rotated = {"old_hash": "old", "old_until": 50}
    assert key().accepts("new", 10**15)
    assert not key().accepts("old", 0)
    assert key(**rotated).accepts("old", 49)
    assert not key(**rotated).accepts("old", 50)
    assert not key(old_hash="old").accepts("old", 0)
    assert key(expires_at=50).accepts("new", 49)
    assert not key(expires_at=50).accepts("new", 50)
    assert not key(expires_at=40, **rotated).accepts("old", 45)
    assert not key(revoked_at=1).accepts("new", 0)
    assert key(revoked_at=1, expires_at=1).status(5) is KeyStatus.REVOKED
    assert key(expires_at=1).status(5) is KeyStatus.EXPIRED


def test_the_hash_is_that_of_the_standard() -> None:
    assert secret_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(secret_hash("\udc80 any text")) == 64
