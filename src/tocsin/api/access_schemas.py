"""The shapes of keys, sessions, namespaces and the audit log in answers, and how they are made."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from tocsin.api.auth import Caller
from tocsin.api.schemas import Instant
from tocsin.domain.access import DEFAULT_NAMESPACE, Action
from tocsin.domain.audit import AuditEntry
from tocsin.domain.instant import Millis, format_instant
from tocsin.domain.key import ApiKey, KeyStatus

RoleOut = Literal["viewer", "operator", "editor", "admin"]


class KeyOut(TypedDict):
    """A key, without its secret."""

    id: str
    name: str
    prefix: Annotated[str, Field(description="`tcs_<prefix>_…`: how to tell it from others.")]
    role: RoleOut
    namespace: Annotated[str, Field(description="`*`: all.")]
    tags: Annotated[list[str] | None, Field(description="null: not limited to any.")]
    actions: Annotated[list[str] | None, Field(description="null: whatever the role allows.")]
    rate_limit: Annotated[str | None, Field(description="null: as the server is set.")]
    status: Literal["active", "expired", "revoked"]
    created_at: Instant
    created_by: str
    expires_at: Instant | None
    last_used_at: Annotated[Instant | None, Field(description="Up to a minute behind.")]
    revoked_at: Instant | None
    old_secret_until: Annotated[
        Instant | None, Field(description="Until when the secret before the rotation works.")
    ]


class KeyCreatedOut(KeyOut):
    """A key with its secret, which is shown this once."""

    key: str


class KeyPage(TypedDict):
    """A page of keys."""

    items: list[KeyOut]
    next_cursor: str | None


class SessionKeyOut(TypedDict):
    """The key that somebody is signed in with."""

    id: str
    name: str
    prefix: str


class SessionOut(TypedDict):
    """Who is asking, and what they may do."""

    auth: Annotated[
        Literal["on", "off"],
        Field(description="`off`: everybody who reaches this server may do everything."),
    ]
    role: RoleOut
    namespace: Annotated[str, Field(description="That of the key; `*`: all.")]
    namespaces: Annotated[list[str], Field(description="Those that it reaches.")]
    tags: list[str] | None
    actions: list[str]
    key: Annotated[SessionKeyOut | None, Field(description="null where `auth` is `off`.")]
    csrf_token: Annotated[
        str | None,
        Field(
            description="What changes must send as `Tocsin-CSRF` that are made with a session; "
            "null without one."
        ),
    ]
    expires_at: Annotated[Instant | None, Field(description="The end of the session.")]


class NamespaceOut(TypedDict):
    """A namespace."""

    name: str


class NamespacePage(TypedDict):
    """All namespaces that a key reaches."""

    items: list[NamespaceOut]
    next_cursor: str | None


class PartyOut(TypedDict):
    """Who did something, or what it was done to."""

    type: str
    id: str | None
    name: str


class AuditEntryOut(TypedDict):
    """Who did what to what, when, from where."""

    id: str
    at: Instant
    actor: PartyOut
    action: Annotated[str, Field(examples=["job.create"])]
    subject: PartyOut
    namespace: Annotated[str, Field(description="`*`: of all, as some keys are.")]
    address: str | None
    before: Annotated[Any, Field(description="What was changed; secrets are masked.")]
    after: Any


class AuditPage(TypedDict):
    """A page of the audit log, newest first."""

    items: list[AuditEntryOut]
    next_cursor: str | None


def key_json(key: ApiKey, now: Millis) -> KeyOut:
    """A key as the API shows it."""
    grant = key.grant
    rotating = key.old_until is not None and key.old_until > now
    active = key.status(now) is KeyStatus.ACTIVE
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "role": grant.role.value,
        "namespace": grant.namespace,
        "tags": None if grant.tags is None else sorted(grant.tags),
        "actions": None if grant.actions is None else _words(grant.actions),
        "rate_limit": key.rate_limit,
        "status": key.status(now).value,
        "created_at": format_instant(key.created_at),
        "created_by": key.created_by,
        "expires_at": _instant(key.expires_at),
        "last_used_at": _instant(key.last_used_at),
        "revoked_at": _instant(key.revoked_at),
        "old_secret_until": _instant(key.old_until) if rotating and active else None,
    }


def session_json(caller: Caller, auth: str, namespaces: Sequence[str]) -> SessionOut:
    """Who is asking."""
    grant, key = caller.grant, caller.key
    reached = [grant.namespace]
    if grant.everywhere:
        reached = sorted({DEFAULT_NAMESPACE, *namespaces})
    return {
        "auth": "off" if auth == "off" else "on",
        "role": grant.role.value,
        "namespace": grant.namespace,
        "namespaces": reached,
        "tags": None if grant.tags is None else sorted(grant.tags),
        "actions": _words(grant.allowed),
        "key": None if key is None else {"id": key.id, "name": key.name, "prefix": key.prefix},
        "csrf_token": caller.csrf,
        "expires_at": None if caller.session is None else format_instant(caller.session.expires_at),
    }


def audit_json(entry: AuditEntry) -> AuditEntryOut:
    """An entry of the audit log as the API shows it."""
    actor, subject = entry.actor, entry.subject
    return {
        "id": entry.id,
        "at": format_instant(entry.at),
        "actor": {"type": actor.type, "id": actor.id, "name": actor.name},
        "action": entry.action,
        "subject": {"type": subject.type, "id": subject.id, "name": subject.name},
        "namespace": entry.namespace,
        "address": entry.address,
        "before": entry.before,
        "after": entry.after,
    }


def _words(actions: frozenset[Action]) -> list[str]:
    return [action.value for action in Action if action in actions]


def _instant(at: Millis | None) -> str | None:
    return None if at is None else format_instant(at)
