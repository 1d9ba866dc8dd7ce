"""What admins can ask of keys. A key is only managed by who could do whatever it can."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tocsin.domain.access import EVERYWHERE, UNLIMITED
from tocsin.domain.audit import AuditEntry, Subject
from tocsin.domain.errors import (
    CapacityExceeded,
    Conflict,
    FieldProblem,
    Forbidden,
    InvalidInput,
    NotFound,
)
from tocsin.domain.instant import DAY, Millis, format_instant
from tocsin.domain.job import Json
from tocsin.domain.key import ApiKey, KeyOrigin, KeyStatus, Rate, secret_hash
from tocsin.services.checking import check
from tocsin.services.durations import read_duration
from tocsin.services.ids import looks_like_uuid
from tocsin.services.key_reading import check_name, read_key
from tocsin.services.key_shapes import ROTATE, ROTATE_FIELDS
from tocsin.services.random_secrets import new_key_secret
from tocsin.services.scope import Scoped
from tocsin.store.port import Store

MAX_KEYS = 10_000
"""Keys of all namespaces together that work: they are listed as a whole."""

MAX_ENDED = 10_000
"""Keys that have ended and are listed all the same; beyond that the oldest are deleted."""

DEFAULT_OVERLAP: Millis = DAY
MAX_OVERLAP: Millis = 90 * DAY

FIRST_NAME = "first-admin"

TRIES = 5
"""How often a change is made anew because somebody else changed the key meanwhile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revealed:
    """A key with its secret, which nobody can be shown again."""

    key: ApiKey
    secret: str


