"""``/api/v1/jobs``."""

from fastapi import FastAPI, Request, Response

from tocsin.api.answers import batch_answer, job_answer, json_answer, replayed
from tocsin.api.auth import scope_of
from tocsin.api.batching import batch_under_way
from tocsin.api.body import is_lines, parse_json, read_json, read_json_bytes
from tocsin.api.conditions import prefers_minimal, read_match, read_only_new
from tocsin.api.context import ApiContext
from tocsin.api.job_stream import MOST_STREAMS, MOST_STREAMS_EACH, JobStreamAnswer
from tocsin.api.needs import Need, needs
from tocsin.api.openapi import (
    ETAG,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    PREFER,
    REPLAYED,
    answers,
    lines_of,
    or_lines,
    takes,
)
from tocsin.api.paging import job_cursor, read_job_cursor
from tocsin.api.parameters import JobFilterQuery, JobRef
from tocsin.api.problems import Refused, answer_to
from tocsin.api.render import items_json, job_json
from tocsin.domain.access import Action
from tocsin.domain.errors import StoreError, TocsinError
from tocsin.domain.execution import State
from tocsin.services.jobs import JobService
from tocsin.services.places import Places
from tocsin.store.port import JobQuery, JobSort

PREFIX = "/api/v1/jobs"
_BODY = (400, 413, 415)
_STREAM = """A list of jobs (`application/json`) is one change: all or none.

A stream of jobs (`application/x-ndjson`, a job on each line) has no limit to its length. Its lines
are stored in parts while more come in, and each is for itself: it is answered by a line once it is
stored for good, in the order of the lines, or says why it was refused. The last line is a summary.

A client that sends many lines reads the answers while it sends, or asks for
`Prefer: return=minimal`: answers that nobody reads hold up what is sent. With an `Idempotency-Key`
each line has a key of its own (that one and its number), so a stream that broke off can be sent
again from its start.
"""
_MERGE_PATCH = ("application/merge-patch+json", "application/json")


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add creating, finding and changing jobs."""
    limits = context.body_limits
    places = Places(whole=MOST_STREAMS, each=MOST_STREAMS_EACH)

    def of(request: Request) -> JobService:
        return context.jobs.within(scope_of(request))

    @app.post(
        PREFIX,
        status_code=201,
        tags=["jobs"],
        summary="Create a job",
        operation_id="createJob",
        responses=answers(
            201, "JobOut", "The new job", *_BODY, 404, 409, 507, headers={**ETAG, **REPLAYED}
        ),
        openapi_extra=takes("JobIn", headers=[IDEMPOTENCY_KEY]),
    )
    @needs(Action.DEFINE)
    async def create_job(request: Request) -> Response:
        data = await read_json(request, limits.body)
        saved = await of(request).create(data, key=request.headers.get("idempotency-key"))
        return job_answer(
            saved.view,
            201,
            {"Location": f"{PREFIX}/{saved.view.job.id}", **replayed(saved.replayed)},
        )

    @app.post(
        f"{PREFIX}:batch",
        status_code=201,
        tags=["jobs"],
        summary="Create many jobs: all or none of a list, or each of a stream for itself",
        description=_STREAM,
        operation_id="createJobs",
        responses={
            **answers(
                201,
                "JobBatchOut",
                "The new jobs, in order",
                *_BODY,
                404,
                409,
                507,
                headers=REPLAYED,
            ),
            **lines_of("JobLineOut", "What came of each line, and a summary"),
        },
        openapi_extra=or_lines(
            takes("BatchIn", headers=[IDEMPOTENCY_KEY, PREFER]), "JobIn", "Lines, each a `JobIn`"
        ),
    )
    @needs(Action.DEFINE)
    async def create_jobs(request: Request) -> Response:
        if is_lines(request):
            return stream(request)
        raw = await read_json_bytes(request, limits.batch)
        with batch_under_way():
            # In a function of its own: what it made is gone before the collector can look at it.
            return await create(of(request), raw, request.headers.get("idempotency-key"))

    def stream(request: Request) -> Response:
        key = scope_of(request).key
        return JobStreamAnswer(
            request,
            of(request).stream(key=request.headers.get("idempotency-key")),
            places=places,
            holder=None if key is None else key.id,
            longest=limits.body,
            may_go_on=lambda: may_go_on(request),
            refused_only=prefers_minimal(request),
        )

    async def may_go_on(request: Request) -> Response | None:
        """Why not; as who began to read may be forbidden to meanwhile."""
        try:
            await context.gate.admit(request, Need(action=Action.DEFINE))
        except StoreError:
            return None  # nobody knows; what is stored goes to the same store
        except (Refused, TocsinError) as error:
            return await answer_to(app, request, error)
        return None

    async def create(jobs: JobService, raw: bytes, key: str | None) -> Response:
        return await batch_answer(await jobs.create_batch(parse_json(raw), key=key), 201)

    @app.get(
        PREFIX,
        tags=["jobs"],
        summary="List jobs",
        operation_id="listJobs",
        responses=answers(200, "JobPage", "A page of jobs"),
    )
    @needs(Action.READ)
    async def list_jobs(asked: JobFilterQuery, request: Request) -> Response:
        descending = asked.sort.startswith("-")
        sort = JobSort(asked.sort.removeprefix("-"))
        page = await of(request).page(
            JobQuery(
                statuses=tuple(asked.status),
                tags=tuple(asked.tag),
                text=asked.text,
                kind=asked.kind,
                last_state=None if asked.last_result is None else State(asked.last_result),
                sort=sort,
                descending=descending,
                limit=asked.limit,
                cursor=read_job_cursor(asked.cursor, sort, descending=descending),
                now=context.now(),
            )
        )
        following = job_cursor(page.next, sort, descending=descending)
        return json_answer(items_json(map(job_json, page.items), following))

    @app.get(
        f"{PREFIX}/{{ref}}",
        tags=["jobs"],
        summary="Get a job",
        operation_id="getJob",
        responses=answers(200, "JobOut", "The job", 404, headers=ETAG),
    )
    @needs(Action.READ)
    async def get_job(ref: JobRef, request: Request) -> Response:
        return job_answer(await of(request).get(ref))

    @app.put(
        f"{PREFIX}/{{ref}}",
        tags=["jobs"],
        summary="Create the job of this name, or replace this job",
        operation_id="putJob",
        responses=answers(
            200,
            "JobOut",
            "The job as it is now",
            *_BODY,
            404,
            409,
            412,
            507,
            headers=ETAG,
            also={201: "The new job"},
        ),
        openapi_extra=takes("JobIn", headers=[IF_MATCH, IF_NONE_MATCH]),
    )
    @needs(Action.DEFINE)
    async def put_job(ref: JobRef, request: Request) -> Response:
        match, only_new = read_match(request), read_only_new(request)
        data = await read_json(request, limits.body)
        saved = await of(request).put(ref, data, match=match, only_new=only_new)
        if saved.created:
            return job_answer(saved.view, 201, {"Location": f"{PREFIX}/{saved.view.job.id}"})
        return job_answer(saved.view)

    @app.patch(
        f"{PREFIX}/{{ref}}",
        tags=["jobs"],
        summary="Change a part of a job",
        description="A JSON merge patch (RFC 7396): null removes, objects are merged, anything "
        "else replaces. Naming one of several alternatives (a kind of schedule, `url` or `log`, "
        "a kind of body) removes the others.",
        operation_id="patchJob",
        responses=answers(
            200, "JobOut", "The job as it is now", *_BODY, 404, 409, 412, 507, headers=ETAG
        ),
        openapi_extra=takes("JobPatch", media=_MERGE_PATCH, headers=[IF_MATCH]),
    )
    @needs(Action.DEFINE)
    async def patch_job(ref: JobRef, request: Request) -> Response:
        match = read_match(request)
        data = await read_json(request, limits.body)
        return job_answer(await of(request).patch(ref, data, match=match))

    @app.delete(
        f"{PREFIX}/{{ref}}",
        status_code=204,
        tags=["jobs"],
        summary="Delete a job; its history stays until it is old",
        operation_id="deleteJob",
        responses=answers(204, None, "The job is gone", 404, 409, 412, 507),
        openapi_extra=takes(headers=[IF_MATCH]),
    )
    @needs(Action.DEFINE)
    async def delete_job(ref: JobRef, request: Request) -> Response:
        await of(request).delete(ref, match=read_match(request))
        return Response(status_code=204)

    @app.post(
        f"{PREFIX}/{{ref}}/pause",
        tags=["jobs"],
        summary="Stop the fires of a job until it is resumed",
        operation_id="pauseJob",
        responses=answers(200, "JobOut", "The job as it is now", 404, 409, 412, 507, headers=ETAG),
        openapi_extra=takes(headers=[IF_MATCH]),
    )
    @needs(Action.PAUSE)
    async def pause_job(ref: JobRef, request: Request) -> Response:
        return job_answer(await of(request).pause(ref, match=read_match(request)))

    @app.post(
        f"{PREFIX}/{{ref}}/resume",
        tags=["jobs"],
        summary="Let a paused job fire again, from now on",
        operation_id="resumeJob",
        responses=answers(200, "JobOut", "The job as it is now", 404, 409, 412, 507, headers=ETAG),
        openapi_extra=takes(headers=[IF_MATCH]),
    )
    @needs(Action.RESUME)
    async def resume_job(ref: JobRef, request: Request) -> Response:
        return job_answer(await of(request).resume(ref, match=read_match(request)))

    @app.post(
        f"{PREFIX}/{{ref}}/cancel",
        tags=["jobs"],
        summary="End a job for good, with whatever is live of it",
        operation_id="cancelJob",
        responses=answers(200, "JobOut", "The job as it is now", 404, 409, 412, 507, headers=ETAG),
        openapi_extra=takes(headers=[IF_MATCH]),
    )
    @needs(Action.CANCEL)
    async def cancel_job(ref: JobRef, request: Request) -> Response:
        return job_answer(await of(request).cancel(ref, match=read_match(request)))
