"""``tocsin jobs apply``: make the jobs of a file exist as they are written there."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.parameters import DEFAULT_SERVER, AsJson, Server

if TYPE_CHECKING:
    from tocsin.cli.client import Client

Definition = dict[str, Any]

BATCH = 500
"""New jobs that are created in one call."""

FEW = 10
"""Up to so many new jobs are sent one by one."""

AT_ONCE = 4
"""Calls under way at the same time."""

MANY = 50
"""From so many jobs on, what exists is looked up by listing instead of one by one."""

LISTED_AT_MOST = 20
"""Jobs that are listed at most for each that is looked for."""

SHOWN = 200
"""With more jobs than this, only those that failed get a line of their own."""


class Outcome(StrEnum):
    """What became of a job."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """One job of the file and what became of it."""

    name: str
    outcome: Outcome
    changes: Sequence[str] = ()
    """With ``--dry-run``: the fields that would change."""
    failure: CommandFailed | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        shown: dict[str, Any] = {"name": self.name, "result": self.outcome.value}
        if self.changes:
            shown["changes"] = list(self.changes)
        if self.failure is not None:
            shown["error"] = getattr(self.failure, "problem", {"detail": self.failure.message})
        return shown


def apply(
    file: Annotated[
        str,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE|-",
            help="YAML or JSON; - reads standard input.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check, and show what would change.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Create or change jobs so that they are as a file has them, by name.

    The file holds a job, a list of jobs, {"jobs": […]}, several YAML documents, or one JSON value
    per line. Jobs that are not in it are left alone. What 'jobs list --json' prints can be
    applied again.
    """
    from tocsin.cli.client import Client
    from tocsin.cli.job_files import read_jobs

    jobs = read_jobs(file)
    with Client(server) as client, _progress(len(jobs), quiet=as_json) as advance:
        done = Applying(client, advance, dry_run=dry_run).run(jobs)
    if as_json:
        from tocsin.cli.output import print_json_lines

        print_json_lines(applied.to_json() for applied in done)
    else:
        _print(done, dry_run=dry_run)
    _fail_if_any_failed(done)


