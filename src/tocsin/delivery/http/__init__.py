"""The outgoing HTTP/1.1 client: asyncio Protocols and httptools, on uvloop and plain asyncio.

::

    client ──► pool ──► connect ──► resolve, guard, tunnel, tls   open a connection
       │
       ├─────► url, wire, redirect                                what is sent, and where
       ├─────► connection ──► answer ──► excerpt, outcome         what comes back
       └─────► express                                              a call without a task

Why it is our own: docs/adr/0002-own-http-client.md.
"""

from tocsin.delivery.http.client import HttpClient
from tocsin.delivery.http.guard import AllowAll, EgressGuard, Guard
from tocsin.delivery.http.message import (
    CallFailed,
    FailureKind,
    HttpOutcome,
    HttpRequest,
    NotSent,
)
from tocsin.delivery.http.resolve import Resolver, SystemResolver
from tocsin.delivery.http.tls import ResumingContext, system_context
from tocsin.delivery.http.wire import RESERVED, Head

__all__ = [
    "RESERVED",
    "AllowAll",
    "CallFailed",
    "EgressGuard",
    "FailureKind",
    "Guard",
    "Head",
    "HttpClient",
    "HttpOutcome",
    "HttpRequest",
    "NotSent",
    "Resolver",
    "ResumingContext",
    "SystemResolver",
    "system_context",
]
