"""``tocsin jobs create``."""

from typing import Annotated, Any

import typer

from tocsin.cli.parameters import (
    DEFAULT_SERVER,
    Anchor,
    AsJson,
    At,
    Cron,
    EndsAt,
    Every,
    Jitter,
    Server,
    StartsAt,
    Timezone,
    one_of,
)

TARGET = "Target (one of --url, --log)"
POLICIES = "Policies"
ABOUT = "About the job"


def create(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Its unique name; the id where none is given.", show_default=False
        ),
    ] = None,
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    timezone: Timezone = None,
    anchor: Anchor = None,
    starts_at: StartsAt = None,
    ends_at: EndsAt = None,
    jitter: Jitter = None,
    url: Annotated[
        str | None, typer.Option(help="What to call.", metavar="URL", rich_help_panel=TARGET)
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "-X",
            help="Method of the call; POST where none is given.",
            metavar="METHOD",
            rich_help_panel=TARGET,
            autocompletion=one_of("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"),
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", "-H", help="A header; repeatable.", metavar="K:V", rich_help_panel=TARGET
        ),
    ] = None,
    body: Annotated[
        str | None,
        typer.Option(
            "--body",
            "-d",
            help="JSON body; @FILE reads it from a file, @- from standard input.",
            metavar="JSON|@FILE",
            rich_help_panel=TARGET,
        ),
    ] = None,
    body_text: Annotated[
        str | None,
        typer.Option(
            help="Body that is sent as it is; @FILE as above.",
            metavar="TEXT|@FILE",
            rich_help_panel=TARGET,
        ),
    ] = None,
    body_base64: Annotated[
        str | None,
        typer.Option(
            help="Body of bytes, written as base64; @FILE as above.",
            metavar="BASE64|@FILE",
            rich_help_panel=TARGET,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            help="Longest duration of one attempt.", metavar="DURATION", rich_help_panel=TARGET
        ),
    ] = None,
    redirects: Annotated[
        int | None,
        typer.Option(help="Redirects that are followed at most.", rich_help_panel=TARGET),
    ] = None,
    bearer: Annotated[
        str | None,
        typer.Option(
            help="Send the value of this secret as a bearer token.",
            metavar="SECRET",
            rich_help_panel=TARGET,
        ),
    ] = None,
    basic: Annotated[
        str | None,
        typer.Option(
            help="Send a user name, and the value of this secret as the password.",
            metavar="USER:SECRET",
            rich_help_panel=TARGET,
        ),
    ] = None,
    sign_with: Annotated[
        str | None,
        typer.Option(
            help="Sign with the value of this secret instead of the namespace's key.",
            metavar="SECRET",
            rich_help_panel=TARGET,
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            help="Write this line into the log instead of calling something.",
            metavar="TEXT",
            rich_help_panel=TARGET,
        ),
    ] = None,
    success: Annotated[
        list[str] | None,
        typer.Option(
            help="Status codes that are a success: 2xx,404 or 200-204; repeatable.",
            metavar="CODES",
            rich_help_panel=TARGET,
        ),
    ] = None,
    max_attempts: Annotated[
        int | None,
        typer.Option(help="Attempts at most, the first included.", rich_help_panel=POLICIES),
    ] = None,
    retry_initial: Annotated[
        str | None,
        typer.Option(
            help="Wait before the first retry.", metavar="DURATION", rich_help_panel=POLICIES
        ),
    ] = None,
    retry_factor: Annotated[
        float | None,
        typer.Option(help="Each wait is so many times the last.", rich_help_panel=POLICIES),
    ] = None,
    retry_max: Annotated[
        str | None,
        typer.Option(
            help="Longest wait before a retry.", metavar="DURATION", rich_help_panel=POLICIES
        ),
    ] = None,
    retry_jitter: Annotated[
        float | None,
        typer.Option(help="Part by which a wait is spread, 0 to 1.", rich_help_panel=POLICIES),
    ] = None,
    retry_on: Annotated[
        list[str] | None,
        typer.Option(
            help="What is tried again: connection,timeout,5xx,429 …; repeatable.",
            metavar="KINDS",
            rich_help_panel=POLICIES,
        ),
    ] = None,
    misfire: Annotated[
        str | None,
        typer.Option(
            help="What becomes of fire times that were noticed too late.",
            metavar="latest|all|skip",
            rich_help_panel=POLICIES,
            autocompletion=one_of("latest", "all", "skip"),
        ),
    ] = None,
    misfire_grace: Annotated[
        str | None,
        typer.Option(
            help="Later than this is too late.", metavar="DURATION", rich_help_panel=POLICIES
        ),
    ] = None,
    misfire_max: Annotated[
        int | None,
        typer.Option(help="With --misfire all: how many run at most.", rich_help_panel=POLICIES),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            help="What becomes of a fire while an earlier one is still live.",
            metavar="allow|skip|queue|replace",
            rich_help_panel=POLICIES,
            autocompletion=one_of("allow", "skip", "queue", "replace"),
        ),
    ] = None,
    delivery: Annotated[
        str | None,
        typer.Option(
            help="at-least-once, or at-most-once: an attempt whose end is unknown is not repeated.",
            metavar="MODE",
            rich_help_panel=POLICIES,
            autocompletion=one_of("at-least-once", "at-most-once"),
        ),
    ] = None,
    description: Annotated[
        str | None,
        typer.Option(help="A sentence about it.", metavar="TEXT", rich_help_panel=ABOUT),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", "-t", help="A tag; repeatable.", metavar="TAG", rich_help_panel=ABOUT
        ),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            help="Anything else, for your own use; repeatable.",
            metavar="K=V",
            rich_help_panel=ABOUT,
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            help="With the same key again, the same job is answered instead of a second one.",
            metavar="KEY",
            rich_help_panel=ABOUT,
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Create a job.

    tocsin jobs create ping --every 30s --url https://example.com/hook --body '{"hello": "world"}'
    """
    from tocsin.cli.client import Client, ServerRefused
    from tocsin.cli.definition import (
        OPTIONS,
        ScheduleOptions,
        credentials,
        pairs,
        read_json,
        read_text,
        without_none,
        words,
    )
    from tocsin.cli.output import print_json
    from tocsin.cli.sheets import print_saved

    schedule = ScheduleOptions(
        cron=cron,
        every=every,
        at=at,
        timezone=timezone,
        anchor=anchor,
        starts_at=starts_at,
        ends_at=ends_at,
        jitter=jitter,
    )
    target = {
        "url": url,
        "method": method and method.upper(),
        "headers": pairs("--header", header, ":"),
        "body": None if body is None else read_json("--body", body),
        "body_text": None if body_text is None else read_text("--body-text", body_text),
        "body_base64": None if body_base64 is None else read_text("--body-base64", body_base64),
        "timeout": timeout,
        "redirects": redirects,
        "auth": credentials(bearer, basic),
        "signing": None if sign_with is None else {"secret": sign_with},
        "log": log,
    }
    retry = {
        "max_attempts": max_attempts,
        "initial": retry_initial,
        "factor": retry_factor,
        "max": retry_max,
        "jitter": retry_jitter,
        "on": words(retry_on),
    }
    late = {"policy": misfire, "grace": misfire_grace, "max": misfire_max}
    definition: dict[str, Any] = without_none(
        {
            "name": name,
            "description": description,
            "schedule": schedule.to_json(),
            "target": without_none(target),
            "retry": without_none(retry) or None,
            "misfire": without_none(late) or None,
            "overlap": overlap,
            "delivery": delivery and delivery.replace("-", "_"),
            "success": words(success),
            "tags": tag or None,
            "metadata": pairs("--metadata", metadata, "="),
        }
    )
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    with Client(server) as client:
        try:
            job = client.call("POST", "/jobs", body=definition, headers=headers)
        except ServerRefused as refused:
            raise refused.naming(OPTIONS) from None
    if as_json:
        print_json(job)
    else:
        print_saved("created", job)
