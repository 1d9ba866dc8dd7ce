"""Health, readiness, metrics and figures."""

from fastapi import FastAPI, Response

from tocsin.api.answers import json_answer
from tocsin.api.context import ApiContext
from tocsin.api.openapi import answers
from tocsin.api.parameters import WindowParameters, read_window
from tocsin.api.render import stats_json
from tocsin.api.schemas import HealthOut, ReadyOut
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
    async def get_health() -> Response:
        shown: HealthOut = {
            "status": "ok",
            "version": context.version,
            "window": format_duration(HEALTH_WINDOW),
            "succeeded": 0,
            "failed": 0,
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
        shown["succeeded"], shown["failed"] = health.succeeded, health.failed
        shown["failed_ratio"] = None if health.ratio is None else round(health.ratio, 6)
        if health.degraded:
            shown["status"] = "degraded"
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
    async def get_readiness() -> Response:
        checks = await context.readiness()
        shown: ReadyOut = {
            "ready": all(check.ok for check in checks),
            "checks": [
                {"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks
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
        summary="The state of the service over a window, all nodes together",
        operation_id="getStats",
        responses=answers(200, "StatsOut", "Counts, rates, lateness and what fires next"),
    )
    async def get_stats(asked: WindowParameters) -> Response:
        window = read_window(asked.window)
        overview = await stats.overview(window)
        usage = await stats.usage()
        return json_answer(stats_json(overview, usage, stats.limits, window))
