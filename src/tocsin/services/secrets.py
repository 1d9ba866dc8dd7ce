"""What users can ask of secrets and signing keys: values go in, and never come out again."""

import base64
import binascii
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from tocsin.domain.audit import AuditEntry, Subject
from tocsin.domain.errors import CapacityExceeded, Conflict, InvalidInput, NotFound
from tocsin.domain.instant import DAY, Millis
from tocsin.domain.placeholder import is_secret_name
from tocsin.domain.secrets import SIGNING, SIGNING_PREFIX
from tocsin.services.checking import check
from tocsin.services.durations import require_duration
from tocsin.services.scope import Scoped
from tocsin.services.sealing import Sealer
from tocsin.services.shapes import ROTATION, ROTATION_FIELDS, SECRET, SECRET_FIELDS
from tocsin.services.vault import Vault, sealed_under
from tocsin.store.port import Store, StoredSecret

MAX_SECRETS = 1_000
"""Secrets of a namespace, at most."""

MAX_VALUE = 65_536
"""Bytes of a value, at most."""

MAX_OVERLAP: Millis = 30 * DAY
DEFAULT_OVERLAP: Millis = DAY

SIGNING_BYTES = 32

TRIES = 10
"""How often a change is tried anew because others changed the same secret."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretView:
    """A secret as people see it: not its value."""

    name: str
    version: int
    created_at: Millis
    updated_at: Millis
    previous_until: Millis | None
    """Until when the value before this one still signs; ``None`` where it does not."""
    used_by: int
    """How many jobs use it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningView:
    """The signing key of a namespace as people see it."""

    version: int
    created_at: Millis
    updated_at: Millis
    previous_until: Millis | None
    shown: bool
    """Whether its value was shown, which happens once."""


