"""Where log lines go: standard error and a rotated file, each written by its own thread.

A terminal that is stopped, a pipe that nobody reads or a slow disk hold up that thread and nothing
else. What waits is bounded; beyond it lines are dropped and counted.
"""

import errno
import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TextIO, TypeAlias

MAX_WAITING = 20_000
"""Lines that wait for a sink at most."""

MAX_BATCH = 1_000
"""Lines that are handed to a sink at once."""

ATOMIC = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes in one piece, whoever else writes to it."""

_Item: TypeAlias = "Sequence[bytes] | threading.Event | None"


class Sink(Protocol):
    """Takes finished lines; raises ``OSError`` where they could not be written."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Write lines that end with a newline."""

    def close(self) -> None:
        """Let go of what is open."""


class StreamSink:
    """Standard error; once it is gone (closed, its reader away) lines are thrown away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        try:
            self._fd: int | None = stream.fileno()
        except (OSError, ValueError, AttributeError):
            self._fd = None  # a stream in memory, as in tests

    def write(self, lines: Sequence[bytes]) -> None:
        """Write to the descriptor itself, in pieces of whole lines that stay together.

        So the lines of several processes do not mix; only one longer than a piece could.
        """
        if self._gone:
            return
        try:
            if self._fd is None:
                self._stream.write(b"".join(lines).decode("utf-8", "replace"))
                self._stream.flush()
            else:
                for piece in _pieces(lines, ATOMIC):
                    _write_all(self._fd, piece)
        except (OSError, ValueError):
            self._gone = True

    def close(self) -> None:
        """Leave the stream open: it is not ours."""


class FileSink:
    """A file that is rotated at a size; ``FILE.1`` is the newest of the old ones.

    Raises ``OSError`` where the file cannot be opened.
    """

    def __init__(self, path: Path, *, max_bytes: int, count: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _Rotating(path, maxBytes=max_bytes, backupCount=count)
        self._max_bytes = max_bytes
        self._torn = False

    def write(self, lines: Sequence[bytes]) -> None:
        """Write in pieces that fit into one file, so that none outgrows its limit."""
        for piece in _pieces(lines, self._max_bytes):
            self._append(piece)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, data: bytes) -> None:
        fd = self._file.descriptor()
        size = os.fstat(fd).st_size
        if size and size + len(data) > self._max_bytes:
            self._file.doRollover()
            fd, size = self._file.descriptor(), 0
            self._torn = False
        try:
            # A disk that was full in the middle of a line must not spoil the next one.
            _write_all(fd, b"\n" + data if self._torn else data)
        except OSError:
            self._torn = os.fstat(fd).st_size > size or self._torn
            raise
        self._torn = False


class _Rotating(RotatingFileHandler):
    """The rotation of the standard library over a file without a buffer.

    With a buffer, what a full disk did not take would be written when the file is closed, and
    nobody knows by then into what.
    """

    def descriptor(self) -> int:
        """The open file; opens it again where a rotation failed half-way."""
        if self.stream is None:
            self.stream = self._open()
        return self.stream.fileno()

    def _open(self) -> Any:
        return Path(self.baseFilename).open("ab", buffering=0)

    def doRollover(self) -> None:  # noqa: N802
        if self.backupCount:
            super().doRollover()
        else:
            os.ftruncate(self.descriptor(), 0)


class LogWriter:
    """Hands lines to a sink on a thread of its own, in order.

    ``notice`` renders a line about lines that were lost.
    """

    def __init__(self, sink: Sink, *, name: str, notice: Callable[[int, str], bytes]) -> None:
        self._sink = sink
        self._notice = notice
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        # Each is counted by one side, so that their difference needs no lock. (Lines come from
        # more than one thread only rarely; an addition that gets lost then hardly matters.)
        self._taken = 0
        self._handed = 0
        self._lost = 0
        self._why = ""
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, *lines: bytes) -> None:
        """Take lines that belong together, as many as there is room for; never waits or raises.

        Each call wakes the thread, which costs more than a line: so many lines are one call.
        """
        if self._closed:
            if not self._thread.is_alive():
                self._write(list(lines))
            return
        room = max(0, MAX_WAITING - (self._taken - self._handed))
        if len(lines) > room:
            self._lose(len(lines) - room, "the log cannot be written as fast as it grows")
            lines = lines[:room]
        if lines:
            self._taken += len(lines)
            self._queue.put(lines)

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until everything so far is written; whether that came about in time."""
        done = threading.Event()
        self._queue.put(done)
        return self._closed or done.wait(timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits and end; gives up after ``timeout`` seconds."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._sink.close()

    def _run(self) -> None:
        ending = False
        while not ending:
            batch, marks, ending = self._next_batch()
            if batch:
                self._write(batch)
            for mark in marks:
                mark.set()

    def _next_batch(self) -> tuple[list[bytes], list[threading.Event], bool]:
        batch: list[bytes] = []
        marks: list[threading.Event] = []
        item = self._queue.get()
        while True:
            if item is None:
                return batch, marks, True
            if isinstance(item, threading.Event):
                marks.append(item)
            else:
                batch += item
                self._handed += len(item)
            if len(batch) >= MAX_BATCH:
                return batch, marks, False
            try:
                item = self._queue.get_nowait()
            except Empty:
                return batch, marks, False

    def _write(self, lines: list[bytes]) -> None:
        if self._lost:
            lines = [self._notice(self._lost, self._why), *lines]
        try:
            self._sink.write(lines)
        except OSError as error:
            self._lose(len(lines) - bool(self._lost), error.strerror or str(error))
        else:
            self._lost = 0

    def _lose(self, count: int, why: str) -> None:
        # Two threads may add at once and one addition get lost: the count is a hint.
        self._lost += count
        self._why = why


def _pieces(lines: Sequence[bytes], most: int) -> Iterator[bytes]:
    """The lines put together to pieces of ``most`` bytes, or of one line that is longer."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > most:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield b"".join(piece)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                raise
            select.select([], [fd], [], 1.0)  # somebody made the descriptor non-blocking
