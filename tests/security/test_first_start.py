"""Real processes on empty databases: the first key, who is told of it, and where it must not be."""

import contextlib
import json
import re
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.process import KEY, Tocsin, clean_environment, tocsin_command, wait_until

SECRET = re.compile(r"tcs_[a-z0-9]{8}_[A-Za-z0-9]{43}")


class Plain(Tocsin):
    """A node with the log format that people get who ask for none."""

    def command(self) -> list[str]:
        """The command line."""
        found = super().command()
        at = found.index("--log-format")
        return [*found[:at], *found[at + 2 :]]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    made: list[Tocsin] = []

    def make(kind: type[Tocsin] = Tocsin, **options: Any) -> Tocsin:
        one = kind(tmp_path, **options)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def ask(node: Tocsin, key: str | None, path: str = "/api/v1/session") -> httpx.Response:
    headers = {} if key is None else {"X-API-Key": key}
    return httpx.get(f"http://127.0.0.1:{node.port}{path}", headers=headers, trust_env=False)


def tocsin(home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person of this home."""
    return subprocess.run(
        [*tocsin_command(), *args],
        env=clean_environment({"XDG_CONFIG_HOME": str(home / "config"), **env}),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_first_start_tells_the_key_once_and_keeps_it_nowhere(
    node: Callable[..., Plain], tmp_path: Path
) -> None:
    log_file = tmp_path / "tocsin.log"
    env = {"TOCSIN_BOOTSTRAP_KEY": "", "TOCSIN_LOG_LEVEL": "debug"}
    one = node(Plain, env=env, options=["--log-file", str(log_file)]).start()
    told = one.log()
    (secret,) = set(SECRET.findall(told))
    assert f"http://127.0.0.1:{one.port}/sign-in#key={secret}" in told
    assert f"export TOCSIN_KEY={secret}" in told
    assert ask(one, secret).json()["role"] == "admin"
    assert ask(one, None).status_code == 401
    # The lines of the log say that there is a key, and not which.
    assert not [entry for entry in one.events() if secret in json.dumps(entry)]
    assert [entry["prefix"] for entry in one.events("first_key.made")] == [secret.split("_")[1]]
    one.terminate()
    assert secret not in log_file.read_text()
    for file in tmp_path.glob("tocsin.db*"):
        assert secret.encode() not in file.read_bytes()
    assert not (tmp_path / "config").exists()

    one.start()
    assert not SECRET.search(one.log())
    assert ask(one, secret).status_code == 200


def test_where_the_log_is_json_no_key_is_told_and_none_made(
    node: Callable[..., Tocsin], tmp_path: Path
) -> None:
    one = node(env={"TOCSIN_BOOTSTRAP_KEY": ""}).start()
    assert not SECRET.search(one.log())
    (entry,) = one.events("first_key.none")
    assert "TOCSIN_BOOTSTRAP_KEY" in entry["remedy"]
    assert ask(one, KEY).status_code == 401
    # Who can write to the database helps themselves, while the node runs.
    made = tocsin(tmp_path, "keys", "recover", "--database", one.database_url())
    assert made.returncode == 0, made.stderr
    assert ask(one, made.stdout.strip()).json()["role"] == "admin"
    body = ("keys", "create", "ci", "--role", "editor", "--database", one.database_url())
    made = tocsin(tmp_path, *body)
    assert ask(one, made.stdout.strip()).json()["namespace"] == "default"
    audit = httpx.get(
        f"http://127.0.0.1:{one.port}/api/v1/audit",
        headers={"X-API-Key": made.stdout.strip()},
        trust_env=False,
    )
    assert audit.status_code == 403


def test_a_key_can_be_given_and_is_taken_where_there_is_none_yet(
    node: Callable[..., Tocsin],
) -> None:
    one = node(env={"TOCSIN_BOOTSTRAP_KEY": ""}).start()
    assert ask(one, "given-key").status_code == 401
    one.terminate()
    one.env["TOCSIN_BOOTSTRAP_KEY"] = "given-key"
    one.start()
    assert ask(one, "given-key").json()["key"]["name"] == "first-admin"
    assert list(one.events("first_key.short"))
    one.terminate()
    one.env["TOCSIN_BOOTSTRAP_KEY"] = "another-key"
    one.start()
    assert ask(one, "another-key").status_code == 401
    assert ask(one, "given-key").status_code == 200
    assert list(one.events("first_key.ignored"))
    assert "another-key" not in one.whole_log()
    assert "given-key" not in one.whole_log()


def test_nodes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    nodes = [
        Plain(
            tmp_path,
            name=f"node-{number}",
            database=tmp_path / "tocsin.db",
            env={"TOCSIN_BOOTSTRAP_KEY": ""},
        )
        for number in range(3)
    ]
    try:
        for one in nodes:
            one.start(ready=False)
        for one in nodes:
            one.wait_listening()
            wait_until(one.is_ready, "the node is ready")
        told = [secret for one in nodes for secret in set(SECRET.findall(one.log()))]
        assert len(told) == 1
        for one in nodes:
            assert ask(one, told[0]).status_code == 200
    finally:
        for one in nodes:
            one.close()


def test_none_of_several_processes_answers_before_there_is_a_key(
    node: Callable[..., Tocsin],
) -> None:
    several = node(options=("--processes", "3")).start()
    assert {ask(several, KEY).status_code for _ in range(100)} == {200}
    assert several.log_path.read_text().count('"first_key.made"') == 1


def test_the_demo_saves_the_key_for_the_command_line(
    node: Callable[..., Plain], tmp_path: Path
) -> None:
    one = node(Plain, env={"TOCSIN_BOOTSTRAP_KEY": ""}, options=["--demo"]).start()
    saved = tmp_path / "config" / "tocsin" / "logins.json"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert str(saved) in one.log()
    server = f"http://127.0.0.1:{one.port}"
    listed = tocsin(tmp_path, "jobs", "list", TOCSIN_SERVER=server)
    assert "hello-every-5s" in listed.stdout, listed.stderr
    shown = tocsin(tmp_path, "login", "--show", TOCSIN_SERVER=server)
    assert SECRET.fullmatch(shown.stdout.strip())
    # Its jobs call the node itself, which asks them for no key.
    wait_until(
        lambda: httpx.get(
            f"{server}/api/v1/stats",
            headers={"X-API-Key": shown.stdout.strip()},
            trust_env=False,
        ).json()["executions"]["succeeded"],
        "a demonstration job has succeeded",
    )


def test_the_command_line_signs_in_makes_keys_and_is_told_what_it_lacks(
    node: Callable[..., Tocsin], tmp_path: Path
) -> None:
    one = node().start()
    server = {"TOCSIN_SERVER": f"http://127.0.0.1:{one.port}"}
    refused = tocsin(tmp_path, "jobs", "list", **server)
    assert refused.returncode == 6
    assert "tocsin login" in refused.stderr
    wrong = tocsin(tmp_path, "login", "--key", "wrong-key", **server)
    assert wrong.returncode == 6
    assert tocsin(tmp_path, "login", **server, TOCSIN_KEY=KEY).returncode == 0
    assert "first-admin" in tocsin(tmp_path, "whoami", **server).stdout

    made = tocsin(tmp_path, "keys", "create", "ci", "--role", "viewer", **server)
    viewer = made.stdout.strip()
    assert SECRET.fullmatch(viewer), made.stderr
    assert tocsin(tmp_path, "jobs", "list", "--key", viewer, **server).returncode == 0
    job = ("jobs", "create", "x", "--every", "1h", "--log", "tick")
    assert tocsin(tmp_path, "--key", viewer, *job, **server).returncode == 6
    assert tocsin(tmp_path, *job, "--namespace", "team", **server).returncode == 0
    elsewhere = tocsin(tmp_path, "jobs", "show", "x", **server)
    assert elsewhere.returncode == 4
    assert tocsin(tmp_path, "jobs", "show", "x", **server, TOCSIN_NAMESPACE="team").returncode == 0

    rotated = tocsin(tmp_path, "keys", "rotate", "ci", "--overlap", "0s", **server).stdout.strip()
    assert tocsin(tmp_path, "jobs", "list", "--key", viewer, **server).returncode == 6
    assert tocsin(tmp_path, "jobs", "list", "--key", rotated, **server).returncode == 0
    listed = tocsin(tmp_path, "keys", "list", **server).stdout
    assert "ci" in listed
    assert rotated not in listed
    assert tocsin(tmp_path, "keys", "revoke", "ci", **server).returncode == 0
    assert tocsin(tmp_path, "jobs", "list", "--key", rotated, **server).returncode == 6
    assert tocsin(tmp_path, "logout", **server).returncode == 0
    assert tocsin(tmp_path, "whoami", **server).returncode == 6


def test_without_keys_it_starts_on_loopback_addresses_only_and_says_so(
    node: Callable[..., Tocsin],
) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):
        ended = node(options=["--auth", "off", "--host", host]).run_to_end()
        assert ended.code == 2
        assert "loopback" in ended.output
    one = node(options=["--auth", "off"]).start()
    assert ask(one, None).json()["auth"] == "off"
    assert list(one.events("auth.off"))


def test_where_a_request_comes_from_is_told_by_trusted_proxies_only(
    node: Callable[..., Tocsin],
) -> None:
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    job = {"schedule": {"every": "1h"}, "target": {"log": "tick"}}
    for trusted, address, tls in (("", "127.0.0.1", False), ("127.0.0.0/8", "203.0.113.9", True)):
        one = node(env={"TOCSIN_TRUSTED_PROXIES": trusted}).start()
        answer = one.client.post("/api/v1/jobs", json=job, headers=forged)
        assert ("strict-transport-security" in answer.headers) is tls
        (entry, *_) = one.get("/audit", action="job.create")["items"]
        assert entry["address"] == address
        one.terminate()


def test_headers_without_end_are_not_read(node: Callable[..., Tocsin]) -> None:
    one = node().start()
    with socket.create_connection(("127.0.0.1", one.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ")
        # It answers and hangs up; what was sent since then may reset the connection.
        with contextlib.suppress(ConnectionError):
            for _ in range(1_000):
                connection.sendall(b"x" * 4_096)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100).startswith(b"HTTP/1.1 431 ")
    # A large body right behind the head is no head.
    job = {"schedule": {"every": "1h"}, "target": {"log": "tick"}, "description": "x" * 2_000}
    one.create([job] * 200, batch=200)
    assert one.client.get("/healthz", headers={"X-Long": "x" * 30_000}).status_code == 200
