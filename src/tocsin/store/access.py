"""What Tocsin needs of a store for keys, sessions and the audit log: a part of ``store.port``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.domain.audit import AuditEntry
from tocsin.domain.instant import Millis
from tocsin.domain.key import ApiKey, Session


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditQuery:
    """Which entries, newest first."""

    namespace: str | None = None
    """``None``: of all namespaces."""
    actor: str | None = None
    """The id or the name of who did it."""
    action: str | None = None
    """As ``job.create``, or ``job`` for whatever was done to jobs."""
    subject: str | None = None
    """The id or the name of what it was done to."""
    since: Millis | None = None
    """The earliest instant, inclusive."""
    until: Millis | None = None
    """The latest instant, exclusive."""
    limit: int = 100
    before: str | None = None
    """Only entries whose id is lower: where the last page ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyCount:
    """How many keys there are."""

    working: int
    ended: int
    """Revoked or expired."""


class AccessStore(Protocol):
    """Keys, sessions and the audit log.

    Whatever changes something takes the entries of the audit log that tell of it, and stores them
    in the same transaction: where nothing was changed, nothing is told.
    """

    async def add_key(self, key: ApiKey, *, audit: Sequence[AuditEntry] = ()) -> bool:
        """Store a new key; whether it was.

        One whose origin is ``first`` is only stored where no key was ever stored, by however many
        nodes at once.
        """

    async def find_key(self, hashed: str) -> ApiKey | None:
        """The key whose present or previous secret has this hash, whatever its status."""

    async def get_key(self, key_id: str) -> ApiKey | None:
        """One key, whatever its status."""

    async def list_keys(self, namespace: str | None = None) -> Sequence[ApiKey]:
        """All keys, or those of one namespace, revoked and expired ones too, by creation."""

    async def count_keys(self, now: Millis) -> KeyCount:
        """How many keys work at an instant, and how many do not any more."""

    async def delete_ended_keys(self, now: Millis, *, keep: int) -> int:
        """Delete keys that have ended at an instant, but for the last created ``keep`` of them.

        How many went.
        """

    async def replace_key(
        self,
        key: ApiKey,
        *,
        if_hash: str,
        if_another: bool = False,
        audit: Sequence[AuditEntry] = (),
    ) -> bool:
        """Replace a key that is not revoked, on condition that its secret is still this one.

        With ``if_another`` also that there is another ``lasting`` one, whoever else replaces keys
        at the same moment. Whether it was. ``last_used_at`` is left alone.
        """

    async def note_key_use(self, used: Mapping[str, Millis]) -> None:
        """Move ``last_used_at`` of keys forward, never back; unknown ids are passed over."""

    async def add_session(self, session: Session, *, audit: Sequence[AuditEntry] = ()) -> None:
        """Store a new session, and delete those that had expired when it was created."""

    async def find_session(self, hashed: str) -> Session | None:
        """The session whose token has this hash, whether or not it has expired."""

    async def delete_session(self, hashed: str, *, audit: Sequence[AuditEntry] = ()) -> bool:
        """Delete a session; whether there was one."""

    async def add_audit(self, audit: Sequence[AuditEntry]) -> None:
        """Store entries of the audit log that tell of what changes nothing here."""

    async def list_audit(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """The newest entries that match, ``limit`` at most."""

    async def delete_audit(self, *, before: Millis, limit: int, entry: AuditEntry) -> int:
        """Delete the oldest entries from before an instant; how many, ``limit`` at most.

        Where there were any, ``entry`` is stored in the same transaction, with their ``count``
        among what it says was there ``before``. Nothing else ever deletes one.
        """

    async def namespaces(self) -> Sequence[str]:
        """The namespaces that have jobs (that are not deleted) or keys, by name."""
