"""What there is to know about each setting, read from ``Settings`` itself.

The options of ``tocsin serve``, ``tocsin config show`` and ``docs/configuration.md`` are all made
from here, so that none of them can drift from the settings.
"""

import inspect
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from tocsin.domain.duration import format_duration, parse_duration
from tocsin.settings import Settings

_GROUP = re.compile(r"\s*# --- (.+)")
_FIELD = re.compile(r"    (\w+): ")
_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


class Kind(StrEnum):
    """How a value is written."""

    DURATION = "duration"
    BYTES = "bytes"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"
    SWITCH = "switch"
    TEXT = "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting as people see it."""

    name: str
    group: str
    kind: Kind
    description: str
    default: str
    """As one would type it; empty where there is none."""
    lowest: str | None
    highest: str | None
    choices: tuple[str, ...]
    secret: bool

    @property
    def option(self) -> str:
        """The option of ``tocsin serve``."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"TOCSIN_{self.name.upper()}"

    @property
    def shown_default(self) -> str:
        """The default for reading: sizes also in a larger unit."""
        if self.kind is Kind.BYTES:
            return sized(int(self.default))
        return self.default

    @property
    def accepted(self) -> str:
        """The range or the choices; empty where everything goes."""
        if self.choices:
            return " | ".join(self.choices)
        if self.lowest is not None and self.highest is not None:
            return f"{self.lowest} to {self.highest}"
        if self.lowest is not None:
            return f"at least {self.lowest}"
        if self.highest is not None:
            return f"at most {self.highest}"
        return ""


@lru_cache(maxsize=1)
def settings_catalogue() -> tuple[Setting, ...]:
    """Every setting, in the order of ``Settings``."""
    groups = _groups()
    return tuple(
        _setting(name, groups.get(name, "Settings"), field)
        for name, field in Settings.model_fields.items()
    )


def by_group(settings: Sequence[Setting]) -> Iterator[tuple[str, list[Setting]]]:
    """The settings of each group, in order."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(setting.group, []).append(setting)
    yield from groups.items()


def shown_value(setting: Setting, value: Any) -> str:
    """A value in the units that it is written in; secrets are masked."""
    if value is None:
        return ""
    if setting.secret:
        return "********"
    match setting.kind:
        case Kind.DURATION:
            return format_duration(value)
        case Kind.BYTES:
            return sized(value)
        case Kind.SWITCH:
            return "true" if value else "false"
        case Kind.NUMBER:
            return f"{value:g}"
        case _:
            return hide_password(str(value))


def hide_password(text: str) -> str:
    """The same text with the passwords of a URL masked, before its host and in its query."""
    before = re.sub(r"(?<=://)([^:/@\s]*):[^@\s]*@", r"\1:********@", text)
    return re.sub(r"(?i)(?<=password=)[^&\s]+", "********", before)


def sized(size: int) -> str:
    """A number of bytes, also in a larger unit where that is short."""
    human = human_bytes(size)
    return str(size) if human == str(size) else f"{size} ({human})"


def human_bytes(size: int) -> str:
    """A size in the largest unit that divides it; the plain number below a kibibyte."""
    for unit, factor in _UNITS:
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return str(size)


def _groups() -> dict[str, str]:
    """The group of each field: the ``# --- Group`` comment above it."""
    try:
        source = inspect.getsource(Settings)
    except OSError:  # installed without its source
        return {}
    groups = {}
    group = "Settings"
    for line in source.splitlines():
        if heading := _GROUP.match(line):
            group = heading[1].strip()
        elif field := _FIELD.match(line):
            groups[field[1]] = group
    return groups


def _setting(name: str, group: str, field: FieldInfo) -> Setting:
    kind, choices = _kind(name, field)
    lowest, highest = _bounds(kind, field)
    description = field.description or ""
    if field.default_factory is not None or field.default is None:
        default = ""
    else:
        default = str(field.default) if kind is Kind.BYTES else _text(kind, field.default)
    return Setting(
        name=name,
        group=group,
        kind=kind,
        description=description,
        default=default,
        lowest=lowest,
        highest=highest,
        choices=choices,
        secret=not field.repr,
    )


def _kind(name: str, field: FieldInfo) -> tuple[Kind, tuple[str, ...]]:
    annotation = _without_none(field.annotation)
    if get_origin(annotation) is Literal:
        return Kind.CHOICE, tuple(str(choice) for choice in get_args(annotation))
    if any(isinstance(m, BeforeValidator) and m.func is parse_duration for m in field.metadata):
        return Kind.DURATION, ()
    if annotation is bool:
        return Kind.SWITCH, ()
    if annotation is int:
        in_bytes = name.endswith("_bytes") or (field.description or "").startswith("Bytes")
        return (Kind.BYTES if in_bytes else Kind.INTEGER), ()
    if annotation is float:
        return Kind.NUMBER, ()
    return Kind.TEXT, ()


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        given = [part for part in get_args(annotation) if part is not types.NoneType]
        return given[0] if len(given) == 1 else annotation
    return annotation


def _bounds(kind: Kind, field: FieldInfo) -> tuple[str | None, str | None]:
    lowest = highest = None
    for rule in field.metadata:
        match rule:
            case Ge(ge=bound):
                lowest = _text(kind, bound)
            case Le(le=bound):
                highest = _text(kind, bound)
            case MinLen(min_length=length):
                lowest = str(length)
            case MaxLen(max_length=length):
                highest = f"{length} characters"
    return lowest, highest


def _text(kind: Kind, value: Any) -> str:
    match kind:
        case Kind.DURATION:
            return format_duration(value)
        case Kind.BYTES:
            return human_bytes(value)
        case Kind.SWITCH:
            return "true" if value else "false"
        case Kind.NUMBER:
            return f"{value:g}"
        case _:
            return str(value)
