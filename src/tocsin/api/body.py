"""Reading request bodies: bounded while they come in, JSON and nothing else."""

from collections.abc import Iterator
from typing import Any

import orjson
from starlette.requests import Request

from tocsin.api.problems import Refused
from tocsin.domain.errors import FieldProblem, InvalidInput

_CLOSE = {"Connection": "close"}
LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
"""How a body says that it is JSON, a value on each line."""

MAX_WALK = 200
"""How deep a body is looked through for text that databases cannot keep."""


async def read_bytes(request: Request, limit: int) -> bytes:
    """The body; refused (413) as soon as it is known to be larger than ``limit`` bytes."""
    announced = request.headers.get("content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_json(request: Request, limit: int) -> Any:
    """The body as a JSON value.

    Refused where it is of another kind (415), too large (413), not JSON (400), or holds the
    character U+0000, which databases cannot keep (422).
    """
    return parse_json(await read_json_bytes(request, limit))


async def read_json_bytes(request: Request, limit: int) -> bytes:
    """The body, which says that it is JSON, for ``parse_json``."""
    _check_media_type(request)
    return await read_bytes(request, limit)


async def read_optional_json(request: Request, limit: int) -> Any:
    """The same, and an empty object where there is no body."""
    raw = await read_bytes(request, limit)
    if not raw.strip():
        return {}
    _check_media_type(request)
    return parse_json(raw)


def parse_json(raw: bytes) -> Any:
    """A JSON text as a value; see ``read_json``."""
    return _value(raw, "body", "line {0.lineno} column {0.colno}")


def parse_line(raw: bytes) -> Any:
    """A line of JSON as a value; refused as a whole body is."""
    return _value(raw, "line", "column {0.colno}")


def _value(raw: bytes, what: str, where: str) -> Any:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _no_json(what, error, where.format(error)) from None
    if b"\\u0000" in raw:
        _refuse_nul(value)
    return value


def is_lines(request: Request) -> bool:
    """Whether a body says that it is lines of JSON; refused (415) where they are compressed."""
    given = request.headers.get("content-type")
    if given is None or given.partition(";")[0].strip().lower() not in LINES:
        return False
    _refuse_compressed(request)
    return True


def _no_json(what: str, error: orjson.JSONDecodeError, where: str) -> Refused:
    reason = error.msg.partition(": line ")[0]
    return Refused(
        400,
        "invalid_json",
        f"the {what} is not JSON: {reason} at {where}",
        errors=[FieldProblem(field="", message=f"{reason} at {where}", code="invalid_json")],
    )


def _refuse_nul(value: object) -> None:
    for path in _nul_paths(value, "", MAX_WALK):
        raise InvalidInput.of(path, "holds the character U+0000", "invalid")


def _refuse_compressed(request: Request) -> None:
    if "content-encoding" in request.headers:
        raise Refused(
            415, "unsupported_media_type", "compressed bodies are not taken; send it as it is"
        )


def _check_media_type(request: Request) -> None:
    _refuse_compressed(request)
    given = request.headers.get("content-type")
    if given is None or given == "application/json":
        return
    kind = given.partition(";")[0].strip().lower()
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise Refused(
            415,
            "unsupported_media_type",
            "the body must be JSON: send it with Content-Type: application/json",
        )


def _nul_paths(value: object, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if "\0" in value:
            yield path
    elif depth == 0:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                yield path
            yield from _nul_paths(item, f"{path}.{key}" if path else key, depth - 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nul_paths(item, f"{path}.{index}" if path else str(index), depth - 1)


def _too_large(limit: int) -> Refused:
    # What is left of the body is not read, so the connection cannot be used again.
    return Refused(
        413,
        "payload_too_large",
        f"the body is larger than {limit:,} bytes; split it, or raise the server's limit "
        "(TOCSIN_MAX_BODY, TOCSIN_MAX_BATCH_BODY)",
        headers=_CLOSE,
    )
