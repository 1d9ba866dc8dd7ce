"""`make check` fails for a known weakness, and says where nobody could be asked for any."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FINE = {"name": "idna", "version": "3.15", "vulns": []}
WEAK = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [
        {"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"], "aliases": [], "description": "x"},
        {"id": "PYSEC-2019-217", "fix_versions": [], "aliases": [], "description": "x"},
    ],
}
UNKNOWN = {"name": "own", "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit_tool", ROOT / "tools" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "audit_tool", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STAMP", tmp_path / "stamp.json")
    return module


def output(*packages: Any) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("packages", "state", "codes", "said"),
    [
        ([FINE], "clean", (0, 0), "none known of 1 packages"),
        ([FINE, WEAK], "weak", (1, 1), "jinja2 2.4.1: PYSEC-2014-8 (fixed in 2.7.2)"),
        ([UNKNOWN, WEAK], "weak", (1, 1), "jinja2 2.4.1: PYSEC-2019-217"),
        ([FINE, UNKNOWN], "partly", (0, 1), "NOT ASKED FOR: own"),
        ([UNKNOWN], "unasked", (0, 1), "NOT ASKED FOR"),
        ([], "unasked", (0, 1), "NOT ASKED FOR"),
    ],
)
def test_verdicts(
    tool: ModuleType, packages: list[Any], state: str, codes: tuple[int, int], said: str
) -> None:
    verdict = tool.judge(output(*packages), "")
    assert verdict.state == state
    assert (verdict.code(strict=False), verdict.code(strict=True)) == codes
    assert said in verdict.text


@pytest.mark.parametrize("written", ["", "Traceback", "[]", "{}"])
def test_what_is_no_answer_is_told_as_that(tool: ModuleType, written: str) -> None:
    verdict = tool.judge(written, "a\nConnectionError: Failed to resolve 'pypi.org'\n")
    assert verdict.state == "unasked"
    assert verdict.text.endswith("Failed to resolve 'pypi.org'")
    assert "\n" not in verdict.text


class Uv:
    """Stands in for uv: exports something, and has pip-audit say what the test wants."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "uv"
        self.asked = folder / "asked"
        self.says(FINE)

    def says(self, *packages: Any) -> None:
        answer = output(*packages)
        self.path.write_text(
            f"#!/bin/sh\n[ $1 = export ] && echo 'idna==3.15' && exit 0\n"
            f"echo once >> {self.asked}\necho '{answer}'\n"
        )
        self.path.chmod(0o755)

    @property
    def count(self) -> int:
        return len(self.asked.read_text().split()) if self.asked.exists() else 0


def test_it_is_asked_once_a_day_and_for_each_lock_file(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = Uv(tmp_path)
    now = 1_000_000.0
    monkeypatch.setattr(tool.time, "time", lambda: now)
    run = ["--uv", str(uv.path)]
    assert [tool.main(run) for _ in range(3)] == [0, 0, 0]
    assert uv.count == 1
    uv.says(WEAK)
    now += tool.DAY - 1
    assert tool.main(run) == 0
    now += 1
    # A weakness is told each time, and asked for again: it may be fixed by a newer lock file.
    assert [tool.main(run) for _ in range(2)] == [1, 1]
    assert uv.count == 3
    uv.says(UNKNOWN)
    assert [tool.main(run) for _ in range(2)] == [0, 0]
    assert uv.count == 4
    assert tool.main([*run, "--strict"]) == 1
    assert uv.count == 5
    now += tool.HOUR
    uv.says(FINE)
    assert tool.main(run) == 0
    assert uv.count == 6
    other = tmp_path / "uv.lock"
    other.write_text("other")
    monkeypatch.setattr(tool, "LOCK", other)
    uv.says(WEAK)
    assert tool.main(run) == 1


def test_without_uv_nobody_was_asked(tool: ModuleType, tmp_path: Path) -> None:
    assert tool.main(["--uv", str(tmp_path / "none")]) == 0
    assert tool.main(["--uv", str(tmp_path / "none"), "--strict"]) == 1
