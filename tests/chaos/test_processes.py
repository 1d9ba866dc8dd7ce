"""Several processes behind one address and on one SQLite file: killed, stopped, orphaned."""

import contextlib
import json
import os
import random
import re
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chaos.conftest import NodeFactory
from tests.chaos.evidence import (
    LOST,
    Interruption,
    OneShot,
    check_gapless,
    check_one_shots,
    leads,
    soon,
)
from tests.support.process import (
    AUTHORIZED,
    PATIENCE,
    Receiver,
    Row,
    Tocsin,
    rfc3339,
    wait_until,
)

pytestmark = pytest.mark.chaos

FAR = "2100-01-01T00:00:00Z"
ENV = {"TOCSIN_SHUTDOWN_GRACE": "60s", "TOCSIN_NODE_NAME": "host"}
NUMBERS = (1, 2, 3)


class Host:
    """A supervisor and its children."""

    def __init__(self, tocsin: Tocsin) -> None:
        self.tocsin = tocsin
        self.seen: set[int] = set()

    def start(self) -> "Host":
        self.tocsin.start()
        wait_until(lambda: len(self.started()) == len(NUMBERS), "all processes have started")
        return self

    def started(self) -> Sequence[str]:
        return [entry["process"] for entry in self.tocsin.events("started")]

    def children(self) -> list[int]:
        """Process ids, in no order."""
        pid = self.tocsin.pid
        with contextlib.suppress(OSError):
            found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            self.seen.update(map(int, found))
            return list(map(int, found))
        return []

    def client(self, process: str) -> httpx.Client:
        """A client whose one connection ends at a certain process."""
        while True:
            client = httpx.Client(
                base_url=f"http://127.0.0.1:{self.tocsin.port}",
                timeout=60,
                trust_env=False,
                headers=AUTHORIZED,
            )
            if client.get("/api/v1/cluster").json()["this"]["name"] == process:
                return client
            client.close()

    def close(self) -> None:
        self.children()
        self.tocsin.close()
        for pid in self.seen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def host(node: NodeFactory) -> Iterator[Host]:
    """Three processes, not started."""
    made = Host(node(env=ENV, options=("--processes", str(len(NUMBERS)))))
    yield made
    made.close()


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_one_process_is_killed_under_load(
    host: Host, receiver: Receiver, record_property: Any
) -> None:
    """2,000 fires in 4 s over three processes, one of them killed: each has one execution."""
    dice = random.Random(5)
    host.start()
    start = soon(3)
    jobs = [
        OneShot(
            name=f"once-{number:05}",
            fire_time=start + dice.randrange(4_000),
            url=receiver.url("/slow?ms=200" if number % 5 == 0 else "/ok"),
            at_most_once=number % 10 == 0,
        )
        for number in range(2_000)
    ]
    host.tocsin.create([job.definition() for job in jobs])
    ticking = host.tocsin.create(
        [
            {
                "name": "tick",
                "schedule": {"cron": "* * * * * *"},
                "target": {"url": receiver.url("/ok")},
            }
        ]
    )
    receiver.wait_for(500)
    rows = host.tocsin.rows()
    victim = random.Random(1).choice(host.children())
    began = time.time_ns()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(host.started()) == 4, "the killed one was replaced")
    wait_until(
        lambda: (
            rows.query(
                "SELECT count(*) FROM executions WHERE job_name LIKE 'once-%' "
                "AND state IN ('succeeded', 'failed')"
            )[0][0]
            >= len(jobs)
        ),
        "every one-shot job has ended",
    )
    assert host.tocsin.client.delete(f"/api/v1/jobs/{ticking[0]['id']}").status_code in {200, 204}
    wait_until(lambda: rows.unfinished() == 0, "nothing is left to do")

    ended = rows.executions()
    once = [row for row in ended if row.job_name != "tick"]
    (line,) = host.tocsin.events("process.ended")
    assert (line["signal"], line["pid"]) == ("SIGKILL", victim)
    # What it had in hands is known from what was lost with it: the others take over at once.
    lost = [row for row in once if row.lost]
    # Who did not revoke it itself knows some of its incarnation, and no name.
    lost_by = {
        attempt["node"]
        for row in lost
        for attempt in row.attempts
        if attempt.get("error_kind") == LOST
    } - {f"host-{line['number']}"}
    assert len(lost_by) <= 1, lost_by
    assert all(name.startswith("with incarnation ") for name in lost_by), lost_by
    killed = Interruption(
        began_ns=began, in_hands={row.id: row for row in lost}, over_ns=time.time_ns()
    )
    calls = [arrival for arrival in receiver.arrivals() if arrival.job_name != "tick"]
    counts = check_one_shots(jobs, once, calls, [killed])
    check_gapless([row for row in ended if row.job_name == "tick"], step=1_000)
    nodes = Counter(row.attempts[-1]["node"] for row in once)
    assert len(nodes) == len(NUMBERS), nodes
    assert host.tocsin.terminate() == 0
    record_property("counts", f"{counts}, calls by node {dict(nodes)}")


