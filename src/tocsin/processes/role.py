"""What a supervisor tells a child of its place, by an environment variable of the child."""

import json
import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "_TOCSIN_PROCESS"
"""Not one of the settings: nobody but a supervisor sets it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """One of the processes of a supervisor."""

    number: int
    """From 1 on."""
    of: int
    first_start: bool
    """Whether it is not a replacement for one that ended."""
    listener: int
    """The descriptor of the listening socket that all share."""
    line: int
    """The descriptor of a socket to the supervisor: it ends with the supervisor."""
    directory: str
    """Where the processes have their private sockets."""

    @property
    def first(self) -> bool:
        """Whether it does what is done once."""
        return self.number == 1 and self.first_start

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment of the child."""
        return {**base, VARIABLE: json.dumps(asdict(self))}


class Line:
    """A child's line to its supervisor."""

    def __init__(self, role: Role) -> None:
        self._socket = socket.socket(fileno=role.line)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """The descriptor; it becomes readable when the supervisor is gone."""
        return self._socket.fileno()

    def say_started(self) -> None:
        """Tell the supervisor that the start has worked."""
        try:
            self._socket.send(b"1")
        except OSError:
            return  # It is gone, and that is noticed elsewhere.


def take_role(environment: MutableMapping[str, str] | None = None) -> Role | None:
    """The role of this process, ``None`` where it has no supervisor; said once."""
    told = (os.environ if environment is None else environment).pop(VARIABLE, None)
    return None if told is None else Role(**json.loads(told))


def socket_path(directory: str, number: int, purpose: str) -> str:
    """Where a process listens for its siblings."""
    return str(Path(directory) / f"{number}.{purpose}")
