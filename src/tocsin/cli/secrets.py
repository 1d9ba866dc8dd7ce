"""``tocsin secrets`` and ``tocsin signing``."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.parameters import DEFAULT_SERVER, AsJson, Server

_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    help="Keep what calls need and nobody may read.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings=_SETTINGS,
)
signing_app = typer.Typer(
    help="The key that calls are signed with.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings=_SETTINGS,
)

SecretName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the secret.", show_default=False)
]


@app.command("set")
def set_secret(
    name: SecretName,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="FILE", help="Read the value from this file instead.", dir_okay=False
        ),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="With a signing key: how long the one before goes on signing.",
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Set a secret; its value is asked for, or read from standard input or a file.

    A line break at its end is left out.
    """
    from tocsin.cli.client import Client
    from tocsin.cli.output import print_json

    body = {"value": _read_value(name, file)}
    if overlap is not None:
        body["overlap"] = overlap
    with Client(server) as client:
        answer = client.exchange("PUT", _path(name), body=body)
    view = answer.json()
    if as_json:
        print_json(view)
        return
    print(f"{'made' if answer.status_code == 201 else 'changed'} {view['name']}")
    print(f"used by {view['used_by']} jobs; write {{{{ secret.{view['name']} }}}}")


@app.command("list")
def list_secrets(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List the secrets, without their values."""
    from rich.text import Text

    from tocsin.cli.client import Client
    from tocsin.cli.output import Listing, print_json_lines

    with Client(server) as client:
        items = client.get("/secrets")["items"]
    if as_json:
        print_json_lines(items)
        return
    table = Listing("NAME", "UPDATED", "VERSION", "USED BY", right=("VERSION", "USED BY"))
    for one in items:
        table.add(
            Text(one["name"], style="bold"),
            one["updated_at"],
            str(one["version"]),
            f"{one['used_by']:,}",
        )
    table.print("there are no secrets; `tocsin secrets set NAME` makes one")


@app.command("delete")
def delete_secret(
    name: SecretName,
    force: Annotated[bool, typer.Option("--force", help="Also where jobs use it.")] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Delete a secret that no job uses."""
    from tocsin.cli.client import Client

    with Client(server) as client:
        client.call("DELETE", _path(name), params={"force": "true"} if force else None)
    print(f"deleted {name}")


@app.command("rekey")
def rekey(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Encrypt everything with the first of the server's master keys.

    First give the new key to every node, before the old one: TOCSIN_SECRET_KEY=NEW,OLD.
    """
    from tocsin.cli.client import Client
    from tocsin.cli.output import print_json

    with Client(server) as client:
        done = client.call("POST", "/secrets:rekey")
    if as_json:
        print_json(done)
        return
    print(f"encrypted {done['rekeyed']} anew; older master keys are not needed any more")


@signing_app.command("status")
def signing_status(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show what is known of the signing key, but not the key."""
    from tocsin.cli.client import Client
    from tocsin.cli.output import print_json

    with Client(server) as client:
        view = client.get("/signing")
    if as_json:
        print_json(view)
        return
    print(f"version {view['version']}, set {view['updated_at']}")
    if view["previous_until"] is not None:
        print(f"the key before signs as well until {view['previous_until']}")
    print(
        "it was shown; `tocsin signing rotate` makes another one"
        if view["shown"]
        else "nobody has seen it yet; `tocsin signing show` shows it once"
    )


@signing_app.command("show")
def show_signing(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show the signing key, once."""
    _print_key("/signing:reveal", {}, server, as_json=as_json)


@signing_app.command("rotate")
def rotate_signing(
    overlap: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long the key before goes on signing."),
    ] = "24h",
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Make a new signing key and show it."""
    _print_key("/signing:rotate", {"overlap": overlap}, server, as_json=as_json)


def _print_key(path: str, body: dict[str, str], server: str, *, as_json: bool) -> None:
    from tocsin.cli.client import Client
    from tocsin.cli.output import note, print_json

    with Client(server) as client:
        view = client.call("POST", path, body=body or None)
    if as_json:
        print_json(view)
        return
    print(view["secret"])
    if view["previous_until"] is not None:
        note(f"the key before signs as well until {view['previous_until']}")
    note("it is not shown again")


def _path(name: str) -> str:
    return f"/secrets/{quote(name, safe='')}"


def _read_value(name: str, file: Path | None) -> str:
    import sys

    if file is not None:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise CommandFailed(f"cannot read {file}: {why}", exit_code=ExitCode.USAGE) from error
    elif sys.stdin.isatty():
        return str(typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True))
    else:
        text = sys.stdin.read()
    return text.removesuffix("\n").removesuffix("\r")
