"""``tocsin jobs``: the commands on jobs that are already there."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli.apply import apply
from tocsin.cli.create import create
from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.job_import import import_jobs
from tocsin.cli.parameters import DEFAULT_SERVER, AsJson, JobRef, JobRefs, Server, one_of
from tocsin.cli.preview import preview

if TYPE_CHECKING:
    from tocsin.cli.client import Client

app = typer.Typer(
    help="Create, look at and change jobs.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_READING = "Look"
_WRITING = "Define"
_STEERING = "Steer"


@app.command("list", rich_help_panel=_READING)
def list_jobs(
    *,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="Only with this text in name, description or target.",
            show_default=False,
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            "-s",
            metavar="STATUS",
            help="active, paused, completed or cancelled; repeatable.",
            autocompletion=one_of("active", "paused", "completed", "cancelled"),
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", "-t", metavar="TAG", help="Only with this tag.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="cron|every|at",
            help="Only with this kind of schedule.",
            autocompletion=one_of("cron", "every", "at"),
        ),
    ] = None,
    last_result: Annotated[
        str | None,
        typer.Option(
            metavar="succeeded|failed",
            help="Only those whose last execution ended so.",
            autocompletion=one_of("succeeded", "failed"),
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="name, created_at, updated_at, next_fire_at or last_result; "
            "descending with a - in front.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show so many at most.")] = 100,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Show all of them.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List jobs."""
    from tocsin.cli.client import Client
    from tocsin.cli.output import (
        Listing,
        note,
        outcome,
        print_json_lines,
        schedule_words,
        state,
        target_words,
    )
    from tocsin.cli.times import now_ms, relative

    params = {
        "text": text,
        "status": status,
        "tag": tag,
        "kind": kind,
        "last_result": last_result,
        "sort": sort,
    }
    with Client(server) as client:
        jobs = client.pages("/jobs", limit=None if everything else limit, **params)
        if as_json:
            print_json_lines(jobs)
            return
        now = now_ms()
        table = Listing(
            "NAME", "STATUS", "SCHEDULE", "TARGET", "NEXT", "LAST",
            flexible=("TARGET", "SCHEDULE", "NAME"),
        )  # fmt: skip
        shown = 0
        for job in jobs:
            shown += 1
            table.add(
                job["name"],
                state(job["status"]),
                schedule_words(job["schedule"]),
                target_words(job["target"]),
                relative(job.get("next_fire_at"), now),
                outcome(job["last_execution"], now) if job.get("last_execution") else "",
            )
    table.print("there are no such jobs")
    if shown == limit and not everything:
        note(f"the first {limit}; --all shows all")


@app.command(rich_help_panel=_READING)
def show(job: JobRef, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show a job with its schedule, policies and last result."""
    from tocsin.cli.client import Client, job_path
    from tocsin.cli.output import print_json

    with Client(server) as client:
        found = client.get(job_path(job))
    if as_json:
        print_json(found)
    else:
        from tocsin.cli.sheets import print_job

        print_job(found)


app.command(rich_help_panel=_READING)(preview)
app.command(rich_help_panel=_WRITING)(create)
app.command(rich_help_panel=_WRITING)(apply)
app.command("import", rich_help_panel=_WRITING)(import_jobs)


@app.command(rich_help_panel=_STEERING)
def pause(jobs: JobRefs, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Pause jobs: no fire times, and what is pending is cancelled."""
    _on_each(server, jobs, "pause", "paused", as_json)


@app.command(rich_help_panel=_STEERING)
def resume(jobs: JobRefs, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Resume paused jobs; they fire from now on, without what was missed."""
    _on_each(server, jobs, "resume", "resumed", as_json)


@app.command(rich_help_panel=_STEERING)
def cancel(jobs: JobRefs, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """End jobs for good, with what is pending; their definition and history stay."""
    _on_each(server, jobs, "cancel", "cancelled", as_json)


@app.command(rich_help_panel=_STEERING)
def delete(
    jobs: JobRefs,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Delete jobs; on a terminal it asks first."""
    from tocsin.cli.client import Client, job_path

    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        what = jobs[0] if len(jobs) == 1 else f"{len(jobs)} jobs"
        if not typer.confirm(f"Delete {what}?"):
            raise CommandFailed("nothing was deleted")
    with Client(server) as client:

        def delete_one(ref: str) -> None:
            client.call("DELETE", job_path(ref))
            print(f"deleted {ref}")

        for_each(jobs, delete_one)


@app.command(rich_help_panel=_STEERING)
def trigger(
    *,
    job: JobRef,
    body: Annotated[
        str | None,
        typer.Option(
            "--body",
            "-d",
            metavar="JSON|@FILE",
            help="Send this JSON body this time; @FILE reads it from a file, @- from "
            "standard input.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", "-w", help="Wait for the end, and fail where the execution fails."),
    ] = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="With the same key again, the same execution is answered."
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Ask for an execution now; the schedule goes on as before."""
    from tocsin.cli.client import Client, job_path
    from tocsin.cli.definition import read_json

    sent = {} if body is None else {"body": read_json("--body", body)}
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    with Client(server) as client:
        path = f"{job_path(job)}/trigger"
        execution = client.call("POST", path, body=sent, headers=headers)
        report_new(client, execution, wait=wait, as_json=as_json)


def report_new(client: "Client", execution: dict[str, Any], *, wait: bool, as_json: bool) -> None:
    """Tell about an execution that was just asked for, or about its end where ``wait`` says so.

    Raises ``CommandFailed`` where it was waited for and did not succeed.
    """
    from tocsin.cli.output import print_json
    from tocsin.cli.sheets import print_execution

    if wait:
        execution = wait_for_end(client, execution)
    if as_json:
        print_json(execution)
    elif wait:
        print_execution(execution)
    else:
        print(f"triggered {execution.get('job_name')}: execution {execution.get('id')}")
    if wait and execution.get("state") != "succeeded":
        raise typer.Exit(int(ExitCode.FAILED))


def wait_for_end(client: "Client", execution: dict[str, Any]) -> dict[str, Any]:
    """The same execution once it has ended."""
    from tocsin.cli.client import execution_path

    pause_s = 0.05
    while execution.get("finished_at") is None:
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 1.0)
        execution = client.get(execution_path(execution["id"]))
    return execution


def for_each(refs: Sequence[str], act: Callable[[str], None]) -> None:
    """Do it to each, going on where one is refused.

    Raises ``CommandFailed`` at the end where any was refused; with the code of all if it is one.
    """
    failures: list[tuple[str, CommandFailed]] = []
    for ref in refs:
        try:
            act(ref)
        except CommandFailed as failure:
            if failure.exit_code is ExitCode.UNREACHABLE or len(refs) == 1:
                raise
            failures.append((ref, failure))
    if failures:
        codes = {failure.exit_code for _, failure in failures}
        raise CommandFailed(
            f"{len(failures)} of {len(refs)} failed",
            exit_code=codes.pop() if len(codes) == 1 else ExitCode.FAILED,
            details=[f"{ref}: {failure.message}" for ref, failure in failures],
        )


def _on_each(server: str, refs: list[str], action: str, done: str, as_json: bool) -> None:
    from tocsin.cli.client import Client, job_path
    from tocsin.cli.output import print_json
    from tocsin.cli.sheets import print_saved

    with Client(server) as client:

        def act(ref: str) -> None:
            job = client.call("POST", f"{job_path(ref)}/{action}")
            if as_json:
                print_json(job)
            else:
                print_saved(done, job)

        for_each(refs, act)
