"""What goes into a call and what comes out of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from tocsin.domain.execution import Timings

if TYPE_CHECKING:
    from tocsin.delivery.http.url import Url

FailureKind: TypeAlias = Literal[
    "timeout",
    "connection",
    "dns",
    "tls",
    "protocol",
    "redirect",
    "blocked",
    "too_large",
    "cancelled",
]
"""The error kinds of the glossary that an HTTP exchange can end with."""


class NotSent(Exception):
    """A call ended before a byte of its request was written, because it must not be sent."""


def _always() -> bool:
    return True


@dataclass(kw_only=True, slots=True)
class HttpRequest:
    """One call to make.

    ``url`` is absolute, ``http`` or ``https``; what is not ASCII in it is encoded, credentials in
    it are refused (use an ``Authorization`` header).  Header values leave as UTF-8.  The client
    writes the framing headers itself and refuses them here (`wire.RESERVED`); ``Host``,
    ``User-Agent``, ``Accept`` and ``Accept-Encoding`` given here replace its own.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]] = ()
    own: str = ""
    """More header lines, each with its line end, that the caller vouches for: they are neither
    checked nor taken apart, and stay on redirects."""
    body: bytes = b""
    timeout: float
    """Seconds for the whole call: name, connection, TLS, every redirect, the last byte read."""
    redirects: int = 0
    """How many redirects are followed at most; 0: a 3xx answer is itself the result."""
    max_body: int = 1_048_576
    """Bytes of an answer's body that are read; a longer one ends as ``too_large``."""
    excerpt: int = 4096
    """Bytes of the body that are kept; the rest is read and dropped (``truncated``)."""
    confidential: frozenset[str] = frozenset()
    """Headers (lower case) that no redirect takes to another origin, beside ``Authorization`` and
    the like."""
    confidential_body: bool = False
    """No redirect takes the body to another origin."""
    fresh_connection: bool = False
    """At most once: a connection of its own, and the request is never written a second time."""
    may_send: Callable[[], bool] = _always
    """Asked when the connection is there, before the first byte of the request; where it says no
    the call ends with `NotSent`. Asked again before a request that reached nobody is sent once
    more; where it says no that is how the call ends."""


class Sending(NamedTuple):
    """A request as it goes over one connection, and how much may come back.

    Made for each call: as a tuple, it costs half of what a data class does.
    """

    url: "Url"
    head: bytes
    body: bytes
    to_head: bool
    """It is a HEAD request, whose answer has no body."""
    timeout: float
    """Seconds; what ``deadline`` was set by."""
    deadline: float
    """In the loop's time."""
    max_body: int
    excerpt: int
    may_send: Callable[[], bool]
    fresh: bool
    """As ``HttpRequest.fresh_connection``."""


# A value; not frozen and by position, since one is made for each call.
@dataclass(slots=True)
class HttpOutcome:
    """How a call ended.

    ``error_kind`` decides: ``None`` means that a whole answer was read, whatever its status.
    ``status`` may be set beside an error, where the answer began (``too_large``, a reset in the
    middle of the body, a redirect that cannot be followed).
    """

    status: int | None
    content_type: str | None
    location: str | None
    retry_after: str | None
    excerpt: str
    """The start of the body as text; safe to store and print, see `excerpt.readable`."""
    truncated: bool
    """The body was longer than the excerpt."""
    error_kind: FailureKind | None
    error: str | None
    """One sentence that names host and port; never a path, a query or a header's value."""
    request_written: bool
    """A byte of the request was handed to a socket: the receiver may have acted on it."""
    timings: Timings
    """Rounded to the microsecond.

    With redirects or a retry on a new connection, ``dns``, ``connect``, ``proxy`` and ``tls`` are
    sums.  Through a proxy ``dns`` and ``connect`` are about the proxy, and ``proxy`` is the wait
    until it has connected to the target.
    ``first_byte`` is the wait from the request's write to the first byte of the last answer.
    """
    total_ms: float
    """That of the timings."""


class CallFailed(Exception):
    """Why a call did not get its answer; raised inside the package, never out of it."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: FailureKind = kind
        self.reason = reason


class Unreached(CallFailed):
    """The peer closed the connection before anything of the request had reached it."""

    def __init__(self, reason: str) -> None:
        super().__init__("connection", reason)


class DeadlinePassed(CallFailed):
    """The call's own deadline passed; ``reason`` says in which phase."""

    def __init__(self, phase: str) -> None:
        super().__init__("timeout", phase)
