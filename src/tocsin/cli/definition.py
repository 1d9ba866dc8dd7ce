"""A job's definition from options."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.times import now_ms, read_instant, read_zone
from tocsin.domain.duration import parse_duration
from tocsin.domain.instant import format_instant

OPTIONS = {
    "name": "NAME",
    "schedule.cron": "--cron",
    "schedule.every": "--every",
    "schedule.at": "--at",
    "schedule.timezone": "--timezone",
    "schedule.anchor": "--anchor",
    "schedule.starts_at": "--starts-at",
    "schedule.ends_at": "--ends-at",
    "schedule.jitter": "--jitter",
    "target.url": "--url",
    "target.method": "--method",
    "target.headers": "--header",
    "target.body": "--body",
    "target.body_text": "--body-text",
    "target.body_base64": "--body-base64",
    "target.timeout": "--timeout",
    "target.redirects": "--redirects",
    "target.auth.token": "--bearer",
    "target.auth.username": "--basic",
    "target.auth.password": "--basic",
    "target.auth": "--bearer or --basic",
    "target.signing.secret": "--sign-with",
    "target.log": "--log",
    "retry.max_attempts": "--max-attempts",
    "retry.initial": "--retry-initial",
    "retry.factor": "--retry-factor",
    "retry.max": "--retry-max",
    "retry.jitter": "--retry-jitter",
    "retry.on": "--retry-on",
    "misfire.policy": "--misfire",
    "misfire.grace": "--misfire-grace",
    "misfire.max": "--misfire-max",
    "overlap": "--overlap",
    "delivery": "--delivery",
    "success": "--success",
    "description": "--description",
    "tags": "--tag",
    "metadata": "--metadata",
}
"""The option that sets each field, for what the server says about a field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleOptions:
    """A schedule as it was typed."""

    cron: str | None = None
    every: str | None = None
    at: str | None = None
    timezone: str | None = None
    anchor: str | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    jitter: str | None = None

    @property
    def given(self) -> bool:
        """Whether any kind of schedule was given."""
        return any(kind is not None for kind in (self.cron, self.every, self.at))

    def to_json(self) -> dict[str, Any]:
        """In the shape of the API; raises ``CommandFailed`` where it is not exactly one kind."""
        kinds = [("--cron", self.cron), ("--every", self.every), ("--at", self.at)]
        given = [option for option, value in kinds if value is not None]
        if len(given) != 1:
            raise usage(
                f"{' and '.join(given)} exclude each other: a job has one schedule"
                if given
                else "say when: one of --cron, --every or --at"
            )
        return without_none(
            {
                "cron": self.cron,
                "every": self.every,
                "at": instant("--at", self.at, self.timezone),
                "timezone": self.timezone,
                "anchor": instant("--anchor", self.anchor, self.timezone),
                "starts_at": instant("--starts-at", self.starts_at, self.timezone),
                "ends_at": instant("--ends-at", self.ends_at, self.timezone),
                "jitter": self.jitter,
            }
        )


def usage(message: str) -> CommandFailed:
    """Something about the options is wrong."""
    return CommandFailed(message, exit_code=ExitCode.USAGE)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was given."""
    return {name: value for name, value in values.items() if value is not None}


def instant(option: str, text: str | None, timezone: str | None) -> str | None:
    """An instant as people write it, in the form of the API."""
    if text is None:
        return None
    try:
        zone = read_zone(timezone)
    except ValueError as error:
        raise usage(f"--timezone: {error}") from None
    try:
        return format_instant(read_instant(text, now=now_ms(), zone=zone))
    except ValueError as error:
        raise usage(f"{option}: {error}") from None


def past_instant(option: str, text: str | None) -> str | None:
    """An instant, or a duration that is counted back from now."""
    if text is None:
        return None
    try:
        return format_instant(now_ms() - parse_duration(text))
    except ValueError:
        return instant(option, text, None)


def read_json(option: str, text: str) -> Any:
    """JSON that was typed, or is in a file with ``@FILE`` (``@-`` for standard input)."""
    source = read_text(option, text)
    try:
        return json.loads(source)
    except ValueError as error:
        hint = "" if text.startswith("@") else "; --body-text sends text, @FILE reads a file"
        raise usage(f"{option} is not JSON: {error}{hint if option == '--body' else ''}") from None


def read_text(option: str, text: str) -> str:
    """Text that was typed, or is in a file with ``@FILE`` (``@-`` for standard input)."""
    if not text.startswith("@"):
        return text
    path = text[1:]
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise usage(f"{option}: cannot read {path}: {reason}") from None


def pairs(option: str, values: Sequence[str] | None, separator: str) -> dict[str, str] | None:
    """``NAME<separator>VALUE`` of a repeated option."""
    if not values:
        return None
    result: dict[str, str] = {}
    for text in values:
        name, found, value = text.partition(separator)
        if not found or not name.strip():
            raise usage(f"{option} {text!r}: write it as NAME{separator}VALUE")
        result[name.strip()] = value.strip()
    return result


def credentials(bearer: str | None, basic: str | None) -> dict[str, str] | None:
    """The credentials of a target, by the names of secrets."""
    if bearer is not None and basic is not None:
        raise usage("--bearer and --basic exclude each other: a call has one Authorization header")
    if bearer is not None:
        return {"type": "bearer", "token": f"{{{{ secret.{bearer} }}}}"}
    if basic is None:
        return None
    name, found, secret = basic.rpartition(":")
    if not found or not secret:
        raise usage(f"--basic {basic!r}: write it as USER:SECRET, with the name of a secret")
    return {"type": "basic", "username": name, "password": f"{{{{ secret.{secret} }}}}"}


def words(values: Sequence[str] | None) -> list[str] | None:
    """The words of an option that may be repeated and may hold several, parted by commas."""
    if not values:
        return None
    return [word.strip() for value in values for word in value.split(",") if word.strip()]
