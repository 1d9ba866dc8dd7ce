"""What pages show beside the lists."""

from fastapi import FastAPI, Request, Response

from tocsin.api.answers import json_answer
from tocsin.api.auth import scope_of
from tocsin.api.context import ApiContext
from tocsin.api.insights import calendar_json, recent_json, timeline_json
from tocsin.api.needs import needs
from tocsin.api.openapi import answers
from tocsin.api.parameters import (
    CalendarParameters,
    JobRef,
    RecentParameters,
    TimelineParameters,
    read_instant,
    read_step,
)
from tocsin.domain.access import Action
from tocsin.domain.errors import InvalidInput
from tocsin.domain.instant import DAY, HOUR
from tocsin.domain.schedule.zones import check_zone

PAST = 14 * DAY
AHEAD = 60 * DAY
STEPS = 500


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add the routes."""
    insights, jobs = context.insights, context.jobs

    @app.get(
        "/api/v1/jobs:recent",
        tags=["jobs"],
        summary="The newest executions of several jobs at a glance",
        description="For the rows of a list: results, success ratio and durations of the newest "
        "`count` executions of each job.",
        operation_id="listRecent",
        responses=answers(200, "RecentOut", "One entry per job, in the order asked for"),
    )
    @needs(Action.READ)
    async def list_recent(asked: RecentParameters, request: Request) -> Response:
        scope = scope_of(request)
        seen = await jobs.within(scope).visible(asked.job)
        found = await insights.within(scope).recent(
            [one for one in asked.job if one in seen], asked.count
        )
        return json_answer(recent_json(found))

    @app.get(
        "/api/v1/jobs/{ref}/calendar",
        tags=["jobs"],
        summary="The results of a job day by day",
        description="By fire time, in local days. Of each day the newest 100 executions are "
        "counted; `any_failed` looks at all.",
        operation_id="getJobCalendar",
        responses=answers(200, "CalendarOut", "One entry per day, oldest first", 404),
    )
    @needs(Action.READ)
    async def get_calendar(ref: JobRef, asked: CalendarParameters, request: Request) -> Response:
        try:
            check_zone(asked.timezone)
        except ValueError as error:
            raise InvalidInput.of("timezone", str(error)) from None
        scope = scope_of(request)
        job_id = await jobs.within(scope).resolve(ref)
        days = await insights.within(scope).calendar(job_id, asked.days, asked.timezone)
        return json_answer(calendar_json(asked.timezone, days))

    @app.get(
        "/api/v1/timeline",
        tags=["system"],
        summary="What ended and what is to fire, on one axis of time",
        description="The past in the minutes in which executions ended; the future from the "
        "schedules of the 1,000 jobs that fire next, 4,000 fires at most: `complete_until` says "
        "how far that reaches. For a key that is limited by tags the same of its own jobs, with "
        "the past by fire time from their newest 5,000 executions: `complete_since` says how far "
        "that reaches.",
        operation_id="getTimeline",
        responses=answers(200, "TimelineOut", "Counts by step, and the next fires by name"),
    )
    @needs(Action.READ)
    async def get_timeline(asked: TimelineParameters, request: Request) -> Response:
        since, until = read_instant(asked.since, "since"), read_instant(asked.until, "until")
        step, now = read_step(asked.step), context.now()
        since = now - HOUR if since is None else since
        until = now + HOUR if until is None else until
        if not now - PAST <= since <= now + AHEAD:
            raise InvalidInput.of(
                "since", "is not within 14 days ago and 60 days ahead", "out_of_range"
            )
        if not since < until <= now + AHEAD:
            raise InvalidInput.of(
                "until", "is not later than since and within 60 days", "out_of_range"
            )
        if (until - since) > STEPS * step:
            raise InvalidInput.of("step", f"makes more than {STEPS} steps", "out_of_range")
        return json_answer(
            timeline_json(await insights.within(scope_of(request)).timeline(since, until, step))
        )
