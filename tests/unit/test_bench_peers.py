"""What the comparison with other schedulers makes of arrivals and of several runs."""

from pathlib import Path

import pytest
from bench.peers import workloads
from bench.peers.__main__ import PEERS
from bench.peers.peer import Seconds
from bench.peers.program import PeerError, memory_mb, tree
from bench.peers.results import PeerResult, Results, markdown, merge, read, report
from tests.support.receiver import Arrival

START = 1_764_276_000_000


def call(at_ms: float, job: int = 0, fire: int | None = None) -> Arrival:
    path = f"/ok?job={job}" + ("" if fire is None else f"&fire={fire}")
    return Arrival(round(at_ms * 1_000_000), "", 0, "", "", "", path)


# --- lateness


def test_calls_that_tell_their_fire_time_are_compared_with_the_plan() -> None:
    by_job = {
        0: [
            call(START + 3, fire=START),
            call(START + 900, fire=START),  # again
            call(START + 5, fire=START - 1_000),  # of before the window
        ],
        1: [call(START + 1_510, job=1, fire=START + 1_500)],
    }
    late, missing, double = workloads.by_fire_time(by_job, [0, 500], start=START, end=START + 2_000)
    assert late == [3, 900, 10]
    assert missing == 2  # the first job's at +1,000, the second's at +500
    assert double == 1


def test_the_fire_time_of_tocsin_is_in_its_execution_id() -> None:
    prefix = format(START, "012x")
    arrival = Arrival(0, f"{prefix[:8]}-{prefix[8:]}-8000-8000-000000000001", 1, "", "", "", "/ok")
    assert workloads.fire_of(arrival) == START


def test_calls_that_do_not_tell_are_counted_out_in_order() -> None:
    base = START - 1_000
    by_job = {0: [call(base + 2), call(START + 700), call(START + 1_300)]}
    late, missing, double = workloads.by_order(
        by_job, [0], base=base, start=START, end=START + 3_000
    )
    assert late == [700, 300]  # the first is of before the window
    assert (missing, double) == (1, 0)


def test_a_call_before_its_fire_time_is_one_too_many() -> None:
    by_job = {0: [call(START + 1), call(START + 400), call(START + 1_001)]}
    late, missing, double = workloads.by_order(
        by_job, [0], base=START, start=START, end=START + 2_000
    )
    assert late == [1, 1]
    assert (missing, double) == (0, 1)


def test_the_millisecond_that_the_log_rounds_down_is_not_too_early() -> None:
    late, missing, double = workloads.by_order(
        {0: [call(START - 1)]}, [0], base=START, start=START, end=START + 1_000
    )
    assert (late, missing, double) == ([-1], 0, 0)


def test_drifting_jobs_are_measured_by_their_gaps() -> None:
    by_job = {0: [call(START + 10), call(START + 1_030), call(START + 2_530)]}
    late, missing, double = workloads.drift(by_job, jobs=2, start=START, end=START + 4_000)
    assert late == [20, 500]
    assert missing == 1 + 4  # the second job made none
    assert double == 0


# --- several runs


def result(name: str, against: str = "tocsin", **fields: object) -> PeerResult:
    return PeerResult(name=name, title=name.title(), against=against, versions="1", **fields)  # type: ignore[arg-type]


def results(*peers: PeerResult, quick: bool = False) -> Results:
    machine = {
        "at": "2026-11-27T21:00:00+00:00",
        "cpus": 2,
        "system": "Linux",
        "python": "3.11",
        "receiver": "nginx 1.22.1",
    }
    return Results(machine=machine, quick=quick, peers={peer.name: peer for peer in peers})


def test_the_middle_of_the_runs_is_shown_and_the_worst_of_what_is_missing() -> None:
    peer = result("other")
    for rate, missing in ((100, 0), (300, 7), (200, 0)):
        peer.add({"fires_per_s": rate, "burst_missing": missing})
    assert peer.shown("fires_per_s") == 200
    assert peer.shown("burst_missing") == 7
    assert peer.shown("cpu_us") is None


