"""``/api/v1/session``: signing in and out, and who one is; and the namespaces one reaches."""

from fastapi import FastAPI, Request, Response

from tocsin.api.access_schemas import session_json
from tocsin.api.answers import json_answer
from tocsin.api.auth import Caller, caller_of, cookie_name
from tocsin.api.body import read_json
from tocsin.api.context import ApiContext
from tocsin.api.needs import needs, needs_key, public
from tocsin.api.openapi import CSRF, answers, takes
from tocsin.domain.access import Action
from tocsin.services.checking import check
from tocsin.services.key_shapes import SIGN_IN, SIGN_IN_FIELDS

PATH = "/api/v1/session"

MAX_BODY = 4_096
"""Bytes of the body that signs in: it is read from everybody, before anything is known of them."""


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add the session of a browser."""
    gate = context.gate

    async def shown(caller: Caller) -> Response:
        namespaces = await context.namespaces() if caller.grant.everywhere else ()
        return json_answer(session_json(caller, gate.auth, namespaces))

    @app.post(
        PATH,
        tags=["access"],
        summary="Sign a browser in with a key",
        description="Sets a cookie that scripts cannot read and other sites cannot send. The "
        "session ends with its key, or when it is signed out.",
        operation_id="signIn",
        responses=answers(200, "SessionOut", "Who one is now", 400, 401, 403, 413, 415, 429),
        openapi_extra=takes("SignInIn"),
    )
    @public()
    async def sign_in(request: Request) -> Response:
        data = await read_json(request, MAX_BODY)
        caller, opened = await gate.open(request, check(SIGN_IN, data, SIGN_IN_FIELDS)["key"])
        answer = await shown(caller)
        if opened is not None:
            lifetime = opened.session.expires_at - opened.session.created_at
            answer.set_cookie(
                cookie_name(request),
                opened.token,
                max_age=lifetime // 1_000,
                httponly=True,
                secure=request.url.scheme == "https",
                samesite="strict",
            )
        return answer

    @app.get(
        PATH,
        tags=["access"],
        summary="Who one is, and what one may do",
        operation_id="getSession",
        responses=answers(200, "SessionOut", "The session, or the key"),
    )
    @needs_key()
    async def get_session(request: Request) -> Response:
        return await shown(caller_of(request))

    @app.delete(
        PATH,
        status_code=204,
        tags=["access"],
        summary="Sign out",
        operation_id="signOut",
        responses=answers(204, None, "The session has ended", 507),
        openapi_extra=takes(headers=[CSRF]),
    )
    @needs_key()
    async def sign_out(request: Request) -> Response:
        await gate.close(request, caller_of(request))
        answer = Response(status_code=204)
        answer.delete_cookie(
            cookie_name(request),
            httponly=True,
            secure=request.url.scheme == "https",
            samesite="strict",
        )
        return answer

    @app.get(
        "/api/v1/namespaces",
        tags=["access"],
        summary="The namespaces that one reaches",
        description="Those that have jobs or keys, and `default`. One begins to exist with its "
        "first job or key.",
        operation_id="listNamespaces",
        responses=answers(200, "NamespacePage", "All of them, by name"),
    )
    @needs(Action.READ)
    async def list_namespaces(request: Request) -> Response:
        caller = caller_of(request)
        namespaces = await context.namespaces() if caller.grant.everywhere else ()
        names = session_json(caller, gate.auth, namespaces)["namespaces"]
        return json_answer({"items": [{"name": name} for name in names], "next_cursor": None})
