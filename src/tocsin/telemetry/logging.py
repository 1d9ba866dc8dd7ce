"""Logging: one line per event, for people on a terminal and as JSON otherwise.

Modules log with ``structlog.stdlib.get_logger("tocsin.…")``, a stable event name and values as
fields. What the libraries underneath log by way of ``logging`` takes the same path.

The level is decided before anything is formatted, rendering happens in the caller, writing on
threads of its own (see ``log_writer``).
"""

import atexit
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

import structlog

from tocsin.domain.errors import InvalidInput
from tocsin.engine.outcomes import MANY, Line
from tocsin.telemetry.log_lines import console_line, json_line
from tocsin.telemetry.log_writer import FileSink, LogWriter, StreamSink

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
Format: TypeAlias = Literal["auto", "console", "json"]
Render: TypeAlias = Callable[[float, str, str, Mapping[str, Any]], bytes]

_QUIET = {
    # Their information is of no use to our users: statements, every request, every connection.
    "sqlalchemy": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "alembic": logging.WARNING,
}


class Outputs:
    """The places that log lines go to, each with its own rendering."""

    def __init__(self, process: str | None = None) -> None:
        self._writers: dict[Render, list[LogWriter]] = {}
        self._process = process

    def add(self, render: Render, writer: LogWriter) -> None:
        """Also write there; what looks the same in two places is rendered once."""
        self._writers.setdefault(render, []).append(writer)

    def emit(self, level: str, lines: Iterable[Line]) -> None:
        """Render events for each place and queue them; never waits and never raises."""
        now = time.time()
        told = lines if isinstance(lines, Sequence) else tuple(lines)
        for _, fields in told:
            if "exc_info" in fields:
                structlog.processors.format_exc_info(None, level, fields)
        if self._process is not None:
            told = [(event, {"process": self._process, **fields}) for event, fields in told]
        for render, writers in self._writers.items():
            rendered = [render(now, level, event, fields) for event, fields in told]
            for writer in writers:
                writer.put(*rendered)

    def flush(self) -> None:
        """Wait until what was logged so far is written, a few seconds at most."""
        for writer in chain.from_iterable(self._writers.values()):
            writer.flush()

    def close(self) -> None:
        """Write what waits and let go of everything."""
        for writer in chain.from_iterable(self._writers.values()):
            writer.close()


_outputs = Outputs()


def configure_logging(
    *,
    level: Level,
    format: Format,  # noqa: A002
    file: str | None,
    file_bytes: int,
    file_count: int,
    process: str | None = None,
) -> None:
    """Send all logging of this process to standard error and, where given, to a rotated file.

    ``auto`` is ``console`` where standard error is a terminal and ``json`` otherwise; the file is
    always JSON. With ``process`` each line carries that name: several processes may share standard
    error (never a file). May be called again; then the earlier outputs are closed. Raises
    ``InvalidInput`` where the file cannot be opened.
    """
    global _outputs  # noqa: PLW0603  # the logging of a process is one thing
    outputs = Outputs(process)
    if file is not None:
        outputs.add(json_line, _file_writer(file, file_bytes, file_count))
    if sys.stderr is not None:
        on_terminal = _is_terminal()
        as_console = format == "console" or (format == "auto" and on_terminal)
        render = _console(on_terminal) if as_console else json_line
        sink = StreamSink(sys.stderr)
        outputs.add(render, LogWriter(sink, name="log-stderr", notice=_notice(render)))
    close_logging()
    _outputs = outputs
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_nowhere_factory,
        cache_logger_on_first_use=True,
    )
    _route_stdlib(number)


def flush_logging() -> None:
    """Wait until what was logged so far is written, a few seconds at most."""
    _outputs.flush()


def close_logging() -> None:
    """Write what waits and close the file; later lines are written where that is possible."""
    _outputs.close()


atexit.register(close_logging)


class _Nowhere:
    """The end of structlog's chain: the last processor has already done the work."""

    def msg(self) -> None:
        """Do nothing."""

    debug = info = warning = error = critical = msg


_NOWHERE = _Nowhere()
_DONE: tuple[tuple[()], dict[str, Any]] = ((), {})


def _nowhere_factory(*_: object) -> _Nowhere:
    return _NOWHERE


def _render(
    _: object, level: str, event: MutableMapping[str, Any]
) -> tuple[tuple[()], dict[str, Any]]:
    name = event.pop("event", "")
    if name is MANY:
        _outputs.emit(level, event["lines"])
    else:
        _outputs.emit(level, ((name if isinstance(name, str) else str(name), event),))
    return _DONE


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (ValueError, AttributeError):
        return False


def _console(on_terminal: bool) -> Render:
    colours = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def render(now: float, level: str, event: str, fields: Mapping[str, Any]) -> bytes:
        return console_line(now, level, event, fields, colours=colours)

    return render


def _notice(render: Render) -> Callable[[int, str], bytes]:
    def notice(count: int, why: str) -> bytes:
        return render(time.time(), "warning", "log.lines_lost", {"count": count, "why": why})

    return notice


def _file_writer(file: str, file_bytes: int, file_count: int) -> LogWriter:
    try:
        sink = FileSink(Path(file), max_bytes=file_bytes, count=file_count)
    except OSError as error:
        raise InvalidInput.of(
            "log_file", f"cannot open {file}: {error.strerror or error}", "unusable"
        ) from error
    return LogWriter(sink, name="log-file", notice=_notice(json_line))


class _FromStdlib(logging.Handler):
    """Brings what libraries log into the same outputs."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):
            text = str(record.msg)
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        _outputs.emit(_level_name(record.levelno), ((text, fields),))


def _level_name(number: int) -> str:
    for name in ("critical", "error", "warning", "info"):
        if number >= logging.getLevelNamesMapping()[name.upper()]:
            return name
    return "debug"


def _route_stdlib(level: int) -> None:
    """Let libraries speak up from warnings on; with ``debug`` also their information."""
    floor = logging.INFO if level <= logging.DEBUG else max(level, logging.WARNING)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _FromStdlib):
            root.removeHandler(handler)
    root.addHandler(_FromStdlib())
    root.setLevel(floor)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, floor))
    logging.captureWarnings(True)
