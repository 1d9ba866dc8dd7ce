"""Figures and how they are printed."""

import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any

from bench import nginx


@dataclass(kw_only=True, slots=True)
class Figure:
    """One measure of one workload, over several runs."""

    workload: str
    measure: str
    unit: str
    values: list[float] = field(default_factory=list)
    baseline_name: str = ""
    baseline: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the runs."""
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        """The median as a multiple of the baseline's; ``None`` where there is none."""
        base = median(self.baseline) if self.baseline else 0.0
        return self.median / base if base else None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "workload": self.workload,
            "measure": self.measure,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": self.values,
            "baseline": self.baseline_name or None,
            "baseline_median": median(self.baseline) if self.baseline else None,
            "ratio": self.ratio,
            "note": self.note or None,
        }


class Figures:
    """The figures of a workload, filled run by run."""

    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._by_measure: dict[str, Figure] = {}

    def add(
        self,
        measure: str,
        unit: str,
        value: float,
        *,
        baseline_name: str = "",
        baseline: float | None = None,
    ) -> None:
        """Note one run's value, and that of its baseline."""
        figure = self._by_measure.setdefault(
            measure,
            Figure(
                workload=self._workload, measure=measure, unit=unit, baseline_name=baseline_name
            ),
        )
        figure.values.append(value)
        if baseline is not None:
            figure.baseline.append(baseline)

    def all(self) -> list[Figure]:
        """In the order in which they were first noted."""
        return list(self._by_measure.values())


def machine() -> dict[str, Any]:
    """Where and when it was measured."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "receiver": nginx.version() if nginx.program() else "tests/support/receiver.py",
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
    }


def table(figures: Sequence[Figure]) -> str:
    """The figures for people."""
    heads = ("workload", "measure", "median", "min", "max", "runs", "unit", "baseline", "ratio")
    rows = [heads]
    shown = ""
    for figure in figures:
        base = ""
        if figure.baseline:
            base = f"{figure.baseline_name} {number(median(figure.baseline))}"
        rows.append(
            (
                "" if figure.workload == shown else figure.workload,
                figure.measure,
                number(figure.median),
                number(min(figure.values)),
                number(max(figure.values)),
                str(len(figure.values)),
                figure.unit,
                base,
                "" if figure.ratio is None else f"{figure.ratio:.2f}",
            )
        )
        shown = figure.workload
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    right = {2, 3, 4, 5, 8}
    lines = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "─" * max(len(line) for line in lines))
    return "\n".join(lines)


def number(value: float) -> str:
    """Three or four digits that matter."""
    if value == 0 or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that ``part`` (0 .. 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(part * len(ordered) + 0.5) - 1))]
