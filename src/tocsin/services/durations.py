"""Durations as people write them, within bounds."""

from functools import lru_cache

from tocsin.domain.duration import format_duration, parse_duration
from tocsin.domain.errors import FieldProblem, InvalidInput
from tocsin.domain.instant import Millis


def read_duration(
    value: object, field: str, low: Millis, high: Millis, problems: list[FieldProblem]
) -> Millis | None:
    """The duration in milliseconds, or ``None`` where it is none or out of bounds."""
    if not isinstance(value, str | int | float):
        problems.append(
            FieldProblem(
                field=field,
                message="is not a duration such as 30s, or a number of seconds",
                code="type",
            )
        )
        return None
    try:
        duration = _parse(value)
    except ValueError as error:
        problems.append(FieldProblem(field=field, message=str(error)))
        return None
    if not low <= duration <= high:
        problems.append(
            FieldProblem(
                field=field,
                message=f"{format_duration(duration)} is not in {format_duration(low)} to "
                f"{format_duration(high)}",
                code="out_of_range",
            )
        )
        return None
    return duration


def require_duration(value: object, field: str, low: Millis, high: Millis) -> Millis:
    """The same, raising ``InvalidInput`` where there is none."""
    problems: list[FieldProblem] = []
    duration = read_duration(value, field, low, high, problems)
    if duration is None:
        raise InvalidInput(problems)
    return duration


# `typed` because True == 1 and hashes alike, but is not a duration.
@lru_cache(maxsize=1_024, typed=True)
def _parse(value: str | float) -> Millis:
    return parse_duration(value)
