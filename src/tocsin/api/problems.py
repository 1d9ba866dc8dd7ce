"""Errors as problem details (RFC 9457): stable codes, a remedy in words, nothing internal."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import cast

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.api.render import dumps
from tocsin.domain.errors import (
    CapacityExceeded,
    Conflict,
    FieldProblem,
    Forbidden,
    InvalidInput,
    NotFound,
    StoreCorrupt,
    StoreFull,
    StoreUnavailable,
    TocsinError,
)
from tocsin.services.checking import MAX_PROBLEMS, problem_of

log = structlog.stdlib.get_logger("tocsin.api")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "2"
"""Seconds after which a store that did not answer is worth another try."""

TITLES = {
    "already_ended": "The execution has ended",
    "already_shown": "The signing key was shown already",
    "already_exists": "The job exists already",
    "capacity_exceeded": "A limit is reached",
    "cross_site": "The request comes from another site",
    "csrf": "The request does not prove where it comes from",
    "forbidden": "The key may not do that",
    "conflict": "The present state forbids it",
    "contended": "Too many changes at once",
    "idempotency_key_reused": "The idempotency key was used for another request",
    "internal_error": "Something went wrong inside Tocsin",
    "invalid_input": "The request is not valid",
    "invalid_json": "The body is not JSON",
    "last_admin": "Nobody would be left",
    "length_required": "The body has a wrong length",
    "method_not_allowed": "This resource does not know the method",
    "name_taken": "The name is taken",
    "no_master_key": "The server keeps no secrets",
    "not_final": "The execution has not ended",
    "not_found": "There is no such thing",
    "not_ready": "This node makes no calls now",
    "rate_limited": "Too many requests",
    "secret_in_use": "Jobs use the secret",
    "secret_unreadable": "The secret cannot be decrypted",
    "store_corrupt": "The database is damaged",
    "payload_too_large": "The body is too large",
    "store_full": "The store is full",
    "store_unavailable": "The store does not answer",
    "too_many_failures": "Too many keys that do not work",
    "stream_idle": "Nothing came for too long",
    "too_many_readers": "Too many readers of events",
    "too_many_streams": "Too many streams of jobs at once",
    "too_many_trials": "Too many trials at once",
    "unauthorized": "A key is needed",
    "unsupported_media_type": "The body is of an unknown kind",
    "version_mismatch": "The job has changed meanwhile",
    "wrong_status": "The status of the job forbids it",
}
"""Every code that an answer can carry, with its title."""

_CONFLICTS = {
    "already_exists": 412,
    "version_mismatch": 412,
    "idempotency_key_reused": 422,
}


class Refused(Exception):
    """A request that was refused before it reached a service."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer that says what is wrong."""
    body = {
        "type": f"urn:tocsin:problem:{code}",
        "title": TITLES.get(code, HTTPStatus(status).phrase),
        "status": status,
        "detail": detail,
        "code": code,
        "errors": [
            {"field": one.field, "message": one.message, "code": one.code} for one in errors
        ],
    }
    return Response(dumps(body), status, dict(headers or {}), MEDIA_TYPE)


def of_error(error: TocsinError, *, reading: bool = False) -> Response:
    """The answer to one of Tocsin's own errors; ``reading``: nothing was to be changed."""
    match error:
        case InvalidInput():
            return _invalid(error.problems)
        case NotFound():
            return problem(404, error.code, str(error))
        case Forbidden():
            return problem(403, error.code, str(error))
        case Conflict():
            return problem(_CONFLICTS.get(error.code, 409), error.code, str(error))
        case CapacityExceeded() | StoreFull():
            return problem(507, error.code, str(error))
        case StoreUnavailable():
            detail = "the store did not answer; try again"
            if not reading:
                detail += " (the change may have been made: the same Idempotency-Key makes sure)"
            return problem(503, error.code, detail, headers={"Retry-After": RETRY_AFTER})
    log.error("api.store_failed", code=error.code, error=str(error))
    if isinstance(error, StoreCorrupt):
        detail = "a part of the database cannot be read; the log of the server says what helps"
        return problem(500, error.code, detail)
    return internal()


def internal() -> Response:
    """The answer where nothing may be said: details are in the log."""
    return problem(500, "internal_error", "the log of the server has the details")


def _invalid(errors: Sequence[FieldProblem]) -> Response:
    taken = bool(errors) and all(one.code == "name_taken" for one in errors)
    first = errors[0] if errors else None
    if first is None:
        detail = "the request is not valid"
    else:
        detail = f"{first.field or 'the body'}: {first.message}"
        if len(errors) > 1:
            detail += f" (and {len(errors) - 1} more, see errors)"
    return problem(
        409 if taken else 422,
        "name_taken" if taken else "invalid_input",
        detail,
        errors=errors[:MAX_PROBLEMS],
    )


def install(app: FastAPI, rejected: Callable[[str], None]) -> None:
    """Answer every error of the application; ``rejected`` hears which limit was reached."""

    async def on_tocsin_error(request: Request, error: Exception) -> Response:
        if isinstance(error, CapacityExceeded):
            rejected(error.limit)
        if isinstance(error, StoreFull):
            rejected("disk")
        if not isinstance(error, TocsinError):
            return internal()
        return of_error(error, reading=request.method == "GET")

    async def on_refused(_: Request, error: Exception) -> Response:
        if not isinstance(error, Refused):
            return internal()
        return problem(
            error.status, error.code, error.detail, errors=error.errors, headers=error.headers
        )

    async def on_invalid_parameters(_: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        return _invalid([_parameter_problem(one) for one in found[:MAX_PROBLEMS]])

    async def on_http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = error.headers if isinstance(error, HTTPException) else None
        if status == 404:
            return problem(404, "not_found", f"there is nothing at {request.url.path[:200]}")
        if status == 405:
            allowed = allowed_methods(app, request)
            return problem(
                405,
                "method_not_allowed",
                f"{request.method[:20]} is not possible here; what is: {', '.join(allowed)}",
                headers={"Allow": ", ".join(allowed)},
            )
        code = "internal_error" if status >= 500 else "invalid_input"
        return problem(status, code, HTTPStatus(status).phrase, headers=headers)

    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        TocsinError: on_tocsin_error,
        Refused: on_refused,
        RequestValidationError: on_invalid_parameters,
        HTTPException: on_http_error,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def answer_to(app: FastAPI, request: Request, error: Exception) -> Response | None:
    """What the application answers to an error; ``None`` to one that it does not know."""
    for kind in type(error).__mro__:
        handler = app.exception_handlers.get(kind)
        if handler is not None:
            # Those of `install`, all of them coroutine functions.
            return await cast("Awaitable[Response]", handler(request, error))
    return None


def allowed_methods(app: FastAPI, request: Request) -> list[str]:
    """The methods of every route at the path of a request."""
    methods: set[str] = set()
    for route in app.routes:
        regex = getattr(route, "path_regex", None)
        if regex is not None and regex.match(request.url.path):
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)


def _parameter_problem(error: Mapping[str, object]) -> FieldProblem:
    location = error.get("loc")
    return problem_of({**error, "loc": location[1:] if isinstance(location, tuple) else ()}, {})
