"""Reading the audit log; it is written by whoever changes something, and by nobody else."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from tocsin.domain.audit import AuditEntry
from tocsin.store.access import AuditQuery
from tocsin.store.port import Store

_PAGE = 500


class AuditService:
    """Finds entries."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def page(self, query: AuditQuery) -> tuple[Sequence[AuditEntry], str | None]:
        """The newest entries that match, and the id to go on before."""
        found = await self._store.list_audit(replace(query, limit=query.limit + 1))
        part = found[: query.limit]
        return part, part[-1].id if len(found) > len(part) else None

    async def all(self, query: AuditQuery) -> AsyncIterator[Sequence[AuditEntry]]:
        """All entries that match, newest first, page by page."""
        before = query.before
        while True:
            page = await self._store.list_audit(replace(query, limit=_PAGE, before=before))
            if page:
                yield page
            if len(page) < _PAGE:
                return
            before = page[-1].id
