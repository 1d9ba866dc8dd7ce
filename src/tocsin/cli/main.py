"""The entry point: ``tocsin``, its commands, and how they end.

Commands import what they need when they run: ``tocsin --help`` and the commands that talk to a
server never load the engine, the database or the web framework.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tocsin.cli import (
    config,
    executions,
    jobs,
    keys,
    login,
    migrate,
    nodes,
    secrets,
    serve,
    status,
    version,
)
from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.identity import Key, Namespace, identify, identify_all, with_identity

EPILOG = (
    "Exit codes: 0 done · 1 failed · 2 wrong usage or a refused definition · "
    "3 server not reachable · 4 not found · 5 conflict · 6 not allowed · "
    "130 interrupted by Ctrl-C"
)

_NODE = "On the machine that runs it"
_CLIENT = "Against a running server"


class _Root(TyperGroup):
    """The commands; the options of ``serve`` are only made when ``serve`` is what was asked for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name == "serve":
            command = serve.command()
        return name, command, rest


app = typer.Typer(
    cls=_Root,
    help="Tocsin calls HTTP endpoints on time and keeps what happened.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        version.print_version(as_json=False)
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    server: Annotated[
        str | None,
        typer.Option("--server", help="Address of the server; also after the command."),
    ] = None,
    key: Key = None,
    namespace: Namespace = None,
) -> None:
    identify({"key": key, "namespace": namespace})
    if server is not None:
        # What the commands' own option falls back to.
        os.environ["TOCSIN_SERVER"] = server


app.command("serve", help=serve.HELP, rich_help_panel=_NODE)(serve.placeholder)
app.command("migrate", rich_help_panel=_NODE)(migrate.migrate)
app.add_typer(config.app, name="config", rich_help_panel=_NODE)
app.command("version", rich_help_panel=_NODE)(version.version)
app.add_typer(identify_all(jobs.app), name="jobs", rich_help_panel=_CLIENT)
app.add_typer(identify_all(executions.app), name="executions", rich_help_panel=_CLIENT)
app.add_typer(identify_all(secrets.app), name="secrets", rich_help_panel=_CLIENT)
app.add_typer(identify_all(secrets.signing_app), name="signing", rich_help_panel=_CLIENT)
app.add_typer(identify_all(nodes.app), name="nodes", rich_help_panel=_CLIENT)
app.add_typer(identify_all(keys.app), name="keys", rich_help_panel=_CLIENT)
app.command("status", rich_help_panel=_CLIENT)(with_identity(status.status))
app.command("login", rich_help_panel=_CLIENT)(login.login)
app.command("logout", rich_help_panel=_CLIENT)(login.logout)
app.command("whoami", rich_help_panel=_CLIENT)(with_identity(login.whoami))


def main() -> None:
    """Run the command line of this process and end it."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command; the exit code.

    Whatever goes wrong is told on standard error in a sentence, never as a traceback, unless it is
    a bug.
    """
    _survive_encoding()
    command = typer.main.get_command(app)
    try:
        result = command.main(args=list(args), prog_name="tocsin", standalone_mode=False)
    except CommandFailed as failure:
        _print_failure(failure)
        return int(failure.exit_code)
    except typer.TyperException as error:
        return _print_usage_error(error)
    except (typer.Abort, KeyboardInterrupt):
        print(file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Nothing may be flushed to it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FAILED)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _survive_encoding() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _print_failure(failure: CommandFailed) -> None:
    from tocsin.cli.output import error_console

    console = error_console()
    console.print("[bold red]Error:[/]", end=" ")
    console.print(failure.message, markup=False)
    for line in failure.details:
        console.print(f"  {line}", markup=False)
    if failure.hint:
        console.print(failure.hint, markup=False, style="dim")


def _print_usage_error(error: typer.TyperException) -> int:
    message = error.format_message()
    if message.strip():  # empty where the help was shown for want of a command
        context = getattr(error, "ctx", None)
        hint = f"Try '{context.command_path} --help'." if context is not None else None
        _print_failure(CommandFailed(message, hint=hint))
    return error.exit_code
