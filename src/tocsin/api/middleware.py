"""Around every request: an id, a line in the log, and an answer whatever happens."""

import re
import time
from random import Random

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.api.headers import security_headers
from tocsin.api.problems import internal

log = structlog.stdlib.get_logger("tocsin.api")

_ID = re.compile(rb"[\x21-\x7e]{1,100}")
_draw = Random().getrandbits  # noqa: S311  # ids tell requests apart and open nothing


class RequestLog:
    """Gives each request an id (``X-Request-Id``, the client's where it sends one) and logs it.

    Each answer gets the headers for its security.

    An error that nobody answered is logged and answered here, as a 500 that tells nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = security_headers(
                    message.get("headers", ()), path=scope["path"], scheme=scope["scheme"]
                )
                message["headers"] = [*headers, (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            log.debug("api.client_left", path=scope["path"])
        except Exception:
            log.exception(
                "api.failed",
                method=scope["method"],
                path=scope["path"],
                request_id=request_id.decode(),
            )
            if status:
                raise
            await internal()(scope, receive, send_with_id)
        log.debug(
            "api.request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            duration_ms=round((time.perf_counter() - started) * 1_000, 2),
            request_id=request_id.decode(),
        )


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return bytes(value)
    return b"%016x" % _draw(64)
