"""Secrets hunted in every output of the system, and used where they belong."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from standardwebhooks import Webhook

from tests.chaos.conftest import ClusterFactory, NodeFactory
from tests.security.test_egress import ended, job
from tests.support.listener import Listener, listening
from tests.support.process import KEY, Tocsin, clean_environment, tocsin_command, wait_until
from tests.support.redis import RedisServer
from tocsin.engine.relay_codec import WantTold, encode_item

WANTED = encode_item(WantTold()).decode()
"""What a node says that has readers of events, as it stands in a message."""

VALUE = "hunted-4f9a1c77e2/+ value"
PASSWORD = "hunted-password-81b2"
MASTER = base64.b64encode(b"m" * 32).decode()
ENV = {
    "TOCSIN_SECRET_KEY": MASTER,
    "TOCSIN_LOG_LEVEL": "debug",
    "TOCSIN_LEASE_TTL": "2s",
    "TOCSIN_HEARTBEAT_INTERVAL": "500ms",
}


def spellings(value: str) -> list[bytes]:
    raw = value.encode()
    return [
        raw,
        raw[:16],
        base64.b64encode(raw),
        base64.b64encode(raw)[:-4],
        raw.hex().encode(),
        value.replace("/", "%2F").replace("+", "%2B").replace(" ", "%20").encode(),
    ]


def hunt(where: str, data: bytes, *values: str) -> None:
    for value in values:
        for form in spellings(value):
            assert form not in data, f"{form!r} is in {where}"


@pytest.fixture
def target() -> Iterator[Listener]:
    with listening() as made:
        yield made


def every_page(tocsin: Tocsin, **refs: str) -> dict[str, str]:
    """What every route answers that is read, by its path: those that pages ask are among them.

    The routes are those of the document, so that none is forgotten; ``refs`` are what stands for
    ``{ref}`` and ``{name}``, by the first word of the path.
    """
    found = {}
    for path, methods in tocsin.client.get("/api/openapi.json").json()["paths"].items():
        if "get" not in methods or path == "/api/v1/events":
            continue
        kind = path.removeprefix("/api/v1/").partition("/")[0]
        asked = re.sub(r"\{\w+\}", lambda _, kind=kind: refs.get(kind, "none"), path)  # type: ignore[misc]
        query = {"/api/v1/jobs:recent": f"?job={refs.get('id', '')}"}.get(path, "")
        answer = tocsin.client.get(asked + query)
        assert answer.status_code < 500, (asked, answer.text)
        found[asked] = answer.text
    assert len(found) > 20
    lines = tocsin.client.get("/api/v1/audit", headers={"Accept": "application/x-ndjson"})
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    return {**found, "/api/v1/audit as lines": lines.text}


def cli(tocsin: Tocsin, *words: str, stdin: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [*tocsin_command(), *words, "--server", f"http://127.0.0.1:{tocsin.port}"],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment({"TOCSIN_KEY": KEY}),
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_secrets_are_in_the_calls_and_in_no_output(
    node: NodeFactory, target: Listener, tmp_path: Path
) -> None:
    tocsin = node(env=ENV, options=("--log-file", str(tmp_path / "tocsin.log"))).start()
    outputs = [cli(tocsin, "secrets", "set", "TOKEN", stdin=VALUE + "\n")]
    outputs.append(cli(tocsin, "secrets", "set", "PASS", stdin=PASSWORD))
    echo = {
        "url": target.url("/echo?k={{ secret.TOKEN }}"),
        "headers": {"X-Key": "{{ secret.TOKEN }}"},
        "body": {"inner": ["{{ secret.TOKEN }}"], "at": "{{ fire_time }}"},
        "auth": {"type": "basic", "username": "me", "password": "{{ secret.PASS }}"},
    }
    tocsin.post("/jobs", {**job("echo", ""), "target": echo})
    tocsin.post("/jobs", {**job("fails", ""), "target": echo, "success": ["404"]})
    with tocsin.client.stream("GET", "/api/v1/events", timeout=60) as events:
        told = events.iter_text()
        first = next(told)
        execution = ended(tocsin, "echo")
        ended(tocsin, "fails")
        heard = first
        while heard.count("execution.") < 4:
            heard += next(told)
    outputs.append(heard)

    # Where they belong.
    assert execution["state"] == "succeeded", json.dumps(execution)
    seen = target.seen[0]
    assert VALUE.replace("/", "%2F").replace("+", "%2B").replace(" ", "%20") in seen.target
    assert seen.headers["x-key"] == VALUE
    assert json.loads(seen.body)["inner"] == [VALUE]
    credentials = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    assert seen.headers["authorization"] == f"Basic {credentials}"
    # What came back is masked, and the rest of it is there.
    whole = tocsin.get(f"/executions/{execution['id']}")
    excerpt = whole["attempts"][0]["response"]["excerpt"]
    assert excerpt.count("[secret]") >= 4
    assert "POST /echo?k=[secret]" in excerpt

    # Of a call that is tried out, too.
    tried = tocsin.client.post("/api/v1/jobs:try", json={**job("tried", ""), "target": echo}).json()
    assert tried["attempt"]["response"]["excerpt"].count("[secret]") >= 4
    assert VALUE in target.seen[-1].headers["x-key"]
    outputs.append(json.dumps(tried))

    # Keys and sessions are secrets as well.
    made = tocsin.post("/keys", {"name": "hunted", "role": "viewer"})
    with httpx.Client(base_url=tocsin.client.base_url) as browser:
        opened = browser.post("/api/v1/session", json={"key": made["key"]})
        token = browser.cookies["tocsin_session"]
        refused = browser.get("/api/v1/jobs", headers={"X-API-Key": "hunted-wrong-key-55d1"})
    assert refused.status_code == 401
    outputs += [opened.text, refused.text]
    for query in (f"api_key={VALUE}", f"access_token={made['key']}", f"tag={PASSWORD}"):
        outputs.append(tocsin.client.get("/api/v1/jobs", params=query).text)

    # And nowhere else.
    pages = every_page(
        tocsin,
        jobs="echo",
        id=execution["job_id"],
        executions=execution["id"],
        keys=made["id"],
    )
    outputs += pages.values()
    assert "[secret]" in pages[f"/api/v1/executions/{execution['id']}"], "the pages are of this job"
    assert "secret.TOKEN" in pages["/api/v1/jobs/echo"]
    for body in (
        {"url": "https://example.com/{{ secret.NOPE }}"},
        {"url": "https://example.com/", "auth": {"type": "bearer", "token": "{{ secret.TOKEN"}},
    ):
        outputs.append(
            tocsin.client.post("/api/v1/jobs", json={**job("x", ""), "target": body}).text
        )
    outputs.append(tocsin.client.delete("/api/v1/secrets/TOKEN").text)
    for words in (
        ("jobs", "list", "--json"),
        ("jobs", "show", "echo", "--json"),
        ("executions", "list", "--json"),
        ("executions", "show", execution["id"]),
        ("secrets", "list", "--json"),
        ("signing", "status"),
        ("status",),
    ):
        outputs.append(cli(tocsin, *words))
    hidden = (
        *(VALUE, PASSWORD, f"me:{PASSWORD}", KEY, made["key"], token, "hunted-wrong-key-55d1"),
    )
    for text in outputs:
        hunt("an output", text.encode(), *hidden)
    assert tocsin.terminate() == 0
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert {"tocsin.db", "tocsin.log"} <= set(files)
    assert b"auth.refused" in files["tocsin.log"]
    for name, data in files.items():
        hunt(name, data, *hidden, MASTER)


def test_on_postgresql_with_redis_they_are_nowhere_either(
    cluster: ClusterFactory, target: Listener
) -> None:
    """A dump of the database, what the nodes tell each other, and what Redis keeps."""
    redis = RedisServer(password="geheim").start()
    them = cluster(env={**ENV, "TOCSIN_REDIS": redis.url})
    one, other = them.add(), them.add()
    listener = redis.client()
    heard = listener.pubsub()
    heard.psubscribe("*")
    cli(one, "secrets", "set", "TOKEN", stdin=VALUE + "\n")
    echo = {
        "url": target.url("/echo?k={{ secret.TOKEN }}"),
        "headers": {"X-K": "{{ secret.TOKEN }}"},
    }
    with other.client.stream("GET", "/api/v1/events", timeout=60) as events:
        told = events.iter_text()
        text = next(told)
        # Nothing is told before the others have heard that somebody listens.
        messages: list[Any] = []
        while not any(WANTED in str(message["data"]) for message in messages):
            messages.append(heard.get_message(timeout=60))
            assert messages[-1] is not None
        other.post("/jobs", {**job("echo", ""), "target": echo})
        execution = ended(one, "echo")
        while "execution.succeeded" not in text:
            text += next(told)
    assert execution["state"] == "succeeded", execution
    assert target.seen[-1].headers["x-k"] == VALUE
    outputs = {"events": text, **every_page(other, jobs="echo", executions=execution["id"])}
    dump = b""
    with psycopg.connect(them.url) as conn:
        tables = conn.execute(
            "SELECT quote_ident(relname) FROM pg_class WHERE relkind IN ('r', 'p') "
            "AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        for (table,) in tables:
            with conn.cursor().copy(f"COPY (SELECT * FROM {table}) TO STDOUT") as rows:
                dump += b"".join(bytes(row) for row in rows)
    assert b"secret.TOKEN" in dump, "the job is in the dump"
    assert b"[secret]" in dump, "and its execution"
    outputs["the dump"] = dump.decode("utf-8", "replace")
    messages += iter(lambda: heard.get_message(timeout=0.1), None)
    outputs["Redis's messages"] = repr(messages)
    heard.close()
    listener.close()
    with redis.client() as kept:
        outputs["Redis's keys"] = repr([(key, kept.get(key)) for key in kept.scan_iter("*")])
    for node in (one, other):
        node.terminate()
        outputs[f"the log of {node.name}"] = node.whole_log()
    for where, found in outputs.items():
        hunt(where, found.encode("utf-8", "replace"), VALUE, KEY, MASTER, "geheim")
    redis.close()


def test_the_process_list_shows_no_key(node: NodeFactory) -> None:
    tocsin = node(env={**ENV, "TOCSIN_PROCESSES": "2"}).start()
    hunt("ps", Path(f"/proc/{tocsin.pid}/cmdline").read_bytes(), MASTER)
    children = Path(f"/proc/{tocsin.pid}/task/{tocsin.pid}/children").read_text().split()
    assert len(children) >= 2
    for child in children:
        hunt("ps", Path(f"/proc/{child}/cmdline").read_bytes(), MASTER)
    # Both have the key, whoever is asked, once both have started.
    wait_until(lambda: len(list(tocsin.events("started"))) == 2, "both have started")
    for _ in range(6):
        assert tocsin.client.get("/api/v1/signing", headers={"Connection": "close"}).is_success


def test_signed_calls_are_verified_by_the_official_library(
    node: NodeFactory, target: Listener
) -> None:
    tocsin = node(env=ENV).start()
    first = cli(tocsin, "signing", "show").split()[0]
    assert "already" in cli(tocsin, "signing", "show", code=5)
    tocsin.post("/jobs", {**job("signed", ""), "target": {"url": target.url(), "body": {"a": 1}}})
    ended(tocsin, "signed")
    seen = target.seen[-1]
    assert Webhook(first).verify(seen.body, seen.headers) == {"a": 1}

    second = cli(tocsin, "signing", "rotate", "--overlap", "1h").split()[0]
    ended(tocsin, "signed")
    seen = target.seen[-1]
    for key in (first, second):
        Webhook(key).verify(seen.body, seen.headers)

    own = "whsec_" + base64.b64encode(b"o" * 24).decode()
    cli(tocsin, "secrets", "set", "HOOK", stdin=own)
    tocsin.client.patch(
        "/api/v1/jobs/signed", json={"target": {"signing": {"secret": "HOOK"}}}
    ).raise_for_status()
    ended(tocsin, "signed")
    seen = target.seen[-1]
    Webhook(own).verify(seen.body, seen.headers)
    assert seen.headers["webhook-signature"].count("v1,") == 1


def test_a_trial_in_a_namespace_that_has_nothing_yet_is_signed_too(
    node: NodeFactory, target: Listener
) -> None:
    tocsin = node(env=ENV).start()
    tried = tocsin.client.post(
        "/api/v1/jobs:try?namespace=fresh",
        json={**job("tried", ""), "target": {"url": target.url(), "body": {"a": 1}}},
    )
    assert tried.json()["attempt"]["http_status"] == 200, tried.text
    key = cli(tocsin, "signing", "show", "--namespace", "fresh").split()[0]
    (seen,) = target.seen
    assert Webhook(key).verify(seen.body, seen.headers) == {"a": 1}


def test_a_deleted_secret_fails_the_call_with_the_reason(
    node: NodeFactory, target: Listener
) -> None:
    tocsin = node(env=ENV).start()
    cli(tocsin, "secrets", "set", "TOKEN", stdin=VALUE)
    tocsin.post("/jobs", job("uses", target.url("/?k={{ secret.TOKEN }}")))
    assert "1 job uses" in cli(tocsin, "secrets", "delete", "TOKEN", code=5)
    cli(tocsin, "secrets", "delete", "TOKEN", "--force")
    execution = ended(tocsin, "uses")
    assert (execution["state"], execution["error_kind"]) == ("failed", "protocol")
    assert "the secret TOKEN does not exist" in execution["error"]
    assert target.seen == []


def test_an_embedded_database_gets_a_key_file_that_only_its_owner_reads(
    node: NodeFactory, tmp_path: Path
) -> None:
    tocsin = node().start()
    key = tmp_path / "tocsin.db.key"
    # So does the database itself, with all that SQLite puts beside it, whatever the umask says.
    for path in (key, *tmp_path.glob("tocsin.db*")):
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert (tmp_path / "tocsin.db-wal").exists()
    cli(tocsin, "secrets", "set", "TOKEN", stdin=VALUE)
    before = key.read_bytes()
    tocsin.terminate()
    tocsin.start()
    assert key.read_bytes() == before
    assert tocsin.get("/secrets")["items"][0]["name"] == "TOKEN"
    tocsin.terminate()
    key.write_text("not a key")
    result = tocsin.run_to_end()
    assert result.code == 1
    assert str(key) in result.output


def test_the_master_key_can_be_changed(node: NodeFactory, target: Listener) -> None:
    newer = base64.b64encode(b"n" * 32).decode()
    old = node(env=ENV).start()
    cli(old, "secrets", "set", "TOKEN", stdin=VALUE)
    old.terminate()
    both = node(database=old.database, env={**ENV, "TOCSIN_SECRET_KEY": f"{newer},{MASTER}"})
    both.start()
    assert "encrypted 2 anew" in cli(both, "secrets", "rekey")
    both.terminate()
    new = node(database=old.database, env={**ENV, "TOCSIN_SECRET_KEY": newer}).start()
    new.post("/jobs", job("uses", target.url("/?k={{ secret.TOKEN }}")))
    assert ended(new, "uses")["state"] == "succeeded"


@pytest.mark.parametrize("variable", ["TOCSIN_SECRET_KEY", "TOCSIN_SECRET_KEY_FILE"])
def test_a_master_key_that_is_none_stops_the_start(
    node: NodeFactory, tmp_path: Path, variable: str
) -> None:
    value = "hunted-no-key"
    if variable.endswith("FILE"):
        (tmp_path / "keys").write_text(value)
        given: Any = str(tmp_path / "keys")
    else:
        given = value
    result = node(env={variable: given}).run_to_end()
    assert result.code == 2, result.output
    assert "32 bytes" in result.output
    assert value not in result.output


def test_another_node_uses_a_changed_secret_within_seconds(
    node: NodeFactory, target: Listener
) -> None:
    one = node(env=ENV).start()
    cli(one, "secrets", "set", "TOKEN", stdin=VALUE)
    one.post("/jobs", job("uses", target.url("/?k={{ secret.TOKEN }}")))
    other = node(database=one.database, env=ENV).start()
    one.terminate()
    one.start()
    cli(one, "secrets", "set", "TOKEN", stdin="another-value")
    one.terminate()

    def is_new() -> bool:
        ended(other, "uses")
        return target.seen[-1].target.endswith("another-value")

    wait_until(is_new, "the other node uses the new value", poll=0.2)
