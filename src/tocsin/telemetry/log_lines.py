"""What a log line looks like: JSON for programs, a coloured line for people.

Both take the same event: the name under ``event``, its fields, and ``now`` in seconds since the
epoch.
"""

import json
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

JSON_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_BOLD = "\x1b[1m"
_KEY = "\x1b[36m"
_LEVELS = {
    "debug": ("debug", "\x1b[34m"),
    "info": ("info ", "\x1b[32m"),
    "warning": ("warn ", "\x1b[33m"),
    "error": ("error", "\x1b[31m"),
    "critical": ("fatal", "\x1b[1;31m"),
}
_PLAIN = re.compile(r"[\w.:/@+,%?&=*#~-]+")
_EVENT_WIDTH = 20


def json_line(now: float, level: str, event: str, fields: Mapping[str, Any]) -> bytes:
    """One line of JSON: ``timestamp`` (RFC 3339, UTC, milliseconds), ``level``, ``event``, fields.

    Never raises: what JSON cannot express is written as its ``repr``.
    """
    try:
        if fields and "event" not in fields and "level" not in fields and "timestamp" not in fields:
            # The lines of a batch begin alike.
            start = _start(int(now * 1_000), level, event)
            return start + orjson.dumps(fields, repr, JSON_OPTIONS)[1:]
        return orjson.dumps(_whole(now, level, event, fields), default=repr, option=JSON_OPTIONS)
    except TypeError:  # lone surrogates, integers over 64 bits: rare, so the slow way is fine
        return json.dumps(_tame(_whole(now, level, event, fields))).encode() + b"\n"


@lru_cache(maxsize=16)
def _start(ms: int, level: str, event: str) -> bytes:
    return orjson.dumps(_whole(ms / 1_000, level, event, {}))[:-1] + b","


def _whole(now: float, level: str, event: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"timestamp": _utc(now), "level": level, "event": event, **fields}


def console_line(
    now: float, level: str, event: str, fields: Mapping[str, Any], *, colours: bool
) -> bytes:
    """A line for people: local time, level, event, ``key=value``; ids last, as they are long.

    The id of a job is left out where its name is there.
    """
    short, colour = _LEVELS.get(level, (level, ""))
    if not event.isprintable():
        event = _escaped(event)
    shown, ids = [], []
    exception = None
    for key, value in fields.items():
        if key == "exception":
            exception = value
        elif key == "job_id" and "job" in fields:
            pass
        elif key.endswith("_id"):
            ids.append((key, _value(value)))
        else:
            shown.append((key, _value(value)))
    if colours:
        parts = [
            f"{_DIM}{_clock(now)}{_RESET} {colour}{short}{_RESET} "
            f"{_BOLD}{event:<{_EVENT_WIDTH if fields else 0}}{_RESET}"
        ]
        parts += [f"{_KEY}{key}{_RESET}={value}" for key, value in shown]
        parts += [f"{_DIM}{key}={value}{_RESET}" for key, value in ids]
    else:
        parts = [f"{_clock(now)} {short} {event:<{_EVENT_WIDTH if fields else 0}}"]
        parts += [f"{key}={value}" for key, value in (*shown, *ids)]
    text = " ".join(parts)
    if exception is not None:
        text = f"{text}\n{exception}"
    return text.encode("utf-8", "backslashreplace") + b"\n"


# The same second is written thousands of times under load, so its text is kept.
@lru_cache(maxsize=4)
def _utc_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(maxsize=4)
def _local_second(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


def _utc(now: float) -> str:
    ms = int(now * 1_000)
    return f"{_utc_second(ms // 1_000)}.{ms % 1_000:03}Z"


def _clock(now: float) -> str:
    ms = int(now * 1_000)
    return f"{_local_second(ms // 1_000)}.{ms % 1_000:03}"


def _value(value: object) -> str:
    if isinstance(value, str):
        # repr also escapes what could move the cursor or forge a line.
        return value if _PLAIN.fullmatch(value) else repr(value)
    text = str(value)
    return text if text.isprintable() else _escaped(text)


def _escaped(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _tame(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict():
            return {str(key): _tame(item) for key, item in value.items()}
        case list() | tuple():
            return [_tame(item) for item in value]
        case _:
            return repr(value)
