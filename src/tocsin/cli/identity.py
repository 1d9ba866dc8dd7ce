"""Options that every command against a server has: with which key, and in which namespace."""

import functools
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import typer

from tocsin.cli.parameters import COMMON

KEY_VARIABLE = "TOCSIN_KEY"
NAMESPACE_VARIABLE = "TOCSIN_NAMESPACE"

Key: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="Key for the server, instead of $TOCSIN_KEY or the saved one. Others on this machine "
        "can read the options of a command.",
        show_default=False,
        rich_help_panel=COMMON,
    ),
]
Namespace: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        metavar="NAME",
        help="Namespace, instead of $TOCSIN_NAMESPACE or that of the key.",
        show_default=False,
        rich_help_panel=COMMON,
    ),
]

_OPTIONS: dict[str, tuple[Any, str]] = {
    "key": (Key, KEY_VARIABLE),
    "namespace": (Namespace, NAMESPACE_VARIABLE),
}


def identify(values: dict[str, Any]) -> None:
    """Take the key and the namespace out of the values of a command's options, for its client."""
    for name, (_, variable) in _OPTIONS.items():
        value = values.pop(name, None)
        if value is not None:
            os.environ[variable] = value


def with_identity(function: Callable[..., Any]) -> Callable[..., Any]:
    """The command with these options, but for those that it has already."""
    signature = inspect.signature(function)
    if "server" not in signature.parameters:
        return function
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, (option, _) in _OPTIONS.items()
        if name not in signature.parameters
    ]
    names = {parameter.name for parameter in added}

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> Any:
        taken = {name: values.pop(name) for name in names if name in values}
        identify(taken)
        return function(*args, **values)

    parameters = [*signature.parameters.values(), *added]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def identify_all(app: typer.Typer) -> typer.Typer:
    """Give all commands of a group these options."""
    for info in app.registered_commands:
        if info.callback is not None:
            info.callback = with_identity(info.callback)
    return app
