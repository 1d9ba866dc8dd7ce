"""Ask whether what the lock file names has known weaknesses.

    python tools/audit.py --uv UV            fail where it has; say so where nobody could be asked
    python tools/audit.py --uv UV --strict   fail in both cases, and ask again in any

`pip-audit` asks PyPI. Where it gets no answer about a package, as from a mirror of PyPI that has
none to give, it passes all the same and says that there are no weaknesses; here that is told apart.
What was answered is kept for a day in ``.venv``, unless the lock file changes; that nobody answered
for an hour.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "uv.lock"
STAMP = ROOT / ".venv/.audited.json"

PIP_AUDIT = "pip-audit==2.10.1"
PATIENCE = 120
"""Seconds that the whole of it may take."""

HOUR = 3_600
DAY = 24 * HOUR


@dataclass(frozen=True)
class Verdict:
    """What came of asking."""

    state: str
    """``clean``, ``weak``, ``partly`` (some packages are not known there) or ``unasked``."""
    text: str

    @property
    def keeps(self) -> int:
        """Seconds that it is as good as asking again; of a weakness nothing is kept."""
        return {"clean": DAY, "partly": DAY, "unasked": HOUR}.get(self.state, 0)

    def code(self, *, strict: bool) -> int:
        """The exit code of the program."""
        return 0 if self.state == "clean" or (self.state != "weak" and not strict) else 1


def judge(output: str, errors: str) -> Verdict:
    """The verdict, by what pip-audit wrote as JSON, or else by the last line of its errors."""
    try:
        found: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = errors.strip().splitlines() or ["it wrote nothing"]
        return Verdict("unasked", f"weaknesses: NOT ASKED FOR, pip-audit: {lines[-1][:300]}")
    weak = [
        f"{one['name']} {one['version']}: {flaw['id']}"
        + (f" (fixed in {', '.join(flaw['fix_versions'])})" if flaw.get("fix_versions") else "")
        for one in found
        for flaw in one.get("vulns", ())
    ]
    unknown = [one["name"] for one in found if "skip_reason" in one]
    if weak:
        return Verdict("weak", "known weaknesses:\n  " + "\n  ".join(weak))
    if not found or len(unknown) == len(found):
        return Verdict(
            "unasked",
            f"weaknesses: NOT ASKED FOR, PyPI's service knows none of the {len(found)} packages "
            "from here",
        )
    if unknown:
        return Verdict(
            "partly",
            f"weaknesses: none known of {len(found) - len(unknown)} packages; NOT ASKED FOR: "
            f"{', '.join(unknown)}",
        )
    return Verdict("clean", f"weaknesses: none known of {len(found)} packages")


def ask(uv: str) -> Verdict:
    """Ask PyPI about each package of the lock file that a user gets."""
    export = ("export", "--frozen", "--quiet", "--no-dev", "--no-emit-project")
    try:
        locked = _run(uv, *export, "--format", "requirements-txt")
        if locked.returncode != 0:
            return judge("", locked.stderr)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "requirements.txt"
            path.write_text(locked.stdout)
            asked = _run(
                *(uv, "tool", "run", PIP_AUDIT, "--disable-pip", "--requirement", str(path)),
                *("--vulnerability-service", "pypi", "--timeout", "10"),
                *("--format", "json", "--progress-spinner", "off"),
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return judge("", str(error))
    return judge(asked.stdout, asked.stderr)


def known(stamp: Path, lock: str, now: float) -> Verdict | None:
    """What was found out about this lock file, where that still counts."""
    try:
        kept = json.loads(stamp.read_text())
        verdict = Verdict(kept["state"], kept["text"])
        counts = kept["lock"] == lock and 0 <= now - kept["at"] < verdict.keeps
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return verdict if counts else None


def keep(stamp: Path, lock: str, now: float, verdict: Verdict) -> None:
    """Remember a verdict."""
    kept = {"lock": lock, "at": now, "state": verdict.state, "text": verdict.text}
    stamp.write_text(json.dumps(kept))


def main(arguments: Sequence[str]) -> int:
    """Run the program; returns its exit code."""
    parser = argparse.ArgumentParser(description="Ask for known weaknesses of the dependencies.")
    parser.add_argument("--uv", required=True)
    parser.add_argument("--strict", action="store_true")
    given = parser.parse_args(arguments)
    lock, now = hashlib.sha256(LOCK.read_bytes()).hexdigest(), time.time()
    verdict = None if given.strict else known(STAMP, lock, now)
    if verdict is None:
        verdict = ask(given.uv)
        keep(STAMP, lock, now, verdict)
    print(verdict.text)
    return verdict.code(strict=given.strict)


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