def test_parts_are_merged_through_their_files(tmp_path: Path) -> None:
    own, other, again = result("tocsin"), result("bullmq"), result("bullmq")
    own.add({"fires_per_s": 20_000})
    other.add({"fires_per_s": 8_000})
    again.add({"fires_per_s": 10_000})
    paths = []
    for number, part in enumerate((results(other), results(own), results(again))):
        paths.append(tmp_path / f"{number}.json")
        part.write(paths[-1])
    merged = merge([read(path) for path in paths], list(PEERS))
    assert list(merged.peers) == ["tocsin", "bullmq"]  # in the order of the tables
    assert merged.peers["bullmq"].values["fires_per_s"] == [8_000, 10_000]


def test_different_versions_or_sizes_are_not_merged() -> None:
    other = result("bullmq")
    other.versions = "2"
    with pytest.raises(ValueError, match="two versions: 1; 2"):
        merge([results(result("bullmq")), results(other)], [])
    with pytest.raises(ValueError, match="quick"):
        merge([results(), results(quick=True)], [])


def test_the_report_shows_ratios_failures_and_what_a_peer_does_not_have() -> None:
    own = result("tocsin", seconds="spread")
    own.add({"fires_per_s": 20_000, "late_p99": 5, "together_p99": 50, "cpu_us": 50})
    other = result("other", seconds="none")
    other.add({"fires_per_s": 5_000, "cpu_us": 200})
    together = result("cron", seconds="together")
    together.add({"together_p99": 100})
    together.errors.append("burst, run 1: no call has arrived")
    lines = report(results(own, other, together)).splitlines()
    cells = {
        heading: {
            row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
            for row in lines[lines.index(f"### {heading}") :][4:7]
        }
        for heading in (
            "One instant",
            "Every second, a millisecond apart",
            "Every second, all at the full second",
        )
    }
    assert cells["One instant"]["Other"][:4] == ["5,000", "0.25", "200.0", "4.00"]
    assert cells["One instant"]["Tocsin"][:2] == ["20,000", "-"]
    assert cells["One instant"]["Tocsin"][-1] == "1", "run"
    assert cells["Every second, a millisecond apart"]["Other"][0] == "none"
    assert cells["Every second, a millisecond apart"]["Cron"][0] == "at the full second only"
    assert cells["Every second, all at the full second"]["Cron"][3] == "2.00"
    assert "* **Cron**: burst, run 1: no call has arrived" in lines
    assert cells["One instant"]["Cron"] == ["-"] * 8
    assert "### Waiting" in lines  # Cron failed and is shown empty; of the others nothing is said
    assert "### Waiting" not in report(results(own, other)).splitlines()


def test_markdown_has_its_columns_in_line() -> None:
    table = markdown(["", "n"], [["a", "1"], ["long name", "10,000"]])
    assert table.splitlines() == [
        "|           |      n |",
        "|-----------|-------:|",
        "| a         |      1 |",
        "| long name | 10,000 |",
    ]


# --- the peers


def test_an_option_that_a_peer_does_not_have_is_refused_by_name() -> None:
    peer = PEERS["bullmq"]
    assert peer.options({"concurrency": 7})["concurrency"] == 7
    with pytest.raises(PeerError, match="bullmq has no option speed; it has processes"):
        peer.options({"speed": 11})


def test_each_peer_is_compared_with_a_tocsin_that_is_measured() -> None:
    assert {peer.against for peer in PEERS.values()} == {"tocsin", "tocsin-pg"}
    for peer in PEERS.values():
        assert PEERS[peer.against].seconds is Seconds.SPREAD
        assert peer.note


def test_a_tree_of_processes_starts_with_the_one_that_is_asked_for() -> None:
    import os

    assert tree(os.getpid())[0] == os.getpid()
    assert memory_mb(os.getpid()) > 1
