"""What the programs on Python share: the commands that they answer on standard input."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

BODY = b'{"hello":"world"}'
HEADERS = {"content-type": "application/json"}

Command = Mapping[str, Any]


def config() -> dict[str, Any]:
    """The configuration, which is the first argument."""
    found: dict[str, Any] = json.loads(sys.argv[1])
    return found


def query(job: int, fire: int | None = None) -> str:
    """The path and query of the call of a job."""
    return f"/ok?job={job}" if fire is None else f"/ok?job={job}&fire={fire}"


def say(message: Mapping[str, Any]) -> None:
    """Write a line to whoever started the program."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def create(
    command: Command,
    one: Callable[[int], Awaitable[object]],
    many: Callable[[list[int]], Awaitable[object]] | None = None,
) -> dict[str, float]:
    """Create jobs until there are enough or the time is over, with so many calls at once.

    ``one(number)``, or ``many(numbers)`` with a batch each, whichever the command asks for.
    """
    count, first, seconds = command["count"], command["first"], command["seconds"]
    began = time.perf_counter()
    created = 0

    async def lane() -> None:
        nonlocal created
        while created < count and (seconds is None or time.perf_counter() - began < seconds):
            start = first + created
            if command["how"] == "single":
                created += 1
                await one(start)
            else:
                assert many is not None, "it creates one by one only"
                size = min(command["batch"], count - created)
                created += size
                await many(list(range(start, start + size)))

    await asyncio.gather(*[lane() for _ in range(command["at_once"])])
    return {"created": created, "seconds": time.perf_counter() - began}


async def answer(handlers: Mapping[str, Callable[[Command], Awaitable[Mapping[str, Any]]]]) -> None:
    """Answer each line of standard input by the handler of that name; ends where it ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say({"ready": True})
    while line := await lines.readline():
        command = json.loads(line)
        say(await handlers[command["do"]](command))


async def until_stdin_ends() -> None:
    """A worker says that it is ready, and ends when whoever started it is gone."""
    await answer({})
