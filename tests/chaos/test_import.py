"""``tocsin jobs import`` as a process of its own, against a node that may die on the way."""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.conftest import NodeFactory
from tests.support.process import KEY, Tocsin, clean_environment, tocsin_command, wait_until

MANY = 20_000
"""Lines whose answers are many times what buffers hold."""


def line(name: str, **more: Any) -> str:
    job = {"name": name, "schedule": {"every": "1d"}, "target": {"log": "hi"}} | more
    return json.dumps(job) + "\n"


def importing(server: Tocsin, *args: str) -> "subprocess.Popen[str]":
    env = {"TOCSIN_SERVER": f"http://127.0.0.1:{server.port}", "TOCSIN_KEY": KEY}
    return subprocess.Popen(
        [*tocsin_command(), "jobs", "import", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(env),
        cwd=server.home,
    )


def imported(server: Tocsin, *args: str, sent: str | None = None) -> tuple[int, str, str]:
    process = importing(server, *args)
    out, err = process.communicate(sent, timeout=90)
    return process.returncode, out, err


def count(server: Tocsin) -> int:
    return int(server.rows().query("SELECT count(*) FROM jobs")[0][0])


@pytest.fixture
def server(node: NodeFactory) -> Tocsin:
    return node().start()


def test_each_line_is_told_and_a_corrected_file_goes_in_with_the_same_key(
    server: Tocsin, tmp_path: Path
) -> None:
    file = tmp_path / "my jobs.ndjson"
    file.write_text("\ufeff" + line("a") + line("b", schedule={"cron": "* * *"}) + line("c"))
    code, out, err = imported(server, str(file))
    assert code == 2
    first, why, last = out.splitlines()
    assert first == "refused  line 2"
    assert why.startswith("  schedule.cron: has 3 fields")
    assert last == "2 created, 1 refused"
    key = re.search(r"idempotency key ([0-9a-f-]{36})", err)
    assert key is not None
    file.write_text(line("a") + line("b") + line("c"))
    code, out, err = imported(server, str(file), "--idempotency-key", key[1])
    assert (code, out, err) == (0, "1 created, 2 created before\n", "")
    # Without the key they are other jobs with the same names.
    code, out, _ = imported(server, "-", sent=file.read_text())
    assert code == 5
    assert out.splitlines()[-1] == "0 created, 3 refused"
    assert count(server) == 3


def test_a_line_is_answered_before_the_next_is_written(server: Tocsin) -> None:
    process = importing(server, "-", "--json")
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(1, 4):
        process.stdin.write(line(f"job-{number}"))
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert (answer["line"], answer["status"], answer["name"]) == (number, 201, f"job-{number}")
    out, _ = process.communicate(timeout=90)
    assert json.loads(out) == {"complete": True, "created": 3, "replayed": 0, "refused": 0}
    assert process.returncode == 0


def test_answers_that_are_larger_than_any_buffer_hold_nothing_up(server: Tocsin) -> None:
    lines = (line("x" * 200, schedule={"every": "never"}) for _ in range(MANY))
    code, out, _ = imported(server, "-", sent="".join(lines))
    assert code == 2
    told = out.splitlines()
    assert [one for one in told if one.startswith("refused")] == [
        f"refused  line {number}" for number in range(1, MANY + 1)
    ]
    assert told[-1] == f"0 created, {MANY:,} refused"


def test_who_stops_listening_is_told_how_to_go_on(server: Tocsin, tmp_path: Path) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text("".join(line(f"job-{number}") for number in range(MANY)))
    process = importing(server, str(file), "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["line"] == 1
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "Error" not in err, "the file could be read"
    assert "safe up to line" in err
    assert "--idempotency-key" in err


def test_what_cannot_begin_is_said_in_words(server: Tocsin, tmp_path: Path) -> None:
    code, _, err = imported(server, str(tmp_path / "none"))
    assert code == 2
    assert "No such file" in err
    code, _, err = imported(server, "-", "--key", "tcs_wrong", sent=line("a") * 50_000)
    assert code == 6
    assert "key" in err
    assert count(server) == 0
    server.kill()
    code, _, err = imported(server, "-", sent=line("a"))
    assert code == 3
    assert "connection refused" in err


def test_an_import_whose_server_dies_says_what_is_safe_and_is_continued(
    server: Tocsin, tmp_path: Path
) -> None:
    lines: Sequence[str] = [line(f"job-{number}") for number in range(MANY)]
    file = tmp_path / "jobs.ndjson"
    file.write_text("".join(lines))
    process = importing(server, "-")
    assert process.stdin is not None
    process.stdin.write("".join(lines[: MANY // 2]))
    process.stdin.flush()
    wait_until(lambda: count(server) > MANY // 4, "a part of it is stored")
    server.kill()
    _, err = process.communicate(timeout=90)
    assert process.returncode == 3
    assert "is gone" in err
    key = re.search(r"tocsin jobs import - --idempotency-key ([0-9a-f-]{36})", err)
    assert key is not None
    safe = re.search(r"safe up to line ([\d,]+): [\d,]+ created; what came after it may be", err)
    safe_lines = 0 if safe is None else int(safe[1].replace(",", ""))
    server.start()
    before = count(server)
    assert safe_lines <= before < MANY
    code, out, _ = imported(server, str(file), "--idempotency-key", key[1])
    assert code == 0
    assert out == f"{MANY - before:,} created, {before:,} created before\n"
    assert count(server) == MANY
