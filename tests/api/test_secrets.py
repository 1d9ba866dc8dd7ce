"""``/api/v1/secrets`` and ``/api/v1/signing``: values go in and never come out."""

import asyncio
import base64
from typing import Any
from uuid import uuid4

import pytest

from tests.api.harness import JOB, JOBS, Api, serving
from tests.support.build import DAY, HOUR, SECOND
from tests.support.memory_store import MemoryStore
from tocsin.domain import secrets
from tocsin.services.sealing import Sealer
from tocsin.services.secrets import SecretService
from tocsin.services.vault import Vault
from tocsin.store.port import Store

SECRETS = "/api/v1/secrets"
SIGNING = "/api/v1/signing"
VALUE = "correct horse battery staple"


async def put(api: Api, name: str, value: str = VALUE, *, status: int = 201, **more: Any) -> Any:
    return await api.ask("PUT", f"{SECRETS}/{name}", status=status, json={"value": value, **more})


def using(url: str = "https://example.com/?k={{ secret.TOKEN }}", **fields: Any) -> dict[str, Any]:
    return {**JOB, "target": {"url": url, **fields}}


async def test_a_secret_is_set_listed_and_never_shown(api: Api) -> None:
    assert (await api.get(SECRETS)) == {"items": [], "next_cursor": None}
    made = await put(api, "TOKEN")
    api.clock.now += SECOND
    changed = await put(api, "TOKEN", "another value", status=200)
    assert VALUE not in made.text
    assert "another" not in changed.text
    [shown] = (await api.get(SECRETS))["items"]
    assert shown == changed.json()
    assert (shown["name"], shown["version"], shown["used_by"]) == ("TOKEN", 2, 0)
    assert shown["updated_at"] > shown["created_at"] == made.json()["created_at"]
    await api.ask("GET", f"{SECRETS}/TOKEN", status=405)


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("1up", {"value": VALUE}, "name"),
        ("a.b", {"value": VALUE}, "name"),
        (".signing", {"value": VALUE}, "name"),
        ("A" * 100 + "B", {"value": VALUE}, "name"),
        ("TOKEN", {}, "value"),
        ("TOKEN", {"value": "abc"}, "value"),
        ("TOKEN", {"value": 12345}, "value"),
        ("TOKEN", {"value": "\u00e4" * 65_000}, "value"),
        ("TOKEN", {"value": "whsec_not base64"}, "value"),
        ("TOKEN", {"value": "whsec_QUJD"}, "value"),
        ("TOKEN", {"value": VALUE, "overlap": "31d"}, "overlap"),
        ("TOKEN", {"value": VALUE, "valeu": 1}, "valeu"),
    ],
)
async def test_what_is_no_secret_is_refused_without_being_repeated(
    api: Api, name: str, body: dict[str, Any], field: str
) -> None:
    answer = await api.ask("PUT", f"{SECRETS}/{name}", status=422, json=body)
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert VALUE not in answer.text
    assert "QUJD" not in answer.text
    assert (await api.get(SECRETS))["items"] == []


async def test_a_job_with_an_unknown_secret_is_refused(api: Api) -> None:
    fields = {
        "target.url": using(),
        "target.headers.X": using("https://x/", headers={"X": "{{ secret.TOKEN }}"}),
        "target.body": using("https://x/", body={"a": ["{{ secret.TOKEN }}"]}),
        "target.body_text": using("https://x/", body_text="{{ secret.TOKEN }}"),
        "target.auth.token": using(
            "https://x/", auth={"type": "bearer", "token": "{{ secret.TOKEN }}"}
        ),
        "target.signing.secret": using("https://x/", signing={"secret": "TOKEN"}),
    }
    for field, job in fields.items():
        found = await api.problems("POST", JOBS, json=job)
        assert found == [(field, "unknown_secret")]
        found = await api.problems("POST", f"{JOBS}:batch", json={"jobs": [JOB, job]})
        assert found == [(f"jobs.1.{field}", "unknown_secret")]
        found = await api.problems("PUT", f"{JOBS}/x", json=job)
        assert found == [(field, "unknown_secret")]
    plain = await api.create()
    patch = {"target": {"url": "https://x/?{{ secret.TOKEN }}"}}
    found = await api.problems("PATCH", f"{JOBS}/{plain['id']}", json=patch)
    assert found == [("target.url", "unknown_secret")]
    await put(api, "TOKEN")
    for job in list(fields.values())[:-1]:
        await api.ask("POST", JOBS, status=201, json=job)


