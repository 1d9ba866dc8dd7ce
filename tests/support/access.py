"""Small builders of keys, sessions and entries of the audit log."""

import itertools
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from tests.support.build import HOUR, NOW
from tocsin.domain.access import Grant, Role
from tocsin.domain.audit import SYSTEM, AuditEntry, Subject
from tocsin.domain.key import ApiKey, Session, secret_hash
from tocsin.services.ids import Uuid7

_numbers = itertools.count()
_new_id = Uuid7(lambda: NOW)


def build_key(name: str | None = None, **fields: Any) -> ApiKey:
    """An active key of the default namespace, for its viewers."""
    name = f"key-{next(_numbers)}" if name is None else name
    return ApiKey(
        **{
            "id": str(uuid5(NAMESPACE_URL, f"key/{name}")),
            "name": name,
            "prefix": "abcdefgh",
            "hash": secret_hash(name),
            "grant": Grant(role=Role.VIEWER),
            "created_at": NOW,
            "created_by": "test",
            **fields,
        }
    )


def build_session(token: str, **fields: Any) -> Session:
    """A session that has an hour to go."""
    return Session(
        **{
            "hash": secret_hash(token),
            "key_id": build_key("any").id,
            "key_hash": build_key("any").hash,
            "created_at": NOW - HOUR,
            "expires_at": NOW + HOUR,
            "address": "192.0.2.1",
            **fields,
        }
    )


def build_audit(action: str, **fields: Any) -> AuditEntry:
    """An entry of the audit log."""
    return AuditEntry(
        **{
            "id": _new_id(),
            "at": NOW,
            "actor": SYSTEM,
            "action": action,
            "subject": Subject(type="job", id="x"),
            "namespace": "default",
            **fields,
        }
    )
