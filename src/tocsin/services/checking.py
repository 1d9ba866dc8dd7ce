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


def check_most(
    adapter: TypeAdapter[T],
    data: object,
    known: KnownFields,
    read_only: frozenset[str] = frozenset(),
    *,
    standing_in: Mapping[tuple[str, ...], object],
) -> tuple[T, list[FieldProblem]]:
    """The data as the shape's type without what does not fit it, and what is wrong with that.

    So the rules beyond the shape can be applied to the rest, and one answer names every problem.
    ``standing_in`` has a sound value for each place that cannot be left out: a required field, or
    ``"*"`` for the entries of a list. Raises ``InvalidInput`` where nothing useful is left.
    """
    try:
        return adapter.validator.validate_python(data), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems = problems_of(error, known, read_only)
    if not isinstance(data, dict) or len(found) > MAX_PROBLEMS:
        raise InvalidInput(problems)
    rest = _copied(data, depth=3)
    for one in found:
        _take_out(rest, [part for part in one["loc"] if part != "[key]"], standing_in)
    try:
        return adapter.validator.validate_python(rest), problems
    except ValidationError:
        raise InvalidInput(problems) from None


def _copied(value: Any, *, depth: int) -> Any:
    if depth and isinstance(value, dict):
        return {name: _copied(part, depth=depth - 1) for name, part in value.items()}
    return list(value) if depth and isinstance(value, list) else value


def _take_out(
    value: Any, path: Sequence[str | int], standing_in: Mapping[tuple[str, ...], object]
) -> None:
    for part in path[:-1]:
        value = value[part]
    place = tuple("*" if isinstance(part, int) else part for part in path)
    if place in standing_in:
        value[path[-1]] = standing_in[place]
    else:
        value.pop(path[-1], None)


def beside(problems: Sequence[FieldProblem], found: Sequence[FieldProblem]) -> list[FieldProblem]:
    """Those found that are not about the same place as one of the problems, or one around it."""
    places = set()
    for problem in problems:
        parts = problem.field.split(".")
        places |= {".".join(parts[: size + 1]) for size in range(len(parts))}
    return [one for one in found if one.field not in places]


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
        case "string_type" | "string_too_short" if _is_rule(path):
            message = 'is not text such as "2xx", "404" or "500-504"'
            code = "type" if kind == "string_type" else "too_short"
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


def _is_rule(path: Sequence[str]) -> bool:
    return path[-1].isdigit() and (path[-2:-1] == ["success"] or path[-3:-1] == ["retry", "on"])


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
