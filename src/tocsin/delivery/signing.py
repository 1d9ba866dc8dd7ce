"""Signing calls as Standard Webhooks says (https://www.standardwebhooks.com)."""

import hashlib
from binascii import b2a_base64
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from tocsin.domain.instant import Millis
from tocsin.domain.secrets import SIGNING, SIGNING_PREFIX
from tocsin.services.secrets import signing_key
from tocsin.services.vault import Vault

HEADER = "webhook-signature"

_NEVER: Millis = 2**63


class Signer:
    """Signs with every key that counts now, so that receivers can change over in between."""

    __slots__ = ("_begun",)

    def __init__(self, values: Sequence[str]) -> None:
        """``values`` are written ``whsec_…``; raises ``ValueError`` for others."""
        self._begun = [begun_with(signing_key(value)) for value in values]

    def sign(self, execution_id: str, timestamp: int, body: bytes) -> str:
        """The value of the header; ``timestamp`` is that of ``webhook-timestamp``, in seconds."""
        content = f"{execution_id}.{timestamp}.".encode() + body
        signatures = ""
        for begun in self._begun:
            signature = b2a_base64(code(begun, content), newline=False).decode()
            signatures = f"{signatures} v1,{signature}" if signatures else f"v1,{signature}"
        return signatures


Begun: TypeAlias = "tuple[hashlib._Hash, hashlib._Hash]"
"""The inner and the outer hash of an HMAC, with the key in them."""

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def begun_with(key: bytes) -> Begun:
    """Begin HMAC-SHA256 with a key (RFC 2104), which is half of the work, and the same for each.

    What ``hmac.new`` makes can be copied too, but its methods cost as much as the hashing.
    """
    block = hashlib.sha256().block_size
    if len(key) > block:
        key = hashlib.sha256(key).digest()
    key = key.ljust(block, b"\0")
    return hashlib.sha256(key.translate(_INNER)), hashlib.sha256(key.translate(_OUTER))


def code(begun: Begun, content: bytes) -> bytes:
    """The HMAC of some bytes."""
    inner, outer = begun[0].copy(), begun[1].copy()
    inner.update(content)
    outer.update(inner.digest())
    return outer.digest()


class CannotSign(Exception):
    """The secret that a job wants to be signed with is missing or no signing key."""


class _Known(NamedTuple):
    changes: int
    until: Millis
    signer: Signer | None


class Signers:
    """The signer of each secret, made again when the secret changes or its overlap ends."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known: dict[tuple[str, str | None], _Known] = {}

    def of(self, namespace: str, name: str | None, now: Millis) -> Signer | None:
        """The signer of a secret, with ``None`` that of the namespace.

        ``None`` where the namespace has no signing key (the server has no master key). Raises
        ``CannotSign`` where a secret that was named cannot be used.
        """
        known = self._known.get((namespace, name))
        if known is None or known.changes != self._vault.changes or now >= known.until:
            known = self._known[namespace, name] = self._look(namespace, name, now)
        if known.signer is None and name is not None:
            raise CannotSign(
                f"the secret {name}, which the job's calls are signed with, is missing or is not a "
                "signing key (whsec_…)"
            )
        return known.signer

    def _look(self, namespace: str, name: str | None, now: Millis) -> _Known:
        opened = self._vault.get(namespace, SIGNING if name is None else name)
        changes = self._vault.changes
        if opened is None:
            return _Known(changes, _NEVER, None)
        overlaps = opened.previous is not None and now < opened.previous_until
        values = [opened.value]
        if overlaps and opened.previous is not None and opened.previous.startswith(SIGNING_PREFIX):
            values.append(opened.previous)
        try:
            signer = Signer(values)
        except ValueError:
            return _Known(changes, _NEVER, None)
        return _Known(changes, opened.previous_until if overlaps else _NEVER, signer)
