"""``tocsin login``, ``logout`` and ``whoami``."""

import sys
from typing import Annotated, Any

import typer

from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.parameters import DEFAULT_SERVER, AsJson, Server


def login(
    server: Server = DEFAULT_SERVER,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            envvar="TOCSIN_KEY",
            metavar="KEY",
            help="The key; by default it is asked for, or read from standard input.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="Print the key that is saved for the server, and do no more."),
    ] = False,
) -> None:
    """Save a key for a server, so that commands need none; only you can read it."""
    from tocsin.cli.client import Client
    from tocsin.cli.output import note
    from tocsin.logins import save_key, saved_key

    if show:
        saved = saved_key(server)
        if saved is None:
            raise CommandFailed(
                f"no key is saved for {server}",
                exit_code=ExitCode.DENIED,
                hint="'tocsin login' saves one.",
            )
        print(saved)
        return
    if key is None:
        key = typer.prompt("Key", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    key = str(key).strip()
    with Client(server, key=key) as client:
        session = client.get("/session")
        address = client.server
    try:
        path = save_key(address, key)
    except OSError as error:
        raise CommandFailed(f"the key cannot be saved: {error}") from error
    note(f"signed in to {address} as {_who(session)}; saved in {path}")


def logout(server: Server = DEFAULT_SERVER) -> None:
    """Forget the key that is saved for a server; it goes on working elsewhere."""
    from tocsin.cli.output import note
    from tocsin.logins import forget_key

    note("the key is forgotten" if forget_key(server) else f"no key is saved for {server}")


def whoami(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show with which key commands are made, and what it may do."""
    from tocsin.cli.client import Client
    from tocsin.cli.output import Sheet, print_json

    with Client(server) as client:
        session = client.get("/session")
        address = client.server
    if as_json:
        print_json(session)
        return
    sheet = Sheet()
    sheet.add("Server", address)
    sheet.add("Key", _who(session))
    sheet.add("Role", session["role"])
    sheet.add("Namespace", "all" if session["namespace"] == "*" else session["namespace"])
    if session.get("tags") is not None:
        sheet.add("Tags", ", ".join(session["tags"]))
    sheet.add("May", ", ".join(session["actions"]))
    sheet.print()


def _who(session: dict[str, Any]) -> str:
    key = session.get("key")
    if key is None:
        return "anybody (authentication is off)"
    return f"{key['name']} (tcs_{key['prefix']}_…, {session['role']})"
