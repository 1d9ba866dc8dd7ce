"""The audit log: who did what to what, when, from where, before and after."""

from dataclasses import dataclass, replace

from tocsin.domain.instant import Millis
from tocsin.domain.job import Json


class JsonText(str):
    """JSON that is written already, in the place of the value that it says."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who did it."""

    type: str
    """``key``, ``system`` (a start, the command line) or ``anonymous`` (authentication is off)."""
    id: str | None = None
    name: str = ""


SYSTEM = Actor(type="system", name="tocsin")
ANONYMOUS = Actor(type="anonymous", name="anonymous")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What it was done to."""

    type: str
    """``job``, ``jobs`` (a batch), ``execution``, ``key``, ``session``, ``secret``, ``signing`` or
    ``audit`` (the log itself)."""
    id: str | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One line of the log; it is never changed."""

    id: str
    """A UUIDv7, so that entries sort by time."""
    at: Millis
    actor: Actor
    action: str
    """The kind of subject and what was done to it: ``job.create``, ``key.revoke``."""
    subject: Subject
    namespace: str
    """Where the subject is; ``*`` for keys that hold everywhere."""
    address: str | None = None
    """Where the request came from."""
    before: Json = None
    """What was changed, secrets masked; ``None`` where there was nothing."""
    after: Json = None

    def counting(self, count: int) -> "AuditEntry":
        """The same, saying of how many things it tells that were there before."""
        before = self.before if isinstance(self.before, dict) else {}
        return replace(self, before={**before, "count": count})