async def test_a_job_shows_the_placeholder_and_not_the_value(api: Api) -> None:
    await put(api, "TOKEN")
    auth = {"type": "basic", "username": "me", "password": "{{ secret.TOKEN }}"}
    job = await api.create(target={"url": "https://x/", "auth": auth})
    shown = await api.ask("GET", f"{JOBS}/{job['id']}")
    assert shown.json()["target"]["auth"] == auth
    assert VALUE not in shown.text
    patched = await api.ask(
        "PATCH", f"{JOBS}/{job['id']}", json={"target": {"auth": {"username": "you"}}}
    )
    assert patched.json()["target"]["auth"] == {**auth, "username": "you"}
    gone = await api.ask("PATCH", f"{JOBS}/{job['id']}", json={"target": {"auth": None}})
    assert "auth" not in gone.json()["target"]


@pytest.mark.parametrize(
    ("target", "field", "code"),
    [
        ({"auth": {"type": "bearer", "token": "plain"}}, "auth.token", "plain_secret"),
        ({"auth": {"type": "bearer", "token": "{{ attempt }}"}}, "auth.token", "plain_secret"),
        ({"auth": {"type": "basic", "username": "a"}}, "auth.password", "required"),
        (
            {"auth": {"type": "basic", "username": "a:b", "password": "{{ secret.TOKEN }}"}},
            "auth.username",
            "invalid",
        ),
        (
            {"auth": {"type": "bearer", "token": "{{ secret.TOKEN }}", "username": "a"}},
            "auth.username",
            "conflict",
        ),
        ({"auth": {"type": "oauth2"}}, "auth.type", "not_one_of"),
        ({"auth": {"token": "{{ secret.TOKEN }}"}}, "auth.type", "required"),
        (
            {
                "auth": {"type": "bearer", "token": "{{ secret.TOKEN }}"},
                "headers": {"authorization": "x"},
            },
            "auth",
            "conflict",
        ),
        ({"signing": {"secret": "a b"}}, "signing.secret", "pattern"),
        ({"signing": {"secret": "TOKEN"}}, "signing.secret", "not_a_signing_key"),
        ({"signing": {}}, "signing.secret", "required"),
    ],
)
async def test_credentials_that_cannot_be_are_refused(
    api: Api, target: dict[str, Any], field: str, code: str
) -> None:
    await put(api, "TOKEN")
    found = await api.problems("POST", JOBS, json=using("https://x/", **target))
    assert found == [(f"target.{field}", code)]


async def test_a_secret_cannot_be_written_into_the_log(api: Api) -> None:
    await put(api, "TOKEN")
    found = await api.problems("POST", JOBS, json={**JOB, "target": {"log": "{{ secret.TOKEN }}"}})
    assert found == [("target.log", "placeholder")]


async def test_a_secret_in_use_is_deleted_by_force_only(api: Api) -> None:
    await put(api, "TOKEN")
    job = await api.create(**using())
    assert (await api.get(SECRETS))["items"][0]["used_by"] == 1
    answer = await api.ask("DELETE", f"{SECRETS}/TOKEN", status=409)
    assert answer.json()["code"] == "secret_in_use"
    await api.ask("DELETE", f"{SECRETS}/TOKEN", status=204, params={"force": "true"})
    await api.ask("DELETE", f"{SECRETS}/TOKEN", status=404)
    # The job is still there, and can be changed in what has nothing to do with it.
    await api.ask("PATCH", f"{JOBS}/{job['id']}", json={"description": "x"})
    await put(api, "TOKEN")
    await api.ask("DELETE", f"{JOBS}/{job['id']}", status=204)
    await api.ask("DELETE", f"{SECRETS}/TOKEN", status=204)


async def test_a_secret_made_on_another_node_is_known_at_once(api: Api) -> None:
    sealer = Sealer([b"k" * 32])
    vault = Vault(store=api.store, sealer=sealer, now=api.clock)
    other = SecretService(
        store=api.store, vault=vault, sealer=sealer, now=api.clock, new_id=lambda: str(uuid4())
    )
    await other.set("default", "TOKEN", {"value": VALUE})
    await api.create(**using())


async def test_values_of_others_at_the_same_time_are_not_lost(api: Api) -> None:
    await put(api, "TOKEN")
    await asyncio.gather(*(put(api, "TOKEN", f"value {n}", status=200) for n in range(5)))
    assert (await api.get(SECRETS))["items"][0]["version"] == 6


async def test_without_a_master_key_nothing_is_kept(store: Store) -> None:
    async with serving(store, master_key=False) as api:
        for method, path in (
            ("PUT", f"{SECRETS}/TOKEN"),
            ("POST", f"{SECRETS}:rekey"),
            ("GET", SIGNING),
            ("POST", f"{SIGNING}:reveal"),
            ("POST", f"{SIGNING}:rotate"),
        ):
            body = {"value": VALUE} if method == "PUT" else None
            answer = await api.ask(method, path, status=409, json=body)
            assert answer.json()["code"] == "no_master_key"
        assert await api.get(SECRETS) == {"items": [], "next_cursor": None}
        answer = await api.ask("POST", JOBS, status=422, json=using())
        assert "TOCSIN_SECRET_KEY" in answer.json()["detail"]


