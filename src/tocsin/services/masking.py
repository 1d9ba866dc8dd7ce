"""Definitions as the audit log shows them: what looks like a secret is masked.

The log outlives jobs and is read by people who may not see what a job sends. So values are masked
by what their names say: of headers, of query parameters, and of members of JSON, at any depth. A
placeholder such as ``{{ secret.NAME }}`` is a name and no secret, and stays. In URLs that are
secrets themselves (those of chat services, say) nothing tells: what looks as if it were drawn at
random is masked there too. Text that has no names in it (``body_text``, ``body_base64``) is told by
its length only.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

import orjson

from tocsin.domain.audit import JsonText
from tocsin.domain.codec import spec_to_json
from tocsin.domain.job import HttpTarget, JobSpec, Json

MASK = "********"

MAX_SHOWN = 16_384
"""Bytes of one side of an entry; a larger body or metadata is told by its size."""

_TELLING = re.compile(
    r"auth|token|secret|passw|passphrase|api[-_]?key|access[-_]?key|private|credential|cookie"
    r"|session|signature|^key$|^pwd$|^sig$",
    re.IGNORECASE,
)
_WORDS = (
    *("auth", "token", "secret", "pass", "api", "access", "private", "credential"),
    *("cookie", "session", "signature", '"key"', '"pwd"', '"sig"', "key=", "pwd=", "sig="),
    *("body_text", "body_base64", "\\"),
)
"""Without any of these in a definition as text, in lower case, nothing of it is masked: whatever
``_TELLING`` finds has one of them. A backslash may hide one."""
_PLACEHOLDER = re.compile(r"(?:(?:Bearer|Basic|Token) )?\{\{ ?[a-z_]+(?:\.[A-Za-z0-9_.-]+)? ?\}\}")
_QUERY = re.compile(r"(?<=[?&;])([^=&;#]*)=([^&;#]*)")
_WORD = re.compile(r"(?<![^/?&;=#])[^/?&;=#{}]{8,}(?![^/?&;=#])")
"""A segment of a path, the name or the value of a parameter."""
_SWITCHES = re.compile(r"[A-Za-z][0-9]+[A-Za-z]|[0-9][A-Za-z]+[0-9]")
"""Letters between digits, or digits between letters: names and dates have that seldom, and a random
text of eight characters nearly always."""
_TELLING_URL = re.compile(f"%|{_SWITCHES.pattern}")
"""Without this nothing of a URL is masked, unless for a name that is among ``_WORDS``."""
_APART = re.compile(r"[-_.:~+,@!]|%[0-9A-Fa-f]{2}")


def masked_text(spec: JobSpec, written: str | None) -> Json:
    """A whole definition without secrets; ``written`` is its ``spec_text``, where that is at hand.

    Most definitions hold nothing that could have to be masked. Then what is written is as good,
    and costs a tenth of taking it apart.
    """
    target = spec.target
    plain = not isinstance(target, HttpTarget) or _TELLING_URL.search(target.url) is None
    if plain and written is not None and len(written) <= MAX_SHOWN:
        lower = written.lower()
        for word in _WORDS:
            if word in lower:
                break
        else:
            return JsonText(written)
    return masked_definition(spec_to_json(spec))


def masked_definition(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition, or a part of one, as JSON without secrets."""
    shown = dict(definition)
    target = shown.get("target")
    if isinstance(target, dict):
        shown["target"] = _masked_target(target)
    if shown.get("metadata"):
        shown["metadata"] = masked(shown["metadata"])
    return _bounded(shown)


def masked(value: Json, name: str = "") -> Json:
    """A JSON value without what its names call secrets."""
    if isinstance(value, dict):
        return {key: masked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, name) for item in value]
    if name and value not in (None, "") and not isinstance(value, bool) and _TELLING.search(name):
        return value if isinstance(value, str) and _PLACEHOLDER.fullmatch(value) else MASK
    return value


def changed(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of two definitions what differs, without secrets; a secret that changed is masked twice."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        masked_definition({name: before.get(name) for name in names}),
        masked_definition({name: after.get(name) for name in names}),
    )


def _masked_target(target: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(target)
    if isinstance(shown.get("url"), str):
        shown["url"] = _masked_url(shown["url"])
    if shown.get("headers"):
        shown["headers"] = masked(shown["headers"])
    if shown.get("body") is not None:
        shown["body"] = masked(shown["body"])
    for name in ("body_text", "body_base64"):
        if shown.get(name):
            shown[name] = f"({len(shown[name]):,} characters)"
    return shown


def _masked_url(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if not slash:
        host, slash, path = rest.partition("?")
    shown = _QUERY.sub(_masked_parameter, f"{slash}{path}")
    return f"{scheme}{slashes}{host}{_WORD.sub(_masked_word, shown)}"


def _masked_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={masked(match[2], unquote_plus(match[1]))}"


def _masked_word(match: re.Match[str]) -> str:
    word = match[0]
    is_id = len(word) >= 32 and _SWITCHES.search(word) is not None
    parts = _APART.split(word)
    if is_id or any(len(part) >= 8 and _SWITCHES.search(part) for part in parts):
        return MASK
    return word


def _bounded(shown: dict[str, Any]) -> dict[str, Any]:
    if _size(shown) <= MAX_SHOWN:
        return shown
    target = shown.get("target")
    if isinstance(target, dict) and target.get("body") is not None:
        shown["target"] = target | {"body": f"({_size(target['body']):,} bytes of JSON)"}
    if shown.get("metadata") and _size(shown["metadata"]) > MAX_SHOWN // 2:
        shown["metadata"] = f"({_size(shown['metadata']):,} bytes of JSON)"
    return shown


def _size(value: Any) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError:  # integers beyond 64 bits
        return len(str(value))
