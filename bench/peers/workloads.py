"""What every peer goes through, measured where the calls arrive and in ``/proc``."""

import contextlib
import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.process import now_ms, wait_until
from tests.support.receiver import Arrival

from bench.context import Bench
from bench.nginx import Nginx
from bench.nodes import sleep_until
from bench.peers.peer import Peer, Running, Seconds, Setup
from bench.peers.program import PeerError
from bench.report import percentile

Values = dict[str, float]
"""Measures of one run by their names, as in the JSON."""

AHEAD = 2.5
"""Seconds before the instant by which all jobs are there, and CPU time is counted from."""

PATIENCE = 10.0
"""Seconds without any arrival after which nothing more is expected."""

GRACE = 3.0
"""Seconds that a per-second fire may be late before it counts as missing."""

FAR = 10 * 86_400_000
"""Milliseconds until the jobs that only wait; timers of JavaScript end at 24 days."""


@contextlib.contextmanager
def _running(
    peer: Peer, bench: Bench, options: Mapping[str, Any], *, per_second_jobs: int = 0
) -> Iterator[tuple[Running, Nginx]]:
    """A peer with an empty store, and an empty receiver."""
    with bench.directory() as home, bench.receiver() as receiver:
        assert isinstance(receiver, Nginx)
        if "server" in vars(bench):
            # What others have written is not this one's to bring to the disk.
            bench.server.execute("CHECKPOINT")
        setup = Setup(
            bench=bench,
            home=home,
            receiver=receiver,
            options=dict(options),
            per_second_jobs=per_second_jobs,
        )
        with peer.open(setup) as running:
            yield running, receiver


# --- one instant --------------------------------------------------------------------------------


def burst(peer: Peer, bench: Bench, options: Mapping[str, Any]) -> Values:
    """Jobs that run once, all due at one instant."""
    jobs = 2_000 if bench.quick else 10_000
    lead = 4.0 + jobs / peer.creation_rate
    for _ in range(3):
        with _running(peer, bench, options) as (running, receiver):
            instant = now_ms() + round(lead * 1_000)
            how = "batch" if peer.batches else "single"
            running.create(jobs, at=instant, how=how)
            if now_ms() < instant - AHEAD * 1_000:
                return _burst(peer, running, receiver, jobs, instant)
        bench.say(f"{peer.name}: created too late, again with more time")
        lead *= 2
    raise PeerError(f"{jobs:,} jobs are not created within {lead / 2:.0f} s")


def _burst(peer: Peer, running: Running, receiver: Nginx, jobs: int, instant: int) -> Values:
    if peer.waits_for_store:
        running.anything_left()  # the first question pays for a connection
    sleep_until(instant - AHEAD * 1_000)
    cpu = running.cpu_seconds()
    sleep_until(instant)
    seen, changed = 0, time.monotonic()
    while seen < jobs and time.monotonic() - changed < PATIENCE:
        now = receiver.logged()
        if now != seen:
            seen, changed = now, time.monotonic()
        time.sleep(0.003)
    if peer.waits_for_store:
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not running.anything_left(), "all is done", timeout=30, poll=0.003)
    recorded = time.time()
    cpu = running.cpu_seconds() - cpu
    running.assert_alive()
    arrivals = receiver.arrivals()
    if not arrivals:
        raise PeerError("no call has arrived")
    last = max(arrival.at_ns for arrival in arrivals) / 1e9
    first = min(arrival.at_ns for arrival in arrivals) / 1e6 - instant
    counts = Counter(job_of(arrival) for arrival in arrivals)
    end = max(last, recorded) if peer.keeps_record else last
    return {
        "fires_per_s": len(counts) / (end - instant / 1_000),
        "cpu_us": cpu / len(counts) * 1e6,
        "first_ms": first,
        "burst_missing": jobs - len(counts),
        "burst_double": sum(count - 1 for count in counts.values()),
    }


