"""What a redirect makes of a request."""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urljoin

from tocsin.delivery.http.message import CallFailed
from tocsin.delivery.http.url import Url, parse_url

_REWRITES_POST = frozenset({301, 302})
_SEE_OTHER = 303
_KEEPS = frozenset({307, 308})
STATUSES = _REWRITES_POST | _KEEPS | {_SEE_OTHER}
"""The statuses that say where to go instead."""

_ABOUT_BODY = frozenset(
    {"content-type", "content-encoding", "content-language", "content-location"}
)
# What was meant for one origin only. Host too: it named the old one.
_CONFIDENTIAL = frozenset({"authorization", "cookie", "proxy-authorization", "host"})
_TELLING = re.compile(
    r"auth|api-?key|access-?key|token|secret|passw|credential|session", re.IGNORECASE
)
"""Headers that are called so hold credentials, whoever made them up: ``X-Api-Key``, say."""


class Step(NamedTuple):
    """The request to make at one place, on a way that may lead over several."""

    method: str
    url: Url
    text: str
    """The URL as it was given, which a relative ``Location`` is relative to."""
    headers: Sequence[tuple[str, str]]
    body: bytes
    confidential: frozenset[str] = frozenset()
    """Further headers (lower case) that were meant for the first origin only."""
    confidential_body: bool = False
    """Whether the body is, too."""


def next_step(step: Step, status: int, location: str | None) -> Step:
    """Follow a redirect, as browsers do.

    POST becomes GET on 301 and 302, everything but HEAD does on 303; 307 and 308 keep method and
    body.  Credentials do not go to another origin.  Raises `CallFailed` (``redirect``) where there
    is no valid place to go, where it would leave TLS, or take a confidential body elsewhere.
    """
    if not location:
        raise CallFailed(
            "redirect", f"{step.url.place} redirects ({status}) but does not say where"
        )
    try:
        text = urljoin(step.text, location)
        url = parse_url(text)
    except (CallFailed, ValueError):
        raise CallFailed(
            "redirect",
            f"{step.url.place} redirects ({status}) to something that is not a valid URL",
        ) from None
    if step.url.tls and not url.tls:
        raise CallFailed(
            "redirect", f"{step.url.place} redirects ({status}) from https to http; not followed"
        )
    method, headers, body = step.method, step.headers, step.body
    if (status in _REWRITES_POST and method == "POST") or (
        status == _SEE_OTHER and method not in {"GET", "HEAD"}
    ):
        method, body = "GET", b""
        headers = _without(headers, _ABOUT_BODY)
    if url.origin != step.url.origin:
        if body and step.confidential_body:
            raise CallFailed(
                "redirect",
                f"{step.url.place} redirects ({status}) to {url.place}, and the body, which holds "
                "a secret, is not taken there",
            )
        headers = _without(headers, _CONFIDENTIAL | step.confidential)
        headers = [(name, value) for name, value in headers if not _TELLING.search(name)]
    return step._replace(method=method, url=url, text=text, headers=headers, body=body)


def _without(
    headers: Sequence[tuple[str, str]], names: frozenset[str]
) -> Sequence[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in names]
