"""Tocsin's own HTTP client against what else there is for Python."""

import json
import subprocess
import sys

from bench.clients import CLIENTS, CONCURRENCY, installed
from bench.context import Bench
from bench.report import Figure, Figures

OWN = "tocsin"
CALLS = {"httpx": 1_500}
"""Fewer where a call is expensive, so that all take about as long."""


def run(bench: Bench) -> list[Figure]:
    """CPU per POST over connections that are kept, each client in a process of its own."""
    figures = Figures("client")
    there = {name: found for name in CLIENTS if (found := installed(name))}
    missing = sorted(set(CLIENTS) - set(there))
    if missing:
        bench.say(f"not installed, so left out: {', '.join(missing)} (uv sync --group bench)")
    with bench.receiver() as receiver:
        for number in range(bench.runs):
            own = 0.0
            for name, found in there.items():
                count = CALLS.get(name, 20_000) // (10 if bench.quick else 1)
                bench.say(f"client, run {number + 1}: {name} {found}, {count} calls")
                before = receiver.count()
                result = _measure(name, receiver.url("/ok"), count)
                if receiver.count() < before + count:
                    raise RuntimeError(f"{name}: {receiver.count() - before} calls of {count}")
                if name == OWN:
                    own = result["cpu_us"]
                figures.add(
                    f"{name} {found}, CPU per call",
                    "µs",
                    result["cpu_us"],
                    **({} if name == OWN else {"baseline_name": OWN, "baseline": own}),
                )
                figures.add(f"{name}, {CONCURRENCY} at once", "calls/s", result["rate"])
    return figures.all()


def _measure(name: str, url: str, count: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.clients", name, url, str(count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2_000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result
