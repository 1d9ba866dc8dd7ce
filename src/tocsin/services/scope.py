"""On whose behalf a service works: in which namespace, on which jobs, and who is told of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from tocsin.domain.access import DEFAULT_NAMESPACE, UNLIMITED, Grant
from tocsin.domain.audit import SYSTEM, Actor, AuditEntry, Subject
from tocsin.domain.errors import Forbidden
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, Json
from tocsin.domain.key import ApiKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What one request is about; by default the program's own, in the default namespace."""

    namespace: str = DEFAULT_NAMESPACE
    grant: Grant = UNLIMITED
    """What whoever asks may do; only jobs that it sees exist."""
    actor: Actor = SYSTEM
    address: str | None = None
    key: ApiKey | None = None
    """The key that whoever asks has; ``None`` where none is needed."""

    @property
    def any_tags(self) -> tuple[str, ...] | None:
        """The tags of which a job must carry one, for queries; ``None``: no matter."""
        return None if self.grant.tags is None else tuple(sorted(self.grant.tags))

    @property
    def whole(self) -> bool:
        """Whether all jobs of the namespace exist in here."""
        return self.grant.tags is None

    def sees(self, job: Job) -> bool:
        """Whether a job exists in here."""
        return job.namespace == self.namespace and self.grant.sees(job.spec.tags)

    def require_tag(self, tags: Iterable[str]) -> None:
        """Raise ``Forbidden`` where a job with these tags would not exist in here."""
        if not self.grant.sees(tags):
            raise Forbidden(
                "this key is limited to jobs that carry one of the tags "
                f"{', '.join(self.any_tags or ()) or '(none)'}; give the job one of them"
            )

    def entry(
        self,
        action: str,
        subject: Subject,
        *,
        at: Millis,
        entry_id: str,
        before: Json = None,
        after: Json = None,
        namespace: str | None = None,
    ) -> AuditEntry:
        """An entry of the audit log about something that is done in here."""
        return AuditEntry(
            id=entry_id,
            at=at,
            actor=self.actor,
            action=action,
            subject=subject,
            namespace=namespace or self.namespace,
            address=self.address,
            before=before,
            after=after,
        )


class Scoped:
    """A service that can be bound to a scope, at next to no cost."""

    _scope: Scope = Scope()

    def within(self, scope: Scope) -> Self:
        """The same service on behalf of somebody."""
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._scope = scope
        return bound
