"""Running a shape over parsed JSON, and saying what is wrong in words for people."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tocsin.domain.errors import FieldProblem, InvalidInput

MAX_PROBLEMS = 100
"""How many problems one answer names at most; who has more sees them after fixing these."""

T = TypeVar("T")

KnownFields = Mapping[tuple[str, ...], Sequence[str]]
"""The fields known at each place of a shape, for hints about unknown ones."""

_TYPES = {
    "string_type": "is not text",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "int_parsing": "is not a whole number",
    "float_type": "is not a number",
    "bool_type": "is not true or false",
    "dict_type": "is not an object",
    "list_type": "is not a list",
    "is_instance_of": "is of the wrong type",
}
_PATTERNS = {
    "name": "is not a name: start with a-z or 0-9, then up to 99 of a-z, 0-9, '.', '_' and '-'",
    "tags": "is not a tag: visible characters without comma, no space at either end",
    "method": "is not an HTTP method such as POST: up to 20 letters and dashes",
}


def check(
    adapter: TypeAdapter[T],
    data: object,
    known: KnownFields,
    read_only: frozenset[str] = frozenset(),
) -> T:
    """The data as the shape's type; raises ``InvalidInput`` with every problem found."""
    try:
        return adapter.validator.validate_python(data)  # type: ignore[no-any-return]  # of T
    except ValidationError as error:
        raise InvalidInput(problems_of(error, known, read_only)) from None


def problems_of(
    error: ValidationError,
    known: KnownFields,
    read_only: frozenset[str] = frozenset(),
) -> list[FieldProblem]:
    """What pydantic found, as field problems; ``MAX_PROBLEMS`` at most."""
    found = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
    return [problem_of(one, known, read_only) for one in found]


def problem_of(
    error: Mapping[str, Any],
    known: KnownFields,
    read_only: frozenset[str] = frozenset(),
) -> FieldProblem:
    """One of pydantic's errors (``ErrorDetails``) as a field problem."""
    kind: str = error["type"]
    context: Mapping[str, Any] = error.get("ctx") or {}
    fallback: str = error["msg"]
    # A key of a mapping is located as (..., key, "[key]").
    path = [str(part)[:100] for part in error["loc"] if part != "[key]"]
    message, code = fallback, "invalid"
    match kind:
        case "missing":
            message, code = "is required", "required"
        case "extra_forbidden":
            message, code = unknown_field(path, known, read_only)
        case _ if kind in _TYPES:
            message, code = _TYPES[kind], "type"
        case "string_too_long":
            message, code = f"is longer than {context['max_length']:,} characters", "too_long"
        case "string_too_short":
            least = context["min_length"]
            message = "is empty" if least == 1 else f"is shorter than {least} characters"
            code = "too_short"
        case "too_long":
            message, code = f"has more than {context['max_length']:,} entries", "too_long"
        case "too_short":
            message, code = "is empty", "too_short"
        case "string_pattern_mismatch":
            names = [part for part in path if not part.isdigit()]
            message = _PATTERNS.get(names[-1] if names else "", "has the wrong form")
            code = "pattern"
        case "literal_error" | "enum":
            message, code = f"is not one of {context['expected']}", "not_one_of"
        case "greater_than_equal":
            message, code = f"is less than {context['ge']}", "out_of_range"
        case "less_than_equal":
            message, code = f"is more than {context['le']}", "out_of_range"
        case "finite_number":
            message, code = "is not a finite number", "out_of_range"
        case _:
            message = fallback[:1].lower() + fallback[1:]
    return FieldProblem(field=".".join(path), message=message, code=code)


def unknown_field(
    path: Sequence[str], known: KnownFields, read_only: frozenset[str]
) -> tuple[str, str]:
    """Message and code for a field that nobody knows."""
    name, place = path[-1], tuple(part for part in path[:-1] if not part.isdigit())
    if not place and name in read_only:
        return "is set by Tocsin; leave it out", "read_only"
    fields = known.get(place, ())
    near = get_close_matches(name.lower(), fields, n=1)
    if near:
        return f"is not a field; did you mean {near[0]}?", "unknown_field"
    if fields:
        return f"is not a field; known are {', '.join(fields)}", "unknown_field"
    return "is not a field", "unknown_field"
