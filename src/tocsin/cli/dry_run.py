"""What applying a definition would change, worked out on this side with the server's own rules."""

from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.times import now_ms

_SERVER_DECIDES = {
    "target.timeout",
    "retry.max_attempts",
    "retry.initial",
    "retry.factor",
    "retry.max",
    "retry.jitter",
    "misfire.policy",
}
"""Fields whose default is a setting of the server: left out, they may be anything."""


def changes_of(definition: dict[str, Any], before: Mapping[str, Any] | None) -> list[str]:
    """The fields that would differ from ``before``, the job as the server shows it.

    Raises ``CommandFailed`` (usage) where the definition would be refused.
    """
    from tocsin.domain.codec import spec_to_json
    from tocsin.domain.errors import InvalidInput
    from tocsin.domain.schedule import schedule_from_json
    from tocsin.services.definitions import JobDefaults, read_definition

    previous = None if before is None else schedule_from_json(before["schedule"])
    try:
        read = read_definition(definition, defaults=JobDefaults(), now=now_ms(), previous=previous)
    except InvalidInput as error:
        raise CommandFailed(
            "the definition is not valid",
            exit_code=ExitCode.USAGE,
            details=[f"{problem.field}: {problem.message}" for problem in error.problems],
        ) from None
    if before is None:
        return []
    after = spec_to_json(read.spec)
    given = dict(_leaves(definition))
    old, new = dict(_leaves(_definition_of(before, after))), dict(_leaves(after))
    return [
        name
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not (name in _SERVER_DECIDES and name not in given)
    ]


def _definition_of(shown: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """A shown job without what is not part of its definition."""
    job = {name: value for name, value in shown.items() if name in like}
    job["schedule"] = {
        name: value for name, value in shown["schedule"].items() if name != "description"
    }
    return job


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        place = f"{prefix}{name}"
        if isinstance(item, dict) and place not in ("target.body", "metadata", "target.headers"):
            yield from _leaves(item, f"{place}.")
        elif item is not None:
            yield place, item
