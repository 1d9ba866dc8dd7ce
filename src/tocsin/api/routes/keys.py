"""``/api/v1/keys``: keys, for admins."""

from fastapi import FastAPI, Request, Response

from tocsin.api.access_schemas import key_json
from tocsin.api.answers import json_answer
from tocsin.api.auth import scope_of
from tocsin.api.body import read_json, read_optional_json
from tocsin.api.context import ApiContext
from tocsin.api.needs import needs
from tocsin.api.openapi import answers, takes
from tocsin.api.paging import key_cursor, read_key_cursor
from tocsin.api.parameters import KeyRef, PageParameters
from tocsin.api.render import items_json
from tocsin.domain.access import Action
from tocsin.services.keys import KeyService, Revealed

PREFIX = "/api/v1/keys"
_BODY = (400, 413, 415)


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add making, finding, rotating and revoking keys."""
    limits = context.body_limits

    def of(request: Request) -> KeyService:
        return context.keys.within(scope_of(request))

    def revealed(made: Revealed, status: int) -> Response:
        shown = {**key_json(made.key, context.now()), "key": made.secret}
        return json_answer(shown, status, {"Location": f"{PREFIX}/{made.key.id}"})

    @app.post(
        PREFIX,
        status_code=201,
        tags=["access"],
        summary="Make a key",
        description="The answer holds its secret, which nobody can be shown again. A key cannot "
        "grant more than the one that makes it, nor work longer or more often.",
        operation_id="createKey",
        responses=answers(201, "KeyCreatedOut", "The new key, with its secret", *_BODY, 507),
        openapi_extra=takes("KeyIn"),
    )
    @needs(Action.ADMIN)
    async def create_key(request: Request) -> Response:
        return revealed(await of(request).create(await read_json(request, limits.body)), 201)

    @app.get(
        PREFIX,
        tags=["access"],
        summary="List keys",
        description="Those of the key's own namespace; of all where it holds in all. By creation.",
        operation_id="listKeys",
        responses=answers(200, "KeyPage", "A page of keys"),
    )
    @needs(Action.ADMIN)
    async def list_keys(asked: PageParameters, request: Request) -> Response:
        keys, now = await of(request).list(), context.now()
        last = read_key_cursor(asked.cursor)
        if last is not None:
            keys = [key for key in keys if (key.created_at, key.id) > last]
        part = keys[: asked.limit]
        following = key_cursor(part[-1]) if len(keys) > len(part) else None
        return json_answer(items_json((key_json(key, now) for key in part), following))

    @app.get(
        f"{PREFIX}/{{ref}}",
        tags=["access"],
        summary="Get a key",
        operation_id="getKey",
        responses=answers(200, "KeyOut", "The key", 404),
    )
    @needs(Action.ADMIN)
    async def get_key(ref: KeyRef, request: Request) -> Response:
        return json_answer(key_json(await of(request).get(ref), context.now()))

    @app.post(
        f"{PREFIX}/{{ref}}/rotate",
        tags=["access"],
        summary="Give a key a new secret; the old one works for a while",
        operation_id="rotateKey",
        responses=answers(
            200, "KeyCreatedOut", "The key, with its new secret", *_BODY, 404, 409, 507
        ),
        openapi_extra=takes("RotateIn", required=False),
    )
    @needs(Action.ADMIN)
    async def rotate_key(ref: KeyRef, request: Request) -> Response:
        data = await read_optional_json(request, limits.body)
        return revealed(await of(request).rotate(ref, data), 200)

    @app.delete(
        f"{PREFIX}/{{ref}}",
        status_code=204,
        tags=["access"],
        summary="Revoke a key; it stays in the list",
        description="At once on the node that answers, within seconds on all others. Sessions "
        "that were opened with it end too.",
        operation_id="revokeKey",
        responses=answers(204, None, "It works no more", 404, 409, 507),
    )
    @needs(Action.ADMIN)
    async def revoke_key(ref: KeyRef, request: Request) -> Response:
        await of(request).revoke(ref)
        return Response(status_code=204)
