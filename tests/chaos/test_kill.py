"""``kill -9`` at any moment: nothing due disappears, and nothing acknowledged is forgotten."""

import contextlib
import random
import threading
import time
from typing import Any

import httpx
import pytest

from tests.chaos.conftest import NodeFactory, seeds
from tests.chaos.evidence import (
    Interruption,
    check_gapless,
    check_one_shots,
    delete_ticking,
    kill,
    restart,
    soon,
)
from tests.chaos.shots import shots
from tests.support.process import AUTHORIZED, Receiver, Tocsin, rfc3339, wait_until

pytestmark = pytest.mark.chaos

JOBS = 5_000
EVERY_SECOND = 20
FAR = "2100-01-01T00:00:00Z"


@seeds(2)
def test_burst_survives_kills(
    seed: int, node: NodeFactory, receiver: Receiver, record_property: Any
) -> None:
    """5,000 jobs within 3 s, two or three kills, some of them during the rescue of the last."""
    dice = random.Random(seed)
    # Every other seed runs with the settings as they are out of the box.
    tocsin = node(env={}) if seed % 2 else node()
    tocsin.start()
    jobs = shots(dice, receiver, JOBS, seconds=3)
    tocsin.create([job.definition() for job in jobs])
    ticking = tocsin.create(
        [
            {
                "name": f"tick-{number}",
                "schedule": {"cron": "* * * * * *"},
                "target": {"url": receiver.url("/ok")},
            }
            for number in range(EVERY_SECOND)
        ]
    )

    interruptions: list[Interruption] = []
    for part in (dice.uniform(0.02, 0.45), dice.uniform(0.5, 0.9)):
        receiver.wait_for(round(part * JOBS))
        interruptions.append(kill(tocsin))
        if dice.random() < 0.5:
            time.sleep(dice.uniform(0, 1.5))  # a longer outage
        restart(tocsin, interruptions[-1])
        if dice.random() < 0.5:
            time.sleep(dice.uniform(0, 0.5))  # any moment after the start
            interruptions.append(kill(tocsin))
            restart(tocsin, interruptions[-1])

    rows = tocsin.rows()
    wait_until(
        lambda: (
            rows.query(
                "SELECT count(*) FROM executions WHERE job_name LIKE 'once-%' "
                "AND state IN ('succeeded', 'failed')"
            )[0][0]
            >= JOBS
        ),
        "every one-shot job has ended",
    )
    until = delete_ticking(tocsin, ticking)
    assert tocsin.terminate() == 0

    ended = rows.executions()
    arrivals = receiver.arrivals()
    counts = check_one_shots(
        jobs,
        [row for row in ended if row.job_name.startswith("once-")],
        [arrival for arrival in arrivals if arrival.job_name.startswith("once-")],
        interruptions,
    )
    fire_times = sum(
        check_gapless([row for row in ended if row.job_id == job["id"]], step=1_000, until=until)
        for job in ticking
    )
    counts.others |= {"kills": len(interruptions), "fire times of ticking jobs": fire_times}
    record_property("counts", str(counts))


class _Creators:
    """Threads that create jobs as fast as they can and note what was acknowledged."""

    def __init__(self, tocsin: Tocsin, *, threads: int, batch: int) -> None:
        self._url = f"http://127.0.0.1:{tocsin.port}"
        self._batch = batch
        self.acknowledged: list[list[str]] = []
        self.asked: list[list[str]] = []
        self.refused: list[str] = []
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        with httpx.Client(
            base_url=self._url, timeout=30, trust_env=False, headers=AUTHORIZED
        ) as client:
            while True:
                serial = f"{threading.get_ident():x}-{time.monotonic_ns():x}"
                names = [f"made-{serial}-{number}" for number in range(self._batch)]
                jobs = [
                    {
                        "name": name,
                        "schedule": {"at": FAR},
                        "target": {"log": name},
                        "tags": [f"batch-{serial}"],
                    }
                    for name in names
                ]
                self.asked.append(names)
                try:
                    if self._batch == 1:
                        answer = client.post("/api/v1/jobs", json=jobs[0])
                    else:
                        answer = client.post("/api/v1/jobs:batch", json={"jobs": jobs})
                except httpx.TransportError:
                    return  # the node has been killed
                if answer.status_code != 201:
                    self.refused.append(answer.text)
                    return
                self.acknowledged.append(names)

    def wait_for(self, requests: int) -> None:
        wait_until(
            lambda: len(self.acknowledged) >= requests or self.refused,
            f"{requests} requests are acknowledged",
            poll=0.001,
        )

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert not self.refused, self.refused[:3]