def test_sigterm_under_load(host: Host, receiver: Receiver) -> None:
    """All end by themselves, with 0; nothing is retried and nothing stays behind."""
    host.start()
    start = soon(2)
    jobs = [
        OneShot(
            name=f"once-{number:05}",
            fire_time=start + number,
            url=receiver.url("/slow?ms=300" if number % 3 == 0 else "/ok"),
        )
        for number in range(1_500)
    ]
    host.tocsin.create([job.definition() for job in jobs])
    receiver.wait_for(300)
    children = host.children()
    # As a service manager does that asks every process of a unit.
    for pid in children:
        os.kill(pid, signal.SIGTERM)
    assert host.tocsin.terminate() == 0
    assert not any(_alive(pid) for pid in children)
    rows = host.tocsin.rows()
    assert rows.executions("state = 'claimed'") == []
    assert rows.query("SELECT count(*) FROM nodes") == [(0,)]
    host.start()
    wait_until(lambda: rows.unfinished() == 0 and rows.timers() == 0, "every job has ended")
    counts = check_one_shots(jobs, rows.executions(), receiver.arrivals())
    assert counts.repeats == counts.lost_attempts == 0
    assert host.tocsin.terminate() == 0


def test_second_signal_stops_at_once(host: Host, receiver: Receiver) -> None:
    """The second signal waits for nobody."""
    host.tocsin.env = {**ENV, "TOCSIN_SHUTDOWN_GRACE": "1h"}
    host.start()
    host.tocsin.post(
        "/jobs",
        {
            "schedule": {"at": rfc3339(soon(0.1))},
            "target": {"url": receiver.url("/hang"), "timeout": "1h"},
        },
    )
    receiver.wait_for(1)
    children = host.children()
    host.tocsin.send(signal.SIGTERM)
    wait_until(lambda: list(host.tocsin.events("stopping")), "it stops")
    host.tocsin.send(signal.SIGTERM)
    assert host.tocsin.wait() == 128 + signal.SIGTERM
    wait_until(lambda: not any(_alive(pid) for pid in children), "they are gone")


def test_children_do_not_outlive_their_supervisor(host: Host, receiver: Receiver) -> None:
    """Killed, it can say nothing: they notice, finish what they do, and leave."""
    host.start()
    host.tocsin.post(
        "/jobs",
        {
            "schedule": {"at": rfc3339(soon(0.1))},
            "target": {"url": receiver.url("/slow?ms=1500"), "timeout": "20s"},
        },
    )
    receiver.wait_for(1)
    children = host.children()
    assert len(children) == len(NUMBERS)
    host.tocsin.kill()
    wait_until(lambda: not any(_alive(pid) for pid in children), "they have left")
    rows = host.tocsin.rows()
    assert [row.state for row in rows.executions()] == ["succeeded"]
    assert rows.query("SELECT count(*) FROM nodes") == [(0,)]
    assert len(list(host.tocsin.events("supervisor.gone"))) == len(NUMBERS)


def test_a_start_that_cannot_work_is_not_repeated(node: NodeFactory, tmp_path: Path) -> None:
    """A log file in the way of one child: all end with its exit code."""
    (tmp_path / "tocsin-2.log").mkdir()
    options = ("--processes", "3", "--log-file", str(tmp_path / "tocsin.log"))
    ended = node(env=ENV, options=options).run_to_end()
    assert ended.code == 2, ended.output
    assert "tocsin-2.log" in ended.output
    assert "start.failed" in ended.output
    assert "process.ended" not in ended.output


