"""The ASGI application, from collaborators that are ready to use."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from tocsin.api import problems
from tocsin.api.context import ApiContext
from tocsin.api.direct import Direct, direct_routes
from tocsin.api.middleware import RequestLog
from tocsin.api.openapi import document
from tocsin.api.routes import (
    audit,
    cluster,
    demo,
    docs,
    events,
    executions,
    insights,
    jobs,
    keys,
    schedules,
    secrets,
    sessions,
    system,
    trials,
    ui,
)
from tocsin.api.routing import Route
from tocsin.api.throttle import Throttle

CORS_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Tocsin-Namespace",
    "X-API-Key",
    "X-Request-Id",
)
"""What pages of other origins may send, where there are any (``cors_origins``)."""

_DESCRIPTION = """Tocsin calls HTTP endpoints on time, and keeps what happened.

Errors are problem details (RFC 9457) with a stable `code`, and one entry in `errors` per offending
field. Instants are RFC 3339 in UTC. Durations are written `30s`, `1h30m`, `PT30S` or as a number of
seconds, and answered as `30s`. Fields and query parameters that are not known are refused. Lists
are `{"items": [...], "next_cursor": ...}`. Accept fields and states that you do not know.

Requests carry a key (`Authorization: Bearer KEY` or `X-API-Key: KEY`) or the cookie of a session.
What is in another namespace, or has none of the tags that a key is limited to, does not exist.
"""


def create_api(context: ApiContext) -> FastAPI:
    """The application with every route; it builds nothing that outlives a request."""
    app = FastAPI(
        title="Tocsin",
        version=context.version,
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_tags=[
            {"name": "jobs", "description": "Definitions: what is called, and when."},
            {"name": "executions", "description": "What happened, one per fire time."},
            {"name": "schedules", "description": "What a schedule calls for."},
            {"name": "access", "description": "Keys, sessions, namespaces and the audit log."},
            {"name": "secrets", "description": "What calls use, and nobody can read."},
            {"name": "system", "description": "Health, figures, nodes and events."},
        ],
    )
    app.router.route_class = Route
    app.state.gate = context.gate
    app.add_middleware(Direct, routes=lambda: direct_routes(app))
    if context.rates is not None and context.rate is not None:
        app.add_middleware(
            Throttle, rates=context.rates, writes=context.rate, identify=context.identify
        )
    app.add_middleware(RequestLog)
    if context.cors_origins:
        # Without credentials: a page of another origin may have a key, but no session.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=context.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=list(CORS_HEADERS),
            expose_headers=[
                "ETag",
                "Location",
                "RateLimit",
                "RateLimit-Policy",
                "Retry-After",
                "X-Request-Id",
            ],
            max_age=600,
        )
    problems.install(app, context.metrics.rejected)
    insights.add_routes(app, context)
    trials.add_routes(app, context)
    jobs.add_routes(app, context)
    schedules.add_routes(app, context)
    executions.add_routes(app, context)
    events.add_routes(app, context)
    secrets.add_routes(app, context)
    system.add_routes(app, context)
    cluster.add_routes(app, context)
    sessions.add_routes(app, context)
    keys.add_routes(app, context)
    audit.add_routes(app, context)
    if context.demo:
        demo.add_routes(app, context)
    docs.add_routes(app)
    ui.add_routes(app, context.ui)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]  # as FastAPI documents it
    return app
