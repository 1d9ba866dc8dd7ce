"""Files of job definitions: JSON or YAML, with one job or several."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]

from tocsin.cli.failure import CommandFailed, ExitCode

ANSWER_FIELDS = (
    "id",
    "status",
    "version",
    "created_at",
    "updated_at",
    "next_fire_at",
    "last_execution",
)
"""Fields that only answers hold; dropped, so that what was shown can be applied."""


def read_jobs(path: str) -> list[dict[str, Any]]:
    """The jobs of a file (``-``: standard input), each with a name of its own.

    A document is a job, a list of jobs, or ``{"jobs": […]}``; a file may hold several documents.
    Raises ``CommandFailed`` (usage), naming the place.
    """
    where = "standard input" if path == "-" else path
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _unusable(f"cannot read {where}: {reason}") from None
    jobs = [
        _job(item, f"job {number} of {where}")
        for number, item in enumerate(_items(_documents(text, where), where), start=1)
    ]
    if not jobs:
        raise _unusable(f"there are no jobs in {where}")
    seen: set[str] = set()
    for job in jobs:
        if job["name"] in seen:
            raise _unusable(f"{where} has two jobs named {job['name']}")
        seen.add(job["name"])
    return jobs


def _unusable(message: str) -> CommandFailed:
    return CommandFailed(message, exit_code=ExitCode.USAGE)


def _documents(text: str, where: str) -> list[Any]:
    if text.lstrip().startswith(("{", "[")):
        with suppress(ValueError, RecursionError):  # YAML says better where it goes wrong
            return _json_values(text)
    try:
        return [document for document in yaml.load_all(text, _Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _unusable(f"{where}{place}: {error.problem or error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise _unusable(f"{where} is neither JSON nor YAML: {error}") from None


def _json_values(text: str) -> list[Any]:
    """One JSON value, or several after each other, such as a job in each line."""
    decoder = json.JSONDecoder(object_pairs_hook=_no_repetition)
    values = []
    text = text.strip()
    at = 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        values.append(value)
        while text[at : at + 1].isspace():
            at += 1
    return values


def _items(documents: list[Any], where: str) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, list):
            yield from document
        elif isinstance(document, dict) and "jobs" in document and "schedule" not in document:
            if not isinstance(document["jobs"], list):
                raise _unusable(f"`jobs` of {where} is not a list")
            yield from document["jobs"]
        else:
            yield document


def _job(item: Any, place: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise _unusable(f"{place} is not a job but {json.dumps(item, default=str)[:60]}")
    job = {name: value for name, value in item.items() if name not in ANSWER_FIELDS}
    name = job.get("name")
    if not isinstance(name, str) or not name:
        raise _unusable(f"{place} has no name; it is by its name that a job is applied again")
    try:
        json.dumps(job, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise _unusable(f"{place} ({name}) cannot be sent as JSON: {error}") from None
    return job


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a field is given twice")
    return values


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as people mean it, which is as version 1.2 has it.

    Under the rules of 1.1 that the library follows, the key ``on`` of a retry policy is ``true``,
    ``2026-12-24T18:00:00Z`` is not text, and 12:30:00 is the number 45000.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """The mapping, in which no key may be given twice."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        values: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return values


def _resolve_as_1_2() -> None:
    for tag, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
        ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
        (
            "float",
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
            "-+.0123456789",
        ),
        ("merge", r"<<", "<"),
    ):
        _Loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), list(first)
        )
    _Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


_resolve_as_1_2()
