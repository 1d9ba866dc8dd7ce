"""Calls that are tried out, and what the call of an execution looked like."""

from fastapi import FastAPI, Request, Response

from tocsin.api.answers import json_answer
from tocsin.api.auth import scope_of
from tocsin.api.body import read_json
from tocsin.api.context import ApiContext
from tocsin.api.insights import sent_json, trial_json
from tocsin.api.needs import needs
from tocsin.api.openapi import answers, takes
from tocsin.api.parameters import ExecutionRef
from tocsin.domain.access import Action


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add the routes."""
    trials, executions, jobs = context.trials, context.executions, context.jobs

    @app.post(
        "/api/v1/jobs:try",
        tags=["jobs"],
        summary="Make the call of a definition once, now; nothing is stored",
        description="The definition is checked as if it were to be saved. The call is a real one, "
        "with the headers of a real one, and the audit log tells of it. It takes up to 30 s, "
        "whatever the timeout of its target, is not retried and counts nowhere.",
        operation_id="tryJob",
        responses=answers(
            200, "TrialOut", "The call, whether it succeeded or not", 400, 409, 413, 415, 507
        ),
        openapi_extra=takes("JobIn"),
    )
    @needs(Action.DEFINE)
    async def try_job(request: Request) -> Response:
        data = await read_json(request, context.body_limits.body)
        return json_answer(trial_json(await trials.within(scope_of(request)).trial(data)))

    @app.get(
        "/api/v1/executions/{ref}/request",
        tags=["executions"],
        summary="The request of an execution's last attempt, secrets masked",
        description="From the job's present definition; `current` says whether that is the one "
        "the execution was planned with.",
        operation_id="getExecutionRequest",
        responses=answers(200, "SentOut", "The request", 404),
    )
    @needs(Action.READ)
    async def get_execution_request(ref: ExecutionRef, request: Request) -> Response:
        scope = scope_of(request)
        execution = await executions.within(scope).get(ref)
        view = await jobs.within(scope).get(execution.job_id)
        return json_answer(sent_json(trials.sent(view.job, execution)))
