"""Which secrets a target uses, and where."""

from collections.abc import Iterator

from tocsin.domain.job import BasicAuth, BearerAuth, BodyKind, HttpTarget, Json, LogTarget, Target
from tocsin.domain.placeholder import SECRET, Template

SIGNING = ".signing"
"""The name under which the signing key of a namespace is kept; nobody can set or use it by name."""

SIGNING_PREFIX = "whsec_"
"""What a signing key begins with, as Standard Webhooks writes them; base64 follows."""

SIGNING_FIELD = "target.signing.secret"


def secrets_of(target: Target) -> Iterator[tuple[str, str]]:
    """Each use of a secret: the field, as problems name it, and the secret's name."""
    match target:
        case LogTarget():
            return
        case HttpTarget():
            yield from _of_text("target.url", target.url)
            for name, value in target.headers:
                yield from _of_text(f"target.headers.{name}", value)
            if target.body_kind is BodyKind.JSON:
                yield from _of_json("target.body", target.body)
            elif target.body_kind is BodyKind.TEXT:
                yield from _of_text("target.body_text", str(target.body))
            match target.auth:
                case BasicAuth(username=username, password=password):
                    yield from _of_text("target.auth.username", username)
                    yield from _of_text("target.auth.password", password)
                case BearerAuth(token=token):
                    yield from _of_text("target.auth.token", token)
                case None:
                    pass
            if target.signing is not None:
                yield SIGNING_FIELD, target.signing


def _of_text(field: str, text: str) -> Iterator[tuple[str, str]]:
    if SECRET in text and "{{" in text:
        for name in Template.parse(text).secrets:
            yield field, name


def _of_json(field: str, value: Json) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield from _of_text(field, value)
    elif isinstance(value, list):
        for item in value:
            yield from _of_json(field, item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _of_json(field, item)
