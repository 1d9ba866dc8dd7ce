"""Reading one field of a cron expression.

cronsim could do it, but says no more than "Bad minute", and reads three forms differently from
cron: ``FRIL`` (it wants ``5L``), ``5-5/2`` (it reads ``5/2``) and ``L/2`` (it drops the step).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

LAST, LAST_WEEKDAY = -1, -2
"""Values of `Term.nth`: the last such day of the month, the last weekday of the month."""

_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: i for i, name in enumerate(_MONTH_NAMES, start=1)}
_DAYS = {name: i for i, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}

_NO_DAY = -1
_SHOWN = 24  # how much of an offending term is quoted


class CronSyntaxError(ValueError):
    """An expression that is refused; `reasons` has one entry per mistake."""

    code = "invalid"

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """One item of a field's list: the values from `start` through `stop` by `step`.

    `nth` tells the special days: in day-of-week the n-th such day of the month (-1 is the last),
    in day-of-month -1 is the last day and -2 the last weekday. `star` says that it was written
    as ``*``.
    """

    start: int
    stop: int
    step: int = 1
    nth: int = 0
    star: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _FieldKind:
    name: str
    low: int
    high: int
    names: dict[str, int]
    size: int

    @property
    def accepted(self) -> str:
        words = list(self.names)
        return f"{self.low}-{self.high}" + (f" or {words[0]}-{words[-1]}" if words else "")


_SECOND = _FieldKind(name="second", low=0, high=59, names={}, size=60)
_MINUTE = _FieldKind(name="minute", low=0, high=59, names={}, size=60)
_HOUR = _FieldKind(name="hour", low=0, high=23, names={}, size=24)
_DAY = _FieldKind(name="day-of-month", low=1, high=31, names={}, size=31)
_MONTH = _FieldKind(name="month", low=1, high=12, names=_MONTHS, size=12)
_WEEKDAY = _FieldKind(name="day-of-week", low=0, high=7, names=_DAYS, size=7)
_KINDS = (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)


@dataclass(frozen=True, kw_only=True, slots=True)
class CronField:
    """One field: its items as they were written, and its values, ascending.

    The special days of day-of-month and day-of-week are not among the values.
    """

    terms: tuple[Term, ...]
    values: tuple[int, ...]
    starred: bool
    """The field starts with ``*``."""


# Many schedules are made of few distinct fields, so this makes reading a new one cheap.
@lru_cache(maxsize=1024)
def read_field(number: int, text: str) -> CronField:
    """Read the field with a number from 0, second, to 5, day-of-week, in upper case.

    Raises `CronSyntaxError` with a reason per wrong item.
    """
    kind = _KINDS[number]
    terms: list[Term] = []
    values: set[int] = set()
    reasons: list[str] = []
    for item in text.split(","):
        try:
            term = _read_term(kind, item)
        except ValueError as error:
            reasons.append(f"{kind.name}: {error}")
            continue
        terms.append(term)
        if not term.nth:
            values.update(range(term.start, term.stop + 1, term.step))
    if reasons:
        raise CronSyntaxError(*reasons)
    return CronField(terms=tuple(terms), values=tuple(sorted(values)), starred=terms[0].star)


def _read_term(kind: _FieldKind, text: str) -> Term:
    if text == "*":
        return Term(start=kind.low, stop=kind.high, star=True)
    if text == "":
        raise ValueError("there is an empty item in the list")
    if text == "?":
        raise ValueError("? is not accepted; write *")
    if special := _read_special_day(kind, text):
        return special

    base, slash, step_text = text.partition("/")
    if base == "*":
        start, stop = kind.low, kind.high
    elif "-" in base[1:]:
        first, _, last = base.partition("-")
        start, stop = _read_value(kind, first), _read_value(kind, last)
        if stop < start:
            if kind is _WEEKDAY and last in {"0", "SUN"}:
                raise ValueError(f"{base} runs backwards; write Sunday as 7 at the end of a range")
            raise ValueError(
                f"{base} runs backwards; write it as {first}-{kind.high},{kind.low}-{last}"
            )
    else:
        start = _read_value(kind, base)
        stop = kind.high if slash else start
    if not slash:
        return Term(start=start, stop=stop)
    if not _is_number(step_text) or not 1 <= int(step_text) <= kind.size:
        is_long = _is_number(step_text) and int(step_text) > kind.size
        hint = '; for longer intervals use {"every": …}' if is_long else ""
        raise ValueError(f"{quoted(step_text)} is not a step of 1-{kind.size}{hint}")
    return Term(start=start, stop=stop, step=int(step_text), star=base == "*")


def _read_special_day(kind: _FieldKind, text: str) -> Term | None:
    if kind is _DAY:
        if text == "L":
            return Term(start=_NO_DAY, stop=_NO_DAY, nth=LAST)
        if text == "LW":
            return Term(start=_NO_DAY, stop=_NO_DAY, nth=LAST_WEEKDAY)
        if "L" in text or "W" in text:
            raise ValueError(f"{quoted(text)} is not accepted; only L and LW are, on their own")
    elif kind is _WEEKDAY:
        if "#" in text:
            day_text, _, nth_text = text.partition("#")
            day = _read_value(kind, day_text)
            if nth_text not in {"1", "2", "3", "4", "5"}:
                raise ValueError(f"{quoted(nth_text)} after # is not in 1-5")
            return Term(start=day, stop=day, nth=int(nth_text))
        if text.endswith("L"):
            if text == "L":
                raise ValueError("L needs a day in front of it, as in 5L for the last Friday")
            day = _read_value(kind, text[:-1])
            return Term(start=day, stop=day, nth=LAST)
    elif "L" in text and text not in kind.names and kind is not _MONTH:
        raise ValueError("L is only accepted in day-of-month and day-of-week")
    if "#" in text:
        raise ValueError("# is only accepted in day-of-week")
    return None


def _read_value(kind: _FieldKind, text: str) -> int:
    if text in kind.names:
        return kind.names[text]
    if not _is_number(text) or not kind.low <= int(text) <= kind.high:
        raise ValueError(f"{quoted(text)} is not in {kind.accepted}")
    return int(text)


def _is_number(text: str) -> bool:
    # str.isdigit also agrees to the digits of other scripts; no value has more than 9 digits.
    return re.fullmatch(r"[0-9]{1,9}", text) is not None


def quoted(text: str) -> str:
    """A piece of an expression, in a form and length that fit into a message."""
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return text if re.fullmatch(r"[\w@*/#.-]+", text) else repr(text)


def write_term(term: Term) -> str:
    """An item in the form that cronsim reads as cron would."""
    if term.nth == LAST_WEEKDAY:
        return "LW"
    if term.nth:
        day = "" if term.start == _NO_DAY else str(term.start)
        return f"{day}L" if term.nth < 0 else f"{day}#{term.nth}"
    if term.start == term.stop:
        return str(term.start)
    # cronsim looks for a star in front to decide whether both day fields must match.
    base = "*" if term.star else f"{term.start}-{term.stop}"
    return base if term.step == 1 else f"{base}/{term.step}"
