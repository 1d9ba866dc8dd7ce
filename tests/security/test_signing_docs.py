"""The receivers of docs/signing.md, taken from the page, built and sent real signatures."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.chaos.conftest import NodeFactory
from tests.security.test_egress import ended, job
from tests.security.test_secrets import ENV, cli
from tests.support.process import die_together
from tocsin.delivery.signing import Signer
from tocsin.services.secrets import new_signing_value

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "signing.md").read_text()
GO = ROOT / ".tools/go/go/bin/go"
BODY = b'{"a": 1}'

Receive = Callable[[dict[str, str], bytes], int]
"""Sends a receiver a request; the status that it answers."""


def snippets(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_there_is_a_receiver_in_each_language() -> None:
    counts = {one: len(snippets(one)) for one in ("python", "typescript", "go")}
    assert counts == {"python": 2, "typescript": 1, "go": 1}


# --- how each is built and started


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[Receive]:
    """A receiver that says its port on a line of its own, and then serves."""
    with subprocess.Popen(
        [*die_together(), *command], stdout=subprocess.PIPE, text=True, **options
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

            def receive(headers: dict[str, str], body: bytes) -> int:
                return client.post("/hook", headers=headers, content=body).status_code

            receive.port = port  # type: ignore[attr-defined]
            yield receive
        process.kill()


@contextlib.contextmanager
def in_typescript(secret: str, folder: Path) -> Iterator[Receive]:
    spec = importlib.util.spec_from_file_location("ui_tool", ROOT / "tools" / "ui.py")
    assert spec is not None
    assert spec.loader is not None
    ui = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ui)
    ui.npm("--version")  # installs what the lock file names, where it is not there
    _, environment = ui.find_npm()
    node = shutil.which("node", path=environment["PATH"])
    assert node is not None
    modules = ROOT / "ui/node_modules"
    (folder / "package.json").write_text('{"type": "module"}')
    (snippet,) = snippets("typescript")
    (folder / "receiver.ts").write_text(snippet.replace("whsec_…", secret))
    (folder / "main.ts").write_text(
        'import type { AddressInfo } from "node:net";\n'
        'import { server } from "./receiver.js";\n'
        "console.log = () => {};\n"
        'server.listen(0, "127.0.0.1", () =>\n'
        "  process.stdout.write(`${(server.address() as AddressInfo).port}\\n`));\n"
    )
    built = subprocess.run(
        [
            *(node, str(modules / "typescript/bin/tsc"), "--strict", "--noUnusedLocals"),
            *("--module", "nodenext", "--target", "es2022", "--types", "node"),
            *("--typeRoots", str(modules / "@types"), "--outDir", "built"),
            *("receiver.ts", "main.ts"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout
    with running([node, "built/main.js"], cwd=folder) as receive:
        yield receive


@contextlib.contextmanager
def in_go(secret: str, folder: Path) -> Iterator[Receive]:
    assert GO.exists(), "Go is missing: `make test` puts it into .tools/go"
    (snippet,) = snippets("go")
    (folder / "go.mod").write_text("module receiver\n\ngo 1.23\n")
    (folder / "receiver.go").write_text(snippet)
    formatted = subprocess.run(
        [str(GO.with_name("gofmt")), "-d", "receiver.go"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert formatted.stdout == ""
    (folder / "receiver.go").write_text(snippet.replace("whsec_…", secret))
    (folder / "main.go").write_text(
        'package main\n\nimport (\n\t"fmt"\n\t"io"\n\t"log"\n\t"net"\n\t"net/http"\n)\n\n'
        "func main() {\n\tlog.SetOutput(io.Discard)\n"
        '\tlistener, err := net.Listen("tcp", "127.0.0.1:0")\n'
        "\tif err != nil {\n\t\tpanic(err)\n\t}\n"
        "\tfmt.Println(listener.Addr().(*net.TCPAddr).Port)\n"
        "\tpanic(http.Serve(listener, http.HandlerFunc(hook)))\n}\n"
    )
    # Built once for all runs: most of it is the standard library.
    environment = os.environ | {
        "GOCACHE": str(ROOT / ".tools/go-cache"),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
    }
    built = subprocess.run(
        [str(GO), "build", "-o", "receiver", "."],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    with running([str(folder / "receiver")]) as receive:
        yield receive


@contextlib.contextmanager
def in_python(secret: str, folder: Path) -> Iterator[Receive]:
    (snippet,) = (one for one in snippets("python") if "standardwebhooks" in one)
    space: dict[str, Any] = {"process": lambda _id, data: json.dumps(data)}
    exec(snippet.replace("whsec_…", secret), space)
    yield space["handle"]


@contextlib.contextmanager
def in_plain_python(secret: str, folder: Path) -> Iterator[Receive]:
    (snippet,) = (one for one in snippets("python") if "standardwebhooks" not in one)
    space: dict[str, Any] = {}
    exec(snippet, space)
    yield lambda headers, body: 204 if space["verify"](secret, headers, body) else 401


ALL = [in_typescript, in_go, in_python, in_plain_python]


# --- what each is sent


def sent(*keys: str, at: float | None = None, message: str = "id-1") -> dict[str, str]:
    """The headers of a call that Tocsin signs with these keys."""
    stamp = int(time.time() if at is None else at)
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(stamp),
        "webhook-signature": Signer(list(keys)).sign(message, stamp, BODY),
    }


@pytest.mark.parametrize("start", ALL, ids=lambda one: one.__name__)
def test_it_takes_what_is_signed_and_nothing_else(start: Any, tmp_path: Path) -> None:
    key, newer, stranger = (new_signing_value() for _ in range(3))
    with start(key, tmp_path) as receive:
        assert receive(sent(key), BODY) == 204
        # While the key is rotated each call carries the signatures of both.
        assert receive(sent(newer, key), BODY) == 204
        assert receive(sent(key, newer), BODY) == 204
        assert receive(sent(newer), BODY) == 401, "the old key is not valid any more"
        assert receive(sent(stranger), BODY) == 401
        assert receive(sent(stranger, newer), BODY) == 401
        # Altered.
        assert receive(sent(key), BODY + b" ") == 401
        assert receive(sent(key), BODY.replace(b"1", b"2")) == 401
        good = sent(key)
        assert receive({**good, "webhook-id": "id-2"}, BODY) == 401
        first, rest = good["webhook-signature"][:3], good["webhook-signature"][3:]
        flipped = rest.replace(rest[5], "A" if rest[5] != "A" else "B", 1)
        for signature in (
            *(first + flipped, first + rest[:-8], first, rest, "v2," + rest, "v1a," + rest, ","),
            "v1,,v1, v1,",
        ):
            assert receive({**good, "webhook-signature": signature}, BODY) == 401, signature
        assert receive({**good, "webhook-signature": f"v2,{rest} v1,{rest}"}, BODY) == 204
        # Replayed: as it was, and as if it were new.
        old = sent(key, at=time.time() - 400)
        assert receive(old, BODY) == 401
        assert receive({**old, "webhook-timestamp": str(int(time.time()))}, BODY) == 401
        assert receive(sent(key, at=time.time() + 400), BODY) == 401
        # Not signed at all.
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            assert receive({k: v for k, v in good.items() if k != name}, BODY) == 401, name
        for stamp in ("", "soon", "NaN", "1e3", "-1", "9" * 30):
            assert receive({**good, "webhook-timestamp": stamp}, BODY) == 401, stamp
    # The official library says the same of the good ones.
    assert Webhook(key).verify(BODY, sent(newer, key)) == {"a": 1}


@pytest.mark.parametrize("start", [in_typescript, in_go], ids=lambda one: one.__name__)
def test_it_takes_the_calls_of_a_node(start: Any, node: NodeFactory, tmp_path: Path) -> None:
    tocsin = node(env=ENV).start()
    key = cli(tocsin, "signing", "show").split()[0]
    folder = tmp_path / "receiver"
    folder.mkdir()
    with start(key, folder) as receive:
        url = f"http://127.0.0.1:{receive.port}/hook"
        target = {"url": url, "body": {"at": "{{ fire_time }}", "text": "naïve ☃"}}
        tocsin.post("/jobs", {**job("signed", ""), "target": target})
        execution = ended(tocsin, "signed")
        assert (execution["state"], execution["http_status"]) == ("succeeded", 204), execution
        cli(tocsin, "signing", "rotate", "--overlap", "1h")
        assert ended(tocsin, "signed")["http_status"] == 204
        cli(tocsin, "signing", "rotate", "--overlap", "0s")
        tocsin.client.patch("/api/v1/jobs/signed", json={"description": "x"}).raise_for_status()
        assert ended(tocsin, "signed")["http_status"] == 401
