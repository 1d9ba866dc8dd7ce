"""``tocsin executions``."""

from typing import Annotated

import typer

from tocsin.cli.jobs import for_each, report_new
from tocsin.cli.parameters import (
    DEFAULT_SERVER,
    AsJson,
    ExecutionRef,
    ExecutionRefs,
    Server,
    job_names,
    one_of,
)
from tocsin.cli.tail import tail

app = typer.Typer(
    help="Look at what was fired, and steer it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_READING = "Look"
_STEERING = "Steer"


@app.command("list", rich_help_panel=_READING)
def list_executions(
    *,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB", help="Only of this job.", autocompletion=job_names, show_default=False
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            "-s",
            metavar="STATE",
            help="pending, claimed, succeeded, failed, cancelled or skipped; repeatable.",
            autocompletion=one_of(
                "pending", "claimed", "succeeded", "failed", "cancelled", "skipped"
            ),
        ),
    ] = None,
    error_kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="Only those whose last attempt failed so: timeout, http_status …"
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT|DURATION",
            help="Only fire times from then on: an instant, or 1h for the last hour.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="INSTANT|DURATION", help="Only fire times before then."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show so many at most.")] = 25,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Show all of them.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List executions, the newest fire times first."""
    from tocsin.cli.client import Client
    from tocsin.cli.definition import past_instant
    from tocsin.cli.output import Listing, note, outcome, print_json_lines, took
    from tocsin.cli.times import now_ms, relative

    params = {
        "job": job,
        "state": state,
        "error_kind": error_kind,
        "since": past_instant("--since", since),
        "until": past_instant("--until", until),
    }
    with Client(server) as client:
        found = client.pages("/executions", limit=None if everything else limit, **params)
        if as_json:
            print_json_lines(found)
            return
        now = now_ms()
        table = Listing(
            "ID", "JOB", "FIRE TIME", "RESULT", "TRIES", "TOOK",
            flexible=("JOB", "RESULT"), right=("TRIES", "TOOK"),
        )  # fmt: skip
        shown = 0
        for execution in found:
            shown += 1
            table.add(
                execution["id"],
                execution["job_name"],
                relative(execution["fire_time"], now),
                outcome(execution, now),
                str(execution.get("attempt_count") or ""),
                took(execution),
            )
    table.print("there are no such executions")
    if shown == limit and not everything:
        note(f"the newest {limit}; -n or --all show more")


@app.command(rich_help_panel=_READING)
def show(execution: ExecutionRef, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show an execution with its attempts, their timings and the last answer."""
    from tocsin.cli.client import Client, execution_path
    from tocsin.cli.output import print_json

    with Client(server) as client:
        found = client.get(execution_path(execution))
    if as_json:
        print_json(found)
    else:
        from tocsin.cli.sheets import print_execution

        print_execution(found)


app.command(rich_help_panel=_READING)(tail)


@app.command(rich_help_panel=_STEERING)
def cancel(
    executions: ExecutionRefs, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Cancel executions that have not ended; a call under way is cut off."""
    from tocsin.cli.client import Client, execution_path
    from tocsin.cli.output import print_json

    with Client(server) as client:

        def cancel_one(ref: str) -> None:
            ended = client.call("POST", f"{execution_path(ref)}/cancel")
            if as_json:
                print_json(ended)
            else:
                print(f"cancelled {ended.get('job_name')}: execution {ref}")

        for_each(executions, cancel_one)


@app.command(rich_help_panel=_STEERING)
def retry(
    execution: ExecutionRef,
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
    """Run an ended execution again, as a new one."""
    from tocsin.cli.client import Client, execution_path

    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    with Client(server) as client:
        new = client.call("POST", f"{execution_path(execution)}/retry", headers=headers)
        report_new(client, new, wait=wait, as_json=as_json)
