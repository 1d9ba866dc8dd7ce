"""Results of several runs and several sessions, and their tables."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import number

COUNTED = ("_missing", "_double")
"""How measures end of which the worst run is shown, not the middle one: there should be none."""

NOTHING = "-"


@dataclass(kw_only=True)
class PeerResult:
    """What one peer came to, over all runs."""

    name: str
    title: str
    against: str
    versions: str = ""
    note: str = ""
    seconds: str = "none"
    values: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    def add(self, values: Mapping[str, float]) -> None:
        """Note the measures of a run."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def shown(self, name: str) -> float | None:
        """The middle of the runs, the worst for what is counted; ``None`` where not measured."""
        values = self.values.get(name)
        if not values:
            return None
        return max(values) if name.endswith(COUNTED) else median(values)

    def merge(self, other: "PeerResult") -> None:
        """Add the runs of another session; both must be of the same versions."""
        if self.versions != other.versions:
            raise ValueError(
                f"{self.name} was measured in two versions: {self.versions}; {other.versions}"
            )
        for name, values in other.values.items():
            self.values.setdefault(name, []).extend(values)
        self.errors += other.errors


@dataclass(kw_only=True)
class Results:
    """All of it."""

    machine: dict[str, Any]
    quick: bool
    peers: dict[str, PeerResult] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For programs, and to be merged."""
        return {
            "machine": self.machine,
            "quick": self.quick,
            "peers": {name: vars(peer) for name, peer in self.peers.items()},
        }

    def write(self, path: Path) -> None:
        """Write the JSON."""
        path.write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")


def read(path: Path) -> Results:
    """Read what ``write`` wrote."""
    found = json.loads(path.read_text())
    peers = {name: PeerResult(**fields) for name, fields in found["peers"].items()}
    return Results(machine=found["machine"], quick=found["quick"], peers=peers)


def merge(parts: Iterable[Results], order: Sequence[str]) -> Results:
    """One result of several: peers of all, runs of the same peer together."""
    first, *others = parts
    for other in others:
        if other.quick != first.quick:
            raise ValueError("a quick and a full measurement cannot be merged")
        for name, peer in other.peers.items():
            if name in first.peers:
                first.peers[name].merge(peer)
            else:
                first.peers[name] = peer
        first.machine["at"] = max(first.machine["at"], other.machine["at"])
    known = [name for name in order if name in first.peers]
    rest = [name for name in first.peers if name not in known]
    first.peers = {name: first.peers[name] for name in known + rest}
    return first


# --- tables -------------------------------------------------------------------------------------


def report(results: Results) -> str:
    """Everything for people, as Markdown that can be read as it is."""
    peers = list(results.peers.values())
    machine = results.machine
    runs = [len(values) for peer in peers for values in peer.values.values()]
    size = "quick: small and short, for a first look" if results.quick else "full size"
    parts = [
        f"{machine['at'][:10]} · {machine['cpus']} CPUs · {machine['system']} · "
        f"Python {machine['python']} · receiver: {machine['receiver']} · "
        f"medians of up to {max(runs, default=0)} runs · {size}"
    ]
    for heading, heads, row in (
        ("One instant", _BURST_HEADS, _burst_row),
        ("Every second, a millisecond apart", _LATE_HEADS, _late_row),
        ("Every second, all at the full second", _LATE_HEADS, _together_row),
        ("Creating jobs", _CREATE_HEADS, _create_row),
        ("Waiting", _IDLE_HEADS, _idle_row),
    ):
        shown = [(peer, row(peer, results.peers)) for peer in peers]
        # Not everything is measured each time; what failed is shown empty, and told below.
        rows = [cells for peer, cells in shown if set(cells[1:]) != {NOTHING} or peer.errors]
        if rows:
            parts.append(f"### {heading}\n\n{markdown(heads, rows)}")
    failures = [f"* **{peer.title}**: {error}" for peer in peers for error in peer.errors]
    if failures:
        parts.append("### Failed\n\n" + "\n".join(failures))
    rows = [[peer.title, peer.versions or NOTHING, peer.note] for peer in peers]
    parts.append(f"### Versions\n\n{markdown(['', 'versions', ''], rows)}")
    return "\n\n".join(parts)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, its columns in line; all but the first are numbers and so to the right."""
    cells = [list(heads), *[list(row) for row in rows]]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(heads))]
    left = {0} if heads[1:2] != ["versions"] else set(range(len(heads)))

    def line(row: Sequence[str]) -> str:
        return (
            "| "
            + " | ".join(
                cell.ljust(width) if column in left else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            + " |"
        )

    rule = (
        "|"
        + "|".join(
            "-" * (width + 2) if column in left else "-" * (width + 1) + ":"
            for column, width in enumerate(widths)
        )
        + "|"
    )
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


_BURST_HEADS = [
    "", "fires/s", "ratio", "CPU µs/fire", "ratio", "first call, ms", "missing", "double", "runs",
]  # fmt: skip


def _burst_row(peer: PeerResult, all_of_them: Mapping[str, PeerResult]) -> list[str]:
    return [
        peer.title,
        _value(peer, "fires_per_s"),
        _ratio(peer, "fires_per_s", all_of_them),
        _value(peer, "cpu_us"),
        _ratio(peer, "cpu_us", all_of_them),
        _value(peer, "first_ms"),
        _value(peer, "burst_missing"),
        _value(peer, "burst_double"),
        _runs(peer, "fires_per_s"),
    ]


_LATE_HEADS = ["", "p50 ms", "p99 ms", "max ms", "p99, ratio", "missing", "double", "runs"]


def _late_row(peer: PeerResult, all_of_them: Mapping[str, PeerResult]) -> list[str]:
    if peer.seconds == "together":
        return [peer.title, "at the full second only", *[NOTHING] * 6]
    return _lateness_row(peer, all_of_them, "late")


def _together_row(peer: PeerResult, all_of_them: Mapping[str, PeerResult]) -> list[str]:
    if peer.seconds == "drifting":
        return [peer.title, "drifts", *[NOTHING] * 6]
    return _lateness_row(peer, all_of_them, "together")


def _lateness_row(peer: PeerResult, all_of_them: Mapping[str, PeerResult], which: str) -> list[str]:
    if peer.seconds == "none":
        return [peer.title, "none", *[NOTHING] * 6]
    return [
        peer.title + (", gap less 1 s" if peer.seconds == "drifting" else ""),
        *[_value(peer, f"{which}_{name}") for name in ("p50", "p99", "max")],
        _ratio(peer, f"{which}_p99", all_of_them),
        _value(peer, f"{which}_missing"),
        _value(peer, f"{which}_double"),
        _runs(peer, f"{which}_missing"),
    ]


_CREATE_HEADS = ["", "one by one, /s", "ratio", "batches, /s", "ratio", "runs"]


def _create_row(peer: PeerResult, all_of_them: Mapping[str, PeerResult]) -> list[str]:
    return [
        peer.title,
        _value(peer, "create_single"),
        _ratio(peer, "create_single", all_of_them),
        _value(peer, "create_batch"),
        _ratio(peer, "create_batch", all_of_them),
        _runs(peer, "create_single"),
    ]


_IDLE_HEADS = ["", "CPU %", "scheduler MB", "store MB"]


def _idle_row(peer: PeerResult, _: Mapping[str, PeerResult]) -> list[str]:
    return [
        peer.title,
        _value(peer, "idle_cpu"),
        _value(peer, "idle_scheduler_mb"),
        _value(peer, "idle_store_mb"),
    ]


def _value(peer: PeerResult, name: str) -> str:
    shown = peer.shown(name)
    return NOTHING if shown is None else number(shown)


def _runs(peer: PeerResult, name: str) -> str:
    values = peer.values.get(name)
    return str(len(values)) if values else NOTHING


def _ratio(peer: PeerResult, name: str, all_of_them: Mapping[str, PeerResult]) -> str:
    """As a multiple of the Tocsin that it is compared with."""
    own = all_of_them.get(peer.against) or all_of_them.get("tocsin")
    value = peer.shown(name)
    if own is None or own is peer or value is None:
        return NOTHING
    base = own.shown(name)
    return f"{value / base:.2f}" if base else NOTHING
