"""How a command ends: exit codes, and the error that carries one."""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit status of every command means."""

    OK = 0
    FAILED = 1
    """The server, or a part of what was asked for, failed."""
    USAGE = 2
    """Wrong options, an unreadable file, or a definition that was refused."""
    UNREACHABLE = 3
    """The server cannot be reached, or is not a Tocsin server."""
    NOT_FOUND = 4
    """There is no such job or execution."""
    CONFLICT = 5
    """The present state forbids it: the name is taken, the version moved on, it has ended."""
    DENIED = 6
    """There is no key, it does not work, or it may not do that."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CommandFailed(Exception):
    """A command cannot go on; its message is for the person who typed it.

    ``details`` are further lines, ``hint`` says what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        exit_code: ExitCode = ExitCode.FAILED,
        details: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.details = tuple(details)
        self.hint = hint
