"""What commands print: tables and sheets for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from tocsin.cli.times import milliseconds, relative, short_span
from tocsin.domain.instant import Millis, parse_instant

UNLIMITED = 10_000
"""Columns of output that is not a terminal: whatever reads it wants whole values."""

NARROW = 20
NARROWEST = 8
"""Characters that a flexible column of a table keeps; the first where that is enough."""

STATE_STYLES = {
    "succeeded": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "cancelled": "magenta",
    "pending": "cyan",
    "claimed": "cyan",
    "held": "green",
    "lapsed": "bold red",
    "active": "green",
    "paused": "yellow",
    "completed": "dim",
    "deleted": "dim",
}


def console() -> Console:
    """Standard output; with colours only on a terminal without ``NO_COLOR``."""
    plain = Console(highlight=False, emoji=False)
    if plain.is_terminal or "COLUMNS" in plain._environ:
        return plain
    return Console(highlight=False, emoji=False, width=UNLIMITED)


def error_console() -> Console:
    """Standard error, for messages; they are not cut to the width."""
    return Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """A value of the API as it came: indented on a terminal, on one line otherwise."""
    indent = 2 if sys.stdout.isatty() else None
    print(json.dumps(value, ensure_ascii=False, indent=indent))


def print_json_lines(values: Iterable[Any]) -> None:
    """A list, one value per line, each as soon as it is there."""
    for value in values:
        print(json.dumps(value, ensure_ascii=False), flush=True)


def note(text: str) -> None:
    """A remark for people on standard error, so that it does not get into a pipe."""
    error_console().print(text, markup=False, style="dim")


class Listing:
    """A table without lines; where it is too wide the ``flexible`` columns give way, in order."""

    def __init__(
        self, *columns: str, flexible: Sequence[str] = (), right: Sequence[str] = ()
    ) -> None:
        self._columns = columns
        self._flexible = [columns.index(name) for name in flexible]
        self._right = right
        self._rows: list[tuple[str | Text, ...]] = []

    def add(self, *cells: str | Text) -> None:
        """Add a row."""
        self._rows.append(cells)

    def print(self, nothing: str) -> None:
        """Print it, or say that there is ``nothing``."""
        if not self._rows:
            note(nothing)
            return
        out = console()
        widths = self._widths(out.width)
        header = tuple(Text(name, style="bold") for name in self._columns)
        for row in (header, *self._rows):
            out.print(self._line(row, widths), soft_wrap=True)

    def _line(self, row: Sequence[str | Text], widths: Sequence[int]) -> Text:
        line = Text()
        for name, cell, width in zip(self._columns, row, widths, strict=True):
            text = Text(one_line(cell)) if isinstance(cell, str) else cell.copy()
            text.truncate(width, overflow="ellipsis")
            missing = width - text.cell_len
            if name in self._right:
                text.pad_left(missing)
            else:
                text.pad_right(missing)
            line.append_text(text).append("  ")
        line.rstrip()
        return line

    def _widths(self, available: int) -> list[int]:
        widths = [
            max(map(_width, column)) for column in zip(self._columns, *self._rows, strict=True)
        ]
        excess = sum(widths) + 2 * (len(widths) - 1) - available
        for narrow in (NARROW, NARROWEST):
            for index in self._flexible:
                cut = max(0, min(excess, widths[index] - narrow))
                widths[index] -= cut
                excess -= cut
        return widths


def one_line(text: str) -> str:
    """Text of others in one line, without what could steer the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


