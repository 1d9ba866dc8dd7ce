"""The lines that answer a stream of jobs: their shape, and how they are written."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from tocsin.api.render import dumps
from tocsin.api.schemas import Instant, Problem
from tocsin.domain.instant import format_instant
from tocsin.services.bulk import Fresh
from tocsin.store.port import JobView


class JobLineOut(TypedDict, total=False):
    """What is said of one line of a stream of jobs, and in the end of all of them."""

    line: Annotated[int, Field(description="Which line it was, from 1; missing in the summary.")]
    status: Annotated[int, Field(description="As of a request for this job alone.")]
    id: str
    name: str
    next_fire_at: Instant | None
    replayed: Annotated[
        bool, Field(description="There since an earlier stream with this Idempotency-Key.")
    ]
    problem: Annotated[
        Problem, Field(description="Why the line was refused, or the stream ended too early.")
    ]
    complete: Annotated[
        bool,
        Field(
            description="In the summary, the last line: whether every line was read and answered. "
            "Without a summary the connection was cut."
        ),
    ]
    created: int
    refused: int


JOB_LINES: tuple[Mapping[str, object], ...] = (
    {
        "line": 1,
        "status": 201,
        "id": "019b5144-0000-7abc-8def-0123456789ab",
        "name": "nightly-report",
        "next_fire_at": "2026-11-28T01:00:00Z",
    },
    {
        "line": 2,
        "status": 409,
        "problem": {
            "type": "urn:tocsin:problem:name_taken",
            "title": "The name is taken",
            "status": 409,
            "detail": "name: the name 'tick' is taken by another job; choose another name",
            "code": "name_taken",
            "errors": [
                {
                    "field": "name",
                    "message": "the name 'tick' is taken by another job; choose another name",
                    "code": "name_taken",
                }
            ],
        },
    },
    {"complete": True, "created": 1, "replayed": 0, "refused": 1},
)


def new_job_line(number: int, fresh: Fresh) -> str:
    """What is said of a new job that came as a line: where to find it, and when it fires."""
    job = fresh.new.job
    return (
        f'{{"line":{number},"status":201,"id":"{job.id}","name":"{job.name}",'
        f'"next_fire_at":{fresh.fires}}}\n'
    )


def old_job_line(number: int, view: JobView) -> str:
    """The same of a job that an earlier stream with the same key has created."""
    fires = view.next_fire_at
    shown = {
        "line": number,
        "status": 201,
        "id": view.job.id,
        "name": view.job.name,
        "next_fire_at": None if fires is None else format_instant(fires),
        "replayed": True,
    }
    return dumps(shown).decode() + "\n"
