"""Options that several commands share, and the completion of their values."""

from collections.abc import Callable
from typing import Annotated, TypeAlias

import typer

DEFAULT_SERVER = "http://127.0.0.1:8080"

COMMON = "Common options"
SCHEDULE = "Schedule (one of --cron, --every, --at)"

Server: TypeAlias = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="TOCSIN_SERVER",
        metavar="URL",
        help="Address of the server.",
        rich_help_panel=COMMON,
    ),
]

AsJson: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the JSON of the API; of a list, one item per line.",
        rich_help_panel=COMMON,
    ),
]


def one_of(*words: str) -> Callable[[str], list[str]]:
    """The completion of an option with known words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def job_names(context: typer.Context, incomplete: str) -> list[str]:
    """The completion of a job's name: asks the server, and stays silent where it cannot."""
    from tocsin.cli.client import Client

    try:
        with Client(context.params.get("server") or DEFAULT_SERVER, timeout=1.0) as client:
            jobs = client.get("/jobs", limit=100, text=incomplete)["items"]
    except Exception:  # noqa: BLE001  # a completion must never print anything
        return []
    return [job["name"] for job in jobs if job["name"].startswith(incomplete)]


JobRef: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="Name or id of the job.", autocompletion=job_names, show_default=False
    ),
]

JobRefs: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...",
        help="Names or ids of jobs.",
        autocompletion=job_names,
        show_default=False,
    ),
]

ExecutionRef: TypeAlias = Annotated[
    str, typer.Argument(metavar="EXECUTION", help="Id of the execution.", show_default=False)
]

ExecutionRefs: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="EXECUTION...", help="Ids of executions.", show_default=False),
]

Cron: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Cron expression: 5 fields, or 6 with seconds first; @hourly and the like.",
        metavar="EXPR",
        rich_help_panel=SCHEDULE,
    ),
]
Every: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Interval, such as 30s, 15m, 1h30m.", metavar="DURATION", rich_help_panel=SCHEDULE
    ),
]
At: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Once: 2026-12-24T18:00:00Z, '2026-12-24 18:00', 18:00 or 'in 15m'; without an "
        "offset in --timezone, or else in the zone of this machine.",
        metavar="INSTANT",
        rich_help_panel=SCHEDULE,
    ),
]
Timezone: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        "--tz",
        help="IANA time zone, such as Europe/Berlin; UTC where none is given.",
        metavar="ZONE",
        rich_help_panel=SCHEDULE,
    ),
]
Anchor: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="With --every: the instant that the interval is counted from.",
        metavar="INSTANT",
        rich_help_panel=SCHEDULE,
    ),
]
StartsAt: TypeAlias = Annotated[
    str | None,
    typer.Option(help="No fire before.", metavar="INSTANT", rich_help_panel=SCHEDULE),
]
EndsAt: TypeAlias = Annotated[
    str | None, typer.Option(help="No fire after.", metavar="INSTANT", rich_help_panel=SCHEDULE)
]
Jitter: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Each fire is delayed by up to so much, the same for the same fire time.",
        metavar="DURATION",
        rich_help_panel=SCHEDULE,
    ),
]
