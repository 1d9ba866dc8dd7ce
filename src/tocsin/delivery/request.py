"""The request of an execution: the target with its placeholders filled in, and our headers."""

import base64
import random
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson

from tocsin.delivery.credentials import Credentials
from tocsin.delivery.http import Head
from tocsin.domain.execution import Execution
from tocsin.domain.instant import Millis, format_instant
from tocsin.domain.job import BodyKind, HttpTarget, Json
from tocsin.domain.placeholder import Template

# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_JSON = BodyKind.JSON

_CONTENT_TYPES = {
    BodyKind.JSON: "application/json",
    BodyKind.TEXT: "text/plain; charset=utf-8",
    BodyKind.BASE64: "application/octet-stream",
}


class CompiledTarget:
    """A target taken apart once, to be filled in for each attempt.

    Values are encoded for the place where they stand: percent-encoded in the URL, as they are in
    header values, inside the quotes in JSON.
    """

    __slots__ = (
        "_body",
        "_content_type",
        "_headers",
        "_json",
        "_url",
        "credentials",
        "head",
        "target",
        "templated",
    )

    def __init__(self, target: HttpTarget) -> None:
        self.target = target
        self._url = _compiled(target.url)
        self._headers: list[tuple[str, str | Template]] = []
        self._content_type = False
        self._json: Any = None
        self._body: bytes | Template = b""
        templated = self._url is not target.url
        if target.headers:
            self._headers = [(name, _compiled(value)) for name, value in target.headers]
            self._content_type = any(name.lower() == "content-type" for name, _ in target.headers)
            templated = templated or any(isinstance(value, Template) for _, value in self._headers)
        kind = target.body_kind
        if kind is _JSON:
            self._body = orjson.dumps(target.body)
            # Most bodies have nothing to fill in, and this tells it at once.
            if b"{{" in self._body and _has_template(compiled := _compiled_json(target.body)):
                self._json = compiled
                templated = True
        elif kind is BodyKind.TEXT:
            text = _compiled(str(target.body))
            if isinstance(text, str):
                self._body = text.encode()
            else:
                self._body = text
                templated = True
        elif kind is BodyKind.BASE64:
            self._body = base64.b64decode(str(target.body))
        self.templated = templated
        """Whether there is anything to fill in."""
        self.credentials = Credentials.of(target) if templated or target.auth is not None else None
        self.head: Head | None = None
        """What the client has made of it, where there is nothing to fill in."""

    @property
    def size(self) -> int:
        """The bytes that it holds, about."""
        target = self.target
        body = self._body if isinstance(self._body, bytes) else str(target.body)
        return len(target.url) + sum(len(n) + len(v) for n, v in target.headers) + len(body)

    def url(self, values: Mapping[str, str]) -> str:
        """The URL to call."""
        if isinstance(self._url, str):
            return self._url
        return self._url.render(values, encode=_percent)

    def body(self, values: Mapping[str, str]) -> bytes:
        """The body to send."""
        if self._json is not None:
            return orjson.dumps(_filled(self._json, values))
        if isinstance(self._body, bytes):
            return self._body
        return self._body.render(values).encode()

    def headers(self, values: Mapping[str, str], kind: BodyKind) -> list[tuple[str, str]]:
        """The job's own headers, with a content type for a body of this kind."""
        headers = []
        if self._headers:
            headers = [
                (name, value if isinstance(value, str) else value.render(values))
                for name, value in self._headers
            ]
        if kind is not BodyKind.NONE and not self._content_type:
            headers.append(("Content-Type", _CONTENT_TYPES[kind]))
        return headers


def placeholder_values(execution: Execution, number: int) -> dict[str, str]:
    """What the placeholders stand for in one attempt."""
    return {
        "fire_time": format_instant(execution.fire_time),
        "fire_time_ms": str(execution.fire_time),
        "execution_id": execution.id,
        "job_id": execution.job_id,
        "job_name": execution.job_name,
        "attempt": str(number),
    }


def own_headers(execution: Execution, number: int, now: Millis) -> str:
    """The header lines that every call carries.

    The id is that of the execution, the same on each attempt, so that a receiver can drop
    repeats. The trace is that of the execution too; each attempt is a span of it. Nothing in them
    needs a check: ids, digits, and a name that was checked when the job was saved.
    """
    execution_id = execution.id
    return (
        f"webhook-id: {execution_id}\r\n"
        f"webhook-timestamp: {now // 1_000}\r\n"
        f"Idempotency-Key: {execution_id}\r\n"
        f"Tocsin-Job-Id: {execution.job_id}\r\n"
        f"Tocsin-Job-Name: {execution.job_name}\r\n"
        f"Tocsin-Fire-Time: {_fire_time(execution.fire_time)}\r\n"
        f"Tocsin-Attempt: {number}\r\n"
        f"traceparent: 00-{execution_id.replace('-', '')}-{_random_bytes(8).hex()}-01\r\n"
    )


_fire_time = lru_cache(1_024)(format_instant)
"""Many fires share an instant, and each attempt asks for it again."""


_random_bytes = random.Random().randbytes  # noqa: S311
"""For the ids of spans, which need to be unique, not secret."""


def input_body(value: Json) -> bytes:
    """The body that a trigger brought along."""
    return orjson.dumps(value)


def _percent(value: str) -> str:
    return quote(value, safe="")


def _compiled(text: str) -> str | Template:
    """A template, or the text itself where it has nothing to fill in."""
    if "{{" not in text:
        return text
    return Template.parse(text)


def _compiled_json(value: Json) -> Any:
    match value:
        case str():
            return _compiled(value)
        case list():
            return [_compiled_json(item) for item in value]
        case dict():
            return {key: _compiled_json(item) for key, item in value.items()}
        case _:
            return value


def _has_template(value: Any) -> bool:
    match value:
        case Template():
            return True
        case list():
            return any(_has_template(item) for item in value)
        case dict():
            return any(_has_template(item) for item in value.values())
        case _:
            return False


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    match value:
        case Template():
            return value.render(values)
        case list():
            return [_filled(item, values) for item in value]
        case dict():
            return {key: _filled(item, values) for key, item in value.items()}
        case _:
            return value
