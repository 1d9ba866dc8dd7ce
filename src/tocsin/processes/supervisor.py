"""Keeping a number of processes alive that share a listening socket.

Each child is a fresh interpreter with a session of its own, so that Ctrl-C in a terminal reaches
the supervisor alone and is passed on once. A socket pair ties each to the supervisor: the child
says by it that it has started, and sees by its end that the supervisor is gone, however that came
about.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from tocsin.processes.role import Role

log = structlog.stdlib.get_logger("tocsin")

STEADY = 10.0
"""Seconds that a process must live for its end not to count as one of a row."""

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
"""Seconds until one that ends again and again is started again."""

START_FAILURES = frozenset({1, 2})
"""Exit codes that say: so it cannot start."""

LONGEST_PATH = 80
"""Characters of the directory's path: the system takes about 100 for a socket in it."""

Launch = Callable[[int], tuple[Sequence[str], Mapping[str, str]]]
"""The command line and the environment of a child, by its number."""


@dataclass(slots=True)
class _Child:
    process: asyncio.subprocess.Process
    line: socket.socket
    born: float
    started: bool = False


class Supervisor:
    """Starts ``count`` processes, replaces those that end, and stops them together.

    ``patience`` is how many seconds they have to stop before they are killed.
    """

    def __init__(
        self, *, count: int, launch: Launch, listener: socket.socket, patience: float
    ) -> None:
        self._count = count
        self._launch = launch
        self._listener = listener
        self._patience = patience
        self._children: dict[int, _Child] = {}
        self._stopping = asyncio.Event()
        self._directory = ""
        self._exit_code = 0
        self._flush: Callable[[], None] = lambda: None

    async def run(self, flush_logging: Callable[[], None]) -> int:
        """Supervise until SIGTERM or SIGINT; returns the exit code."""
        self._flush = flush_logging
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        self._directory = _private_directory()
        try:
            keepers = [
                asyncio.create_task(self._keep(number)) for number in range(1, self._count + 1)
            ]
            await self._stopping.wait()
            # Whoever connects from now on is refused, once the last process is gone.
            self._listener.close()
            _, late = await asyncio.wait(keepers, timeout=self._patience)
            if late:
                log.error("processes.killed", count=len(late), after_s=self._patience)
                self._signal_all(signal.SIGKILL)
            await asyncio.gather(*keepers)
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)
        return self._exit_code

    def _stop(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            # Asked twice: whoever asks will not wait.
            log.warning("stopped.at_once", signal=number.name)
            self._signal_all(signal.SIGKILL)
            shutil.rmtree(self._directory, ignore_errors=True)
            self._flush()
            os._exit(128 + number)
        log.info("stopping", processes=len(self._children))
        self._stop_all()

    def _stop_all(self) -> None:
        self._stopping.set()
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, what: signal.Signals) -> None:
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(what)

    async def _keep(self, number: int) -> None:
        """Run one child after the other."""
        early_ends = 0
        first_start = True
        while not self._stopping.is_set():
            try:
                child = await self._start(number, first_start=first_start)
            except OSError as error:  # no more processes, no more memory
                early_ends += 1
                pause = _backoff(early_ends)
                log.error(  # noqa: TRY400  # said, not a bug
                    "process.not_started", number=number, error=str(error), again_in_s=pause
                )
                await self._pause(pause)
                continue
            code = await self._watch(number, child)
            if self._stopping.is_set():
                return
            if first_start and not child.started and code in START_FAILURES:
                # The same would come of it again; why is in its own log line before this.
                log.error("start.failed", code="process_failed", number=number, exit_code=code)
                self._exit_code = code
                self._stop_all()
                return
            first_start = False
            lived = time.monotonic() - child.born
            early_ends = 0 if lived >= STEADY else early_ends + 1
            pause = 0.0 if early_ends <= 1 else _backoff(early_ends)
            log.error(
                "process.ended",
                number=number,
                pid=child.process.pid,
                **({"signal": _name(-code)} if code < 0 else {"exit_code": code}),
                lived_s=round(lived, 1),
                again_in_s=pause,
            )
            await self._pause(pause)

    async def _start(self, number: int, *, first_start: bool) -> _Child:
        command, environment = self._launch(number)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        role = Role(
            number=number,
            of=self._count,
            first_start=first_start,
            listener=self._listener.fileno(),
            line=theirs.fileno(),
            directory=self._directory,
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=role.environment(environment),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(role.listener, role.line),
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        child = self._children[number] = _Child(process, ours, time.monotonic())
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)  # it came too late to be among all
        return child

    async def _watch(self, number: int, child: _Child) -> int:
        """Wait for its end; returns its exit code, negative where a signal ended it."""
        listening = asyncio.create_task(self._hear(child))
        code = await child.process.wait()
        # What it said last is there by now.
        await listening
        child.line.close()
        del self._children[number]
        return code

    async def _hear(self, child: _Child) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while await loop.sock_recv(child.line, 1):
                child.started = True

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def _backoff(early_ends: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(early_ends, 20))


def _private_directory() -> str:
    """A new directory that nobody else may enter, with a path that is short enough."""
    made = tempfile.mkdtemp(prefix="tocsin-")
    if len(made) <= LONGEST_PATH or not Path("/tmp").is_dir():  # noqa: S108
        return made
    Path(made).rmdir()
    return tempfile.mkdtemp(prefix="tocsin-", dir="/tmp")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


SUPPORTED = sys.platform != "win32"
"""Whether this system has what a supervisor needs."""
