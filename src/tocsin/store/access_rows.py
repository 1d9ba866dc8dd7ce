"""Rows of keys, sessions and the audit log from values of the domain, and back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tocsin.domain.access import Action, Grant, Role
from tocsin.domain.audit import Actor, AuditEntry, JsonText, Subject
from tocsin.domain.job import Json
from tocsin.domain.key import ApiKey, KeyOrigin, Session
from tocsin.store.rows import dump_json, load_json, storable

_ACTIONS = {action.value: action for action in Action}


def key_row(key: ApiKey) -> dict[str, Any]:
    """A row of ``api_keys``."""
    grant = key.grant
    return {
        "id": key.id,
        "name": storable(key.name),
        "prefix": key.prefix,
        "hash": key.hash,
        "role": grant.role.value,
        "namespace": grant.namespace,
        "tags": None if grant.tags is None else dump_json(sorted(grant.tags)),
        "actions": None if grant.actions is None else dump_json(sorted(grant.actions)),
        "rate_limit": key.rate_limit,
        "origin": key.origin.value,
        "created_at": key.created_at,
        "created_by": storable(key.created_by),
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "old_hash": key.old_hash,
        "old_until": key.old_until,
    }


def key_of(row: Mapping[str, Any]) -> ApiKey:
    """The key of a row."""
    values = dict(row)
    tags, actions = values.pop("tags"), values.pop("actions")
    grant = Grant(
        role=Role(values.pop("role")),
        namespace=values.pop("namespace"),
        tags=None if tags is None else frozenset(load_json(tags)),
        # An action that a later version knows is one that this one cannot grant.
        actions=None
        if actions is None
        else frozenset(_ACTIONS[one] for one in load_json(actions) if one in _ACTIONS),
    )
    return ApiKey(grant=grant, origin=KeyOrigin(values.pop("origin")), **values)


def session_row(session: Session) -> dict[str, Any]:
    """A row of ``sessions``."""
    return asdict(session)


def session_of(row: Mapping[str, Any]) -> Session:
    """The session of a row."""
    return Session(**row)


def audit_row(entry: AuditEntry) -> tuple[Any, ...]:
    """A row of ``audit``, in the order of its columns."""
    return (
        entry.id,
        entry.at,
        entry.namespace,
        entry.actor.type,
        entry.actor.id,
        storable(entry.actor.name),
        entry.action,
        entry.subject.type,
        entry.subject.id,
        storable(entry.subject.name),
        entry.address,
        _text(entry.before),
        _text(entry.after),
    )


def audit_of(row: Mapping[str, Any]) -> AuditEntry:
    """The entry of a row."""
    return AuditEntry(
        id=row["id"],
        at=row["at"],
        namespace=row["namespace"],
        actor=Actor(type=row["actor_type"], id=row["actor_id"], name=row["actor_name"]),
        action=row["action"],
        subject=Subject(type=row["subject_type"], id=row["subject_id"], name=row["subject_name"]),
        address=row["address"],
        before=None if row["before"] is None else load_json(row["before"]),
        after=None if row["after"] is None else load_json(row["after"]),
    )


def _text(value: Json) -> str | None:
    if value is None or isinstance(value, JsonText):
        return value
    return dump_json(value)
