"""Previews of schedules, saved and not."""

from fastapi import FastAPI, Request, Response

from tocsin.api.answers import json_answer
from tocsin.api.auth import scope_of
from tocsin.api.body import read_json
from tocsin.api.context import ApiContext
from tocsin.api.needs import needs
from tocsin.api.openapi import answers, takes
from tocsin.api.parameters import JobRef, PreviewParameters, read_instant
from tocsin.api.render import preview_json
from tocsin.domain.access import Action
from tocsin.services.previews import preview, preview_unsaved


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add previews."""

    @app.get(
        "/api/v1/jobs/{ref}/preview",
        tags=["schedules"],
        summary="The next fire times of a job, as if it were active",
        operation_id="previewJob",
        responses=answers(200, "PreviewOut", "Fire times, in the job's zone too", 404),
    )
    @needs(Action.READ)
    async def preview_job(ref: JobRef, asked: PreviewParameters, request: Request) -> Response:
        after = read_instant(asked.after, "after")
        view = await context.jobs.within(scope_of(request)).get(ref)
        found = preview(
            view.job.spec.schedule,
            after=context.now() if after is None else after,
            count=asked.count,
        )
        return json_answer(preview_json(found))

    @app.post(
        "/api/v1/schedules:preview",
        tags=["schedules"],
        summary="The next fire times of a schedule that is not saved",
        operation_id="previewSchedule",
        responses=answers(200, "PreviewOut", "Fire times, in its zone too", 400, 413, 415),
        openapi_extra=takes("PreviewIn"),
    )
    @needs(Action.READ)
    async def preview_schedule(request: Request) -> Response:
        data = await read_json(request, context.body_limits.body)
        found = preview_unsaved(data, now=context.now, least=context.jobs.min_interval)
        return json_answer(preview_json(found))
