"""A database that is set back in time."""

import random
from collections import defaultdict
from typing import Any

import pytest

from tests.chaos.cluster_evidence import wait_ended, wait_kept
from tests.chaos.conftest import FULL, ClusterFactory, seeds
from tests.chaos.evidence import by_execution, check_gapless
from tests.chaos.shots import create, first, last, shots, sleep_until
from tests.support.cluster import SHORT_LEASES, Cluster
from tests.support.postgres import PostgresServer
from tests.support.process import Receiver, Row, now_ms, wait_until
from tests.support.receiver import Arrival

pytestmark = pytest.mark.chaos

JOBS, SECONDS = (20_000, 20) if FULL else (1_200, 3)
GRACE = 1_000
"""The misfire grace of the jobs that fire every second."""


def _ticking(receiver: Receiver, policy: str, *, most: int = 2) -> dict[str, Any]:
    return {
        "name": f"tick-{policy}",
        "schedule": {"cron": "* * * * * *"},
        "target": {"url": receiver.url("/ok")},
        "misfire": {"policy": policy, "grace": "1s", "max": most},
    }


@seeds(1)
def test_older_backup_is_restored(
    seed: int,
    cluster: ClusterFactory,
    postgres: PostgresServer,
    receiver: Receiver,
    record_property: Any,
) -> None:
    """The nodes stop, an older copy of the database takes its place, the nodes start: misfire
    rules hold for the time in between, and what happens again carries the same id."""
    dice = random.Random(seed)
    them: Cluster = cluster(env=SHORT_LEASES)
    them.start(2)
    jobs = shots(dice, receiver, JOBS, seconds=SECONDS)
    create(them.any, jobs)
    ticking = them.any.create([_ticking(receiver, policy) for policy in ("latest", "all", "skip")])
    sleep_until((first(jobs) + last(jobs)) / 2)

    # The copy needs a database that nobody uses; what a kill leaves behind is the worst backup.
    for node in them.living:
        them.kill(node)
    taken_at = now_ms()
    name = them.url.rpartition("/")[2]
    backup = f"{name}_backup"
    postgres.execute(f'CREATE DATABASE "{backup}" TEMPLATE "{name}"')
    in_backup = {row.id: row for row in them.rows.executions()}

    them.start(2)
    wait_ended(them, JOBS)
    sleep_until(max(last(jobs), taken_at / 1_000 + 5))
    them.stop()
    before = receiver.arrivals()
    first_lives = them.rows.executions()
    postgres.execute(f'DROP DATABASE "{name}"')
    postgres.execute(f'ALTER DATABASE "{backup}" RENAME TO "{name}"')
    restored_at = now_ms()

    them.start(2)
    started_at = now_ms()
    wait_ended(them, JOBS)
    wait_until(
        lambda: (
            len(
                them.rows.query(
                    "SELECT job_name FROM executions WHERE job_name LIKE 'tick-%%' "
                    "AND state = 'succeeded' AND fire_time > %s GROUP BY job_name",
                    started_at + 1_000,
                )
            )
            == 3
        ),
        "each of the ticking jobs fires again",
        poll=0.1,
    )
    until = now_ms() - 2_000
    wait_kept(them, until)
    them.stop()
    again = receiver.arrivals()[len(before) :]
    rows = them.rows.executions()

    _check_same_ids(before, again)
    _check_same_ids_of_rows(first_lives, rows)
    replayed = _check_replays(rows, in_backup, before, again, {job.name for job in jobs})
    fire_times = 0
    for job in ticking:
        mine = [row for row in rows if row.job_id == job["id"]]
        fire_times += check_gapless(mine, step=1_000, until=until)
        _check_misfires(job, mine, again, taken_at=taken_at, restored_at=restored_at)
    record_property(
        "counts",
        f"fires {len(rows)}, calls before the restore {len(before)}, after it {len(again)}, "
        f"of them again {replayed} (each with the same id), jobs without a call after the backup "
        f"0, fire times of the ticking jobs {fire_times}, time that is gone "
        f"{(restored_at - taken_at) / 1_000:.1f} s",
    )


def _check_same_ids(before: list[Arrival], again: list[Arrival]) -> None:
    """One job and one fire time are one id, on both sides of the restore."""
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for call in (*before, *again):
        assert call.key == call.execution_id, f"two different keys: {call}"
        ids[call.job_id, call.fire_time].add(call.execution_id)
    changed = {what: found for what, found in ids.items() if len(found) > 1}
    assert not changed, f"fires with two ids: {list(changed.items())[:3]}"


def _check_same_ids_of_rows(first_lives: list[Row], rows: list[Row]) -> None:
    first_ids = {(row.job_id, row.fire_time): row.id for row in first_lives}
    for row in rows:
        known = first_ids.get((row.job_id, row.fire_time))
        assert known in {None, row.id}, f"{row} was {known}"


def _check_replays(
    rows: list[Row],
    in_backup: dict[str, Row],
    before: list[Arrival],
    again: list[Arrival],
    one_shots: set[str],
) -> int:
    """What had ended in the backup is not called again; what had not is, once; nothing is lost."""
    ended = {id_ for id_, row in in_backup.items() if row.state not in {"pending", "claimed"}}
    after = by_execution(again)
    wrong = ended & after.keys()
    assert not wrong, f"had ended in the backup, but were called again: {sorted(wrong)[:3]}"
    heard = {call.execution_id for call in before} | after.keys()
    mine = [row for row in rows if row.job_name in one_shots]
    assert {row.job_name for row in mine} == one_shots
    for row in mine:
        if row.state == "failed":
            assert row.reason == "lost", row
        else:
            assert row.state == "succeeded", row
            assert row.id in heard, f"succeeded, but never arrived: {row}"
        refused = sum(attempt.get("http_status") == 503 for attempt in row.attempts)
        assert len(after.get(row.id, [])) <= 1 + refused, f"repeated without a reason: {row}"
    return len(after.keys() & {call.execution_id for call in before})


def _check_misfires(
    job: dict[str, Any],
    rows: list[Row],
    again: list[Arrival],
    *,
    taken_at: int,
    restored_at: int,
) -> None:
    """Of the time that is gone, so much runs again as after an outage of that length."""
    # What had been claimed ahead when the backup was taken goes on: that is up to one second. One
    # row stands for a range of what was skipped, which may begin within that second.
    gone = [
        row
        for row in rows
        if taken_at + 1_000 < (row.skipped_until or row.fire_time)
        and row.fire_time <= restored_at - GRACE - 1_000
    ]
    ran = [row for row in gone if row.state == "succeeded"]
    called = {one.execution_id for one in again if one.job_id == job["id"]}
    assert all(row.id in called for row in ran), "succeeded, but never arrived"
    most = {"latest": 1, "all": job["misfire"]["max"], "skip": 0}[job["misfire"]["policy"]]
    assert len(ran) <= most, f"{job['name']}: {len(ran)} of the time that is gone ran: {ran}"
    skipped = [row for row in gone if row.state == "skipped"]
    assert skipped, f"{job['name']}: nothing was skipped: {gone}"
