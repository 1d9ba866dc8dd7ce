"""The port: secrets."""

import asyncio
from dataclasses import replace
from typing import Any

from tests.support.build import NO_LIMITS, NOW, URL, job
from tests.support.drive import add
from tocsin.domain.job import BearerAuth, BodyKind, HttpTarget, JobStatus, LogTarget
from tocsin.store.port import Store, StoredSecret


def secret(name: str = "TOKEN", **fields: Any) -> StoredSecret:
    return StoredSecret(
        **{
            "namespace": "default",
            "name": name,
            "version": 1,
            "created_at": NOW,
            "updated_at": NOW,
            "sealed": "sealed",
            **fields,
        }
    )


async def test_a_secret_comes_back_as_it_was_put(store: Store) -> None:
    plain = secret()
    full = secret("other", shown=True, previous_sealed="before", previous_until=NOW + 5, version=7)
    assert await store.put_secret(plain, if_version=None)
    assert await store.put_secret(full, if_version=None)
    assert await store.list_secrets() == [plain, full]


async def test_secrets_are_listed_by_namespace_and_name(store: Store) -> None:
    for namespace, name in (("b", "A"), ("a", "b"), ("a", "B"), ("a", ".signing")):
        await store.put_secret(secret(name, namespace=namespace), if_version=None)
    assert [(one.namespace, one.name) for one in await store.list_secrets()] == [
        ("a", ".signing"),
        ("a", "B"),
        ("a", "b"),
        ("b", "A"),
    ]


async def test_a_secret_is_replaced_at_the_expected_version_only(store: Store) -> None:
    first = secret()
    assert await store.put_secret(first, if_version=None)
    assert not await store.put_secret(replace(first, sealed="x"), if_version=None)
    second = replace(first, version=2, sealed="second", updated_at=NOW + 1)
    assert not await store.put_secret(second, if_version=3)
    assert await store.list_secrets() == [first]
    assert await store.put_secret(second, if_version=1)
    assert not await store.put_secret(replace(second, version=3), if_version=1)
    assert not await store.put_secret(secret("absent", version=2), if_version=1)
    assert await store.list_secrets() == [second]


async def test_of_two_first_values_at_once_one_is_kept(store: Store) -> None:
    kept = await asyncio.gather(
        *(store.put_secret(secret(sealed=f"{n}"), if_version=None) for n in range(4))
    )
    assert sorted(kept) == [False, False, False, True]
    assert len(await store.list_secrets()) == 1


async def test_a_deleted_secret_is_gone(store: Store) -> None:
    await store.put_secret(secret(), if_version=None)
    assert not await store.delete_secret("default", "OTHER")
    assert not await store.delete_secret("other", "TOKEN")
    assert await store.delete_secret("default", "TOKEN")
    assert not await store.delete_secret("default", "TOKEN")
    assert await store.list_secrets() == []
    assert await store.put_secret(secret(), if_version=None)


async def test_the_mark_changes_with_each_change(store: Store) -> None:
    marks = [await store.secrets_mark()]
    assert await store.secrets_mark() == marks[0]

    async def note() -> None:
        mark = await store.secrets_mark()
        assert mark not in marks
        marks.append(mark)

    await store.put_secret(secret(), if_version=None)
    await note()
    await store.put_secret(secret(version=2), if_version=1)
    await note()
    await store.put_secret(secret("B", updated_at=NOW + 1), if_version=None)
    await note()
    await store.delete_secret("default", "TOKEN")
    await note()


async def test_uses_are_counted_by_job(store: Store) -> None:
    def using(**fields: Any) -> HttpTarget:
        return HttpTarget(**{"url": URL, **fields})

    await add(
        store,
        job("url", target=using(url=URL + "?k={{ secret.A }}&k={{secret.A}}")),
        job("header", target=using(headers=(("X", "{{ secret.A }}{{ secret.B }}"),))),
        job("body", target=using(body_kind=BodyKind.JSON, body=[{"x": "{{ secret.B }}"}])),
        job("text", target=using(body_kind=BodyKind.TEXT, body="{{ secret.C }}")),
        job("auth", target=using(auth=BearerAuth(token="{{ secret.D }}"))),
        job("signed", target=using(signing="E")),
        job("none", target=using(body_kind=BodyKind.TEXT, body="a secret. {{{{ secret.F }}")),
        job("log", target=LogTarget(text="a secret")),
        job("elsewhere", target=using(signing="G"), namespace="other"),
    )
    assert await store.secret_uses("default") == {"A": 2, "B": 2, "C": 1, "D": 1, "E": 1}
    assert await store.secret_uses("other") == {"G": 1}
    assert await store.secret_uses("nobody") == {}


async def test_deleted_jobs_use_nothing(store: Store) -> None:
    one = job("one", target=HttpTarget(url=URL, signing="E"))
    await add(store, one)
    gone = replace(one, version=2, status=JobStatus.DELETED)
    await store.change_job(gone, if_version=1, timer=None, limits=NO_LIMITS, now=NOW)
    assert await store.secret_uses("default") == {}
