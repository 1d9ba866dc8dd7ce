"""Where the CPU time of a fire goes, stage by stage: under py-spy, in bursts and at a steady rate.

Times are the kernel's, per thread, of a burst that nobody watches. How a thread's time divides
into stages is sampled in further bursts. At a steady rate it is the same with stretches of time.
What a thread waited for inside its work (the interpreter's lock, the disk, an answer of the
database) is the time in which its stack was not at rest, by samples, less the time for which it
ran.
"""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.support.process import now_ms

from bench import burst, lateness
from bench.context import Bench
from bench.nodes import TICKS
from bench.report import Figure, Figures
from bench.stages import REST, STAGES, stage_of

RATE = 400
"""Samples per second. They are taken beside the running process: stopped for each, its threads
that wait would look busy. The few torn stacks that this costs do not count."""

SAMPLED = 2
"""Bursts that are sampled for the stages."""

LOOP, STORE, OTHERS = "event loop", "store threads", "other threads"

_THREAD = re.compile(r"thread \((?P<id>\d+)\)(?:: (?P<name>.*))?")
_AT_REST = re.compile(r".* \(.*(?:asyncio/\w+|concurrent/futures/thread|threading|queue)\.py:\d+\)")
"""The innermost frame of a thread that waits for something to do."""


@dataclass(slots=True)
class Times:
    """CPU seconds by thread, and how many of them were spent in the kernel."""

    all: Counter[int] = field(default_factory=Counter)
    kernel: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Samples:
    """How often which stage was seen, by thread."""

    stages: dict[int, Counter[str]] = field(default_factory=dict)
    busy: Counter[int] = field(default_factory=Counter)
    """Samples whose stack was not at rest."""
    names: dict[int, str] = field(default_factory=dict)

    def group(self, thread: int) -> str:
        """Whose thread it is."""
        name = self.names.get(thread, "")
        if name == "MainThread":
            return LOOP
        return STORE if name.startswith("tocsin-store") else OTHERS


Watch = AbstractContextManager[None]