class SecretService(Scoped):
    """Sets, lists and deletes secrets, and the signing keys of namespaces."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        sealer: Sealer | None,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._new_id = new_id
        self._vault = vault
        self._sealer = sealer
        self._now = now

    async def list(self, namespace: str) -> Sequence[SecretView]:
        """All secrets of a namespace, by name."""
        uses = await self._store.secret_uses(namespace)
        return [
            self._view(stored, uses.get(stored.name, 0))
            for stored in await self._store.list_secrets()
            if stored.namespace == namespace and stored.name != SIGNING
        ]

    async def set(self, namespace: str, name: str, data: object) -> tuple[SecretView, bool]:
        """Set a secret (``SecretIn``); also whether it is new.

        With an overlap its present value goes on signing for so long. Raises ``InvalidInput``,
        ``Conflict`` (``no_master_key``) and ``CapacityExceeded``.
        """
        _check_name(name)
        given = check(SECRET, data, SECRET_FIELDS)
        text = _check_value(given["value"])
        lasting = _overlap(given.get("overlap"), 0)
        sealer = self._require_key()

        async def change(stored: StoredSecret | None) -> StoredSecret:
            if stored is None:
                await self._require_room(namespace)
            return self._next(sealer, namespace, name, text, before=stored, overlap=lasting)

        before, after = await self._change(namespace, name, change, "secret.set")
        uses = await self._store.secret_uses(namespace)
        return self._view(after, uses.get(name, 0)), before is None

    async def delete(self, namespace: str, name: str, *, force: bool = False) -> None:
        """Delete a secret.

        Raises ``NotFound``, and ``Conflict`` (``secret_in_use``) where jobs use it, unless
        ``force``: their calls then fail.
        """
        if not is_secret_name(name) or await self._find(namespace, name) is None:
            raise _no_secret(name)
        if not force:
            uses = (await self._store.secret_uses(namespace)).get(name, 0)
            if uses:
                jobs = "1 job uses" if uses == 1 else f"{uses:,} jobs use"
                raise Conflict(
                    f"{jobs} the secret {name}; change them first, or delete it with force=true",
                    code="secret_in_use",
                )
        audit = [self._entry("secret.delete", namespace, name)]
        if not await self._store.delete_secret(namespace, name, audit=audit):
            raise _no_secret(name)
        await self._vault.refresh()

    async def rekey(self) -> int:
        """Encrypt what is encrypted with an older master key with the first one; how many were.

        Raises ``Conflict`` (``no_master_key``; ``secret_unreadable`` where the key of one is not
        at hand: then the others are done).
        """
        sealer = self._require_key()
        await self._vault.refresh()
        done, lost = 0, []
        for stored in await self._store.list_secrets():
            if sealer.is_current(stored.sealed) and (
                stored.previous_sealed is None or sealer.is_current(stored.previous_sealed)
            ):
                continue
            opened = self._vault.get(stored.namespace, stored.name)
            if opened is None or opened.version != stored.version:
                lost.append(stored.name)
                continue
            name = sealed_under(stored.namespace, stored.name)
            again = replace(
                stored,
                version=stored.version + 1,
                sealed=sealer.seal(opened.value, name),
                previous_sealed=None
                if opened.previous is None
                else sealer.seal(opened.previous, name),
            )
            # Whoever changed it meanwhile has encrypted it with the new key.
            audit = [self._entry("secret.rekey", stored.namespace, stored.name)]
            done += await self._store.put_secret(again, if_version=stored.version, audit=audit)
        await self._vault.refresh()
        if lost:
            raise Conflict(
                f"{done} were encrypted anew, but {', '.join(lost[:10])} cannot be decrypted with "
                "the keys at hand; add the key that they were encrypted with",
                code="secret_unreadable",
            )
        return done

    # --- signing keys

    async def ensure_signing(self, namespace: str) -> None:
        """Make the signing key of a namespace where it has none; nothing without a master key."""
        if self._sealer is None:
            return
        await self._vault.refresh()
        if self._vault.has(namespace, SIGNING):
            return
        fresh = self._next(self._sealer, namespace, SIGNING, new_signing_value())
        await self._store.put_secret(fresh, if_version=None)
        await self._vault.refresh()

    async def signing(self, namespace: str) -> SigningView:
        """The signing key of a namespace, without its value; made where there is none."""
        return _signing_view(await self._signing_row(namespace), self._now())

    async def reveal_signing(self, namespace: str) -> tuple[SigningView, str]:
        """The signing key with its value, once.

        Raises ``Conflict`` (``already_shown``): then only a rotation gives one that is seen.
        """
        self._require_key()
        for _ in range(TRIES):
            stored = await self._signing_row(namespace)
            if stored.shown:
                raise Conflict(
                    "the signing key was shown already; `tocsin signing rotate` makes another one",
                    code="already_shown",
                )
            opened = self._vault.get(namespace, SIGNING)
            shown = replace(stored, shown=True, version=stored.version + 1)
            if opened is None:
                raise _unreadable()
            audit = [self._entry("signing.reveal", namespace, SIGNING)]
            if opened.version == stored.version and await self._store.put_secret(
                shown, if_version=stored.version, audit=audit
            ):
                await self._vault.refresh()
                return _signing_view(shown, self._now()), opened.value
            await self._vault.refresh()
        raise _contended(SIGNING)

    async def rotate_signing(self, namespace: str, data: object) -> tuple[SigningView, str]:
        """Make a new signing key (``RotationIn``); that before goes on signing for a while."""
        given = check(ROTATION, data, ROTATION_FIELDS)
        lasting = _overlap(given.get("overlap"), DEFAULT_OVERLAP)
        sealer = self._require_key()
        value = new_signing_value()

        async def change(stored: StoredSecret | None) -> StoredSecret:
            fresh = self._next(sealer, namespace, SIGNING, value, before=stored, overlap=lasting)
            return replace(fresh, shown=True)

        _, after = await self._change(namespace, SIGNING, change, "signing.rotate")
        return _signing_view(after, self._now()), value

    async def _signing_row(self, namespace: str) -> StoredSecret:
        self._require_key()
        await self.ensure_signing(namespace)
        found = await self._find(namespace, SIGNING)
        if found is None:
            raise _contended(SIGNING)
        return found

    # --- the rest

    async def _change(
        self,
        namespace: str,
        name: str,
        change: Callable[[StoredSecret | None], Awaitable[StoredSecret]],
        action: str,
    ) -> tuple[StoredSecret | None, StoredSecret]:
        for _ in range(TRIES):
            before = await self._find(namespace, name)
            after = await change(before)
            if await self._store.put_secret(
                after,
                if_version=None if before is None else before.version,
                audit=[self._entry(action, namespace, name)],
            ):
                await self._vault.refresh()
                return before, after
        raise _contended(name)

    def _entry(self, action: str, namespace: str, name: str) -> AuditEntry:
        """An entry of the audit log, which knows no value."""
        shown = "" if name == SIGNING else name
        return self._scope.entry(
            action,
            Subject(type=action.partition(".")[0], name=shown),
            at=self._now(),
            entry_id=self._new_id(),
            namespace=namespace,
        )

    def _next(
        self,
        sealer: Sealer,
        namespace: str,
        name: str,
        value: str,
        *,
        before: StoredSecret | None = None,
        overlap: Millis = 0,
    ) -> StoredSecret:
        now = self._now()
        keeps = before is not None and overlap > 0
        return StoredSecret(
            namespace=namespace,
            name=name,
            version=1 if before is None else before.version + 1,
            created_at=now if before is None else before.created_at,
            updated_at=now,
            sealed=sealer.seal(value, sealed_under(namespace, name)),
            previous_sealed=before.sealed if keeps and before is not None else None,
            previous_until=now + overlap if keeps else None,
        )

    async def _find(self, namespace: str, name: str) -> StoredSecret | None:
        for stored in await self._store.list_secrets():
            if (stored.namespace, stored.name) == (namespace, name):
                return stored
        return None

    async def _require_room(self, namespace: str) -> None:
        held = sum(one.namespace == namespace for one in await self._store.list_secrets())
        if held > MAX_SECRETS:
            raise CapacityExceeded(
                f"the namespace holds {MAX_SECRETS:,} secrets, which is the limit; delete one",
                limit="secrets",
            )

    def _require_key(self) -> Sealer:
        if self._sealer is None:
            raise Conflict(
                "this server has no master key, and so keeps no secrets; set TOCSIN_SECRET_KEY or "
                "TOCSIN_SECRET_KEY_FILE on every node",
                code="no_master_key",
            )
        return self._sealer

    def _view(self, stored: StoredSecret, used_by: int) -> SecretView:
        return SecretView(
            name=stored.name,
            version=stored.version,
            created_at=stored.created_at,
            updated_at=stored.updated_at,
            previous_until=_still(stored, self._now()),
            used_by=used_by,
        )


def new_signing_value() -> str:
    """A random signing key as Standard Webhooks writes them."""
    return SIGNING_PREFIX + base64.b64encode(os.urandom(SIGNING_BYTES)).decode()


def signing_key(value: str) -> bytes:
    """The bytes of a signing key; raises ``ValueError`` that does not show it."""
    try:
        if not value.startswith(SIGNING_PREFIX):
            raise ValueError
        key = base64.b64decode(value.removeprefix(SIGNING_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not 16 <= len(key) <= 256:
        raise ValueError("is not a signing key: whsec_ and 16 to 256 bytes in base64")
    return key


def _signing_view(stored: StoredSecret, now: Millis) -> SigningView:
    return SigningView(
        version=stored.version,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
        previous_until=_still(stored, now),
        shown=stored.shown,
    )


def _still(stored: StoredSecret, now: Millis) -> Millis | None:
    until = stored.previous_until
    return until if until is not None and until > now else None


def _check_name(name: str) -> None:
    if not is_secret_name(name):
        raise InvalidInput.of(
            "name", "is not a name: a letter, then up to 99 letters, digits, _ and -", "pattern"
        )


def _check_value(value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInput.of("value", "holds half of a surrogate pair", "invalid") from None
    if size > MAX_VALUE:
        raise InvalidInput.of("value", f"is larger than {MAX_VALUE:,} bytes", "too_long")
    if value.startswith(SIGNING_PREFIX):
        try:
            signing_key(value)
        except ValueError as error:
            raise InvalidInput.of("value", str(error), "invalid") from None
    return value


def _overlap(value: object, default: Millis) -> Millis:
    return default if value is None else require_duration(value, "overlap", 0, MAX_OVERLAP)


def _no_secret(name: str) -> NotFound:
    return NotFound(f"there is no secret {name[:100]!r}")


def _unreadable() -> Conflict:
    return Conflict(
        "it cannot be decrypted with the master keys at hand; add the key that it was encrypted "
        "with to TOCSIN_SECRET_KEY",
        code="secret_unreadable",
    )


def _contended(name: str) -> Conflict:
    return Conflict(
        f"the secret {name} is being changed by others all the time; try again", code="contended"
    )
