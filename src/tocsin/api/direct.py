"""The short way to routes whose path is fixed: past the router, and nothing that they do not use.

Finding a route by patterns and preparing for dependencies takes longer than many a request. So
what is asked for by its exact path, and takes nothing but the request, is called from here; with
the same checks around it, and the same answers to the same errors.
"""

from collections.abc import Callable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tocsin.api import problems
from tocsin.api.routing import Handler, Route

Routes = dict[tuple[str, str], Handler]
"""Handlers by method and path."""


class Direct:
    """Calls what has a fixed path, and hands on everything else."""

    def __init__(self, app: ASGIApp, *, routes: Callable[[], Routes]) -> None:
        self._app = app
        self._routes = routes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        handler = None
        if scope["type"] == "http":
            handler = self._routes.get((scope["method"], scope["path"]))
        if handler is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await handler(request)
        except Exception as error:
            answer = await problems.answer_to(scope["app"], request, error)
            if answer is None:
                raise
            response = answer
        await response(scope, receive, send)


def direct_routes(app: FastAPI) -> Routes:
    """The handlers of all routes that can be called so."""
    return {
        (method, route.path): route.handler
        for route in app.routes
        if isinstance(route, Route) and route.plain and "{" not in route.path
        for method in route.methods or ()
    }
