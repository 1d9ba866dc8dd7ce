"""``/api/v1/executions``, and what a job has of them."""

from fastapi import FastAPI, Request, Response

from tocsin.api.answers import json_answer, replayed
from tocsin.api.body import read_optional_json
from tocsin.api.context import ApiContext
from tocsin.api.openapi import IDEMPOTENCY_KEY, REPLAYED, answers, takes
from tocsin.api.paging import execution_cursor, read_execution_cursor
from tocsin.api.parameters import (
    ExecutionFilterQuery,
    ExecutionRef,
    HistoryFilter,
    HistoryFilterQuery,
    JobRef,
    WindowParameters,
    read_instant,
    read_window,
)
from tocsin.api.render import (
    execution_json,
    items_json,
    job_stats_json,
    job_status_json,
)
from tocsin.services.executions import Requested
from tocsin.store.port import ExecutionQuery

PREFIX = "/api/v1/executions"
_JOB = "/api/v1/jobs/{ref}"


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add triggering, finding, cancelling and retrying executions."""
    executions, limits = context.executions, context.body_limits

    async def page_of(asked: HistoryFilter, job_id: str | None) -> Response:
        ascending = asked.sort == "fire_time"
        page = await executions.page(
            ExecutionQuery(
                namespace=context.namespace,
                job_id=job_id,
                states=tuple(asked.state),
                error_kind=asked.error_kind,
                since=read_instant(asked.since, "since"),
                until=read_instant(asked.until, "until"),
                ascending=ascending,
                limit=asked.limit,
                cursor=read_execution_cursor(asked.cursor, ascending=ascending),
            )
        )
        following = execution_cursor(page.next, ascending=ascending)
        return json_answer(items_json(map(execution_json, page.items), following))

    @app.post(
        f"{_JOB}/trigger",
        status_code=202,
        tags=["executions"],
        summary="Run a job now, whatever its schedule says",
        operation_id="triggerJob",
        responses=answers(
            202, "ExecutionOut", "The new execution", 400, 404, 409, 413, 415, 507, headers=REPLAYED
        ),
        openapi_extra=takes("TriggerIn", required=False, headers=[IDEMPOTENCY_KEY]),
    )
    async def trigger_job(ref: JobRef, request: Request) -> Response:
        data = await read_optional_json(request, limits.body)
        key = request.headers.get("idempotency-key")
        return _requested(await executions.trigger(ref, data, key=key))

    @app.get(
        f"{_JOB}/status",
        tags=["jobs"],
        summary="How a job is doing right now",
        operation_id="getJobStatus",
        responses=answers(200, "JobStatusOut", "Its status and what is live", 404),
    )
    async def get_job_status(ref: JobRef) -> Response:
        return json_answer(job_status_json(await executions.state_of(ref)))

    @app.get(
        f"{_JOB}/executions",
        tags=["executions"],
        summary="List the executions of a job",
        operation_id="listJobExecutions",
        responses=answers(200, "ExecutionPage", "A page of executions", 404),
    )
    async def list_job_executions(ref: JobRef, asked: HistoryFilterQuery) -> Response:
        return await page_of(asked, await context.jobs.resolve(ref))

    @app.get(
        f"{_JOB}/stats",
        tags=["jobs"],
        summary="How a job did over a window",
        operation_id="getJobStats",
        responses=answers(200, "JobStatsOut", "Counts and percentiles", 404),
    )
    async def get_job_stats(ref: JobRef, asked: WindowParameters) -> Response:
        window = read_window(asked.window)
        job_id = await context.jobs.resolve(ref)
        figures = await context.stats.of_job(job_id, window)
        return json_answer(job_stats_json(figures, window))

    @app.get(
        PREFIX,
        tags=["executions"],
        summary="List executions",
        operation_id="listExecutions",
        responses=answers(200, "ExecutionPage", "A page of executions", 404),
    )
    async def list_executions(asked: ExecutionFilterQuery) -> Response:
        job_id = None if asked.job is None else await context.jobs.resolve(asked.job)
        return await page_of(asked, job_id)

    @app.get(
        f"{PREFIX}/{{ref}}",
        tags=["executions"],
        summary="Get an execution with its attempts",
        operation_id="getExecution",
        responses=answers(200, "ExecutionOut", "The execution", 404),
    )
    async def get_execution(ref: ExecutionRef) -> Response:
        return json_answer(execution_json(await executions.get(ref)))

    @app.post(
        f"{PREFIX}/{{ref}}/cancel",
        tags=["executions"],
        summary="End an execution",
        operation_id="cancelExecution",
        responses=answers(200, "ExecutionOut", "The execution as it is now", 404, 409, 507),
    )
    async def cancel_execution(ref: ExecutionRef) -> Response:
        return json_answer(execution_json(await executions.cancel(ref)))

    @app.post(
        f"{PREFIX}/{{ref}}/retry",
        status_code=202,
        tags=["executions"],
        summary="Run an execution that has ended again, as a new one",
        operation_id="retryExecution",
        responses=answers(
            202, "ExecutionOut", "The new execution", 404, 409, 507, headers=REPLAYED
        ),
        openapi_extra=takes(headers=[IDEMPOTENCY_KEY]),
    )
    async def retry_execution(ref: ExecutionRef, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        return _requested(await executions.retry(ref, key=key))


def _requested(requested: Requested) -> Response:
    shown = execution_json(requested.execution)
    return json_answer(
        shown, 202, {"Location": f"{PREFIX}/{shown['id']}", **replayed(requested.replayed)}
    )