# --- signing keys


async def test_the_signing_key_is_shown_once(api: Api) -> None:
    assert (await api.get(SIGNING))["shown"] is False
    answer = await api.ask("POST", f"{SIGNING}:reveal")
    secret = answer.json()["secret"]
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert answer.headers["cache-control"] == "no-store"
    again = await api.ask("POST", f"{SIGNING}:reveal", status=409)
    assert again.json()["code"] == "already_shown"
    assert secret not in (await api.ask("GET", SIGNING)).text
    assert (await api.get(SIGNING))["shown"] is True
    assert (await api.get(SECRETS))["items"] == []


async def test_a_rotation_gives_a_new_key_and_keeps_the_old_one_for_a_while(api: Api) -> None:
    first = (await api.ask("POST", f"{SIGNING}:reveal")).json()["secret"]
    rotated = (await api.ask("POST", f"{SIGNING}:rotate")).json()
    assert rotated["secret"] != first
    vault = Vault(store=api.store, sealer=Sealer([b"k" * 32]), now=api.clock)
    await vault.refresh()
    assert vault.valid_values("default", ".signing") == (rotated["secret"], first)
    api.clock.now += DAY
    assert vault.valid_values("default", ".signing") == (rotated["secret"],)
    assert (await api.get(SIGNING))["previous_until"] is None
    shorter = (await api.ask("POST", f"{SIGNING}:rotate", json={"overlap": "1h"})).json()
    assert shorter["previous_until"] is not None
    api.clock.now += HOUR
    assert (await api.get(SIGNING))["previous_until"] is None
    found = await api.problems("POST", f"{SIGNING}:rotate", json={"overlap": "31d"})
    assert found == [("overlap", "out_of_range")]


# --- the master key


async def test_a_change_of_the_master_key_encrypts_everything_anew(store: Store) -> None:
    old, new = b"o" * 32, b"n" * 32

    async def service(*keys: bytes) -> tuple[SecretService, Vault]:
        sealer = Sealer(keys)
        vault = Vault(store=store, sealer=sealer, now=lambda: 1)
        await vault.refresh()
        return SecretService(
            store=store, vault=vault, sealer=sealer, now=lambda: 1, new_id=lambda: str(uuid4())
        ), vault

    before, _ = await service(old)
    for n in range(3):
        await before.set("default", f"S{n}", {"value": f"value {n}"})
    await before.ensure_signing("default")
    both, vault = await service(new, old)
    assert vault.valid_values("default", "S1") == ("value 1",)
    assert await both.rekey() == 4
    assert await both.rekey() == 0
    _, only_new = await service(new)
    assert only_new.valid_values("default", "S2") == ("value 2",)
    _, only_old = await service(old)
    assert only_old.valid_values("default", "S2") == ()
    assert only_old.has("default", "S2")


async def test_rows_cannot_be_exchanged(store: Store) -> None:
    """Who can write to the database cannot give a job another secret than its own."""
    sealer = Sealer([b"k" * 32])
    vault = Vault(store=store, sealer=sealer, now=lambda: 1)
    service = SecretService(
        store=store, vault=vault, sealer=sealer, now=lambda: 1, new_id=lambda: str(uuid4())
    )
    await service.set("default", "MINE", {"value": "mine mine"})
    await service.set("default", "THEIRS", {"value": "not for me"})
    rows = {one.name: one for one in await store.list_secrets()}
    swapped = rows["MINE"].__class__(
        **{
            **{name: getattr(rows["MINE"], name) for name in rows["MINE"].__slots__},
            "sealed": rows["THEIRS"].sealed,
            "version": 2,
        }
    )
    assert await store.put_secret(swapped, if_version=1)
    await vault.refresh()
    assert vault.get("default", "MINE") is None
    assert vault.valid_values("default", "THEIRS") == ("not for me",)


@pytest.mark.parametrize("way", ["POST", "PUT", "batch"])
async def test_the_first_job_of_a_namespace_makes_its_signing_key(way: str) -> None:
    async with serving(MemoryStore()) as api:
        namespace = {"Tocsin-Namespace": "ours"}
        match way:
            case "POST":
                await api.ask("POST", JOBS, status=201, json=JOB, headers=namespace)
            case "PUT":
                await api.ask("PUT", f"{JOBS}/a", status=201, json=JOB, headers=namespace)
            case _:
                await api.ask(
                    "POST", f"{JOBS}:batch", status=201, json={"jobs": [JOB]}, headers=namespace
                )
        kept = [(one.namespace, one.name) for one in await api.store.list_secrets()]
        assert kept == [("ours", secrets.SIGNING)]
        await api.ask("POST", JOBS, status=201, json=JOB, headers=namespace)
        assert len(await api.store.list_secrets()) == 1
