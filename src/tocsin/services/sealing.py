"""Encryption of what is kept secret: AES-256-GCM, with keys that can be changed."""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12
_FORM = "v1"


class CannotOpen(Exception):
    """What was sealed cannot be opened with the keys at hand, or not under this name."""


class Sealer:
    """Encrypts with the first of its keys, decrypts with any.

    Each value is bound to the name that it is sealed under, so that one cannot be put in the
    place of another. Sealed texts look like ``v1.KEY.DATA``: a fingerprint of the key, and nonce
    and ciphertext in base64.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_fingerprint(key): AESGCM(key) for key in keys}
        self._first = _fingerprint(keys[0])

    def seal(self, text: str, name: str) -> str:
        """Encrypt a text under a name."""
        nonce = os.urandom(_NONCE_BYTES)
        data = self._ciphers[self._first].encrypt(nonce, text.encode(), name.encode())
        return f"{_FORM}.{self._first}.{base64.b64encode(nonce + data).decode()}"

    def open(self, sealed: str, name: str) -> str:
        """Decrypt what was sealed under this name; raises ``CannotOpen``."""
        form, _, rest = sealed.partition(".")
        fingerprint, _, text = rest.partition(".")
        cipher = self._ciphers.get(fingerprint)
        if form != _FORM or cipher is None:
            raise CannotOpen(f"no master key with the fingerprint {fingerprint[:16]!r} is at hand")
        try:
            data = base64.b64decode(text, validate=True)
            opened = cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], name.encode())
            return opened.decode()
        except (InvalidTag, ValueError, binascii.Error):
            raise CannotOpen("it was changed, or belongs to another name") from None

    def is_current(self, sealed: str) -> bool:
        """Whether it was sealed with the first key."""
        return sealed.startswith(f"{_FORM}.{self._first}.")


def read_key(text: str) -> bytes:
    """A key of 32 bytes in base64 or hexadecimal; raises ``ValueError`` that does not show it."""
    word = text.strip()
    try:
        if len(word) == 2 * KEY_BYTES:
            return bytes.fromhex(word)
        key = base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(
            "is not 32 bytes in base64 or hexadecimal; `openssl rand -base64 32` makes a key"
        )
    return key


def read_keys(text: str) -> tuple[bytes, ...]:
    """Keys that are separated by commas or lines; lines that begin with # are left out."""
    words = [
        word
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
        for word in line.split(",")
        if word.strip()
    ]
    return tuple(map(read_key, words))


def new_key() -> str:
    """A random key in base64."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _fingerprint(key: bytes) -> str:
    return hashlib.blake2b(key, digest_size=4, person=b"tocsin-key").hexdigest()