class Cost(NamedTuple):
    """Seconds of CPU that each of them took, of the nodes and of the database server."""

    node: float
    database: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is watched, once and again."""

    pid: int
    fires: int
    """How many it makes each time."""
    run: Callable[[Watch | None], Cost]
    """Make them, watched or not."""


def run(bench: Bench, *, postgres: bool = False) -> list[Figure]:
    """Profile a burst."""
    jobs = 4_000 if bench.quick else 20_000

    @contextlib.contextmanager
    def bursts() -> Iterator[Work]:
        with bench.receiver() as receiver, bench.cluster(postgres=postgres) as cluster:

            def once(watch: Watch | None) -> Cost:
                came = burst.measure(cluster, receiver, jobs, watch=watch)
                return Cost(came.node_cpu, came.database_cpu)

            yield Work(pid=cluster.first.pid, fires=jobs, run=once)

    where = "PostgreSQL" if postgres else "SQLite"
    drawing = "postgres" if postgres else "sqlite"
    return _profile(bench, bursts, f"profile of {jobs:,} fires, {where}", drawing)


def steady(bench: Bench, *, postgres: bool = False) -> list[Figure]:
    """Profile 1,000 jobs that fire every second, a millisecond apart."""
    jobs, seconds = 1_000, 3 if bench.quick else 10

    @contextlib.contextmanager
    def stretches() -> Iterator[Work]:
        with bench.receiver() as receiver, bench.cluster(postgres=postgres) as cluster:
            base = (now_ms() // 1_000 + 2) * 1_000
            cluster.create(lateness.definitions(receiver, jobs, base, spread=True))

            def once(watch: Watch | None) -> Cost:
                time.sleep(1)
                node, database = cluster.cpu_seconds(), cluster.database_cpu_seconds()
                with watch or contextlib.nullcontext():
                    time.sleep(seconds)
                node = cluster.cpu_seconds() - node
                database = cluster.database_cpu_seconds() - database
                return Cost(node / jobs / seconds, database / jobs / seconds)

            yield Work(pid=cluster.first.pid, fires=jobs * seconds, run=once)

    where = "PostgreSQL" if postgres else "SQLite"
    drawing = "postgres-steady" if postgres else "sqlite-steady"
    return _profile(bench, stretches, f"profile of {jobs:,} fires a second, {where}", drawing)


def _profile(
    bench: Bench,
    begin: Callable[[], AbstractContextManager[Work]],
    title: str,
    drawing: str,
) -> list[Figure]:
    figures = {name: Figures(f"{title}: {name}") for name in (LOOP, STORE, OTHERS)}
    for number in range(bench.runs):
        bench.say(f"profile {number + 1}/{bench.runs}: {title}, {2 + SAMPLED} times")
        with begin() as work:
            pid = work.pid
            work.run(None)  # Connections and caches.
            times, waited = Times(), Times()
            cost = work.run(counting(pid, times))
            samples, stacks = Samples(), Samples()
            for _ in range(SAMPLED):
                with bench.directory() as directory:
                    work.run(sampling(pid, directory / "stacks"))
                    read_samples((directory / "stacks").read_text().splitlines(), samples)
            with bench.directory() as directory:
                work.run(_waiting(pid, waited, directory / "stacks"))
                read_samples((directory / "stacks").read_text().splitlines(), stacks)
            if bench.flamegraphs is not None:
                name = f"{drawing}-{number + 1}.svg"
                bench.flamegraphs.mkdir(parents=True, exist_ok=True)
                work.run(sampling(pid, bench.flamegraphs / name, form="flamegraph"))
        for group, one in figures.items():
            _account(one, group, times, samples, per=work.fires)
            waits = sum(
                max(0.0, busy / RATE - waited.all[thread])
                for thread, busy in stacks.busy.items()
                if stacks.group(thread) == group
            )
            if group != OTHERS:
                one.add("waits inside its work", "µs", waits / work.fires * 1e6)
        figures[OTHERS].add("the whole process", "µs", cost.node * 1e6)
        if cost.database:
            figures[OTHERS].add("PostgreSQL", "µs", cost.database * 1e6)
    return [figure for one in figures.values() for figure in one.all() if any(figure.values)]


on_postgres = partial(run, postgres=True)
steady_on_postgres = partial(steady, postgres=True)


def _account(figures: Figures, group: str, times: Times, samples: Samples, *, per: int) -> None:
    """Divide the CPU time of a group of threads among the stages that were seen in them."""
    seen: Counter[str] = Counter()
    for thread, stages in samples.stages.items():
        if samples.group(thread) == group:
            seen.update(stages)
    spent = sum(s for thread, s in times.all.items() if samples.group(thread) == group)
    kernel = sum(s for thread, s in times.kernel.items() if samples.group(thread) == group)
    if group != OTHERS:
        for stage in STAGES:
            share = seen[stage] / max(1, seen.total())
            figures.add(stage, "µs", share * spent / per * 1e6)
    figures.add("all of it", "µs", spent / per * 1e6)
    figures.add("of that in the kernel", "µs", kernel / per * 1e6)


def read_samples(lines: Sequence[str], into: Samples) -> None:
    """Count what py-spy wrote: a line per stack, ``thread;frame;frame count``."""
    for line in lines:
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        found = _THREAD.fullmatch(thread)
        if found is None or not frames:
            continue
        one = int(found["id"])
        into.names[one] = found["name"] or ""
        into.stages.setdefault(one, Counter())[stage_of(frames)] += int(count)
        if stage_of(frames) != REST or not _AT_REST.fullmatch(frames[-1]):
            into.busy[one] += int(count)


@contextlib.contextmanager
def counting(pid: int, into: Times) -> Iterator[None]:
    """Count the CPU time of each thread of a process meanwhile."""
    before = _thread_times(pid)
    try:
        yield
    finally:
        for thread, (user, kernel) in _thread_times(pid).items():
            had = before.get(thread, (0.0, 0.0))
            into.all[thread] += user + kernel - sum(had)  # type: ignore[assignment]
            into.kernel[thread] += kernel - had[1]  # type: ignore[assignment]


@contextlib.contextmanager
def _waiting(pid: int, into: Times, output: Path) -> Iterator[None]:
    """Count the CPU time and sample all stacks meanwhile, also of threads that do not run."""
    with counting(pid, into), sampling(pid, output, "--idle"):
        yield


def _thread_times(pid: int) -> dict[int, tuple[float, float]]:
    """Seconds in user and in system mode."""
    times = {}
    for path in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            times[int(path.name)] = (int(fields[11]) / TICKS, int(fields[12]) / TICKS)
    return times


@contextlib.contextmanager
def sampling(pid: int, output: Path, *options: str, form: str = "raw") -> Iterator[None]:
    """Let py-spy watch a process meanwhile, and write to a file what it saw."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    command = [program, "record", "--pid", str(pid), "--rate", str(RATE), "--format", form]
    spy = subprocess.Popen(
        [*command, "--nonblocking", "--threads", "--output", str(output), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert spy.stdout is not None
    said = spy.stdout.readline()
    while said and "Sampling process" not in said:
        said += (line := spy.stdout.readline())
        if not line:
            break
    if spy.poll() is not None or "Sampling process" not in said:
        raise RuntimeError(
            f"py-spy cannot look at the node: {said.strip()}; it needs the right to trace a "
            "process (root, or the capability SYS_PTRACE)"
        )
    try:
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        said = spy.communicate(timeout=60)[0]
    if not output.exists():
        raise RuntimeError(f"py-spy wrote nothing: {said}")