def test_port_in_use(host: Host, node: NodeFactory) -> None:
    host.start()
    second = node(env=ENV, options=("--processes", "2", "--port", str(host.tocsin.port)))
    assert second.run_to_end().code == 1
    assert "another program" in second.log()


def test_metrics_of_all(host: Host, receiver: Receiver) -> None:
    """Whoever is asked answers for all; each sample says whose it is, and none is there twice."""
    host.start()
    names = {f"host-{number}" for number in NUMBERS}
    jobs = [
        {"schedule": {"at": rfc3339(soon(1))}, "target": {"url": receiver.url("/ok")}}
        for _ in range(60)
    ]
    host.tocsin.create(jobs)
    for _ in range(6):
        # A process counts what it has recorded, right after; and shows no sibling that is slow.
        text = wait_until(lambda: _metrics_with(host, names, 60), "all tell of all")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert len(lines) == len({line.rpartition(" ")[0] for line in lines})
        heads = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
        assert len(heads) == len(set(heads))
        assert text.count("\ntocsin_store_up ") == 1
        assert text.count("\ntocsin_nodes ") == 1
    # One that hangs is left out, and holds the others up for no more than a moment.
    frozen = host.children()[0]
    others = [host.client(name) for name in sorted(names)]
    os.kill(frozen, signal.SIGSTOP)
    try:
        # Whoever hangs itself answers nobody.
        shown = wait_until(
            lambda: {found for one in others if len(found := _shown(one)) == len(NUMBERS) - 1},
            "two are shown without the third",
        )
    finally:
        os.kill(frozen, signal.SIGCONT)
        for one in others:
            one.close()
    assert len(shown) == 1
    assert shown < {frozenset(names - {name}) for name in names}


def _metrics_with(host: Host, names: set[str], fires: int) -> str:
    """What somebody says who knows of all, once they have counted so many fires together."""
    address = f"http://127.0.0.1:{host.tocsin.port}/metrics"
    text = httpx.get(address, trust_env=False, timeout=60, headers=AUTHORIZED).text
    counted = re.findall(
        r'^tocsin_fires_total\{node="(.*?)",state="succeeded"\} (\S+)', text, re.MULTILINE
    )
    total = sum(float(value) for _, value in counted)
    assert total <= fires
    return text if {name for name, _ in counted} == names and total == fires else ""


def _shown(client: httpx.Client) -> frozenset[str]:
    """The processes whose metrics one of them shows; none where it does not answer."""
    try:
        text = client.get("/metrics", timeout=5).text
    except httpx.TimeoutException:
        return frozenset()
    return frozenset(re.findall(r'^tocsin_held\{node="(.*?)"\}', text, re.MULTILINE))


def test_changes_reach_the_owner(host: Host, receiver: Receiver) -> None:
    """A fire that one process has claimed is paused through others: it is cancelled, not called."""
    host.tocsin.env = {**ENV, "TOCSIN_CLAIM_HORIZON": "1m", "TOCSIN_ADOPT_INTERVAL": "60s"}
    host.start()
    with closing(host.client("host-1")) as one, closing(host.client("host-3")) as three:
        for seconds in leads():
            at = soon(seconds)
            jobs = _claimed_jobs(host, one, receiver, at)
            for number, job in enumerate(jobs[::2]):
                paused = (three if number % 2 else one).post(f"/api/v1/jobs/{job}/pause")
                assert paused.status_code == 200, paused.text
            wait_until(lambda jobs=jobs: _ended(host, jobs[::2]), "the owners gave them up")
            if soon(0) < at:
                break
        wait_until(lambda: _ended(host, jobs), "all have ended")
    states = {row.job_id: (row.state, row.reason) for row in host.tocsin.rows().executions()}
    assert {states[job] for job in jobs[::2]} == {("cancelled", "paused")}
    assert {states[job] for job in jobs[1::2]} == {("succeeded", None)}
    calls = {arrival.job_id for arrival in receiver.arrivals()}
    assert calls.intersection(jobs) == set(jobs[1::2])


