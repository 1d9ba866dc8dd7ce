"""A request as bytes, with everything refused that could smuggle a second one."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tocsin.delivery.http.message import CallFailed
from tocsin.delivery.http.url import Url

RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers (lower case) that frame the message; only the client writes them."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_HOST, _USER_AGENT, _ACCEPT, _ACCEPT_ENCODING = 1, 2, 4, 8
_OVERRIDES = {
    "host": _HOST,
    "user-agent": _USER_AGENT,
    "accept": _ACCEPT,
    "accept-encoding": _ACCEPT_ENCODING,
}
# A body that is empty is announced too where the method expects one, else servers answer 411.
_EXPECT_BODY = frozenset({"POST", "PUT", "PATCH"})


class Head(NamedTuple):
    """What requests have in common that go to one place with the same headers."""

    url: Url
    method: str
    start: bytes


class RequestWriter:
    """Writes request heads; holds what is the same in all of them."""

    def __init__(self, user_agent: str) -> None:
        self._own = (
            (_USER_AGENT, f"User-Agent: {user_agent}\r\n"),
            (_ACCEPT, "Accept: */*\r\n"),
            # An excerpt is for people: what cannot be read is not worth asking for.
            (_ACCEPT_ENCODING, "Accept-Encoding: identity\r\n"),
        )
        self._all_own = "".join(line for _, line in self._own)

    def start(
        self, method: str, url: Url, headers: Sequence[tuple[str, str]], *, last: bool = False
    ) -> bytes:
        """Return request line and headers, but for those that say how long the body is.

        ``last`` asks the peer to close after its answer. Raises `CallFailed` (``protocol``) for a
        method, header name or value that is not allowed.
        """
        _check_method(method)
        lines = []
        given = 0
        for name, value in headers:
            prefix, override = _field(name)
            if given & override & _HOST:
                raise CallFailed("protocol", "the header Host is given twice; keep one")
            given |= override
            lines.append(prefix + value)
        # isprintable() is the cheap test that nearly every request passes; what fails it (a tab,
        # an exotic space) is looked at closely.
        if not "".join(lines).isprintable():
            _check_values(headers)
        lines.append("")
        if given & _HOST:
            begin = f"{method} {url.target} HTTP/1.1\r\n"
        else:
            begin = method + url.request_tail
        own = (
            "".join(line for flag, line in self._own if not given & flag)
            if given
            else self._all_own
        )
        if last:
            own += "Connection: close\r\n"
        try:
            return (begin + own + "\r\n".join(lines)).encode()
        except UnicodeEncodeError:
            raise CallFailed(
                "protocol", "a header value holds half of a surrogate pair; remove it"
            ) from None


@lru_cache(maxsize=1024)
def end(method: str, length: int) -> bytes:
    """Return the last headers, up to and including the empty line; ``length`` is in bytes."""
    if length or method in _EXPECT_BODY:
        return b"Content-Length: %d\r\n\r\n" % length
    return b"\r\n"


@lru_cache(maxsize=64)
def _check_method(method: str) -> None:
    if not _TOKEN.fullmatch(method) or method.upper() == "CONNECT":
        raise CallFailed("protocol", "the method is not an HTTP method that can be sent")


@lru_cache(maxsize=1024)
def _field(name: str) -> tuple[str, int]:
    """Return the start of a header's line and the default that it replaces."""
    if not _TOKEN.fullmatch(name):
        raise CallFailed("protocol", "a header name holds characters that are not allowed in one")
    key = name.lower()
    if key in RESERVED:
        raise CallFailed("protocol", f"the header {name} is written by the client; remove it")
    return f"{name}: ", _OVERRIDES.get(key, 0)


def _check_values(headers: Sequence[tuple[str, str]]) -> None:
    for name, value in headers:
        if _UNSAFE.search(value):
            raise CallFailed(
                "protocol", f"the value of the header {name} holds a control character; remove it"
            )
