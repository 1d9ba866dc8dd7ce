"""Making answers."""

import asyncio
from collections.abc import Mapping
from itertools import zip_longest

from starlette.responses import Response

from tocsin.api.conditions import etag
from tocsin.api.render import dumps, job_bytes, job_json
from tocsin.services.creation import SavedBatch
from tocsin.store.port import JobView

JSON = "application/json"
BATCH_SLICE = 200
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
    parts: list[bytes] = []
    for view, written in zip_longest(saved.views, saved.written):
        parts.append(job_bytes(view, written))
        if len(parts) % BATCH_SLICE == 0:
            await asyncio.sleep(0)
    return Response(b'{"items":[%b]}' % b",".join(parts), status, replayed(saved.replayed), JSON)


def replayed(again: bool) -> dict[str, str]:  # the only argument says it
    """The header of an answer that an earlier request got already."""
    return {"Idempotency-Replayed": "true"} if again else {}
