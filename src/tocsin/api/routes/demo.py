"""An endpoint to call while trying things out: it answers what it was sent."""

import asyncio

from fastapi import FastAPI, Request, Response

from tocsin.api.answers import json_answer
from tocsin.api.body import read_bytes
from tocsin.api.context import ApiContext
from tocsin.api.needs import public
from tocsin.api.openapi import answers
from tocsin.api.parameters import EchoParameters, read_bounded
from tocsin.api.schemas import EchoOut
from tocsin.domain.instant import SECOND

PATH = "/api/v1/demo/echo"
MAX_DELAY = 10 * SECOND

_SECRET = frozenset({"authorization", "cookie", "x-api-key"})


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add the echo."""

    @public()
    async def echo(request: Request, asked: EchoParameters) -> Response:
        delay = read_bounded(asked.delay, "delay", 0, MAX_DELAY, "0s to 10s")
        body = await read_bytes(request, context.body_limits.body)
        if delay:
            await asyncio.sleep(delay / 1_000)
        shown: EchoOut = {
            "method": request.method,
            "path": request.url.path,
            "query": dict(request.query_params),
            # A page of ours must not learn from here what its cookie says.
            "headers": {
                name: value for name, value in request.headers.items() if name not in _SECRET
            },
            "body": body.decode("utf-8", "replace"),
        }
        attempt = request.headers.get("tocsin-attempt", "1")
        failing = attempt.isdecimal() and int(attempt[:6]) <= asked.fail
        return json_answer(shown, 503 if failing else 200)

    for method, operation in (("GET", "echoGet"), ("POST", "echoPost")):
        app.add_api_route(
            PATH,
            echo,
            methods=[method],
            tags=["demo"],
            summary="Answers what it was sent",
            operation_id=operation,
            responses={
                **answers(200, "EchoOut", "What was sent", 413),
                503: answers(503, "EchoOut", "As `fail` asked for")[503],
            },
        )
