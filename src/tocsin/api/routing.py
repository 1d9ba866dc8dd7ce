"""Routes that take nothing they do not know, and cost little where they are hot."""

import inspect
from collections.abc import Callable, Coroutine
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request

from tocsin.api.auth import Gate, set_caller
from tocsin.api.needs import need_of
from tocsin.domain.errors import FieldProblem, InvalidInput

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Route(APIRoute):
    """Lets in who may call it, and refuses unknown query parameters, naming the nearest known one.

    An endpoint that does not declare what it needs (``tocsin.api.needs``) makes no route.

    An endpoint whose only parameter is the request is called without FastAPI's resolution of
    parameters, which is a good part of a cheap request's cost.
    """

    plain: bool
    """Whether it is such an endpoint."""
    handler: Handler
    """The endpoint with the checks around it."""

    def get_route_handler(self) -> Handler:
        """The handler, with the checks around it."""
        endpoint: Handler = self.endpoint
        need = need_of(endpoint)
        self.plain = list(inspect.signature(endpoint).parameters) == ["request"]
        handler = endpoint if self.plain else super().get_route_handler()
        known = _query_names(self)
        if need.namespaced:
            known = (*known, "namespace")

        async def checked(request: Request) -> Response:
            if not need.public:
                gate: Gate = request.app.state.gate
                set_caller(request, await gate.admit(request, need))
            query = request.scope["query_string"]
            if query:
                refuse_unknown(query.decode("latin-1"), known)
            return await handler(request)

        self.handler = checked
        return checked


def refuse_unknown(query: str, known: tuple[str, ...]) -> None:
    """Raise ``InvalidInput`` for parameters that are not among ``known``."""
    try:
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=200)
    except ValueError:
        raise InvalidInput.of("", "the query has too many parameters", "too_long") from None
    unknown = [name for name in dict.fromkeys(name for name, _ in given) if name not in known]
    if not unknown:
        return
    problems = []
    for name in unknown[:20]:
        near = get_close_matches(name.lower()[:100], known, n=1)
        if near:
            hint = f"did you mean {near[0]}?"
        else:
            hint = f"known are {', '.join(known)}" if known else "none is known here"
        problems.append(
            FieldProblem(
                field=name[:100],
                message=f"is not a query parameter; {hint}",
                code="unknown_parameter",
            )
        )
    raise InvalidInput(problems)


def _query_names(route: APIRoute) -> tuple[str, ...]:
    names: list[str] = []
    for parameter in route.dependant.query_params:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            names += [field.alias or name for name, field in model.model_fields.items()]
        else:
            names.append(parameter.alias)
    return tuple(names)