def _claimed_jobs(host: Host, client: httpx.Client, receiver: Receiver, at: int) -> list[str]:
    """Thirty jobs that fire then, and are in the hands of some process."""
    job = {
        "schedule": {"every": "1d", "anchor": rfc3339(at)},
        "target": {"url": receiver.url("/ok")},
    }
    created = client.post("/api/v1/jobs:batch", json={"jobs": [job] * 30})
    assert created.status_code == 201, created.text
    jobs = [one["id"] for one in created.json()["items"]]
    wait_until(lambda: len(_executions(host, jobs)) == len(jobs), "all are claimed")
    return jobs


def _executions(host: Host, jobs: Sequence[str]) -> list[Row]:
    return [row for row in host.tocsin.rows().executions() if row.job_id in jobs]


def _ended(host: Host, jobs: Sequence[str]) -> bool:
    states = {row.state for row in _executions(host, jobs)}
    return states.isdisjoint({"pending", "claimed"})


def test_events_of_all(host: Host) -> None:
    """A reader at one process sees what happens through and in the others."""
    host.start()
    heard: list[tuple[str, dict[str, Any]]] = []
    with (
        closing(host.client("host-1")) as one,
        closing(host.client("host-2")) as two,
        closing(host.client("host-3")) as three,
    ):
        ready = threading.Event()

        def listen() -> None:
            with (
                contextlib.suppress(httpx.TransportError),
                one.stream("GET", "/api/v1/events", timeout=30) as stream,
            ):
                kind = ""
                for line in stream.iter_lines():
                    ready.set()
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        heard.append((kind, json.loads(line.removeprefix("data: "))))

        reader = threading.Thread(target=listen, daemon=True)
        reader.start()
        assert ready.wait(PATIENCE)

        # The wish to hear all is on its way to the others; what they do before is not told.
        for teller in (two, three):
            _tell_until_heard(teller, heard)
        created = two.post(
            "/api/v1/jobs:batch",
            json={
                "jobs": [
                    {
                        "name": f"here-{number}",
                        "schedule": {"at": rfc3339(soon(1))},
                        "target": {"log": "x"},
                    }
                    for number in range(20)
                ]
            },
        )
        assert created.status_code == 201
        paused = two.post(
            "/api/v1/jobs", json={"name": "p", "schedule": {"at": FAR}, "target": {"log": "x"}}
        )
        assert paused.status_code == 201
        assert two.post("/api/v1/jobs/p/pause").status_code == 200

        def counts() -> Counter[str]:
            return Counter(
                kind for kind, data in heard if not data.get("name", "").startswith("probe-")
            )

        wait_until(lambda: counts()["execution.succeeded"] >= 20, "all ends are heard")
        wait_until(lambda: counts()["job.paused"] == 1, "the pause is heard")
        wait_until(lambda: counts()["job.created"] >= 21, "all creations are heard")
        assert counts()["job.created"] == 21
        assert counts()["execution.started"] == 20
        assert counts()["execution.succeeded"] == 20
        assert counts()["reset"] == 0
        assert host.tocsin.terminate() == 0


def _tell_until_heard(client: httpx.Client, heard: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Create jobs, which is told only where somebody wants to hear of it, until one is heard of."""
    made: set[str] = set()

    def is_heard() -> bool:
        job = {"name": f"probe-{uuid.uuid4()}", "schedule": {"at": FAR}, "target": {"log": "x"}}
        answer = client.post("/api/v1/jobs", json=job)
        assert answer.status_code == 201, answer.text
        made.add(answer.json()["id"])
        return any(data.get("id") in made for _, data in heard)

    wait_until(is_heard, "the creation of a job is heard", poll=0.1)


def test_log_lines_are_whole_and_say_whose_they_are(host: Host) -> None:
    host.start()
    host.tocsin.create(
        [{"schedule": {"at": rfc3339(soon(1))}, "target": {"log": "x" * 2_000}} for _ in range(300)]
    )
    wait_until(lambda: host.tocsin.rows().unfinished() == 0, "all have ended")
    wait_until(
        lambda: len(host.tocsin.rows().executions("state = 'succeeded'")) == 300, "all succeeded"
    )
    assert host.tocsin.terminate() == 0
    entries = [json.loads(line) for line in host.tocsin.log().splitlines()]
    assert {entry["process"] for entry in entries} == {"host", *(f"host-{n}" for n in NUMBERS)}
