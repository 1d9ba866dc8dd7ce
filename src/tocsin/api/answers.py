"""Making answers."""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from tocsin.api.conditions import etag
from tocsin.api.render import dumps, job_json, jobs_bytes
from tocsin.store.port import JobView

JSON = "application/json"
BATCH_SLICE = 200
"""Jobs that are written before other work has its turn: about 3 ms."""


def json_answer(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON value."""
    return Response(dumps(value), status, headers, JSON)


def job_answer(
    view: JobView, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A job, with its entity tag."""
    return Response(
        dumps(job_json(view)), status, {"ETag": etag(view.job), **(headers or {})}, JSON
    )


async def batch_answer(
    views: Sequence[JobView], status: int, headers: Mapping[str, str]
) -> Response:
    """Many jobs, written piece by piece so that fires do not wait for it."""
    parts: list[bytes] = []
    for start in range(0, len(views), BATCH_SLICE):
        parts.append(jobs_bytes(views[start : start + BATCH_SLICE]))
        await asyncio.sleep(0)
    return Response(b'{"items":[%b]}' % b",".join(parts), status, headers, JSON)


def replayed(again: bool) -> dict[str, str]:  # the only argument says it
    """The header of an answer that an earlier request got already."""
    return {"Idempotency-Replayed": "true"} if again else {}