class Applying:
    """Applies definitions: new ones in batches, the others one by one.

    ``advance`` is called for each job that is done.
    """

    def __init__(
        self, client: "Client", advance: Callable[[], object], *, dry_run: bool = False
    ) -> None:
        self._client = client
        self._advance = advance
        self._dry_run = dry_run

    def run(self, jobs: Sequence[Definition]) -> list[Applied]:
        """What became of each, in order; only an unreachable server ends it early."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                known = self._list(jobs) if len(jobs) >= MANY else None
                if known is None:
                    known = dict(zip(_names(jobs), pool.map(self._find, jobs), strict=True))
                existing = known
                if self._dry_run:
                    return [self._compare(job, existing.get(job["name"])) for job in jobs]
                new = [job for job in jobs if existing.get(job["name"]) is None]
                done_new = self._create(new) if len(new) > FEW else {}
                rest = [job for job in jobs if job["name"] not in done_new]
                done_rest = pool.map(lambda job: self._put(job, existing.get(job["name"])), rest)
                results = done_new | {applied.name: applied for applied in done_rest}
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return [results[name] for name in _names(jobs)]

    def _list(self, jobs: Sequence[Definition]) -> dict[str, Definition | None] | None:
        """Those that exist, by name; ``None`` where the server has too many others."""
        names = set(_names(jobs))
        found: dict[str, Definition | None] = {}
        limit = LISTED_AT_MOST * len(jobs)
        seen = 0
        for job in self._client.pages("/jobs", limit=limit, sort="name"):
            seen += 1
            if job["name"] in names:
                found[job["name"]] = job
        return found if seen < limit else None

    def _find(self, job: Definition) -> Definition | None:
        from tocsin.cli.client import job_path

        try:
            found: Definition = self._client.get(job_path(job["name"]))
        except CommandFailed as failure:
            if failure.exit_code is ExitCode.NOT_FOUND:
                return None
            raise
        return found

    def _put(self, job: Definition, before: Definition | None) -> Applied:
        from tocsin.cli.client import ServerRefused, job_path

        name = job["name"]
        try:
            response = self._client.exchange("PUT", job_path(name), body=job)
        except ServerRefused as refused:
            return self._finish(Applied(name=name, outcome=Outcome.FAILED, failure=refused))
        if response.status_code == 201:
            outcome = Outcome.CREATED
        elif before is not None and response.json().get("version") == before.get("version"):
            outcome = Outcome.UNCHANGED
        else:
            outcome = Outcome.UPDATED
        return self._finish(Applied(name=name, outcome=outcome))

    def _create(self, jobs: Sequence[Definition]) -> dict[str, Applied]:
        """Create new jobs in batches; where one is refused, those that are not to blame."""
        from tocsin.cli.client import ServerRefused

        done: dict[str, Applied] = {}
        for start in range(0, len(jobs), BATCH):
            batch = list(jobs[start : start + BATCH])
            while batch:
                try:
                    self._client.call("POST", "/jobs:batch", body={"jobs": batch})
                except ServerRefused as refused:
                    blamed = refused.by_index("jobs")
                    if not blamed:
                        # Not about single jobs (capacity, size): one by one tells most.
                        break
                    for index, failure in blamed.items():
                        name = batch[index]["name"]
                        if not failure.is_name_taken:  # created meanwhile by somebody: to be put
                            done[name] = self._finish(
                                Applied(name=name, outcome=Outcome.FAILED, failure=failure)
                            )
                    batch = [job for index, job in enumerate(batch) if index not in blamed]
                else:
                    for name in _names(batch):
                        done[name] = self._finish(Applied(name=name, outcome=Outcome.CREATED))
                    break
        return done

    def _compare(self, job: Definition, before: Definition | None) -> Applied:
        from tocsin.cli.dry_run import changes_of

        name = job["name"]
        try:
            changes = changes_of(job, before)
        except CommandFailed as failure:
            return self._finish(Applied(name=name, outcome=Outcome.FAILED, failure=failure))
        if before is None:
            return self._finish(Applied(name=name, outcome=Outcome.CREATED))
        outcome = Outcome.UPDATED if changes else Outcome.UNCHANGED
        return self._finish(Applied(name=name, outcome=outcome, changes=changes))

    def _finish(self, applied: Applied) -> Applied:
        self._advance()
        return applied


def _names(jobs: Sequence[Definition]) -> list[str]:
    return [job["name"] for job in jobs]


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], object]]:
    """A bar on standard error, where that is a terminal and there is much to do."""
    from tocsin.cli.output import error_console

    console = error_console()
    if quiet or total <= FEW or not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("applying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("applying", total=total)
        yield lambda: progress.advance(task)


_STYLES = {
    Outcome.CREATED: "green",
    Outcome.UPDATED: "yellow",
    Outcome.UNCHANGED: "dim",
    Outcome.FAILED: "bold red",
}


def _print(done: Sequence[Applied], *, dry_run: bool) -> None:
    from rich.text import Text

    from tocsin.cli.output import console

    out = console()
    for applied in done:
        if applied.outcome is not Outcome.FAILED and len(done) > SHOWN:
            continue
        line = Text(f"{applied.outcome:<9}", style=_STYLES[applied.outcome])
        line.append(f"  {applied.name}", style="default")
        if applied.changes:
            line.append(f"  {', '.join(applied.changes)}", style="dim")
        if applied.failure is not None:
            problems = applied.failure.details or [applied.failure.message]
            line.append("".join(f"\n           {problem}" for problem in problems), style="red")
        out.print(line, soft_wrap=True)
    counts = Counter(applied.outcome for applied in done)
    summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    out.print(f"{summary} (nothing was changed: --dry-run)" if dry_run else summary, style="bold")


def _fail_if_any_failed(done: Sequence[Applied]) -> None:
    codes = {applied.failure.exit_code for applied in done if applied.failure is not None}
    if codes:
        raise typer.Exit(int(codes.pop() if len(codes) == 1 else ExitCode.FAILED))
