"""Tocsin's own HTTP client against what else there is for Python."""

import json
import subprocess
import sys
from pathlib import Path

import trustme

from bench import nginx
from bench.clients import CLIENTS, CONCURRENCY, WARM_UP, installed
from bench.context import Bench
from bench.nginx import CLOSING, Nginx
from bench.report import Figure, Figures

OWN = "tocsin"
CALLS = {"httpx": 1_500}
"""Fewer where a call is expensive, so that all take about as long."""
CONNECTIONS = 2_000
"""Calls over a connection of their own each."""


def run(bench: Bench) -> list[Figure]:
    """CPU per POST over connections that are kept, each client in a process of its own."""
    figures = Figures("client")
    there = _there(bench)
    with bench.receiver() as receiver:
        for number in range(bench.runs):
            own: dict[str, float] = {}
            for name in there:
                count = CALLS.get(name, 20_000) // (10 if bench.quick else 1)
                bench.say(f"client, run {number + 1}: {name} {there[name]}, {count} calls")
                before = receiver.count()
                result = _measure(name, receiver.url("/ok"), count)
                if receiver.count() < before + count:
                    raise RuntimeError(f"{name}: {receiver.count() - before} calls of {count}")
                _note(figures, f"{name} {there[name]}", "CPU per call", result["cpu_us"], own)
                figures.add(f"{name}, {CONCURRENCY} at once", "calls/s", result["rate"])
    return figures.all()


def over_tls(bench: Bench) -> list[Figure]:
    """The same over TLS: with connections that are kept, and with one for each call."""
    if nginx.program() is None:
        raise RuntimeError("nginx is missing, which answers over TLS: make bench-tools")
    figures = Figures("client, TLS")
    there = _there(bench)
    for number in range(bench.runs):
        own: dict[str, float] = {}
        for name in there:
            with bench.directory() as home:
                authority, certificate = _certificate(home)
                receiver = Nginx(home, certificate=certificate)
                try:
                    _one_over_tls(bench, figures, name, there[name], receiver, authority, own)
                finally:
                    receiver.close()
            bench.say(f"client over TLS, run {number + 1}: {name} {there[name]}")
    return figures.all()


def _one_over_tls(
    bench: Bench,
    figures: Figures,
    name: str,
    version: str,
    receiver: Nginx,
    authority: Path,
    own: dict[str, float],
) -> None:
    few = 10 if bench.quick else 1
    who = f"{name} {version}"
    kept = CALLS.get(name, 20_000) // few
    result = _measure(name, receiver.tls_url(), kept, authority)
    _note(figures, who, "CPU per call", result["cpu_us"], own)
    before, resumed_before = receiver.handshakes()
    if before > 4 * CONCURRENCY:
        raise RuntimeError(f"{name}: {before} connections where {CONCURRENCY} were to be kept")
    count = CONNECTIONS // few
    result = _measure(name, receiver.tls_url(CLOSING), count, authority)
    _note(figures, who, "CPU per call with a connection each", result["cpu_us"], own)
    made, resumed = receiver.handshakes()
    if made - before < count + WARM_UP:
        raise RuntimeError(f"{name}: {made - before} connections for {count + WARM_UP} calls")
    share = (resumed - resumed_before) / (made - before)
    figures.add(f"{who}, sessions resumed", "%", 100 * share)


def _there(bench: Bench) -> dict[str, str]:
    """The clients that are installed, with their versions."""
    there = {name: found for name in CLIENTS if (found := installed(name))}
    missing = sorted(set(CLIENTS) - set(there))
    if missing:
        bench.say(f"not installed, so left out: {', '.join(missing)} (uv sync --group bench)")
    return there


def _note(figures: Figures, who: str, what: str, value: float, own: dict[str, float]) -> None:
    """Add a figure, beside our own client's where that was first."""
    base = own.setdefault(what, value)
    is_own = who.split(maxsplit=1)[0] == OWN
    figures.add(
        f"{who}, {what}",
        "µs",
        value,
        **({} if is_own else {"baseline_name": OWN, "baseline": base}),
    )


def _certificate(home: Path) -> tuple[Path, Path]:
    """Files with an authority of our own, and with a key and a certificate for this machine."""
    authority, certificate = home / "authority.pem", home / "certificate.pem"
    ca = trustme.CA()
    ca.cert_pem.write_to_path(authority)
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    return authority, certificate


def _measure(name: str, url: str, count: int, authority: Path | None = None) -> dict[str, float]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench.clients", name, url, str(count)),
            *([str(authority)] if authority else []),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2_000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result
