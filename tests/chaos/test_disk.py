"""A disk that is full: said clearly, survived, and nothing due is missing afterwards."""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.chaos.conftest import NodeFactory
from tests.chaos.evidence import check_gapless, check_once, delete_ticking
from tests.support.process import Receiver, Tocsin, wait_until

pytestmark = pytest.mark.chaos

SIZE = 32 * 1_048_576
JOBS = 200


class SmallDisk(Protocol):
    """A place for a database, whose space can be taken away."""

    path: Path

    def fill(self, tocsin: Tocsin) -> None:
        """Leave no space."""

    def free(self, tocsin: Tocsin) -> None:
        """Give it back."""


class Tmpfs:
    """A small file system in memory; to mount it needs the right to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, tocsin: Tocsin) -> None:
        with self._filler.open("wb", buffering=0) as filler:
            for size in (65_536, 4_096, 1):
                with contextlib.suppress(OSError):
                    while filler.write(b"x" * size) == size:
                        pass

    def free(self, tocsin: Tocsin) -> None:
        self._filler.unlink()


class FileLimit:
    """Where nothing can be mounted: no file of the process may grow any more (RLIMIT_FSIZE)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, tocsin: Tocsin) -> None:
        largest = max(file.stat().st_size for file in self.path.iterdir())
        resource.prlimit(tocsin.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    def free(self, tocsin: Tocsin) -> None:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(tocsin.pid, resource.RLIMIT_FSIZE, unlimited)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk; ``TOCSIN_TEST_NO_MOUNT=1`` tries how it goes without the right to mount."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)]
    allowed = not os.environ.get("TOCSIN_TEST_NO_MOUNT") and shutil.which("mount")
    if not allowed or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield FileLimit(path)
        return
    try:
        yield Tmpfs(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _ticking(receiver: Receiver) -> list[dict[str, Any]]:
    # The kept part of each answer makes the history grow by a megabyte per second.
    return [
        {
            "name": f"tick-{number:03}",
            "schedule": {"cron": "* * * * * *"},
            "target": {"url": receiver.url("/ok?bytes=5000")},
        }
        for number in range(JOBS)
    ]


def test_full_disk_and_recovery(
    disk: SmallDisk, node: NodeFactory, receiver: Receiver, record_property: Any
) -> None:
    """Writes are refused with 507, reads go on; with space again all goes on by itself."""
    tocsin = node(database=disk.path / "tocsin.db").start()
    created = tocsin.create(_ticking(receiver))
    receiver.wait_for(2 * JOBS)

    disk.fill(tocsin)
    codes = {"store_full"} if isinstance(disk, Tmpfs) else {"store_full", "store_unavailable"}
    wait_until(lambda: _not_ready(tocsin), "/readyz says that it cannot write")
    refusals: list[dict[str, Any]] = []
    acknowledged: list[str] = []

    def refused() -> bool:
        name = f"extra-{len(acknowledged)}"
        answer = tocsin.client.post(
            "/api/v1/jobs",
            json={
                "name": name,
                "schedule": {"at": "2100-01-01T00:00:00Z"},
                "target": {"log": "here"},
            },
        )
        if answer.status_code == 201:
            acknowledged.append(name)  # a gap was left in the write-ahead log
            return False
        assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
        refusals.append(answer.json())
        return answer.status_code in ({507} if codes == {"store_full"} else {507, 503})

    wait_until(refused, "a write is refused with 507")
    problem = refusals[-1]
    assert problem["code"] in codes, problem
    assert problem["detail"], problem
    assert tocsin.get("/jobs", limit=5)["items"], "reads must go on"
    assert tocsin.get("/executions", limit=5)["items"]
    assert tocsin.get("/stats")["jobs"]["active"] >= JOBS
    assert tocsin.client.get("/metrics").status_code == 200
    # Long enough for fire times to be missed, and for the lease to lapse.
    reason = wait_until(
        lambda: text if "claim" in (text := _not_ready(tocsin)) else "",
        "/readyz says that nothing fires",
    )
    told = wait_until(
        lambda: [entry for entry in tocsin.events() if entry.get("code") in codes],
        "the log tells it",
    )
    assert any(str(disk.path / "tocsin.db") in str(entry) for entry in told), told[:2]
    assert len(told) < 100, f"the log repeats it {len(told)} times"
    if isinstance(disk, Tmpfs):
        assert any(word in reason for word in ("full", "space")), (
            f"/readyz does not tell why: {reason}"
        )

    disk.free(tocsin)
    wait_until(tocsin.is_ready, "it is ready again without help")
    tocsin.post(
        "/jobs",
        {"name": "after", "schedule": {"at": "2100-01-01T00:00:00Z"}, "target": {"log": "here"}},
    )
    receiver.wait_for(receiver.count() + 2 * JOBS)

    until = delete_ticking(tocsin, created)
    rows = tocsin.rows()
    assert tocsin.terminate() == 0
    ended = rows.executions()
    check_once(ended, receiver.arrivals())
    fire_times = 0
    for job in created:
        mine = [row for row in ended if row.job_id == job["id"]]
        fire_times += check_gapless(mine, step=1_000, until=until)
    stored = {row[0] for row in rows.query("SELECT name FROM jobs")}
    assert stored.issuperset([*acknowledged, "after"])
    skipped = sum(row.skipped_count or 1 for row in ended if row.state == "skipped")
    record_property(
        "counts",
        f"{type(disk).__name__}: fire times {fire_times}, run {len(receiver.arrivals())}, "
        f"skipped as misfires {skipped}, 507s {len(refusals)}; /readyz: {reason}",
    )


def test_started_on_a_full_disk(disk: SmallDisk, node: NodeFactory, receiver: Receiver) -> None:
    """Neither a new database nor an old one ends in a traceback; the old one loses nothing."""
    # Where nothing was mounted: enough for the log, too little for the tables.
    prefix = ["prlimit", "--fsize=16384", "--"] if isinstance(disk, FileLimit) else []
    tocsin = node(database=disk.path / "tocsin.db").start()
    tocsin.create(_ticking(receiver))
    receiver.wait_for(JOBS)
    tocsin.kill()
    kept = tocsin.rows().query("SELECT count(*) FROM executions")[0][0]

    fresh = node(database=disk.path / "fresh.db", prefix=prefix)
    disk_is_full = isinstance(disk, Tmpfs)
    if disk_is_full:
        disk.fill(tocsin)
    ended = fresh.run_to_end()
    assert ended.code == 1, ended.output
    assert str(disk.path / "fresh.db") in ended.output
    if disk_is_full:
        assert "full" in ended.output or "space" in ended.output, ended.output
        tocsin.start(ready=False)
        wait_until(
            lambda: not tocsin.alive or "store_full" in tocsin.log() or "full" in tocsin.log(),
            "it says that the disk is full",
        )
        if tocsin.alive:
            disk.free(tocsin)
            tocsin.wait_listening()
            wait_until(tocsin.is_ready, "it is ready without help")
        else:
            assert tocsin.wait() == 1
            disk.free(tocsin)
            tocsin.start()
        # Those that it makes first may be the ones that it had claimed when it was killed.
        wait_until(
            lambda: tocsin.rows().query("SELECT count(*) FROM executions")[0][0] > kept,
            "it fires again",
        )
        receiver.wait_for(receiver.count() + JOBS)


def _not_ready(tocsin: Tocsin) -> str:
    answer = tocsin.client.get("/readyz")
    return answer.text if answer.status_code == 503 else ""
