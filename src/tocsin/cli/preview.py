"""``tocsin jobs preview``: when a job, or a schedule that is not saved yet, will fire."""

from datetime import UTC
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
    job_names,
)


def preview(
    *,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            help="Name or id of a saved job; or leave it out and give a schedule.",
            autocompletion=job_names,
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=100, help="Show so many fire times.")
    ] = 10,
    after: Annotated[
        str | None,
        typer.Option(metavar="INSTANT", help="Look from this instant on instead of from now."),
    ] = None,
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    timezone: Timezone = None,
    anchor: Anchor = None,
    starts_at: StartsAt = None,
    ends_at: EndsAt = None,
    jitter: Jitter = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show the next fire times of a job, or of a schedule that is not saved yet.

    tocsin jobs preview --cron "0 9 * * MON-FRI" --timezone Europe/Berlin -n 5
    """
    from tocsin.cli.client import Client, ServerRefused, job_path
    from tocsin.cli.definition import OPTIONS, ScheduleOptions, instant, usage
    from tocsin.cli.output import print_json

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
    if job is not None and schedule.given:
        raise usage("a job or a schedule, not both")
    if job is None and not schedule.given:
        raise usage("what shall be shown? Name a job, or give one of --cron, --every and --at")
    start = instant("--after", after, timezone)
    with Client(server) as client:
        if job is not None:
            shown = client.get(f"{job_path(job)}/preview", count=count, after=start)
        else:
            body = {"schedule": schedule.to_json(), "count": count, "after": start}
            try:
                shown = client.call("POST", "/schedules:preview", body=body)
            except ServerRefused as refused:
                raise refused.naming(OPTIONS) from None
    if as_json:
        print_json(shown)
    else:
        _print_preview(shown)


def _print_preview(shown: dict[str, Any]) -> None:
    from tocsin.cli.definition import OPTIONS
    from tocsin.cli.output import Listing, console, note
    from tocsin.cli.times import in_zone, now_ms, read_zone, relative

    now = now_ms()
    name = shown.get("timezone") or "UTC"
    try:
        zone = read_zone(name)
    except ValueError:  # the server knows zones that this machine does not
        name, zone = "UTC", UTC
    if description := shown.get("description"):
        console().print(description, markup=False, style="bold")
    is_utc = name == "UTC"
    table = Listing(*(["UTC"] if is_utc else [name, "UTC"]), "FROM NOW")
    clock_changes = False
    for fire in shown["items"]:
        at = fire["fire_time"]
        local = in_zone(at, zone)
        if fire.get("offset_changed"):
            local += " *"
            clock_changes = True
        table.add(*([local] if is_utc else [local, at]), relative(at, now))
    table.print("it never fires again")
    if clock_changes:
        note("* the clocks have changed since the fire time before")
    for error in shown.get("errors") or ():
        field = OPTIONS.get(error["field"], error["field"])
        note(f"a new job would be refused: {field}: {error['message']}")
