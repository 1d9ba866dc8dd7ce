"""The port, part 11: keys, sessions, the audit log, and what keeps namespaces apart."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.support.access import build_audit, build_key, build_session
from tests.support.build import (
    HOUR,
    NO_LIMITS,
    NOW,
    SECOND,
    every,
    job,
    new_job,
    request,
    succeed,
    triggered,
)
from tests.support.drive import (
    add,
    by_overlap,
    change,
    claim,
    claim_one,
    delete,
    join,
    record,
    trigger,
)
from tocsin.domain.access import Action, Grant, Role
from tocsin.domain.audit import Actor, AuditEntry, Subject
from tocsin.domain.errors import Conflict, InvalidInput, NotFound
from tocsin.domain.execution import Reason, State
from tocsin.domain.job import JobStatus
from tocsin.domain.key import KeyOrigin
from tocsin.services.ids import Uuid7
from tocsin.store.access import AuditQuery, KeyCount
from tocsin.store.port import ExecutionQuery, JobQuery, NewJobs, Store


async def audited(store: Store, **query: Any) -> list[AuditEntry]:
    return list(await store.list_audit(AuditQuery(**query)))


async def actions(store: Store, **query: Any) -> list[str]:
    return [entry.action for entry in await audited(store, **query)]


# --- keys ---------------------------------------------------------------------------------------


async def test_a_key_comes_back_as_it_was_stored(store: Store) -> None:
    key = build_key(
        grant=Grant(
            role=Role.EDITOR,
            namespace="team",
            tags=frozenset({"b", "a"}),
            actions=frozenset({Action.READ, Action.PING}),
        ),
        name="naïve ☃",
        rate_limit="5/second",
        expires_at=NOW + HOUR,
    )
    assert await store.add_key(key)
    assert await store.get_key(key.id) == key
    assert await store.find_key(key.hash) == key
    assert await store.list_keys() == [key]


async def test_what_is_not_limited_is_told_from_what_is_limited_to_nothing(store: Store) -> None:
    await store.add_key(build_key("1"))
    shut = Grant(role=Role.VIEWER, tags=frozenset())
    await store.add_key(build_key("2", grant=shut, created_at=NOW + 1))
    assert [key.grant.tags for key in await store.list_keys()] == [None, frozenset()]


async def test_a_key_that_does_not_exist_is_not_found(store: Store) -> None:
    assert await store.find_key("0" * 64) is None
    assert await store.get_key(str(UUID(int=7))) is None
    assert await store.get_key("not an id") is None


async def test_a_rotated_key_is_found_by_both_secrets(store: Store) -> None:
    old = build_key()
    await store.add_key(old)
    new = replace(old, hash="e" * 64, old_hash=old.hash, old_until=NOW + HOUR)
    assert await store.replace_key(new, if_hash=old.hash)
    assert await store.find_key(old.hash) == new
    assert await store.find_key("e" * 64) == new


async def test_of_two_rotations_of_one_secret_one_is_made(store: Store) -> None:
    old = build_key()
    await store.add_key(old)
    done = await asyncio.gather(
        *(
            store.replace_key(replace(old, hash=one * 64, old_hash=old.hash), if_hash=old.hash)
            for one in "12"
        )
    )
    assert sorted(done) == [False, True]


async def test_a_revoked_key_stays_revoked(store: Store) -> None:
    key = build_key()
    await store.add_key(key)
    assert await store.replace_key(replace(key, revoked_at=NOW), if_hash=key.hash)
    assert not await store.replace_key(key, if_hash=key.hash)
    found = await store.get_key(key.id)
    assert found is not None
    assert found.revoked_at == NOW


ADMIN = Grant(role=Role.ADMIN, namespace="*")


async def test_of_the_last_two_admins_one_is_left_whoever_revokes_whom_at_once(
    store: Store,
) -> None:
    """Each sees the other one a moment before: only the transaction knows."""
    for turn in range(10):
        keys = [build_key(f"{turn}-{n}", grant=ADMIN, created_at=NOW + turn) for n in range(2)]
        for key in keys:
            await store.add_key(key)
        done = await asyncio.gather(
            *(
                store.replace_key(replace(key, revoked_at=NOW), if_hash=key.hash, if_another=True)
                for key in keys
            )
        )
        assert sorted(done) == [False, True]
        (left,) = [key for key in await store.list_keys() if key.revoked_at is None]
        assert await store.replace_key(replace(left, revoked_at=NOW), if_hash=left.hash)


@pytest.mark.parametrize(
    "other",
    [
        {"grant": Grant(role=Role.ADMIN, namespace="team")},
        {"grant": Grant(role=Role.EDITOR, namespace="*")},
        {"grant": replace(ADMIN, tags=frozenset({"a"}))},
        {"grant": replace(ADMIN, actions=frozenset({Action.ADMIN}))},
        {"grant": ADMIN, "expires_at": NOW + HOUR},
        {"grant": ADMIN, "revoked_at": NOW},
    ],
)
async def test_only_who_may_do_everything_for_ever_is_another_admin(
    store: Store, other: dict[str, Any]
) -> None:
    last = build_key("last", grant=ADMIN)
    await store.add_key(last)
    await store.add_key(build_key("other", **other))
    gone = replace(last, revoked_at=NOW)
    entry = build_audit("key.revoke")
    assert not await store.replace_key(gone, if_hash=last.hash, if_another=True, audit=[entry])
    assert await actions(store) == []
    await store.add_key(build_key("heir", grant=ADMIN))
    assert await store.replace_key(gone, if_hash=last.hash, if_another=True, audit=[entry])


async def test_keys_that_work_are_counted_apart_from_those_that_have_ended(store: Store) -> None:
    await store.add_key(build_key("works"))
    await store.add_key(build_key("works on", expires_at=NOW + 1))
    await store.add_key(build_key("expired", expires_at=NOW))
    await store.add_key(build_key("revoked", revoked_at=NOW - 1, expires_at=NOW - 1))
    assert await store.count_keys(NOW) == KeyCount(working=2, ended=2)


async def test_of_the_keys_that_have_ended_the_last_ones_stay(store: Store) -> None:
    for n in range(6):
        ended = {"revoked_at": NOW} if n % 2 else {"expires_at": NOW}
        await store.add_key(build_key(str(n), created_at=NOW - 10 + n, **ended))
    await store.add_key(build_key("works", created_at=NOW - 20))
    assert await store.delete_ended_keys(NOW, keep=6) == 0
    assert await store.delete_ended_keys(NOW, keep=2) == 4
    assert [key.name for key in await store.list_keys()] == ["works", "4", "5"]


async def test_keys_are_listed_by_namespace_in_the_order_of_their_creation(store: Store) -> None:
    for number, namespace in enumerate(("b", "a", "*", "a")):
        grant = Grant(role=Role.VIEWER, namespace=namespace)
        await store.add_key(build_key(str(number), grant=grant, created_at=NOW + number))
    assert [key.name for key in await store.list_keys()] == ["0", "1", "2", "3"]
    assert [key.name for key in await store.list_keys("a")] == ["1", "3"]


async def test_the_first_key_is_the_first(store: Store) -> None:
    first = build_key("1", origin=KeyOrigin.FIRST)
    assert await store.add_key(first, audit=[build_audit("key.create")])
    assert not await store.add_key(
        build_key("2", origin=KeyOrigin.FIRST), audit=[build_audit("key.create")]
    )
    assert await store.list_keys() == [first]
    assert await actions(store) == ["key.create"]


async def test_there_is_no_first_key_after_another_one_even_if_that_was_revoked(
    store: Store,
) -> None:
    await store.add_key(build_key("1", revoked_at=NOW))
    assert not await store.add_key(build_key("2", origin=KeyOrigin.FIRST))


async def test_of_nodes_that_start_at_once_one_makes_the_first_key(store: Store) -> None:
    made = await asyncio.gather(
        *(store.add_key(build_key(str(n), origin=KeyOrigin.FIRST)) for n in range(8))
    )
    assert sorted(made) == [False] * 7 + [True]
    assert len(await store.list_keys()) == 1


async def test_the_use_of_a_key_only_moves_forward(store: Store) -> None:
    key = build_key()
    await store.add_key(key)
    for at, after in ((NOW, NOW), (NOW - 1, NOW), (NOW + 5, NOW + 5)):
        await store.note_key_use({key.id: at, str(UUID(int=9)): at, "none": at})
        found = await store.get_key(key.id)
        assert found is not None
        assert found.last_used_at == after


async def test_a_change_of_a_key_does_not_take_back_its_use(store: Store) -> None:
    key = build_key()
    await store.add_key(key)
    await store.note_key_use({key.id: NOW})
    await store.replace_key(replace(key, name="other"), if_hash=key.hash)
    found = await store.get_key(key.id)
    assert found is not None
    assert (found.name, found.last_used_at) == ("other", NOW)


# --- sessions -----------------------------------------------------------------------------------


async def test_a_session_is_there_until_it_is_deleted(store: Store) -> None:
    session = build_session("a")
    await store.add_session(session, audit=[build_audit("session.create")])
    assert await store.find_session(session.hash) == session
    assert await store.delete_session(session.hash, audit=[build_audit("session.delete")])
    assert await store.find_session(session.hash) is None
    assert not await store.delete_session(session.hash, audit=[build_audit("session.delete")])
    assert sorted(await actions(store)) == ["session.create", "session.delete"]


async def test_a_new_session_takes_those_that_have_expired_away(store: Store) -> None:
    old, live = build_session("a", expires_at=NOW), build_session("b", expires_at=NOW + 1)
    await store.add_session(old)
    await store.add_session(live)
    await store.add_session(build_session("c", created_at=NOW))
    assert await store.find_session(old.hash) is None
    assert await store.find_session(live.hash) == live


# --- the audit log ------------------------------------------------------------------------------


async def test_the_oldest_entries_are_deleted_and_that_is_told_where_there_were_any(
    store: Store,
) -> None:
    ids = [Uuid7(lambda n=n: NOW + n)() for n in range(5)]  # type: ignore[misc]
    for n, one in enumerate(ids):
        await store.add_audit([build_audit("job.create", id=one, at=NOW + n)])
    told = build_audit("audit.expire", at=NOW + 9, before={"until": "then"})
    assert await store.delete_audit(before=NOW, limit=10, entry=told) == 0
    assert len(await actions(store)) == 5
    assert await store.delete_audit(before=NOW + 4, limit=3, entry=told) == 3
    found = {one.id: one for one in await audited(store)}
    assert set(found) == {*ids[3:], told.id}
    assert found[told.id] == replace(told, before={"until": "then", "count": 3})


async def test_an_entry_comes_back_as_it_was_stored(store: Store) -> None:
    entry = build_audit(
        "job.update",
        actor=Actor(type="key", id="k1", name="ci ☃"),
        subject=Subject(type="job", id="j1", name="nightly"),
        namespace="team",
        address="2001:db8::1",
        before={"tags": ["a"], "big": 2**53, "text": "☃"},
        after={"tags": []},
    )
    await store.add_session(build_session("a"), audit=[entry])
    assert await audited(store) == [entry]


async def test_entries_are_found_by_who_what_when_and_where_newest_first(store: Store) -> None:
    clock = iter(range(NOW, NOW + 10 * SECOND, SECOND))
    new_id = Uuid7(lambda: at)
    entries = []
    for action, actor, subject, namespace in (
        ("job.create", "ann", "j1", "a"),
        ("job.delete", "bob", "j1", "a"),
        ("jobs.create", "ann", "", "a"),
        ("key.create", "ann", "k1", "*"),
        ("job.create", "ann", "j2", "b"),
    ):
        at = next(clock)
        entries.append(
            build_audit(
                action,
                id=new_id(),
                at=at,
                actor=Actor(type="key", id=f"id-{actor}", name=actor),
                subject=Subject(type="x", id=f"id-{subject}", name=subject),
                namespace=namespace,
            )
        )
    await store.add_session(build_session("a"), audit=entries)
    create, delete, batch, key, other = entries

    assert await audited(store) == [other, key, batch, delete, create]
    assert await audited(store, limit=2) == [other, key]
    assert await audited(store, limit=2, before=key.id) == [batch, delete]
    assert await audited(store, namespace="a") == [batch, delete, create]
    assert await audited(store, actor="bob") == [delete]
    assert await audited(store, actor="id-bob") == [delete]
    assert await audited(store, action="job") == [other, delete, create]
    assert await audited(store, action="job.create") == [other, create]
    assert await audited(store, action="jo") == []
    assert await audited(store, subject="j1") == [delete, create]
    assert await audited(store, subject="id-k1") == [key]
    assert await audited(store, since=delete.at, until=key.at) == [batch, delete]


async def test_what_is_done_elsewhere_is_told_of_too(store: Store) -> None:
    entries = [build_audit("one"), build_audit("two")]
    await store.add_audit(entries)
    assert await audited(store) == entries[::-1]


async def test_what_changes_nothing_is_not_told_of(store: Store) -> None:
    told = [build_audit("told")]
    one = job("a")
    await store.create_jobs([new_job(one)], limits=NO_LIMITS, request=request("k"), audit=told)
    assert await actions(store) == ["told"]
    not_told = [build_audit("not told")]
    # The same idempotency key, a name that is taken, a version that has moved on, ...
    await store.create_jobs(
        [new_job(job("b"))], limits=NO_LIMITS, request=request("k"), audit=not_told
    )
    with pytest.raises(InvalidInput):
        await store.create_jobs([new_job(job("a"))], limits=NO_LIMITS, audit=not_told)
    assert (
        await store.change_job(
            one, if_version=7, timer=None, limits=NO_LIMITS, now=NOW, audit=not_told
        )
        is None
    )
    # ... a job that is not there, an execution that is there already or has ended.
    with pytest.raises(NotFound):
        await store.add_execution(triggered(job("x")), admit=by_overlap, now=NOW, audit=not_told)
    execution = triggered(one)
    await store.add_execution(execution, admit=by_overlap, now=NOW, audit=[build_audit("added")])
    await store.add_execution(execution, admit=by_overlap, now=NOW, audit=not_told)
    for word in ("cancelled", "not told"):
        await store.cancel_executions(
            reason=Reason.REQUESTED, now=NOW, execution_id=execution.id, audit=[build_audit(word)]
        )
    await change(store, one, status=JobStatus.CANCELLED, timer=None)
    with pytest.raises(Conflict):
        await store.add_execution(
            triggered(one, salt="2"), admit=by_overlap, now=NOW, audit=not_told
        )
    assert sorted(await actions(store)) == ["added", "cancelled", "told"]


async def test_of_several_sets_of_jobs_those_that_were_stored_are_told_of(store: Store) -> None:
    await add(store, job("taken"))
    sets = [
        NewJobs(jobs=[new_job(job(name))], request=keyed, audit=[build_audit(f"set.{name}")])
        for name, keyed in (("a", None), ("taken", None), ("b", request("k")), ("c", request("k")))
    ]
    await store.create_sets(sets, limits=NO_LIMITS)
    assert sorted(await actions(store)) == ["set.a", "set.b"]


async def test_a_change_is_told_of(store: Store) -> None:
    one = job("a")
    await add(store, one)
    changed = replace(one, version=2, status=JobStatus.PAUSED)
    ended = await store.change_job(
        changed,
        if_version=1,
        timer=None,
        limits=NO_LIMITS,
        now=NOW,
        audit=[build_audit("job.pause")],
    )
    assert ended is not None
    assert await actions(store) == ["job.pause"]


# --- namespaces ---------------------------------------------------------------------------------


async def test_namespaces_are_those_of_jobs_and_keys(store: Store) -> None:
    assert await store.namespaces() == []
    await add(store, job("a"), job("a", namespace="beta"))
    gone = job("g", namespace="gone")
    await add(store, gone)
    await delete(store, gone)
    for number, namespace in enumerate(("*", "alpha", "beta")):
        await store.add_key(
            build_key(str(number), grant=Grant(role=Role.VIEWER, namespace=namespace))
        )
    assert await store.namespaces() == ["alpha", "beta", "default"]


async def test_one_name_can_be_in_two_namespaces(store: Store) -> None:
    here, there = job("same"), job("same", namespace="there")
    await add(store, here, there)
    for one in (here, there):
        for ref in (one.id, one.name):
            found = await store.get_job(one.namespace, ref, now=NOW)
            assert found is not None
            assert found.job == one
    assert await store.get_job("there", here.id, now=NOW) is None
    page = await store.list_jobs(JobQuery(namespace="there", now=NOW))
    assert [view.job for view in page.items] == [there]


async def test_the_figures_of_a_namespace_are_its_own(store: Store) -> None:
    await join(store)
    here, there = job("here"), job("there", namespace="there")
    await add(store, here, there)
    done = (await claim(store)).claims
    assert {one.job.name for one in done} == {"here", "there"}
    await record(store, *(succeed(one, NOW) for one in done if one.job.id == there.id))
    stats = {
        namespace: await store.stats(since=NOW, now=NOW, namespace=namespace)
        for namespace in (None, "default", "there", "nowhere")
    }
    assert {name: one.jobs for name, one in stats.items()} == {
        None: {JobStatus.ACTIVE: 2},
        "default": {JobStatus.ACTIVE: 1},
        "there": {JobStatus.ACTIVE: 1},
        "nowhere": {},
    }
    assert {name: (one.claimed, one.tally.succeeded) for name, one in stats.items()} == {
        None: (1, 1),
        "default": (1, 0),
        "there": (0, 1),
        "nowhere": (0, 0),
    }
    assert [one.name for one, _ in stats["there"].next_fires] == ["there"]
    assert {one.name for one, _ in stats[None].next_fires} == {"here", "there"}
    assert [sum(tally.succeeded for _, tally in stats["default"].minutes)] == [0]


async def test_usage_is_of_all_namespaces_and_follows_changes(store: Store) -> None:
    here, there = job("here"), job("there", namespace="there")
    await add(store, here, there)
    await change(store, there, status=JobStatus.PAUSED, timer=None)
    usage = await store.usage()
    assert usage.jobs == 2
    assert usage.by_status == {JobStatus.ACTIVE: 1, JobStatus.PAUSED: 1}
    stats = await store.stats(since=NOW, now=NOW, namespace="there")
    assert stats.jobs == {JobStatus.PAUSED: 1}


async def test_a_job_that_is_over_counts_as_completed_in_its_namespace(store: Store) -> None:
    await join(store)
    once = {"here": 1, "there": 2}
    for namespace, count in once.items():
        await add(
            store,
            *(job(schedule=every(SECOND, ends_at=NOW), namespace=namespace) for _ in range(count)),
        )
    await add(store, job(namespace="there"))
    assert len((await claim(store)).completed) == 3
    stats = {one: await store.stats(since=NOW, now=NOW, namespace=one) for one in (None, *once)}
    assert {name: one.jobs for name, one in stats.items()} == {
        None: {JobStatus.ACTIVE: 1, JobStatus.COMPLETED: 3},
        "here": {JobStatus.COMPLETED: 1},
        "there": {JobStatus.ACTIVE: 1, JobStatus.COMPLETED: 2},
    }
    assert (await store.usage()).by_status == stats[None].jobs
    assert await store.namespaces() == ["here", "there"]


async def test_the_last_call_of_a_deleted_job_counts_in_its_namespace_only(store: Store) -> None:
    await join(store)
    there = job("there", namespace="there")
    await add(store, there)
    await claim_one(store)
    await delete(store, there)
    assert (await store.stats(since=NOW, now=NOW, namespace="default")).claimed == 0
    assert (await store.stats(since=NOW, now=NOW, namespace="there")).claimed == 1


# --- tags ---------------------------------------------------------------------------------------


async def test_lists_can_be_limited_to_what_carries_one_of_some_tags(store: Store) -> None:
    tagged = {"none": (), "a": ("a",), "b": ("b", "x"), "ab": ("a", "b")}
    made = [job(name, tags=tags) for name, tags in tagged.items()]
    await add(store, *made)
    for one in made:
        await trigger(store, triggered(one))
    for any_tags, expected in (
        (None, ["a", "ab", "b", "none"]),
        ((), []),
        (("a",), ["a", "ab"]),
        (("x", "a"), ["a", "ab", "b"]),
        (("nobody's",), []),
    ):
        page = await store.list_jobs(JobQuery(any_tags=any_tags, now=NOW))
        assert [view.job.name for view in page.items] == expected
        for states in ((), (State.PENDING,)):
            found = await store.list_executions(ExecutionQuery(any_tags=any_tags, states=states))
            assert sorted(one.job_name for one in found.items) == expected