class KeyService(Scoped):
    """Makes, finds, rotates and revokes keys.

    ``forget`` is told of each key that changed, so that this node acts on it at once. ``rate`` is
    the limit of keys that have none of their own; ``None``: they are not limited.
    """

    def __init__(
        self,
        *,
        store: Store,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
        forget: Callable[[], None] = lambda: None,
        rate: Rate | None = None,
    ) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id
        self._forget = forget
        self._rate = rate

    async def create(self, data: object) -> Revealed:
        """Make a key; raises ``InvalidInput``, ``Forbidden`` and ``CapacityExceeded``."""
        now = self._now()
        key, secret = read_key(
            data,
            now,
            new_id=self._new_id,
            namespace=self._scope.namespace,
            maker=self._scope.actor.name,
        )
        if not self._scope.grant.covers(key.grant):
            raise Forbidden("a key cannot grant more than it has: role, namespace, tags or actions")
        key = self._inherited(key)
        self._require_within(key, "the new key")
        count = await self._store.count_keys(now)
        if count.working >= MAX_KEYS:
            raise CapacityExceeded(
                f"there are {MAX_KEYS:,} keys that work, which is the limit; revoke some",
                limit="keys",
            )
        if count.ended > MAX_ENDED:
            await self._store.delete_ended_keys(now, keep=MAX_ENDED)
        await self._store.add_key(key, audit=[self._entry("key.create", key, now, after=True)])
        return Revealed(key=key, secret=secret)

    async def list(self) -> Sequence[ApiKey]:
        """The keys of the namespaces that whoever asks can reach, by creation."""
        grant = self._scope.grant
        return await self._store.list_keys(None if grant.everywhere else grant.namespace)

    async def get(self, ref: str) -> ApiKey:
        """One key by id; raises ``NotFound``."""
        key = await self._store.get_key(ref.lower()) if looks_like_uuid(ref) else None
        if key is None or not self._scope.grant.reaches(key.grant.namespace):
            raise NotFound(f"there is no key {ref[:100]!r}")
        return key

    async def rotate(self, ref: str, data: object) -> Revealed:
        """Give a key a new secret; the old one goes on working for the overlap.

        Raises ``NotFound``, ``Forbidden``, ``InvalidInput`` and, where it does not work any more,
        ``Conflict``.
        """
        problems: list[FieldProblem] = []
        given = check(ROTATE, data, ROTATE_FIELDS).get("overlap")
        overlap = (
            DEFAULT_OVERLAP
            if given is None
            else read_duration(given, "overlap", 0, MAX_OVERLAP, problems)
        )
        if overlap is None:
            raise InvalidInput(problems)
        for _ in range(TRIES):
            old, now = await self._managed(ref), self._now()
            # Whoever rotates a key is told its secret, and so has it.
            self._require_within(old, f"the key {old.name!r}")
            if old.status(now) is not KeyStatus.ACTIVE:
                raise Conflict(
                    f"the key {old.name!r} is {old.status(now).value}; make a new one",
                    code="wrong_status",
                )
            secret, prefix = new_key_secret()
            key = replace(
                old,
                prefix=prefix,
                hash=secret_hash(secret),
                old_hash=old.hash if overlap else None,
                old_until=now + overlap if overlap else None,
            )
            entry = self._entry("key.rotate", key, now, before=old, after=True)
            if await self._store.replace_key(key, if_hash=old.hash, audit=[entry]):
                self._forget()
                return Revealed(key=key, secret=secret)
        raise _contended(ref)

    async def revoke(self, ref: str) -> None:
        """End a key for good; to repeat it does no harm.

        Raises ``NotFound``, ``Forbidden``, and ``Conflict`` (``last_admin``) where nobody would be
        left who can make keys.
        """
        for _ in range(TRIES):
            old, now = await self._managed(ref), self._now()
            if old.revoked_at is not None:
                return
            needed = old.grant == UNLIMITED and old.status(now) is KeyStatus.ACTIVE
            if needed:
                await self._require_another(old)
            key = replace(old, revoked_at=now, old_hash=None, old_until=None)
            entry = self._entry("key.revoke", key, now, before=old, after=True)
            # Two that revoke each other's have both seen the other one a moment ago.
            if await self._store.replace_key(
                key, if_hash=old.hash, if_another=needed, audit=[entry]
            ):
                self._forget()
                return
        raise _contended(ref)

    async def make_first(self, given: str | None) -> Revealed | None:
        """Make the first admin's key, with a given secret or a random one.

        ``None`` where there was a key at any time.
        """
        now = self._now()
        if given is None:
            secret, prefix = new_key_secret()
        else:
            # What people choose is not to be shown, not even a part of it.
            secret, prefix = given, secret_hash(given)[:8]
        key = self._unlimited(FIRST_NAME, KeyOrigin.FIRST, secret, prefix, now)
        entry = self._entry("key.create", key, now, after=True)
        made = await self._store.add_key(key, audit=[entry])
        return Revealed(key=key, secret=secret) if made else None

    async def recover(self, name: str) -> Revealed:
        """Make an admin's key without one, for who can write to the database anyway."""
        problems: list[FieldProblem] = []
        check_name(name, problems)
        if problems:
            raise InvalidInput(problems)
        now = self._now()
        secret, prefix = new_key_secret()
        key = self._unlimited(name, KeyOrigin.RECOVERY, secret, prefix, now)
        await self._store.add_key(key, audit=[self._entry("key.recover", key, now, after=True)])
        return Revealed(key=key, secret=secret)

    async def _managed(self, ref: str) -> ApiKey:
        key = await self.get(ref)
        if not self._scope.grant.covers(key.grant):
            raise Forbidden(
                f"the key {key.name!r} may do more than this one, which cannot change it"
            )
        return key

    def _inherited(self, key: ApiKey) -> ApiKey:
        """A new key, with what its maker is limited by where nothing is said of it."""
        maker = self._scope.key
        if maker is None:
            return key
        return replace(
            key,
            expires_at=maker.expires_at if key.expires_at is None else key.expires_at,
            rate_limit=maker.rate_limit if key.rate_limit is None else key.rate_limit,
        )

    def _require_within(self, key: ApiKey, what: str) -> None:
        """Raise ``Forbidden`` where a key works longer or more often than that of who asks."""
        own = self._scope.key
        if own is None or own.id == key.id:
            return
        if key.outlives(own):
            raise Forbidden(
                f"{what} would work longer than the one of the request, which expires at "
                f"{_instant(own.expires_at)}"
            )
        # Whoever may do everything decides how often others may, unless they are limited too.
        if own.grant == UNLIMITED and own.rate_limit is None:
            return
        limit, wanted = self._rate_of(own), self._rate_of(key)
        if limit is not None and (wanted is None or not limit.covers(wanted)):
            raise Forbidden(
                f"{what} would have a higher limit than the one of the request, which is "
                f"{limit.amount:,} writes in {limit.seconds:,} s"
            )

    def _rate_of(self, key: ApiKey) -> Rate | None:
        return self._rate if key.rate_limit is None else Rate.read(key.rate_limit)

    async def _require_another(self, but: ApiKey) -> None:
        for key in await self._store.list_keys(EVERYWHERE):
            if key.lasting and key.id != but.id:
                return
        raise Conflict(
            "this is the last key of an admin of all namespaces; make another one first",
            code="last_admin",
        )

    def _unlimited(
        self, name: str, origin: KeyOrigin, secret: str, prefix: str, now: Millis
    ) -> ApiKey:
        return ApiKey(
            id=self._new_id(),
            name=name,
            prefix=prefix,
            hash=secret_hash(secret),
            grant=UNLIMITED,
            created_at=now,
            created_by=self._scope.actor.name,
            origin=origin,
        )

    def _entry(
        self,
        action: str,
        key: ApiKey,
        now: Millis,
        *,
        before: ApiKey | None = None,
        after: bool = False,
    ) -> AuditEntry:
        return self._scope.entry(
            action,
            Subject(type="key", id=key.id, name=key.name),
            at=now,
            entry_id=self._new_id(),
            namespace=key.grant.namespace,
            before=None if before is None else _facts(before, now),
            after=_facts(key, now) if after else None,
        )


def _facts(key: ApiKey, now: Millis) -> dict[str, Json]:
    """What the audit log tells of a key: nothing that helps to guess it."""
    grant = key.grant
    return {
        "prefix": key.prefix,
        "role": grant.role.value,
        "namespace": grant.namespace,
        "tags": None if grant.tags is None else [*sorted(grant.tags)],
        "actions": None if grant.actions is None else [*sorted(grant.actions)],
        "rate_limit": key.rate_limit,
        "status": key.status(now).value,
        "expires_at": _instant(key.expires_at),
        "old_secret_until": _instant(key.old_until),
    }


def _instant(at: Millis | None) -> str | None:
    return None if at is None else format_instant(at)


def _contended(ref: str) -> Conflict:
    return Conflict(
        f"the key {ref[:100]!r} is being changed by others; try again", code="contended"
    )
