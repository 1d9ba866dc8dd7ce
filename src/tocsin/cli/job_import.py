"""``tocsin jobs import``: jobs from lines of JSON, stored while they are sent, each for itself."""

import asyncio
import codecs
import json
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO
from uuid import uuid4

import typer

from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.parameters import DEFAULT_SERVER, AsJson, Server

if TYPE_CHECKING:
    from tocsin.cli.client import Client

Say = Callable[[str], None]

REFRESH = 0.1
"""Seconds between two changes of the progress."""


def import_jobs(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-",
            help="A job on each line, as JSON; - reads standard input.",
            show_default=False,
        ),
    ],
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The key of an import that broke off: what it has created is not created again. "
            "A new import makes one, and tells it.",
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Create any number of jobs from lines of JSON, each for itself.

    They are stored while more are sent, and a line that is refused is told with its number and
    costs the others nothing. Unlike 'apply' it changes no job that exists.
    """
    from tocsin.cli.client import Client
    from tocsin.cli.output import note

    with _opened(file) as source, Client(server) as client:
        key = idempotency_key or str(uuid4())
        if idempotency_key is None:
            note(f"idempotency key {key}, should this import have to be continued")
        again = f"tocsin jobs import {shlex.quote(file)} --idempotency-key {shlex.quote(key)}"
        with _showing(quiet=as_json) as (say, progress):
            importing = Importing(client, key, again, say=say, progress=progress, as_json=as_json)
            asyncio.run(importing.run(source))
    importing.conclude()


@dataclass(slots=True)
class Counts:
    """What has become of the lines that were answered."""

    created: int = 0
    replayed: int = 0
    refused: int = 0
    last: int = 0
    """The number of the last line that was answered; 0 before any was."""
    codes: set[ExitCode] = field(default_factory=set)
    """Of the refusals, as of a request for that job alone."""

    def words(self) -> str:
        """For people: ``2 created, 1 refused``."""
        parts = [f"{self.created:,} created"]
        if self.replayed:
            parts.append(f"{self.replayed:,} created before")
        if self.refused:
            parts.append(f"{self.refused:,} refused")
        return ", ".join(parts)


class Importing:
    """Sends lines, counts their answers, and tells what was refused.

    ``again`` is the command that continues it; ``progress`` is told the counts now and then.
    """

    def __init__(
        self,
        client: "Client",
        key: str,
        again: str,
        *,
        say: Say,
        progress: Callable[[Counts], None],
        as_json: bool,
    ) -> None:
        self._client = client
        self._key = key
        self._again = again
        self._say = say
        self._progress = progress
        self._as_json = as_json
        self.counts = Counts()
        self._summary: Mapping[str, Any] | None = None

    async def run(self, source: BinaryIO) -> None:
        """Send all of it; raises ``CommandFailed`` where the stream ends too early."""
        from tocsin.cli.duplex import BrokeOff, answer_lines

        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": self._key}
        answers = answer_lines(self._client, "/jobs:batch", _pieces(source), headers)
        try:
            async with aclosing(answers):
                async for line in answers:
                    self._hear(line)
        except BrokeOff as error:
            raise self._broken(f"the server at {self._client.server} is gone: {error}") from error
        except BrokenPipeError:  # whoever read what is printed has seen enough
            self._say_where_it_stands()
            raise
        except OSError as error:
            raise self._broken(
                f"cannot read on: {error.strerror or error}", ExitCode.USAGE
            ) from error
        except asyncio.CancelledError:
            self._say_where_it_stands()
            raise
        if self._summary is None:
            raise self._broken(
                f"the server at {self._client.server} ended its answer without a summary"
            )

    def conclude(self) -> None:
        """Tell the result, and fail where not all of it is good."""
        from tocsin.cli.client import refusal
        from tocsin.cli.output import console

        if not self._as_json:
            console().print(self.counts.words(), style="bold")
        summary = self._summary or {}
        if not summary.get("complete"):
            problem = summary.get("problem") or {}
            why = refusal(problem.get("status", 0), problem)
            raise self._broken(
                f"the server ended the import: {why.message}",
                why.exit_code,
                unanswered="what came after it has created nothing",
            )
        codes = self.counts.codes
        if codes:
            raise typer.Exit(int(min(codes) if len(codes) == 1 else ExitCode.FAILED))

    def _hear(self, line: bytes) -> None:
        answer = json.loads(line)
        if self._as_json:
            print(line.decode(), flush=True)
        counts = self.counts
        number = answer.get("line")
        if number is None:
            self._summary = answer
            return
        counts.last = number
        if problem := answer.get("problem"):
            counts.refused += 1
            self._tell_refused(number, answer.get("status", 0), problem)
        elif answer.get("replayed"):
            counts.replayed += 1
        else:
            counts.created += 1
        self._progress(counts)

    def _tell_refused(self, number: int, status: int, problem: Mapping[str, Any]) -> None:
        from tocsin.cli.client import refusal
        from tocsin.cli.output import one_line

        refused = refusal(status, problem)
        self.counts.codes.add(refused.exit_code)
        if not self._as_json:
            reasons = refused.details or (refused.message,)
            told = "".join(f"\n  {one_line(reason)}" for reason in reasons)
            self._say(f"refused  line {number}{told}")

    def _broken(
        self,
        message: str,
        code: ExitCode = ExitCode.UNREACHABLE,
        *,
        unanswered: str = "what came after it may be stored or not",
    ) -> CommandFailed:
        return CommandFailed(
            message, exit_code=code, details=self._standing(unanswered), hint=self._how_to_go_on()
        )

    def _say_where_it_stands(self) -> None:
        from tocsin.cli.output import note

        for line in self._standing("what came after it may be stored or not"):
            note(line)
        note(self._how_to_go_on())

    def _standing(self, unanswered: str) -> list[str]:
        counts = self.counts
        if not counts.last:
            return [f"no line was answered; {unanswered.replace('after it ', '')}"]
        return [f"safe up to line {counts.last:,}: {counts.words()}; {unanswered}"]

    def _how_to_go_on(self) -> str:
        return (
            "Send the same lines again within 24 hours to continue; none is created twice:\n"
            f"  {self._again}"
        )


async def _pieces(source: BinaryIO) -> AsyncIterator[bytes]:
    from tocsin.cli.duplex import PIECE, in_background

    piece = (await in_background(lambda: source.read(PIECE))).removeprefix(codecs.BOM_UTF8)
    while piece:
        yield piece
        piece = await in_background(lambda: source.read(PIECE))


def _opened(path: str) -> BinaryIO:
    """A file without a buffer, so that what is there is sent, and no lock is held at the end."""
    try:
        if path == "-":
            return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
        return Path(path).open("rb", buffering=0)
    except OSError as error:
        raise CommandFailed(
            f"cannot read {path}: {error.strerror}", exit_code=ExitCode.USAGE
        ) from None


@contextmanager
def _showing(*, quiet: bool) -> Iterator[tuple[Say, Callable[[Counts], None]]]:
    """How to say a line, and how to show the counts: on standard error, where it is a terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from tocsin.cli.output import console, error_console

    errors, out = error_console(), console()
    if quiet or not errors.is_terminal:
        yield lambda text: out.print(text, markup=False, soft_wrap=True), lambda _: None
        return
    began = shown = time.monotonic()
    # A line on the same terminal has to go above the progress, which only its own console can do.
    lines = errors if out.is_terminal else out
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        console=errors,
        transient=True,
        redirect_stdout=False,
    ) as progress:
        task = progress.add_task("importing", total=None)

        def show(counts: Counts) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= REFRESH:
                shown = now
                done = counts.created + counts.replayed + counts.refused
                progress.update(
                    task, description=f"{counts.words()}, {done / (now - began):,.0f} lines/s"
                )

        yield lambda text: lines.print(text, markup=False, soft_wrap=True), show
