"""``tocsin serve``; its options are made from the settings."""

import inspect
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tocsin.cli.catalogue import Setting

HELP = "Run a node: fire the jobs and answer the API, until SIGTERM or Ctrl-C."

_DETAILS = (
    f"{HELP}\n\n"
    "Every option can also be given as an environment variable; an option wins over its variable. "
    "Durations are written as 30s, 1h30m, 500ms, PT30S or a number of seconds."
)


def placeholder() -> None:
    """Stand for ``serve`` in the list of commands; making its options would load the settings."""


def command() -> Any:
    """The real command, with one option for each setting."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("serve", help=_DETAILS)(_with_options(_serve))
    return typer.main.get_command(app)


def _serve(context: typer.Context, **_: Any) -> None:
    from tocsin.cli.effective import effective_settings, refused_settings, unknown_variables

    # Those from the environment are left to the settings, which read them by themselves.
    given = {
        name: value
        for name, value in context.params.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    settings = effective_settings(given)
    for sentence in unknown_variables():
        print(f"Warning: {sentence}", file=sys.stderr)

    from tocsin.app import run
    from tocsin.domain.errors import InvalidInput

    try:
        exit_code = run(settings)
    except InvalidInput as error:
        raise refused_settings(error) from None
    raise typer.Exit(exit_code)


def _with_options(function: Any) -> Any:
    """The same function with a parameter for each setting in its signature, for typer to read."""
    from tocsin.cli.catalogue import Kind, settings_catalogue

    def serve(context: typer.Context, **values: Any) -> None:
        function(context, **values)

    parameters = [
        inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
    ]
    for setting in settings_catalogue():
        is_switch = setting.kind is Kind.SWITCH
        annotation: Any = Annotated[
            bool | None if is_switch else str | None,
            typer.Option(
                setting.option if not is_switch else f"{setting.option}/--no-{setting.option[2:]}",
                help=_help(setting),
                envvar=setting.variable,
                show_envvar=False,
                show_default=False,
                metavar=None if is_switch else setting.kind.upper(),
                rich_help_panel=setting.group,
            ),
        ]
        parameters.append(
            inspect.Parameter(
                setting.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=annotation,
            )
        )
    serve.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    serve.__annotations__ = {p.name: p.annotation for p in parameters}
    return serve


def _help(setting: "Setting") -> str:
    """The description, then the default, the range and the variable, as rich markup."""
    facts = [f"default {setting.shown_default}"] if setting.default else []
    if setting.accepted:
        facts.append(setting.accepted)
    facts.append(setting.variable)
    description = setting.description.replace("[", r"\[").replace("`", "")
    return f"{description}\n\n[dim]{' · '.join(facts)}[/]"
