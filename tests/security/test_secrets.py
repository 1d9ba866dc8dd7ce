"""Secrets hunted in every output of the system, and used where they belong."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.chaos.conftest import NodeFactory
from tests.security.test_egress import ended, job
from tests.support.listener import Listener, listening
from tests.support.process import KEY, Tocsin, clean_environment, tocsin_command, wait_until

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

    # And nowhere else.
    for path in (
        *("/jobs", "/jobs/echo", "/executions", "/jobs/fails/executions", "/secrets", "/signing"),
        *("/stats", "/cluster", f"/executions/{execution['id']}", "/audit"),
        *(f"/executions/{execution['id']}/request", f"/jobs:recent?job={execution['job_id']}"),
    ):
        outputs.append(tocsin.client.get(f"/api/v1{path}").text)
    outputs += [
        tocsin.client.get(path).text for path in ("/metrics", "/healthz", "/api/openapi.json")
    ]
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
    for text in outputs:
        hunt("an output", text.encode(), VALUE, PASSWORD, f"me:{PASSWORD}")
    assert tocsin.terminate() == 0
    for path in tmp_path.iterdir():
        if path.is_file():
            hunt(path.name, path.read_bytes(), VALUE, PASSWORD, f"me:{PASSWORD}", MASTER)


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
    assert key.stat().st_mode & 0o777 == 0o600
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

    wait_until(is_new, "the other node uses the new value", timeout=20, poll=0.2)
