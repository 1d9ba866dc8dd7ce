"""The settings in effect: options over environment variables over defaults."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tocsin.cli.catalogue import Kind, Setting, hide_password, settings_catalogue
from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.domain.errors import InvalidInput
from tocsin.settings import Settings

_OF_CLIENTS = {"TOCSIN_SERVER", "TOCSIN_KEY", "TOCSIN_NAMESPACE"}
"""Variables that are not settings of a node but mean something to the command line."""


def effective_settings(given: Mapping[str, Any]) -> Settings:
    """The settings of a node; ``given`` holds those that came as options, by name.

    Raises ``CommandFailed`` (usage), naming each offending option or variable.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [_problem(details, given) for details in error.errors(include_url=False)]
    what = "a setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    raise CommandFailed(
        f"{what} not valid",
        details=problems,
        exit_code=ExitCode.USAGE,
        hint="'tocsin serve --help' shows every setting with its range.",
    )


def refused_settings(error: InvalidInput) -> CommandFailed:
    """What to say where a setting turns out to be unusable only when it is used."""
    options = {setting.name: setting.option for setting in settings_catalogue()}
    return CommandFailed(
        "a setting is not valid",
        details=[f"{options.get(p.field, p.field)}: {p.message}" for p in error.problems],
        exit_code=ExitCode.USAGE,
    )


def source_of(setting: Setting) -> str:
    """Where the value comes from where no option is given: its variable, or ``default``."""
    return setting.variable if setting.variable in _environment() else "default"


def unknown_variables() -> list[str]:
    """A sentence for each ``TOCSIN_…`` variable that means nothing, most likely misspelt."""
    known = {setting.variable for setting in settings_catalogue()} | _OF_CLIENTS
    sentences = []
    for name in sorted(_environment()):
        if name.startswith("TOCSIN_") and not name.startswith("TOCSIN_TEST_") and name not in known:
            similar = get_close_matches(name, known, n=1)
            meant = f"; did you mean {similar[0]}?" if similar else ""
            sentences.append(f"the environment variable {name} is not known and ignored{meant}")
    return sentences


def _environment() -> dict[str, str]:
    return {name.upper(): value for name, value in os.environ.items()}


def _problem(details: ErrorDetails, given: Mapping[str, Any]) -> str:
    setting = next((s for s in settings_catalogue() if details["loc"][:1] == (s.name,)), None)
    if setting is None:
        return _in_options(_message(details))
    if setting.name in given:
        name, value = setting.option, str(given[setting.name])
    else:
        name, value = setting.variable, _environment().get(setting.variable, "")
    shown = "********" if setting.secret else repr(hide_password(value))
    if details["type"] == "value_error":
        message = _message(details)
        return f"{name}: {message}" if message.startswith(shown) else f"{name} {shown} {message}"
    return f"{name} {shown}: must be {_expected(setting)}"


def _message(details: ErrorDetails) -> str:
    return str(details.get("ctx", {}).get("error", details["msg"]))


_NOUNS = {
    Kind.INTEGER: "a whole number",
    Kind.BYTES: "a number of bytes",
    Kind.NUMBER: "a number",
    Kind.DURATION: "a duration",
}


def _expected(setting: Setting) -> str:
    match setting.kind:
        case Kind.CHOICE:
            return f"one of {', '.join(setting.choices)}"
        case Kind.SWITCH:
            return "true or false"
        case Kind.TEXT:
            return f"text of {setting.accepted}" if setting.accepted else "text"
        case _:
            noun = _NOUNS[setting.kind]
            return f"{noun}, {setting.accepted}" if setting.accepted else noun


def _in_options(message: str) -> str:
    """Settings call themselves by their field names; people know the options."""
    for setting in sorted(settings_catalogue(), key=lambda s: -len(s.name)):
        if "_" in setting.name:
            message = message.replace(setting.name, setting.option)
    return message
