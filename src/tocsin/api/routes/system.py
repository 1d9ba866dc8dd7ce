"""Health, readiness, metrics and figures."""

from fastapi import FastAPI, Request, Response

from tocsin.api.answers import json_answer
from tocsin.api.auth import scope_of
from tocsin.api.context import ApiContext
from tocsin.api.needs import needs, public
from tocsin.api.openapi import answers
from tocsin.api.parameters import StatsParameters, read_step, read_window
from tocsin.api.render import stats_json
from tocsin.api.schemas import HealthOut, ReadyOut
from tocsin.domain.access import Action
from tocsin.domain.duration import format_duration
from tocsin.domain.errors import StoreError
from tocsin.services.stats import HEALTH_WINDOW
from tocsin.telemetry.metrics import CONTENT_TYPE, merge


class MetricsText(Response):
    """Metrics in Prometheus' text format."""

    media_type = CONTENT_TYPE


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add what monitoring reads."""
    stats, metrics = context.stats, context.metrics

    @app.get(
        "/healthz",
        tags=["system"],
        summary="Whether calls succeed: degraded where too many failed of late",
        operation_id="getHealth",
        responses=answers(200, "HealthOut", "Alive; see `status`"),
    )
    @public()
    async def get_health(request: Request) -> Response:
        # How much fails is nobody's business who may not look at all of it.
        caller = await context.gate.peek(request)
        figures = caller is not None and caller.grant.everywhere
        shown: HealthOut = {
            "status": "ok",
            "version": context.version,
            "window": format_duration(HEALTH_WINDOW),
            "succeeded": None,
            "failed": None,
            "failed_ratio": None,
            "threshold": stats.degraded_ratio,
            "reason": None,
        }
        try:
            health = await stats.health()
        except StoreError as error:
            shown["status"] = "degraded"
            shown["reason"] = f"the store does not answer ({error.code})"
            return json_answer(shown)
        if health.degraded:
            shown["status"] = "degraded"
        if not figures:
            return json_answer(shown)
        shown["succeeded"], shown["failed"] = health.succeeded, health.failed
        shown["failed_ratio"] = None if health.ratio is None else round(health.ratio, 6)
        if health.degraded:
            shown["reason"] = (
                f"{health.failed} of {health.failed + health.succeeded} executions failed "
                f"within the last {shown['window']}"
            )
        return json_answer(shown)

    @app.get(
        "/readyz",
        tags=["system"],
        summary="Whether this node fires",
        operation_id="getReadiness",
        responses={
            **answers(200, "ReadyOut", "It fires", also={503: "It does not; see `checks`"}),
            503: answers(503, "ReadyOut", "It does not; see `checks`")[503],
        },
    )
    @public()
    async def get_readiness(request: Request) -> Response:
        checks = await context.readiness()
        caller = await context.gate.peek(request)
        details = caller is not None and caller.grant.everywhere
        shown: ReadyOut = {
            "ready": all(check.ok for check in checks),
            "checks": [
                # What a database says of itself tells where it is.
                {"name": check.name, "ok": check.ok, "detail": check.detail if details else ""}
                for check in checks
            ],
        }
        return json_answer(shown, 200 if shown["ready"] else 503)

    @app.get(
        "/metrics",
        tags=["system"],
        summary="Metrics in Prometheus' text format",
        operation_id="getMetrics",
        response_class=MetricsText,
        responses=answers(200, None, "Counts, distributions and levels"),
    )
    @(public() if context.public_metrics else needs(Action.READ, everywhere=True))
    async def get_metrics() -> Response:
        try:
            present, usage = await stats.present()
            nodes = await context.cluster.count()
        except StoreError:
            metrics.set_store_down()
        else:
            metrics.set_store(present, usage, stats.limits, nodes=nodes)
        if context.sibling_metrics is None:
            return MetricsText(metrics.render())
        siblings = await context.sibling_metrics()
        return MetricsText(merge([metrics.render_for_host(with_store=True), *siblings]))

    @app.get(
        "/api/v1/stats",
        tags=["system"],
        summary="The state of a namespace over a window, all nodes together",
        operation_id="getStats",
        responses=answers(200, "StatsOut", "Counts, rates, lateness and what fires next"),
    )
    @needs(Action.READ, whole=True)
    async def get_stats(asked: StatsParameters, request: Request) -> Response:
        window, step = read_window(asked.window), read_step(asked.step)
        scope = scope_of(request)
        overview = await stats.within(scope).overview(window)
        usage = await stats.usage() if scope.grant.everywhere else None
        return json_answer(stats_json(overview, usage, stats.limits, window, step))
