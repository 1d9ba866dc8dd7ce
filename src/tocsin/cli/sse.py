"""Server-sent events: reading them off a stream of lines, and keeping at it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from tocsin.cli.client import Client

FIRST_WAIT = 0.5
LONGEST_WAIT = 10.0
"""Seconds between two tries to connect again; doubled with each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event."""

    name: str
    data: str
    id: str | None


def parse_events(lines: Iterable[str]) -> Iterator[Event]:
    """The events in a stream of lines, as the HTML standard defines them; comments are dropped."""
    name, last_id = "", None
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield Event(name=name or "message", data="\n".join(data), id=last_id)
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id" if "\0" not in value:
                last_id = value
            case _:
                pass  # a comment, `retry`, or something newer


def follow(
    client: "Client",
    path: str,
    *,
    params: Mapping[str, Any],
    connected: Callable[[bool], None],
    lost: Callable[[str], None],
    sleep: Callable[[float], None] | None = None,
) -> Iterator[Event]:
    """Events without end; where the connection breaks it is made again, from the last event on.

    ``connected`` is told whether it is the first time, ``lost`` why the connection is gone. Raises
    ``CommandFailed`` where the very first try fails.
    """
    from tocsin.cli.client import unreachable
    from tocsin.cli.failure import CommandFailed, ExitCode

    last_id: str | None = None
    first = True
    wait = FIRST_WAIT
    while True:
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        try:
            with client.stream(path, params=params, headers=headers) as response:
                connected(first)
                first = False
                for event in parse_events(response.iter_lines()):
                    wait = FIRST_WAIT
                    last_id = event.id or last_id
                    yield event
            lost("the server ended it")
        except httpx.HTTPError as error:
            if first:
                raise unreachable(client.server, error) from error
            lost(str(error) or type(error).__name__)
        except CommandFailed as failure:
            # While it starts up, a server or the proxy before it may answer with errors.
            if first or failure.exit_code not in (ExitCode.FAILED, ExitCode.UNREACHABLE):
                raise
            lost(failure.message)
        (sleep or time.sleep)(wait)
        wait = min(wait * 2, LONGEST_WAIT)