def job_of(arrival: Arrival) -> int:
    """Which job called."""
    return int(parse_qs(urlsplit(arrival.path).query)["job"][0])


# --- every second -------------------------------------------------------------------------------


def lateness(peer: Peer, bench: Bench, options: Mapping[str, Any]) -> Values:
    """1,000 jobs that fire every second, a millisecond apart."""
    if peer.seconds not in {Seconds.SPREAD, Seconds.DRIFTING}:
        return {}
    seconds = 5 if bench.quick else 20
    found = _every_second(peer, bench, options, seconds, peer.seconds)
    return {f"late_{name}": value for name, value in found.items()}


def together(peer: Peer, bench: Bench, options: Mapping[str, Any]) -> Values:
    """The same, but all at the full second, as cron has it."""
    if peer.seconds not in {Seconds.SPREAD, Seconds.TOGETHER}:
        return {}
    seconds = 5 if bench.quick else 10
    found = _every_second(peer, bench, options, seconds, Seconds.TOGETHER)
    return {f"together_{name}": value for name, value in found.items()}


def _every_second(
    peer: Peer, bench: Bench, options: Mapping[str, Any], seconds: int, how: Seconds
) -> Values:
    jobs = 1_000
    with _running(peer, bench, options, per_second_jobs=jobs) as (running, receiver):
        lead = 4 + 2 * jobs // peer.creation_rate
        base = (now_ms() // 1_000 + lead) * 1_000
        # Those that fire in no other way know of their jobs since their start.
        if peer.seconds is Seconds.SPREAD:
            running.schedule(jobs, base, spread=how is Seconds.SPREAD)
        if now_ms() > base:
            raise PeerError(f"{jobs:,} schedules are not made within {lead} s")
        start = base + 2_000
        end = start + seconds * 1_000
        # What is later than this is missing: a peer that falls behind would go on for ever.
        sleep_until(end + GRACE * 1_000)
        running.assert_alive()
        arrivals = receiver.arrivals()
    by_job: dict[int, list[Arrival]] = {}
    for arrival in arrivals:
        by_job.setdefault(job_of(arrival), []).append(arrival)
    offsets = [job * 1_000 // jobs if how is Seconds.SPREAD else 0 for job in range(jobs)]
    if how is Seconds.DRIFTING:
        late, missing, double = drift(by_job, jobs=jobs, start=start, end=end)
    elif peer.tells_fire:
        late, missing, double = by_fire_time(by_job, offsets, start=start, end=end)
    else:
        late, missing, double = by_order(by_job, offsets, base=base, start=start, end=end)
    counts: Values = {"missing": missing, "double": double}
    if not late:
        return counts
    return {
        "p50": percentile(late, 0.5),
        "p99": percentile(late, 0.99),
        "max": max(late),
        **counts,
    }


def by_fire_time(
    by_job: Mapping[int, Sequence[Arrival]], offsets: Sequence[int], *, start: int, end: int
) -> tuple[list[float], int, int]:
    """Lateness in ms, missing and double fires, where each call says for which fire time it is."""
    late: list[float] = []
    missing = double = 0
    for job, offset in enumerate(offsets):
        planned = set(range(start + offset, end, 1_000))
        seen: Counter[int] = Counter()
        for arrival in by_job.get(job, ()):
            fire = fire_of(arrival)
            if start <= fire < end:
                seen[fire] += 1
                late.append((arrival.at_ns - fire * 1_000_000) / 1e6)
        missing += len(planned - seen.keys())
        double += sum(count - 1 for count in seen.values())
    return late, missing, double


def fire_of(arrival: Arrival) -> int:
    """The fire time in ms of a call that tells it: in its query, or in Tocsin's id."""
    told = parse_qs(urlsplit(arrival.path).query).get("fire")
    return int(told[0]) if told else arrival.fire_ms


def by_order(
    by_job: Mapping[int, Sequence[Arrival]],
    offsets: Sequence[int],
    *,
    base: int,
    start: int,
    end: int,
) -> tuple[list[float], int, int]:
    """The same where calls do not say it: the n-th call of a job is for its n-th fire time.

    That is so where none is left out; a call before its fire time is one too many.
    """
    late: list[float] = []
    missing = double = 0
    for job, offset in enumerate(offsets):
        calls = iter(sorted(arrival.at_ns for arrival in by_job.get(job, ())))
        for fire in range(base + offset, end, 1_000):
            at = next(calls, None)
            # The clock of the receiver's log has whole milliseconds.
            while at is not None and at < (fire - 1) * 1_000_000:
                double += 1
                at = next(calls, None)
            if fire < start:
                continue
            if at is None:
                missing += 1
            else:
                late.append((at - fire * 1_000_000) / 1e6)
    return late, missing, double


def drift(
    by_job: Mapping[int, Sequence[Arrival]], *, jobs: int, start: int, end: int
) -> tuple[list[float], int, int]:
    """The same where the next fire is due a second after the last: how much longer it took.

    Missing are those that a job made less than one in every second.
    """
    late: list[float] = []
    missing = 0
    for job in range(jobs):
        calls = sorted(
            arrival.at_ns
            for arrival in by_job.get(job, ())
            if start * 1_000_000 <= arrival.at_ns < end * 1_000_000
        )
        late += [
            (after - before - 1_000_000_000) / 1e6 for before, after in itertools.pairwise(calls)
        ]
        missing += max(0, (end - start) // 1_000 - len(calls))
    return late, missing, 0


# --- creation -----------------------------------------------------------------------------------


def create(peer: Peer, bench: Bench, options: Mapping[str, Any]) -> Values:
    """Jobs created per second by the peer's own means, far ahead of their time."""
    seconds = 1.0 if bench.quick else 2.0
    at = now_ms() + FAR
    found: Values = {}
    for how, count in (("single", 20_000), ("batch", 60_000)):
        if how == "batch" and not peer.batches:
            continue
        # An empty store each time: some become slower the more they have.
        with _running(peer, bench, options) as (running, _):
            running.create(500, at=at, how=how)  # the first pay for imports and connections
            created = running.create(count, at=at, how=how, first=1_000, seconds=seconds)
            found[f"create_{how}"] = created.count / created.seconds
    return found


# --- waiting ------------------------------------------------------------------------------------


def idle(peer: Peer, bench: Bench, options: Mapping[str, Any]) -> Values:
    """CPU and memory while 100,000 jobs wait for their time."""
    jobs, seconds = (10_000, 5) if bench.quick else (100_000, 15)
    # A server of its own: its memory holds what this peer has written and nothing else.
    own = dataclasses.replace(bench)
    try:
        with _running(peer, own, options) as (running, _):
            at = now_ms() + FAR
            running.create(jobs, at=at, how="batch" if peer.batches else "single")
            _settle(running)
            percent = 100 * _cpu_over(running, seconds)
            running.assert_alive()
            scheduler, store = running.memory_mb()
    finally:
        if "server" in vars(own):
            own.server.remove()
    return {"idle_cpu": percent, "idle_scheduler_mb": scheduler, "idle_store_mb": store}


def _settle(running: Running) -> None:
    previous = 1.0
    for _ in range(20):
        used = _cpu_over(running, 1.0)
        if used < 0.05 and abs(used - previous) <= 0.02:
            return
        previous = used


def _cpu_over(running: Running, seconds: float) -> float:
    """CPU seconds per second."""
    cpu, began = running.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (running.cpu_seconds() - cpu) / (time.monotonic() - began)


ONCE = {"together", "idle"}
"""What is measured in the first run only: it takes long, and varies little."""

WORKLOADS = {
    "burst": burst,
    "lateness": lateness,
    "together": together,
    "create": create,
    "idle": idle,
}
