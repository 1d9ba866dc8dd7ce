"""Random secrets: of keys and of sessions."""

import secrets
import string

PREFIX = "tcs"
"""How keys begin, so that people and scanners of leaked secrets know them when they see one."""

_LETTERS = string.ascii_letters + string.digits
_LOWER = string.ascii_lowercase + string.digits


def new_key_secret(prefix: str | None = None) -> tuple[str, str]:
    """A new ``tcs_<prefix>_<secret>`` and its prefix: 43 letters and digits hold 256 bits."""
    prefix = prefix or "".join(secrets.choice(_LOWER) for _ in range(8))
    secret = "".join(secrets.choice(_LETTERS) for _ in range(43))
    return f"{PREFIX}_{prefix}_{secret}", prefix


def new_token() -> str:
    """The token of a session: 256 bits."""
    return secrets.token_urlsafe(32)
