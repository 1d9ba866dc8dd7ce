"""The first admin's key: made at the first start on an empty database, and told once.

It is told on standard error, as Jupyter does it, and never by way of the log: log files and what
collects JSON lines keep what they get for years, and show it to many. Who asks for JSON on standard
error has such a collector there, so then no random key is made; ``TOCSIN_BOOTSTRAP_KEY`` gives one,
or ``tocsin keys create --database`` makes one by hand.
"""

import sys
from urllib.parse import urlsplit

import structlog

from tocsin.domain.key import secret_hash
from tocsin.logins import save_key
from tocsin.services.keys import KeyService
from tocsin.store.port import Store

log = structlog.stdlib.get_logger("tocsin")

STRONG = 32
"""Characters of a given key from which on nothing is said of its length."""


async def ensure_first_key(
    store: Store, keys: KeyService, *, given: str | None, url: str, tell: bool, save: bool
) -> None:
    """Make the first key where there never was any; raises a ``StoreError``.

    Without a ``given`` one a random one is told, or none is made where it may not be told.
    ``save``: also remember it for the command line of this user.
    """
    if given is None and not tell:
        if not await store.list_keys():
            log.warning(
                "first_key.none",
                remedy="set TOCSIN_BOOTSTRAP_KEY, or run: tocsin keys create --database URL",
            )
        return
    made = await keys.make_first(given)
    if made is None:
        if given is not None and await store.find_key(secret_hash(given)) is None:
            log.warning(
                "first_key.ignored",
                reason="the database has keys already, and this is none of them",
                remedy="use one of those, or run: tocsin keys create --database URL",
            )
        return
    log.info("first_key.made", name=made.key.name, prefix=made.key.prefix)
    if given is None:
        _tell(made.secret, _reachable(url), _save(made.secret, _reachable(url)) if save else None)
    elif len(given) < STRONG:
        log.warning("first_key.short", characters=len(given), remedy=f"take {STRONG} or more")


def _tell(secret: str, url: str, saved: str | None) -> None:
    lines = [
        "",
        "    This is the admin's key. It is shown this once:",
        "",
        f"        {secret}",
        "",
        f"    In a browser    {url}/sign-in#key={secret}",
        f"    In a shell      export TOCSIN_KEY={secret}",
    ]
    if saved is not None:
        lines.append(f"    For `tocsin`    saved in {saved}")
    sys.stderr.write("\n".join([*lines, "", ""]))
    sys.stderr.flush()


def _save(secret: str, url: str) -> str | None:
    try:
        return str(save_key(url, secret))
    except OSError as error:
        log.warning("login.not_saved", error=str(error))
        return None


def _reachable(url: str) -> str:
    """The address as this machine reaches it, where it listens on all of its own."""
    parts = urlsplit(url)
    if parts.hostname in {"0.0.0.0", "::"}:  # noqa: S104  # compared, not bound
        return f"{parts.scheme}://127.0.0.1:{parts.port}"
    return url
