"""``/api/v1/secrets`` and ``/api/v1/signing``: what goes in, and never comes out."""

from typing import Annotated, TypeAlias

from fastapi import FastAPI, Path, Query, Request, Response

from tocsin.api.answers import json_answer
from tocsin.api.auth import scope_of
from tocsin.api.body import read_json, read_optional_json
from tocsin.api.context import ApiContext
from tocsin.api.needs import needs
from tocsin.api.openapi import answers, takes
from tocsin.api.secrets import secret_json, signing_json
from tocsin.domain.access import Action
from tocsin.services.secrets import SecretService

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
    limits = context.body_limits

    def of(request: Request) -> tuple[SecretService, str]:
        """The service on behalf of who asks, and the namespace that it is about."""
        scope = scope_of(request)
        return context.secrets.within(scope), scope.namespace

    @app.get(
        PREFIX,
        tags=["secrets"],
        summary="List secrets, without their values",
        operation_id="listSecrets",
        responses=answers(200, "SecretPage", "All secrets, by name"),
    )
    @needs(Action.READ, whole=True)
    async def list_secrets(request: Request) -> Response:
        secrets, namespace = of(request)
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
    @needs(Action.DEFINE, whole=True)
    async def put_secret(name: Name, request: Request) -> Response:
        data = await read_json(request, limits.body)
        secrets, namespace = of(request)
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
    @needs(Action.DEFINE, whole=True)
    async def delete_secret(name: Name, request: Request, force: Force = False) -> Response:
        secrets, namespace = of(request)
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
    @needs(Action.ADMIN, everywhere=True)
    async def rekey(request: Request) -> Response:
        secrets, _ = of(request)
        return json_answer({"rekeyed": await secrets.rekey()})

    @app.get(
        SIGNING,
        tags=["secrets"],
        summary="The signing key, without its value",
        operation_id="getSigning",
        responses=answers(200, "SigningOut", "What is known of it", 409),
    )
    @needs(Action.READ, whole=True)
    async def get_signing(request: Request) -> Response:
        secrets, namespace = of(request)
        return json_answer(signing_json(await secrets.signing(namespace)))

    @app.post(
        f"{SIGNING}:reveal",
        tags=["secrets"],
        summary="Show the signing key, once",
        operation_id="revealSigning",
        responses=answers(200, "SigningKeyOut", "The key that receivers verify with", 409),
    )
    @needs(Action.ADMIN, whole=True)
    async def reveal_signing(request: Request) -> Response:
        secrets, namespace = of(request)
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
    @needs(Action.ADMIN, whole=True)
    async def rotate_signing(request: Request) -> Response:
        data = await read_optional_json(request, limits.body)
        secrets, namespace = of(request)
        view, value = await secrets.rotate_signing(namespace, data)
        return json_answer(signing_json(view, value), headers=_NOT_KEPT)
