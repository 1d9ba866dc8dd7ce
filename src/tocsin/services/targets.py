"""Targets as people write them: the rules that types cannot say."""

import ipaddress
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

import idna
import orjson

from tocsin.domain.errors import FieldProblem
from tocsin.domain.instant import DAY, Millis
from tocsin.domain.job import (
    BasicAuth,
    BearerAuth,
    BodyKind,
    HttpTarget,
    Json,
    LogTarget,
    Target,
    TargetAuth,
)
from tocsin.domain.placeholder import JsonTemplate, Template
from tocsin.services.durations import read_duration
from tocsin.services.shapes import MAX_BODY, MAX_DEPTH, AuthIn, TargetIn

Problems = list[FieldProblem]

_URL = re.compile(r"(https?)://([^/?#]*)([/?][^#]*)?(#.*)?", re.IGNORECASE | re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OWN = frozenset({"idempotency-key", "traceparent"})
_OWN_PREFIXES = ("webhook-", "tocsin-")

_HTTP_ONLY = (
    *("method", "headers", "body", "body_text", "body_base64"),
    *("timeout", "redirects", "auth", "signing"),
)
_BODIES = (
    ("body", BodyKind.JSON),
    ("body_text", BodyKind.TEXT),
    ("body_base64", BodyKind.BASE64),
)


WhyNever: TypeAlias = Callable[[str, int], str | None]
"""The rule that forbids every call to a host (lower case, ASCII) and port; ``None`` for none."""


def read_target(
    data: TargetIn, problems: Problems, *, timeout: Millis, why_never: WhyNever | None = None
) -> Target | None:
    """The target, or ``None`` where something is wrong with it; ``timeout`` is the default."""
    before = len(problems)
    given: Mapping[str, object] = data
    url, log = data.get("url"), data.get("log")
    if (url is None) == (log is None):
        found = "found both" if url is not None else "found neither"
        problems.append(_problem("", f"needs exactly one of url and log; {found}", "one_of"))
        return None
    if log is not None:
        for name in _HTTP_ONLY:
            if given.get(name) is not None:
                problems.append(_problem(name, "does not go with log", "conflict"))
        try:
            if Template.parse(log).secrets:
                problems.append(_problem("log", "would write a secret into the log", "placeholder"))
        except ValueError as error:
            problems.append(_problem("log", str(error), "placeholder"))
        return LogTarget(text=log) if len(problems) == before else None

    assert url is not None  # noqa: S101  # for the type checker: one of both is there
    problems.extend(url_problems(url, why_never))
    headers = data.get("headers")
    pairs = _read_headers(headers, problems) if headers else ()
    kind, body = _read_body(given, problems)
    auth = _read_auth(data.get("auth"), pairs, problems)
    signing = data.get("signing")
    limit = data.get("timeout")
    method = (data.get("method") or "POST").upper()
    if method == "CONNECT":
        problems.append(_problem("method", "CONNECT opens a tunnel and calls nothing", "invalid"))
    if limit is not None:
        timeout = read_duration(limit, "target.timeout", 1, DAY, problems) or timeout
    if len(problems) > before:
        return None
    return HttpTarget(
        url=url,
        method=method,
        headers=pairs,
        body_kind=kind,
        body=body,
        timeout=timeout,
        redirects=data.get("redirects") or 0,
        auth=auth,
        signing=None if signing is None else signing["secret"],
    )


_AUTH_FIELDS = {"basic": ("username", "password"), "bearer": ("token",)}


def _read_auth(
    data: AuthIn | None, headers: Sequence[tuple[str, str]], problems: Problems
) -> TargetAuth | None:
    if data is None:
        return None
    if any(name.lower() == "authorization" for name, _ in headers):
        problems.append(
            _problem("auth", "does not go with an Authorization header of its own", "conflict")
        )
    given: Mapping[str, object] = data
    fields = _AUTH_FIELDS[data["type"]]
    texts: dict[str, str] = {}
    for name in sorted({name for group in _AUTH_FIELDS.values() for name in group}):
        value = given.get(name)
        if name not in fields:
            if value is not None:
                message = f"does not go with the type {data['type']}"
                problems.append(_problem(f"auth.{name}", message, "conflict"))
        elif value is None:
            problems.append(_problem(f"auth.{name}", "is required", "required"))
        else:
            texts[name] = str(value)
            _check_credential(name, str(value), problems)
    if len(texts) < len(fields):
        return None
    if data["type"] == "basic":
        return BasicAuth(username=texts["username"], password=texts["password"])
    return BearerAuth(token=texts["token"])


def _check_credential(name: str, text: str, problems: Problems) -> None:
    try:
        template = Template.parse(text)
    except ValueError as error:
        problems.append(_problem(f"auth.{name}", str(error), "placeholder"))
        return
    if _BAD_VALUE.search(text):
        problems.append(
            _problem(f"auth.{name}", "holds a line break or control character", "invalid")
        )
    elif name == "username":
        if ":" in text:
            problems.append(
                _problem("auth.username", "holds a colon, which would end it (RFC 7617)", "invalid")
            )
    elif not template.secrets:
        problems.append(
            _problem(
                f"auth.{name}",
                "would be readable by whoever may see the job; keep it as a secret "
                "(`tocsin secrets set NAME`) and write {{ secret.NAME }}",
                "plain_secret",
            )
        )


def check_json_body(body: Json, field: str, problems: Problems) -> bytes | None:
    """Hold a JSON body to its bounds; returns it written, ``None`` where it breaks them."""
    depth = depth_of(body, MAX_DEPTH)
    if depth > MAX_DEPTH:
        problems.append(_at(field, f"is nested deeper than {MAX_DEPTH} levels", "too_deep"))
        return None
    written = orjson.dumps(body)
    if len(written) > MAX_BODY:
        problems.append(_at(field, f"is larger than {MAX_BODY:,} bytes as JSON", "too_long"))
        return None
    return written


def depth_of(value: Json, limit: int) -> int:
    """How many lists and objects are nested; stops counting above ``limit``."""
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value  # type: ignore[assignment]  # both are iterables of Json
    else:
        return 0
    if limit <= 0:
        return 1
    deepest = 0
    for item in inner:
        if isinstance(item, (dict, list)):
            deepest = max(deepest, depth_of(item, limit - 1))
    return deepest + 1


def _read_body(data: Mapping[str, object], problems: Problems) -> tuple[BodyKind, Json]:
    found = [(name, kind) for name, kind in _BODIES if data.get(name) is not None]
    if not found:
        return BodyKind.NONE, None
    if len(found) > 1:
        names = " and ".join(name for name, _ in found)
        problems.append(_problem(found[1][0], f"only one body is sent; found {names}", "conflict"))
        return BodyKind.NONE, None
    name, kind = found[0]
    body: Json = data[name]  # type: ignore[assignment]  # parsed JSON
    field = f"target.{name}"
    try:
        if kind is BodyKind.JSON:
            written = check_json_body(body, field, problems)
            if written is not None and b"{{" in written:
                JsonTemplate.parse(body)
        elif kind is BodyKind.TEXT:
            text = str(body)
            if not text.isascii() and len(text.encode()) > MAX_BODY:
                problems.append(_at(field, f"is larger than {MAX_BODY:,} bytes", "too_long"))
            Template.parse(text)
        else:
            _check_base64(str(body), problems)
    except ValueError as error:
        problems.append(_at(field, str(error), "placeholder"))
    return kind, body


def _check_base64(text: str, problems: Problems) -> None:
    try:
        size = len(a2b_base64(text, strict_mode=True)) if text else 0
    except (Base64Error, ValueError):
        problems.append(
            _problem("body_base64", "is not base64 (RFC 4648, with padding)", "invalid")
        )
        return
    if size > MAX_BODY:
        problems.append(_problem("body_base64", f"is larger than {MAX_BODY:,} bytes", "too_long"))


def url_problems(url: str, why_never: WhyNever | None) -> Sequence[FieldProblem]:
    """What is wrong with the URL of a target."""
    problems = _url_problems(url)
    if problems or why_never is None:
        return problems
    rule = why_never(*_place_of(url))
    return [] if rule is None else [_problem("url", f"can never be called: {rule}", "blocked")]


# The jobs of a batch often have one target. Not many, because a URL can be 8 KiB long.
@lru_cache(maxsize=512)
def _url_problems(url: str) -> Sequence[FieldProblem]:
    match = _URL.fullmatch(url)
    if match is None:
        return [_problem("url", "is not an absolute http:// or https:// URL", "invalid_url")]
    if _CONTROL.search(url):
        return [_problem("url", "holds a control character", "invalid_url")]
    problems: Problems = []
    if match[4] is not None:
        problems.append(
            _problem("url", "has a fragment (#...), which is never sent", "invalid_url")
        )
    if "{{" in url:
        try:
            Template.parse_url(url)
        except ValueError as error:
            return [*problems, _problem("url", str(error), "placeholder")]
    wrong = _authority_problem(match[2])
    if wrong is not None:
        problems.append(_problem("url", wrong, "invalid_url"))
    return problems


@lru_cache(maxsize=512)
def _place_of(url: str) -> tuple[str, int]:
    """Host and port of a URL without problems."""
    match = _URL.fullmatch(url)
    assert match is not None  # noqa: S101  # it has no problems
    authority = match[2]
    port = authority.rpartition("]")[2].rpartition(":")[2]
    host = authority.removesuffix(f":{port}").strip("[]").lower()
    if not host.isascii():
        host = idna.encode(host, uts46=True).decode("ascii")
    return host, int(port) if port.isdigit() else 443 if match[1].lower() == "https" else 80


@lru_cache(maxsize=4_096)
def _authority_problem(authority: str) -> str | None:
    """What is wrong with host and port; the same rules as the HTTP client's."""
    if "@" in authority:
        return "holds credentials; send them in an Authorization header instead"
    if authority.startswith("["):
        address, closed, rest = authority[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            return "has an IPv6 address without its closing bracket"
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            return "has something in brackets that is not an IPv6 address"
        return _port_problem(rest[1:])
    host, _, port = authority.partition(":")
    host = host.lower()
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            return "has a host that is not a valid name"
    if len(host) > 254 or not _HOST.fullmatch(host) or ".." in host:
        return "has no host, or one that is not a valid name"
    return _port_problem(port)


def _port_problem(port: str) -> str | None:
    if port and not (
        port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65_535
    ):
        return "has a port that is not a number from 1 to 65535"
    return None


def _read_headers(headers: Mapping[str, str], problems: Problems) -> tuple[tuple[str, str], ...]:
    seen: set[str] = set()
    for name, value in headers.items():
        wrong = _header_name_problem(name)
        if wrong is not None:
            problems.append(_problem(f"headers.{name[:100]}", *wrong))
            continue
        lower = name.lower()
        if lower in seen:
            problems.append(
                _problem(f"headers.{name}", "is there twice; case does not matter", "duplicate")
            )
        seen.add(lower)
        if _BAD_VALUE.search(value):
            problems.append(
                _problem(f"headers.{name}", "holds a line break or control character", "invalid")
            )
        elif value != value.strip(" \t"):
            problems.append(
                _problem(f"headers.{name}", "has spaces at an end, which are not sent", "invalid")
            )
        elif "{{" in value:
            try:
                Template.parse(value)
            except ValueError as error:
                problems.append(_problem(f"headers.{name}", str(error), "placeholder"))
    return tuple(headers.items())


@lru_cache(maxsize=4_096)
def _header_name_problem(name: str) -> tuple[str, str] | None:
    if not _TOKEN.fullmatch(name):
        return "is not a header name (RFC 9110: letters, digits and !#$%&'*+.^_`|~-)", "invalid"
    lower = name.lower()
    if lower in _FRAMING:
        return "is set by the HTTP client itself, from the URL and the body", "reserved"
    if lower in _OWN or lower.startswith(_OWN_PREFIXES):
        return "is set by Tocsin on every call, so that receivers can rely on it", "reserved"
    return None


def _problem(name: str, message: str, code: str) -> FieldProblem:
    return _at(f"target.{name}" if name else "target", message, code)


def _at(field: str, message: str, code: str) -> FieldProblem:
    return FieldProblem(field=field, message=message, code=code)