@seeds(1)
@pytest.mark.parametrize("batch", [1, 300], ids=["single", "batch"])
def test_acknowledged_creations_survive(
    seed: int, batch: int, node: NodeFactory, record_property: Any
) -> None:
    """What was answered with 201 is there after the kill; a batch as a whole or not at all."""
    dice = random.Random(seed)
    tocsin = node().start()
    acknowledged: list[list[str]] = []
    asked: list[list[str]] = []
    for _ in range(3):
        # So many at once that single ones share their commits.
        creators = _Creators(tocsin, threads=16 if batch == 1 else 4, batch=batch)
        creators.wait_for(dice.randrange(1, 30 if batch > 1 else 150))
        tocsin.kill()
        creators.join()
        acknowledged += creators.acknowledged
        asked += creators.asked
        tocsin.start()

    stored = {row[0] for row in tocsin.rows().query("SELECT name FROM jobs")}
    forgotten = [names for names in acknowledged if not stored.issuperset(names)]
    assert not forgotten, f"{len(forgotten)} acknowledged creations are gone"
    torn = [names for names in asked if 0 < len(stored.intersection(names)) < len(names)]
    assert not torn, f"{len(torn)} batches are there in part"
    timers = {row[0] for row in tocsin.rows().query("SELECT job_id FROM timers")}
    ids = {row[0] for row in tocsin.rows().query("SELECT id FROM jobs")}
    assert timers == ids, "jobs without a timer, or timers without a job"
    name = acknowledged[-1][-1]
    assert tocsin.get(f"/jobs/{name}")["name"] == name
    assert tocsin.get("/stats")["jobs"]["active"] == len(stored), "the counters disagree"
    not_acknowledged = len(stored) - sum(len(names) for names in acknowledged)
    record_property(
        "counts",
        f"kills 3, requests {len(asked)}, acknowledged {len(acknowledged)}, "
        f"jobs stored {len(stored)}, of them not acknowledged {not_acknowledged}",
    )


def test_repeated_requests_after_a_kill(node: NodeFactory, receiver: Receiver) -> None:
    """Who got no answer repeats with the same ``Idempotency-Key``: made once, answered alike."""
    tocsin = node().start()
    target = {"url": receiver.url("/ok")}
    by_hand = tocsin.post("/jobs", {"name": "by-hand", "schedule": {"at": FAR}, "target": target})[
        "id"
    ]
    keys = [f"key-{number}" for number in range(200)]
    answers: dict[tuple[str, str], str] = {}

    def ask(client: httpx.Client, key: str) -> None:
        """Create a nameless job and trigger the other; what is answered must never change."""
        job = {"schedule": {"at": FAR}, "target": {"log": key}, "tags": ["nameless"]}
        for path, body, status in (
            ("/jobs", job, 201),
            (f"/jobs/{by_hand}/trigger", {"body": {"key": key}}, 202),
        ):
            answer = client.post(f"/api/v1{path}", json=body, headers={"Idempotency-Key": key})
            assert answer.status_code == status, answer.text
            known = answers.setdefault((path, key), answer.json()["id"])
            assert answer.json()["id"] == known, "the same key has made another one"

    def ask_until_killed(mine: list[str]) -> None:
        with (
            httpx.Client(
                base_url=f"http://127.0.0.1:{tocsin.port}", trust_env=False, headers=AUTHORIZED
            ) as client,
            contextlib.suppress(httpx.TransportError),
        ):
            for key in mine:
                ask(client, key)

    threads = [
        threading.Thread(target=ask_until_killed, args=(keys[part::4],)) for part in range(4)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) >= 100, "some requests are answered", poll=0.001)
    tocsin.kill()
    for thread in threads:
        thread.join(60)
    assert len(answers) < 2 * len(keys), "the kill came too late to prove anything"
    tocsin.start()
    for key in keys:
        ask(tocsin.client, key)

    rows = tocsin.rows()
    assert rows.query("SELECT count(*) FROM job_tags WHERE tag = 'nameless'") == [(len(keys),)]
    wait_until(lambda: rows.unfinished() == 0, "nothing is left to do")
    ended = rows.executions()
    assert len(ended) == len(keys), "a trigger was carried out twice, or not at all"
    assert {row.id for row in ended} == {
        answer for (path, _), answer in answers.items() if path.endswith("/trigger")
    }
    assert {arrival.execution_id for arrival in receiver.arrivals()} == {row.id for row in ended}


def test_killed_right_after_the_answer(node: NodeFactory) -> None:
    """The 201 is not earlier than the disk; the job fires after the restart."""
    tocsin = node()
    for number in range(2):
        tocsin.start()
        created = tocsin.post(
            "/jobs",
            {
                "name": f"kept-{number}",
                "schedule": {"at": rfc3339(soon(0.5))},
                "target": {"log": "here"},
            },
        )
        tocsin.kill()
        tocsin.start()
        _wait_fired(tocsin, created["id"])
        tocsin.kill()


def _wait_fired(tocsin: Tocsin, job_id: str) -> None:
    succeeded = f"job_id = '{job_id}' AND state = 'succeeded'"
    wait_until(lambda: tocsin.rows().executions(succeeded), "the job has fired")


@seeds(3)
def test_killed_while_it_makes_its_database(seed: int, node: NodeFactory) -> None:
    """Wherever the first start is cut off, the next one works."""
    dice = random.Random(seed)
    tocsin = node()
    for _ in range(3):
        tocsin.start(ready=False)
        wait_until(tocsin.database.exists, "the file is there", poll=0.001)
        time.sleep(dice.uniform(0, 0.15))  # any moment of the migration
        tocsin.kill()
    tocsin.start()
    tocsin.post("/jobs", {"name": "first", "schedule": {"at": FAR}, "target": {"log": "here"}})
