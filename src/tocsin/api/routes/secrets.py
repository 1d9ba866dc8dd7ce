"""``/api/v1/secrets`` and ``/api/v1/signing``: what goes in, and never comes out."""

from typing import Annotated, TypeAlias

from fastapi import FastAPI, Path, Query, Request, Response

from tocsin.api.answers import json_answer
from tocsin.api.body import read_json, read_optional_json
from tocsin.api.context import ApiContext
from tocsin.api.openapi import answers, takes
from tocsin.api.secrets import secret_json, signing_json

PREFIX = "/api/v1/secrets"
SIGNING = "/api/v1/signing"
_BODY = (400, 413, 415)
_NOT_KEPT = {"Cache-Control": "no-store"}

Name: TypeAlias = Annotated[
    str,
    Path(
        description="A letter, then up to 99 letters, digits, `_` and `-`.",
        min_length=1,
        max_length=100,
    ),
]
Force: TypeAlias = Annotated[bool, Query(description="Delete it although jobs use it.")]


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add setting, listing and deleting secrets, and the signing key."""
    secrets, limits, namespace = context.secrets, context.body_limits, context.namespace

    @app.get(
        PREFIX,
        tags=["secrets"],
        summary="List secrets, without their values",
        operation_id="listSecrets",
        responses=answers(200, "SecretPage", "All secrets, by name"),
    )
    async def list_secrets() -> Response:
        views = await secrets.list(namespace)
        return json_answer({"items": [secret_json(one) for one in views], "next_cursor": None})

    @app.put(
        f"{PREFIX}/{{name}}",
        tags=["secrets"],
        summary="Set a secret",
        description="Calls made from now on use the new value, on every node within seconds.",
        operation_id="putSecret",
        responses=answers(
            200,
            "SecretOut",
            "The secret, without its value",
            *_BODY,
            409,
            507,
            also={201: "The new secret, without its value"},
        ),
        openapi_extra=takes("SecretIn"),
    )
    async def put_secret(name: Name, request: Request) -> Response:
        data = await read_json(request, limits.body)
        view, new = await secrets.set(namespace, name, data)
        return json_answer(secret_json(view), 201 if new else 200)

    @app.delete(
        f"{PREFIX}/{{name}}",
        status_code=204,
        tags=["secrets"],
        summary="Delete a secret that no job uses",
        operation_id="deleteSecret",
        responses=answers(204, None, "The secret is gone", 404, 409),
    )
    async def delete_secret(name: Name, force: Force = False) -> Response:
        await secrets.delete(namespace, name, force=force)
        return Response(status_code=204)

    @app.post(
        f"{PREFIX}:rekey",
        tags=["secrets"],
        summary="Encrypt everything with the first master key",
        description="Of all namespaces. Afterwards older master keys are not needed any more.",
        operation_id="rekeySecrets",
        responses=answers(200, "RekeyOut", "How many were encrypted anew", 409),
    )
    async def rekey() -> Response:
        return json_answer({"rekeyed": await secrets.rekey()})

    @app.get(
        SIGNING,
        tags=["secrets"],
        summary="The signing key, without its value",
        operation_id="getSigning",
        responses=answers(200, "SigningOut", "What is known of it", 409),
    )
    async def get_signing() -> Response:
        return json_answer(signing_json(await secrets.signing(namespace)))

    @app.post(
        f"{SIGNING}:reveal",
        tags=["secrets"],
        summary="Show the signing key, once",
        operation_id="revealSigning",
        responses=answers(200, "SigningKeyOut", "The key that receivers verify with", 409),
    )
    async def reveal_signing() -> Response:
        view, value = await secrets.reveal_signing(namespace)
        return json_answer(signing_json(view, value), headers=_NOT_KEPT)

    @app.post(
        f"{SIGNING}:rotate",
        tags=["secrets"],
        summary="Make a new signing key",
        description="The key before goes on signing beside it for `overlap`, so that receivers "
        "can change over.",
        operation_id="rotateSigning",
        responses=answers(200, "SigningKeyOut", "The new key", *_BODY, 409),
        openapi_extra=takes("RotationIn", required=False),
    )
    async def rotate_signing(request: Request) -> Response:
        data = await read_optional_json(request, limits.body)
        view, value = await secrets.rotate_signing(namespace, data)
        return json_answer(signing_json(view, value), headers=_NOT_KEPT)
