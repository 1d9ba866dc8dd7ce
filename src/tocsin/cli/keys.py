"""``tocsin keys``."""

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from urllib.parse import quote

import typer

from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.parameters import DEFAULT_SERVER, AsJson, Server, one_of

if TYPE_CHECKING:
    from tocsin.cli.client import Client

_ROLES = ("viewer", "operator", "editor", "admin")
_ACTIONS = ("read", "trigger", "pause", "resume", "retry", "cancel", "ping", "define", "admin")

app = typer.Typer(
    help="Make, list, rotate and revoke keys.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Database: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="Write to this database instead of asking a server: for who has no key.",
        show_default=False,
    ),
]
KeyRef: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="KEY", help="Id, name or prefix of the key.", show_default=False),
]
Name: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="NAME", help="For people: who or what uses it.", show_default=False),
]


@app.command()
def create(  # noqa: PLR0917  # options, which people give by name
    name: Name,
    role: Annotated[
        str,
        typer.Option(
            metavar="|".join(_ROLES), help="What it may do.", autocompletion=one_of(*_ROLES)
        ),
    ] = "viewer",
    namespace: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where it holds; '*' is everywhere. By default that of your own key.",
            show_default=False,
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="Only jobs that carry one of these exist for it.", show_default=False),
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these of what the role allows.",
            autocompletion=one_of(*_ACTIONS),
            show_default=False,
        ),
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long it works, as 90d.", show_default=False),
    ] = None,
    rate_limit: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Writes, as 100/minute, or off; by default as the server is set.",
            show_default=False,
        ),
    ] = None,
    database: Database = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it; nobody can be shown it again."""
    from tocsin.cli.client import Client

    body = {
        "name": name,
        "role": role,
        "namespace": namespace,
        "tags": tag or None,
        "actions": action or None,
        "expires_in": expires_in,
        "rate_limit": rate_limit,
    }
    given = {field: value for field, value in body.items() if value is not None}
    if database is not None:
        _print_key(_offline(database, given), as_json=as_json)
        return
    with Client(server) as client:
        _print_key(client.call("POST", "/keys", body=given), as_json=as_json)


@app.command()
def recover(
    database: Annotated[
        str | None,
        typer.Option(
            envvar="TOCSIN_DATABASE",
            metavar="URL",
            help="The database, as for 'tocsin serve'.",
            show_default="sqlite:///tocsin.db",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the new key.")] = "recovered-admin",
    as_json: AsJson = False,
) -> None:
    """Make an admin's key without having one: by access to the database. It is in the audit log."""
    _print_key(_offline(database, None, name=name), as_json=as_json)


@app.command("list")
def list_keys(
    everything: Annotated[
        bool, typer.Option("--all", help="Revoked and expired ones too.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List keys."""
    from tocsin.cli.client import Client
    from tocsin.cli.output import Listing, print_json_lines, state
    from tocsin.cli.times import now_ms, relative

    with Client(server) as client:
        keys = [
            key
            for key in client.pages("/keys", limit=None)
            if everything or key["status"] == "active"
        ]
    if as_json:
        print_json_lines(keys)
        return
    now = now_ms()
    table = Listing(
        *("NAME", "PREFIX", "ROLE", "NAMESPACE", "LIMITED TO", "STATUS", "LAST USED", "EXPIRES"),
        flexible=("LIMITED TO", "NAME"),
    )
    for key in keys:
        table.add(
            key["name"],
            key["prefix"],
            key["role"],
            key["namespace"],
            _limits(key),
            state(key["status"]),
            relative(key["last_used_at"], now) or "never",
            relative(key["expires_at"], now) or "never",
        )
    table.print("there are no keys")


@app.command()
def rotate(
    key: KeyRef,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old secret goes on working.")
    ] = "24h",
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, and print it."""
    from tocsin.cli.client import Client

    with Client(server) as client:
        path = f"/keys/{_id_of(client, key)}/rotate"
        _print_key(client.call("POST", path, body={"overlap": overlap}), as_json=as_json)


@app.command()
def revoke(key: KeyRef, server: Server = DEFAULT_SERVER) -> None:
    """End a key for good, on every node within seconds."""
    from tocsin.cli.client import Client
    from tocsin.cli.output import note

    with Client(server) as client:
        client.call("DELETE", f"/keys/{_id_of(client, key)}")
    note(f"revoked {key}")


def _offline(database: str | None, given: Any, *, name: str = "") -> dict[str, Any]:
    from tocsin.cli.effective import effective_settings, refused_settings
    from tocsin.domain.errors import InvalidInput, TocsinError

    settings = effective_settings({} if database is None else {"database": database})

    from tocsin.app import make_key

    try:
        return make_key(settings, given, name=name)
    except InvalidInput as error:
        if any(problem.field == "database" for problem in error.problems):
            raise refused_settings(error) from None
        details = [f"{problem.field}: {problem.message}" for problem in error.problems]
        raise CommandFailed(
            "the key was refused", exit_code=ExitCode.USAGE, details=details
        ) from None
    except TocsinError as error:
        raise CommandFailed(str(error)) from error


def _id_of(client: "Client", ref: str) -> str:
    """The id of a key by id, prefix or name; of several with a name, the one that works."""
    keys = list(client.pages("/keys", limit=None))
    prefix = ref.split("_")[1] if ref.startswith("tcs_") and ref.count("_") >= 1 else ref
    exact = [key for key in keys if ref == key["id"] or prefix == key["prefix"]]
    named = [key for key in keys if ref == key["name"]]
    found = exact or [key for key in named if key["status"] == "active"] or named
    if not found:
        raise CommandFailed(f"there is no key {ref!r}", exit_code=ExitCode.NOT_FOUND)
    if len(found) > 1:
        raise CommandFailed(
            f"{len(found)} keys are called {ref!r}; name one by its prefix",
            exit_code=ExitCode.CONFLICT,
        )
    return quote(str(found[0]["id"]), safe="")


def _print_key(key: dict[str, Any], *, as_json: bool) -> None:
    """The secret alone on standard output, so that it can be piped to where it belongs."""
    from tocsin.cli.output import note, print_json

    if as_json:
        print_json(key)
        return
    where = "all namespaces" if key["namespace"] == "*" else f"namespace {key['namespace']}"
    note(f"{key['name']}, {key['role']} of {where}; the key is shown this once:")
    print(key["key"])


def _limits(key: dict[str, Any]) -> str:
    parts = []
    if key["tags"] is not None:
        parts.append(f"tags {', '.join(key['tags'])}")
    if key["actions"] is not None:
        parts.append(", ".join(key["actions"]))
    return "; ".join(parts)
