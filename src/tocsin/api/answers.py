"""Making answers."""

import asyncio
from collections.abc import Mapping

from starlette.responses import Response

from tocsin.api.conditions import etag
from tocsin.api.render import dumps, fresh_jobs, job_json
from tocsin.services.creation import SavedBatch
from tocsin.store.port import JobView

JSON = "application/json"
BATCH_SLICE = 500
"""Jobs that are written before other work has its turn: about 1 ms."""


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


async def batch_answer(saved: SavedBatch, status: int) -> Response:
    """Many jobs, written piece by piece so that fires do not wait for it."""
    again = saved.replayed
    count = len(saved.fresh) if again is None else len(again)
    parts: list[bytes] = []
    for start in range(0, count, BATCH_SLICE):
        if again is None:
            parts.append(fresh_jobs(saved.fresh[start : start + BATCH_SLICE]))
        else:
            parts += [dumps(job_json(view)) for view in again[start : start + BATCH_SLICE]]
        await asyncio.sleep(0)
    items = b",".join(parts)
    return Response(b'{"items":[%b]}' % items, status, replayed(again is not None), JSON)


def replayed(again: bool) -> dict[str, str]:  # the only argument says it
    """The header of an answer that an earlier request got already."""
    return {"Idempotency-Replayed": "true"} if again else {}
