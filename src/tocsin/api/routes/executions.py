"""``/api/v1/executions``, and what a job has of them."""

from fastapi import FastAPI, Request, Response

from tocsin.api.answers import json_answer, replayed
from tocsin.api.auth import scope_of
from tocsin.api.body import read_optional_json
from tocsin.api.context import ApiContext
from tocsin.api.needs import needs
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
from tocsin.domain.access import Action
from tocsin.services.executions import ExecutionService, Requested
from tocsin.services.jobs import JobService
from tocsin.store.port import ExecutionQuery

PREFIX = "/api/v1/executions"
_JOB = "/api/v1/jobs/{ref}"


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add triggering, finding, cancelling and retrying executions."""
    limits = context.body_limits

    def of(request: Request) -> ExecutionService:
        return context.executions.within(scope_of(request))

    def jobs_of(request: Request) -> JobService:
        return context.jobs.within(scope_of(request))

    async def page_of(asked: HistoryFilter, job_id: str | None, request: Request) -> Response:
        ascending = asked.sort == "fire_time"
        page = await of(request).page(
            ExecutionQuery(
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
    @needs(Action.TRIGGER)
    async def trigger_job(ref: JobRef, request: Request) -> Response:
        data = await read_optional_json(request, limits.body)
        key = request.headers.get("idempotency-key")
        return _requested(await of(request).trigger(ref, data, key=key))

    @app.get(
        f"{_JOB}/status",
        tags=["jobs"],
        summary="How a job is doing right now",
        operation_id="getJobStatus",
        responses=answers(200, "JobStatusOut", "Its status and what is live", 404),
    )
    @needs(Action.READ)
    async def get_job_status(ref: JobRef, request: Request) -> Response:
        return json_answer(job_status_json(await of(request).state_of(ref)))

    @app.get(
        f"{_JOB}/executions",
        tags=["executions"],
        summary="List the executions of a job",
        operation_id="listJobExecutions",
        responses=answers(200, "ExecutionPage", "A page of executions", 404),
    )
    @needs(Action.READ)
    async def list_job_executions(
        ref: JobRef, asked: HistoryFilterQuery, request: Request
    ) -> Response:
        return await page_of(asked, await jobs_of(request).resolve(ref), request)

    @app.get(
        f"{_JOB}/stats",
        tags=["jobs"],
        summary="How a job did over a window",
        operation_id="getJobStats",
        responses=answers(200, "JobStatsOut", "Counts and percentiles", 404),
    )
    @needs(Action.READ)
    async def get_job_stats(ref: JobRef, asked: WindowParameters, request: Request) -> Response:
        window = read_window(asked.window)
        job_id = await jobs_of(request).resolve(ref)
        figures = await context.stats.within(scope_of(request)).of_job(job_id, window)
        return json_answer(job_stats_json(figures, window))

    @app.get(
        PREFIX,
        tags=["executions"],
        summary="List executions",
        operation_id="listExecutions",
        responses=answers(200, "ExecutionPage", "A page of executions", 404),
    )
    @needs(Action.READ)
    async def list_executions(asked: ExecutionFilterQuery, request: Request) -> Response:
        job_id = None if asked.job is None else await jobs_of(request).resolve(asked.job)
        return await page_of(asked, job_id, request)

    @app.get(
        f"{PREFIX}/{{ref}}",
        tags=["executions"],
        summary="Get an execution with its attempts",
        operation_id="getExecution",
        responses=answers(200, "ExecutionOut", "The execution", 404),
    )
    @needs(Action.READ)
    async def get_execution(ref: ExecutionRef, request: Request) -> Response:
        return json_answer(execution_json(await of(request).get(ref)))

    @app.post(
        f"{PREFIX}/{{ref}}/cancel",
        tags=["executions"],
        summary="End an execution",
        operation_id="cancelExecution",
        responses=answers(200, "ExecutionOut", "The execution as it is now", 404, 409, 507),
    )
    @needs(Action.CANCEL)
    async def cancel_execution(ref: ExecutionRef, request: Request) -> Response:
        return json_answer(execution_json(await of(request).cancel(ref)))

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
    @needs(Action.RETRY)
    async def retry_execution(ref: ExecutionRef, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        return _requested(await of(request).retry(ref, key=key))


def _requested(requested: Requested) -> Response:
    shown = execution_json(requested.execution)
    return json_answer(
        shown, 202, {"Location": f"{PREFIX}/{shown['id']}", **replayed(requested.replayed)}
    )
