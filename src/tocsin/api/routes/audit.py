"""``/api/v1/audit``: who did what to what."""

from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, Response
from starlette.responses import StreamingResponse

from tocsin.api.access_schemas import audit_json
from tocsin.api.answers import json_answer
from tocsin.api.auth import caller_of
from tocsin.api.context import ApiContext
from tocsin.api.needs import needs
from tocsin.api.openapi import answers
from tocsin.api.paging import audit_cursor, read_audit_cursor
from tocsin.api.parameters import AuditParameters, read_instant
from tocsin.api.render import dumps, items_json
from tocsin.domain.access import Action
from tocsin.store.access import AuditQuery

NDJSON = "application/x-ndjson"


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add the audit log."""

    async def lines(query: AuditQuery) -> AsyncIterator[bytes]:
        async for page in context.audit.all(query):
            yield b"".join(dumps(audit_json(entry)) + b"\n" for entry in page)

    documented = answers(200, "AuditPage", "A page of entries, newest first")
    documented[200]["content"][NDJSON] = {"schema": {"type": "string"}}

    @app.get(
        "/api/v1/audit",
        tags=["access"],
        summary="Who did what to what, when and from where",
        description="It is only ever added to. With `Accept: application/x-ndjson` the answer is "
        "all entries that match, one per line. A key that holds in all namespaces sees all of "
        "them, unless the request names one.",
        operation_id="listAudit",
        responses=documented,
    )
    @needs(Action.ADMIN, whole=True)
    async def list_audit(asked: AuditParameters, request: Request) -> Response:
        caller = caller_of(request)
        every = caller.grant.everywhere and not caller.named_namespace
        query = AuditQuery(
            namespace=None if every else caller.scope.namespace,
            actor=asked.actor,
            action=asked.action,
            subject=asked.subject,
            since=read_instant(asked.since, "since"),
            until=read_instant(asked.until, "until"),
            limit=asked.limit,
            before=read_audit_cursor(asked.cursor),
        )
        if NDJSON in request.headers.get("accept", ""):
            return StreamingResponse(lines(query), media_type=NDJSON)
        entries, last = await context.audit.page(query)
        return json_answer(items_json(map(audit_json, entries), audit_cursor(last)))
