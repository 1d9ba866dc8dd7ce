"""Keys: made, used, rotated, revoked, expired, guessed; none hands out more than it is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.api.access import ADMIN, Guarded, guarded
from tests.api.harness import JOB, JOBS, KEYS
from tests.support.build import DAY, HOUR, MINUTE, NOW, SECOND
from tests.support.memory_store import MemoryStore
from tocsin.api.guesses import EVERY, FREE
from tocsin.domain.access import Action, Grant, Role
from tocsin.domain.instant import format_instant
from tocsin.domain.key import Rate, secret_hash
from tocsin.services.sign_in import REMEMBERED
from tocsin.store.port import Store

UNKNOWN = "tcs_zzzzzzzz_" + "z" * 43


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Guarded]:
    async with guarded(store) as made:
        yield made


async def works(client: httpx.AsyncClient) -> bool:
    answer = await client.get(JOBS)
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


# --- making -------------------------------------------------------------------------------------


async def test_a_new_key_is_shown_once(api: Guarded) -> None:
    made = await api.make(
        name="ci", role="operator", tags=["b", "a"], actions=["read", "ping"], rate_limit="5/hour"
    )
    secret = made.pop("key")
    assert secret == f"tcs_{made['prefix']}_{secret.rpartition('_')[2]}"
    assert len(made["prefix"]) == 8
    assert len(secret.rpartition("_")[2]) == 43
    assert made == {
        "id": made["id"],
        "name": "ci",
        "prefix": made["prefix"],
        "role": "operator",
        "namespace": "default",
        "tags": ["a", "b"],
        "actions": ["read", "ping"],
        "rate_limit": "5/hour",
        "status": "active",
        "created_at": format_instant(NOW),
        "created_by": "first-admin",
        "expires_at": None,
        "last_used_at": None,
        "revoked_at": None,
        "old_secret_until": None,
    }
    assert await api.api.get(f"{KEYS}/{made['id']}") == made
    for path in (KEYS, f"{KEYS}/{made['id']}", "/api/v1/audit"):
        shown = (await api.api.ask("GET", path)).text
        assert secret not in shown
        assert secret_hash(secret) not in shown


async def test_keys_are_listed_page_by_page(api: Guarded) -> None:
    for number in range(5):
        api.api.clock.now += 1
        await api.make(name=f"key-{number}")
    names, cursor = [], None
    while True:
        params = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page = await api.api.get(KEYS, **params)
        names += [key["name"] for key in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == ["first-admin", *(f"key-{number}" for number in range(5))]


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({"name": ""}, [("name", "too_short")]),
        ({"name": "x" * 101}, [("name", "too_long")]),
        ({"name": " x"}, [("name", "pattern")]),
        ({"name": "a\u202eb"}, [("name", "pattern")]),
        ({"name": "a\u200bb"}, [("name", "pattern")]),
        ({"name": "e\u0301"}, [("name", "pattern")]),
        ({"role": "root"}, [("role", "not_one_of")]),
        ({"namespace": "Not a name"}, [("namespace", "pattern")]),
        ({"namespace": "a@b"}, [("namespace", "pattern")]),
        ({"tags": ["a,b"]}, [("tags.0", "pattern")]),
        ({"tags": ["e\u0301"]}, [("tags.0", "pattern")]),
        ({"tags": ["x"] * 21}, [("tags", "too_long")]),
        ({"actions": []}, [("actions", "too_short")]),
        ({"actions": ["fly"]}, [("actions.0", "not_one_of")]),
        ({"actions": ["read", "define"]}, [("actions", "conflict")]),
        ({"rate_limit": "many"}, [("rate_limit", "pattern")]),
        ({"expires_in": "0s"}, [("expires_in", "out_of_range")]),
        ({"expires_in": "4000d"}, [("expires_in", "out_of_range")]),
        ({"expires_at": format_instant(NOW)}, [("expires_at", "out_of_range")]),
        ({"expires_at": "soon"}, [("expires_at", "invalid")]),
        ({"expires_at": 5}, [("expires_at", "invalid")]),
        ({"expires_in": "1d", "expires_at": "2027-01-01T00:00:00Z"}, [("expires_in", "conflict")]),
        ({"key": "mine"}, [("key", "read_only")]),
        ({"colour": "red"}, [("colour", "unknown_field")]),
    ],
)
async def test_what_no_key_can_be_is_refused(
    api: Guarded, fields: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    body = {"name": "some", "role": "viewer", **fields}
    assert await api.api.problems("POST", KEYS, json=body) == problems
    assert len((await api.api.get(KEYS))["items"]) == 1


# --- what a key may hand out ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"namespace": "*"},
        {"namespace": "other"},
        {"tags": None},
        {"tags": ["theirs"]},
        {"tags": ["mine", "theirs"]},
        {"role": "editor", "actions": ["define"]},
        {"actions": None},
        {"actions": ["admin", "trigger"]},
    ],
)
async def test_a_key_cannot_grant_more_than_it_has(api: Guarded, fields: dict[str, Any]) -> None:
    limits = {"namespace": "team", "tags": ["mine"], "actions": ["admin", "read"]}
    client = await api.of(role="admin", **limits)
    body = {"name": "more", "role": "admin", **limits}
    assert (await client.post(KEYS, json=body)).status_code == 201
    answer = await client.post(KEYS, json={**body, **fields})
    assert answer.status_code == 403, answer.text


LIMITS: list[dict[str, Any]] = [
    {},
    {"expires_in": "1h"},
    {"expires_in": "2h"},
    {"rate_limit": "off"},
    {"rate_limit": "60/minute"},
    {"rate_limit": "1/second"},
    {"rate_limit": "200/minute"},
    {"expires_in": "1h", "rate_limit": "60/minute"},
]
GRANTS: list[dict[str, Any]] = [
    {"role": "admin", "namespace": "*"},
    {"role": "admin", "namespace": "team"},
    {"role": "admin", "namespace": "*", "actions": ["admin", "read"]},
    {"role": "admin", "namespace": "team", "tags": ["a"]},
    {"role": "viewer", "namespace": "team"},
]
SERVER = Rate(amount=100, seconds=60)


def seconds_of(fields: dict[str, Any]) -> float:
    return {"1h": 3_600.0, "2h": 7_200.0, None: float("inf")}[fields.get("expires_in")]


def rate_of(fields: dict[str, Any]) -> Rate | None:
    return Rate.read(fields["rate_limit"]) if "rate_limit" in fields else SERVER


def is_more(child: dict[str, Any], maker: dict[str, Any]) -> bool:
    """Whether a key would be more than its maker, told another way than the program does."""
    if seconds_of(child) > seconds_of(maker):
        return True
    if {name: maker[name] for name in maker if name != "expires_in"} == GRANTS[0]:
        return False  # who may do everything, and has no limit of its own, sets limits
    own, other = rate_of(maker), rate_of(child)
    if own is None:
        return False
    if other is None:
        return True
    # The most that a full bucket and an hour of its flow let through.
    return other.amount > own.amount or other.amount / other.seconds > own.amount / own.seconds


@pytest.mark.parametrize("maker_grant", GRANTS[:3], ids=str)
@pytest.mark.parametrize("maker_limits", LIMITS, ids=str)
async def test_no_key_makes_or_takes_over_one_that_is_more_than_itself(
    maker_grant: dict[str, Any], maker_limits: dict[str, Any]
) -> None:
    """Every maker times every child: role, namespace, tags, actions, end and limit."""
    async with guarded(MemoryStore()) as api:
        api.api.context.keys._rate = SERVER
        maker = await api.of(**maker_grant, **maker_limits)
        grant = _grant(maker_grant)
        for child_grant in GRANTS:
            for child_limits in LIMITS:
                child = {**child_grant, **child_limits}
                # What is not said is as the maker's.
                effective = {**child_grant, **maker_limits, **child_limits}
                more = not grant.covers(_grant(child_grant)) or is_more(
                    effective, {**maker_grant, **maker_limits}
                )
                answer = await maker.post(KEYS, json={"name": "child", **child})
                told = f"{maker_grant | maker_limits} makes {child}: {answer.text}"
                assert answer.status_code == (403 if more else 201), told
                if not more:
                    made = answer.json()
                    end = seconds_of(effective)
                    assert made["expires_at"] == (
                        None
                        if end == float("inf")
                        else format_instant(api.api.clock.now + int(end * SECOND))
                    )
                    assert made["rate_limit"] == effective.get("rate_limit")
                # One that is there already, made by who may: its secret is not had by rotating it.
                there = await api.make(**child)
                answer = await maker.post(f"{KEYS}/{there['id']}/rotate")
                more = not grant.covers(_grant(child_grant)) or is_more(
                    child, {**maker_grant, **maker_limits}
                )
                expected = {403, 404} if more else {200}
                assert answer.status_code in expected, f"{told} rotates"


def _grant(fields: dict[str, Any]) -> Grant:
    tags, actions = fields.get("tags"), fields.get("actions")
    return Grant(
        role=Role(fields["role"]),
        namespace=fields["namespace"],
        tags=None if tags is None else frozenset(tags),
        actions=None if actions is None else frozenset(Action(one) for one in actions),
    )


async def test_a_key_that_expires_can_still_revoke_one_that_does_not(api: Guarded) -> None:
    """To end a key gives nobody anything, and is urgent."""
    stolen = await api.make(role="admin", namespace="*")
    guard = await api.of(role="admin", namespace="*", expires_in="1h")
    assert (await guard.delete(f"{KEYS}/{stolen['id']}")).status_code == 204


async def test_keys_that_have_ended_leave_room_for_others(
    api: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.services.keys.MAX_KEYS", 3)
    monkeypatch.setattr("tocsin.services.keys.MAX_ENDED", 2)
    for number in range(6):
        api.api.clock.now += 1
        made = await api.make(name=str(number))
        await api.api.ask("DELETE", f"{KEYS}/{made['id']}", status=204)
    await api.make(name="a", expires_in="1h")
    await api.make(name="b")
    refused = await api.api.ask("POST", KEYS, status=507, json={"name": "c", "role": "viewer"})
    assert refused.json()["code"] == "capacity_exceeded"
    api.api.clock.now += HOUR
    await api.make(name="c")
    names = [key["name"] for key in (await api.api.get(KEYS))["items"]]
    assert names == ["first-admin", "5", "a", "b", "c"], "of those that ended the last two stay"


async def test_two_admins_that_revoke_each_other_at_once_leave_one(api: Guarded) -> None:
    for _ in range(5):
        (first,) = [one for one in (await api.api.get(KEYS))["items"] if one["status"] == "active"]
        other = await api.make(role="admin", namespace="*")
        one, two = api.client(ADMIN), api.client(other["key"])
        assert await works(one)
        assert await works(two)
        found = await asyncio.gather(
            one.delete(f"{KEYS}/{other['id']}"), two.delete(f"{KEYS}/{first['id']}")
        )
        # Who comes second is told that nobody would be left, or has no key that works any more.
        statuses = sorted(answer.status_code for answer in found)
        assert statuses in ([204, 401], [204, 409]), [answer.text for answer in found]
        active = [one for one in await api.api.store.list_keys() if one.lasting]
        assert len(active) == 1
        if active[0].id != first["id"]:
            return


async def test_a_key_that_may_do_more_cannot_be_taken_over(api: Guarded) -> None:
    """To rotate a key is to be given its secret."""
    strong = await api.make(role="admin", namespace="team")
    weak = await api.of(role="admin", namespace="team", actions=["admin", "read"])
    for method, path in (
        ("POST", f"{KEYS}/{strong['id']}/rotate"),
        ("DELETE", f"{KEYS}/{strong['id']}"),
    ):
        answer = await weak.request(method, path)
        assert answer.status_code == 403, answer.text
    assert await works(api.client(strong["key"]))


async def test_keys_of_another_namespace_do_not_exist(api: Guarded) -> None:
    theirs = await api.make(role="viewer", namespace="theirs")
    first = (await api.api.get(KEYS))["items"][0]
    ours = await api.of(role="admin", namespace="ours")
    for key in (theirs, first):
        for method, path in (
            ("GET", f"{KEYS}/{key['id']}"),
            ("POST", f"{KEYS}/{key['id']}/rotate"),
            ("DELETE", f"{KEYS}/{key['id']}"),
        ):
            assert (await ours.request(method, path)).status_code == 404
    names = [key["name"] for key in (await ours.get(KEYS)).json()["items"]]
    assert names == ["some"]


# --- the end of keys -----------------------------------------------------------------------------


async def test_a_key_works_until_it_expires(api: Guarded) -> None:
    client = await api.of(expires_in="1h")
    assert await works(client)
    api.api.clock.now += HOUR - 1
    assert await works(client)
    api.api.clock.now += 1
    assert not await works(client)
    (key,) = [one for one in (await api.api.get(KEYS))["items"] if one["name"] == "some"]
    assert key["status"] == "expired"


async def test_a_revoked_key_works_no_more_at_once(api: Guarded) -> None:
    made = await api.make()
    client = api.client(made["key"])
    assert await works(client)
    await api.api.ask("DELETE", f"{KEYS}/{made['id']}", status=204)
    assert not await works(client)
    await api.api.ask("DELETE", f"{KEYS}/{made['id']}", status=204)
    shown = await api.api.get(f"{KEYS}/{made['id']}")
    assert (shown["status"], shown["revoked_at"]) == ("revoked", format_instant(NOW))
    await api.api.ask("POST", f"{KEYS}/{made['id']}/rotate", status=409)


async def test_a_key_that_another_node_revokes_works_for_seconds_at_most(api: Guarded) -> None:
    made = await api.make()
    client = api.client(made["key"])
    assert await works(client)
    key = await api.api.store.get_key(made["id"])
    assert key is not None
    assert await api.api.store.replace_key(replace(key, revoked_at=NOW), if_hash=key.hash)
    assert await works(client)
    api.watch.now += REMEMBERED + 0.001
    assert not await works(client)
    assert REMEMBERED <= 5


async def test_a_rotated_key_has_two_secrets_for_a_while(api: Guarded) -> None:
    made = await api.make()
    old = api.client(made["key"])
    rotated = (
        await api.api.ask("POST", f"{KEYS}/{made['id']}/rotate", json={"overlap": "2h"})
    ).json()
    new = api.client(rotated["key"])
    assert rotated["id"] == made["id"]
    assert rotated["prefix"] != made["prefix"]
    assert rotated["old_secret_until"] == format_instant(NOW + 2 * HOUR)
    assert await works(old)
    assert await works(new)
    api.api.clock.now += 2 * HOUR
    assert not await works(old)
    assert await works(new)


async def test_the_overlap_is_a_day_where_none_is_given_and_can_be_nothing(api: Guarded) -> None:
    made = await api.make()
    path = f"{KEYS}/{made['id']}/rotate"
    first = (await api.api.ask("POST", path)).json()
    assert first["old_secret_until"] == format_instant(NOW + DAY)
    second = (await api.api.ask("POST", path, json={"overlap": "0s"})).json()
    assert second["old_secret_until"] is None
    # Two rotations leave one overlap at most: the first secret is gone too.
    for secret, expected in ((made, False), (first, False), (second, True)):
        assert await works(api.client(secret["key"])) is expected
    for overlap in ("91d", "-1s", "soon", True):
        await api.api.problems("POST", path, json={"overlap": overlap})


async def test_revoking_ends_both_secrets(api: Guarded) -> None:
    made = await api.make()
    rotated = (await api.api.ask("POST", f"{KEYS}/{made['id']}/rotate")).json()
    await api.api.ask("DELETE", f"{KEYS}/{made['id']}", status=204)
    for one in (made, rotated):
        assert not await works(api.client(one["key"]))


async def test_the_last_admin_cannot_lock_everybody_out(api: Guarded) -> None:
    (first,) = (await api.api.get(KEYS))["items"]
    await api.make(role="admin", namespace="team")
    await api.make(role="admin", namespace="*", actions=["admin"])
    await api.make(role="admin", namespace="*", expires_in="1d")
    answer = await api.api.ask("DELETE", f"{KEYS}/{first['id']}", status=409)
    assert answer.json()["code"] == "last_admin"
    other = api.client((await api.make(role="admin", namespace="*"))["key"])
    assert (await other.delete(f"{KEYS}/{first['id']}")).status_code == 204
    assert not await works(api.client(ADMIN))


# --- use ----------------------------------------------------------------------------------------


async def test_the_last_use_is_noted_once_a_minute(api: Guarded) -> None:
    made = await api.make()
    client = api.client(made["key"])

    async def noted() -> str | None:
        await api.sign_in.settle()
        key: dict[str, Any] = await api.api.get(f"{KEYS}/{made['id']}")
        used: str | None = key["last_used_at"]
        return used

    assert await noted() is None
    await works(client)
    assert await noted() == format_instant(NOW)
    api.api.clock.now += MINUTE - SECOND
    await works(client)
    assert await noted() == format_instant(NOW)
    api.api.clock.now += SECOND
    await works(client)
    assert await noted() == format_instant(NOW + MINUTE)


# --- guessing -----------------------------------------------------------------------------------


async def test_who_guesses_is_slowed_down_and_told_for_how_long(api: Guarded) -> None:
    for _ in range(FREE):
        assert (await api.client(UNKNOWN).get(JOBS)).status_code == 401
    answer = await api.client(UNKNOWN).get(JOBS)
    assert answer.status_code == 429
    assert answer.json()["code"] == "too_many_failures"
    assert int(answer.headers["retry-after"]) == EVERY
    api.watch.now += EVERY
    assert (await api.client(UNKNOWN).get(JOBS)).status_code == 401
    assert (await api.client(UNKNOWN).get(JOBS)).status_code == 429


async def test_a_right_guess_is_not_told_from_a_wrong_one_while_slowed_down(api: Guarded) -> None:
    fresh = await api.make()
    used = await api.make()
    assert await works(api.client(used["key"]))
    for _ in range(FREE):
        await api.client(UNKNOWN).get(JOBS)
    assert (await api.client(fresh["key"]).get(JOBS)).status_code == 429
    # Who was there before from the same address is not locked out by it.
    assert await works(api.client(used["key"]))
    assert (await api.anonymous.get(JOBS)).status_code == 401


async def test_signing_in_is_slowed_down_too(api: Guarded) -> None:
    statuses = [
        (await api.anonymous.post("/api/v1/session", json={"key": f"{UNKNOWN}{n}"})).status_code
        for n in range(FREE + 2)
    ]
    assert statuses == [401] * FREE + [429] * 2


async def test_who_makes_a_job_is_known_to_the_audit_log_even_after_a_rotation(
    api: Guarded,
) -> None:
    made = await api.make(role="editor", name="ci")
    rotated = (await api.api.ask("POST", f"{KEYS}/{made['id']}/rotate")).json()
    await api.client(rotated["key"]).post(JOBS, json=JOB)
    (entry,) = (await api.api.get("/api/v1/audit", action="job.create"))["items"]
    assert entry["actor"] == {"type": "key", "id": made["id"], "name": "ci"}