class Sheet:
    """Names and values below each other, for one thing in detail."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, Text]] = []

    def add(self, name: str, value: str | Text) -> None:
        """Add a line; an empty name continues the one above."""
        self._rows.append((name, Text(value) if isinstance(value, str) else value))

    def print(self) -> None:
        """Print it; long values are wrapped beside their names."""
        out = console()
        column = max(len(name) for name, _ in self._rows) + 2
        for name, value in self._rows:
            label = Text(f"{name:<{column}}", style="bold")
            for part in value.wrap(out, max(20, out.width - column)):
                part.rstrip()
                out.print(label.append_text(part), soft_wrap=True)
                label = Text(" " * column)


def state(name: str) -> Text:
    """A state in its colour; states that are not known have none."""
    return Text(name, style=STATE_STYLES.get(name, ""))


def outcome(execution: Mapping[str, Any], now: Millis) -> Text:
    """What became of an execution in a few words: ``succeeded 200``, ``failed timeout``."""
    name = execution.get("state") or "unknown"
    text = state(name)
    extra = ""
    if name == "succeeded":
        extra = str(execution.get("http_status") or "")
    elif name == "failed":
        extra = cause(execution) or execution.get("reason") or ""
    elif name in ("skipped", "cancelled"):
        extra = execution.get("reason") or ""
        if count := execution.get("skipped_count"):
            extra = f"{extra} ×{count}"  # noqa: RUF001
    elif name == "pending" and execution.get("attempt_count"):
        extra = "retry"
        if at := execution.get("available_at"):
            extra += f" {relative(at, now)}"
    return text.append(f" {extra}") if extra else text


def cause(execution: Mapping[str, Any]) -> str:
    """Why the last attempt failed: a status code or an error kind."""
    kind = execution.get("error_kind") or ""
    return str(execution.get("http_status")) if kind == "http_status" else str(kind)


def schedule_words(schedule: Mapping[str, Any]) -> str:
    """A schedule as it was written, short: ``0 2 * * * Europe/Berlin``, ``every 15m``."""
    zone = schedule.get("timezone")
    if cron := schedule.get("cron"):
        return f"{cron} {zone}" if zone and zone != "UTC" else str(cron)
    if every := schedule.get("every"):
        return f"every {every}"
    return f"at {schedule.get('at', '?')}"


def target_words(target: Mapping[str, Any]) -> str:
    """What a fire does, short: ``POST https://…``, ``log: text``."""
    if "log" in target:
        return f"log: {target['log']}"
    return f"{target.get('method', 'POST')} {target.get('url', '?')}"


def took(execution: Mapping[str, Any]) -> str:
    """How long an execution took, from the first call to its end."""
    return milliseconds(execution.get("duration_ms"))


def late(execution: Mapping[str, Any]) -> str:
    """How late its first call left."""
    return milliseconds(execution.get("lateness_ms"))


def exact(instant: str | None, now: Millis) -> str:
    """An instant exactly, with its distance: ``2026-12-24T18:00:00Z (in 3h 5m)``."""
    return f"{instant} ({relative(instant, now)})" if instant else ""


def ago(instant: str | None, now: Millis) -> str:
    """How long ago, without the word: for columns that are named after it."""
    return short_span(now - parse_instant(instant)) if instant else ""


_PHASES = (
    ("DNS", "dns_ms"),
    ("CONNECT", "connect_ms"),
    ("PROXY", "proxy_ms"),
    ("TLS", "tls_ms"),
    ("FIRST BYTE", "first_byte_ms"),
)


def listing_of_attempts(attempts: Sequence[Mapping[str, Any]]) -> Listing:
    """The attempts of an execution, with the phases that their calls went through."""
    timings = [attempt.get("timings") or {} for attempt in attempts]
    phases = [
        (name, phase)
        for name, phase in _PHASES
        if any(timing.get(phase) is not None for timing in timings)
    ]
    measured = [name for name, _ in phases]
    table = Listing(
        *("#", "STARTED", "RESULT", *measured, "TOTAL", "NODE", "ERROR"),
        flexible=("ERROR", "NODE"),
        right=("#", *measured, "TOTAL"),
    )
    for attempt, timing in zip(attempts, timings, strict=True):
        failed = bool(attempt.get("error_kind"))
        result = cause(attempt) if failed else str(attempt.get("http_status") or "ok")
        table.add(
            str(attempt.get("number")),
            str(attempt.get("started_at"))[11:],
            Text(result, style="red" if failed else "green"),
            *(milliseconds(timing.get(phase)) for _, phase in phases),
            milliseconds(attempt.get("duration_ms")),
            str(attempt.get("node") or ""),
            str(attempt.get("error") or ""),
        )
    return table


def _width(cell: str | Text) -> int:
    return cell_len(cell if isinstance(cell, str) else cell.plain)
