"""What others do to lone jobs: a burst at one instant, or a target that hangs.

The lone jobs have a target of their own, and each fires every second. Their lateness is taken at
their receiver, while they are alone and then beside the others; the burst's instant is one of
theirs too. A call that is missing at the end is late by the time for which it was waited.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tests.support.process import Receiver, now_ms, rfc3339, wait_until

from bench.context import Bench
from bench.nodes import Cluster, sleep_until
from bench.report import Figure, Figures, percentile

LONE = 5
"""Lone jobs of each kind; their fires are spread over the second."""

ALONE = 6_000
"""Milliseconds for which they are alone."""

AFTER = 2_000
"""Milliseconds of waiting for what is missing."""

CREATED = 3
"""Jobs in a millisecond that are created at least; creating more slowly fails the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crowd:
    """The others: so many one-shot jobs, due at one instant."""

    what: str
    count: int
    hosts: int = 1
    """Hosts that they call: all of 127.0.0.0/8 is this machine."""
    hangs: int = 0
    """Milliseconds for which it is watched that they get no answer; 0: they are answered."""


ONE_HOST = Crowd(what="burst of {count:,} to one host", count=100_000)
MANY_HOSTS = Crowd(what="burst of {count:,} to 200 hosts", count=100_000, hosts=200)
HANGING = Crowd(what="{count:,} due calls to a host that hangs", count=5_000, hangs=12_000)


def run(bench: Bench, crowd: Crowd, *, postgres: bool = False) -> list[Figure]:
    """Measure the lone jobs beside a crowd."""
    count = crowd.count // 10 if bench.quick else crowd.count
    title = crowd.what.format(count=count) + (", PostgreSQL" if postgres else "")
    figures = Figures(title)
    for number in range(bench.runs):
        bench.say(f"fairness {number + 1}/{bench.runs}: {title}")
        with (
            bench.slow_receiver() as quiet,
            bench.slow_receiver(host="0.0.0.0") as loud,
            bench.cluster(postgres=postgres) as cluster,
        ):
            _one_run(figures, cluster, quiet, loud, crowd, count)
    return figures.all()


def _one_run(
    figures: Figures, cluster: Cluster, quiet: Receiver, loud: Receiver, crowd: Crowd, count: int
) -> None:
    instant = (now_ms() // 1_000 + 2) * 1_000 + ALONE + count // CREATED // 1_000 * 1_000 + 1_000
    start = instant - ALONE
    cluster.create(_crowd(crowd, loud, count, instant))
    lone = cluster.create([_lone_job(quiet, kind, n) for kind in KINDS for n in range(LONE)])
    if now_ms() > start - 1_000:
        raise RuntimeError(f"{count:,} jobs were not created in time")
    sleep_until(instant)
    cpu = cluster.cpu_seconds()
    if crowd.hangs:
        end = instant + crowd.hangs
    else:
        wait_until(lambda: loud.count() >= count, "the burst is over", timeout=180, poll=0.1)
        end = max(instant + 1_000, max(one.at_ns for one in loud.arrivals()) // 1_000_000)
    sleep_until(end)
    cpu = cluster.cpu_seconds() - cpu
    sleep_until(end + AFTER)
    now = now_ms()
    arrived = {(one.job_id, one.fire_ms): one.at_ns / 1e6 for one in quiet.arrivals()}
    for kind, label in KINDS.items():
        of_kind = [job["id"] for job in lone if job["delivery"] == kind]
        offsets = {one: _offset(number) for number, one in enumerate(of_kind)}
        alone = _lateness(arrived, offsets, start, instant - 1_000, now)
        beside = _lateness(arrived, offsets, instant, end, now)
        for part, name in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
            figures.add(
                f"{label} {name}",
                "ms",
                percentile(beside, part),
                baseline_name="alone",
                baseline=percentile(alone, part),
            )
    if not crowd.hangs:
        figures.add("the burst itself", "s", (end - instant) / 1_000)
        figures.add("CPU per fire of it, nodes", "µs", cpu / count * 1e6)


KINDS = {"at_least_once": "lateness", "at_most_once": "lateness, at most once"}
"""The lone jobs by their delivery; the others of them are claimed at their instant only."""


def _lone_job(receiver: Receiver, kind: str, number: int) -> dict[str, object]:
    return {
        "name": f"lone-{kind.replace('_', '-')}-{number}",
        "schedule": {"every": "1s", "anchor": rfc3339(1_767_225_600_000 + _offset(number))},
        "target": {"url": receiver.url("/ok"), "body": {"hello": "world"}},
        "delivery": kind,
    }


def _offset(number: int) -> int:
    """Milliseconds from the full second to the fires of a lone job."""
    return number * 1_000 // LONE


def _crowd(crowd: Crowd, receiver: Receiver, count: int, instant: int) -> list[dict[str, object]]:
    path = "/hang" if crowd.hangs else "/ok"
    at = rfc3339(instant)
    return [
        {
            "name": f"crowd-{number}",
            "schedule": {"at": at},
            "target": {
                "url": receiver.url(path, host=f"127.0.1.{1 + number % crowd.hosts}"),
                "body": {"hello": "world"},
            },
        }
        for number in range(count)
    ]


def _lateness(
    arrived: Mapping[tuple[str, int], float],
    offsets: Mapping[str, int],
    start: int,
    end: int,
    now: int,
) -> Sequence[float]:
    """Milliseconds by which each fire in a time arrived late."""
    return [
        arrived.get((one, fire), now) - fire
        for one, offset in offsets.items()
        for fire in range(start + offset, end, 1_000)
    ]


one_host, many_hosts, hanging = (
    partial(run, crowd=crowd) for crowd in (ONE_HOST, MANY_HOSTS, HANGING)
)
one_host_on_postgres, many_hosts_on_postgres, hanging_on_postgres = (
    partial(run, crowd=crowd, postgres=True) for crowd in (ONE_HOST, MANY_HOSTS, HANGING)
)
