"""What answers about secrets and signing keys look like."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from tocsin.api.schemas import Instant
from tocsin.domain.instant import Millis, format_instant
from tocsin.services.secrets import SecretView, SigningView


class SecretOut(TypedDict):
    """A secret, without its value."""

    name: str
    version: Annotated[int, Field(description="Grows with each change.")]
    created_at: Instant
    updated_at: Instant
    previous_until: Annotated[
        Instant | None,
        Field(description="Until when the value before this one goes on signing."),
    ]
    used_by: Annotated[int, Field(description="How many jobs use it.")]


class SecretPage(TypedDict):
    """All secrets, by name."""

    items: list[SecretOut]
    next_cursor: str | None


class RekeyOut(TypedDict):
    """What became of a change of the master key."""

    rekeyed: Annotated[int, Field(description="How many secrets were encrypted anew.")]


class SigningOut(TypedDict):
    """The signing key of the namespace, without its value."""

    version: int
    created_at: Instant
    updated_at: Instant
    previous_until: Annotated[
        Instant | None, Field(description="Until when the key before this one goes on signing.")
    ]
    shown: Annotated[bool, Field(description="Whether it was shown, which happens once.")]


class SigningKeyOut(SigningOut):
    """The signing key with its value."""

    secret: Annotated[str, Field(examples=["whsec_…"])]


def secret_json(view: SecretView) -> dict[str, Any]:
    """A secret as ``SecretOut``."""
    return {
        "name": view.name,
        "version": view.version,
        "created_at": format_instant(view.created_at),
        "updated_at": format_instant(view.updated_at),
        "previous_until": _instant(view.previous_until),
        "used_by": view.used_by,
    }


def signing_json(view: SigningView, value: str | None = None) -> dict[str, Any]:
    """A signing key as ``SigningOut``, with a value as ``SigningKeyOut``."""
    shown = {
        "version": view.version,
        "created_at": format_instant(view.created_at),
        "updated_at": format_instant(view.updated_at),
        "previous_until": _instant(view.previous_until),
        "shown": view.shown,
    }
    return shown if value is None else {**shown, "secret": value}


def _instant(instant: Millis | None) -> str | None:
    return None if instant is None else format_instant(instant)
