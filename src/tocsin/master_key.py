"""The keys that secrets are encrypted with: of the settings, or of a file beside the database."""

import os
from pathlib import Path

import structlog

from tocsin import databases
from tocsin.domain.errors import InvalidInput, StoreError
from tocsin.services.sealing import Sealer, new_key, read_keys

log = structlog.stdlib.get_logger("tocsin.secrets")

_HEAD = (
    "# The key that the secrets in the Tocsin database of this name are encrypted with.\n"
    "# Without it they are lost: keep a copy, elsewhere than the copies of the database.\n"
)


def make_sealer(*, key: str | None, key_file: str | None, database: str) -> Sealer | None:
    """The sealer of this process; ``None`` where there is no key, and so no secrets.

    An embedded database without either gets a key file beside it, made at the first start. Raises
    ``InvalidInput`` (fields ``secret_key``, ``secret_key_file``), and ``StoreError`` where the
    file beside the database cannot be used.
    """
    if key is not None and key_file is not None:
        raise InvalidInput.of(
            "secret_key_file", "does not go with secret_key; give one of them", "conflict"
        )
    if key is not None:
        return _sealer(key, "secret_key")
    if key_file is not None:
        try:
            text = Path(key_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise InvalidInput.of(
                "secret_key_file", f"cannot read {key_file}: {why}", "unusable"
            ) from error
        return _sealer(text, "secret_key_file")
    path = databases.file_of(database)
    if path is None:
        log.warning(
            "secrets.no_key",
            remedy="set TOCSIN_SECRET_KEY to the same on every node (`openssl rand -base64 32`); "
            "until then there are no secrets and calls are not signed",
        )
        return None
    return _beside(Path(f"{path}.key"))


def _sealer(text: str, field: str) -> Sealer:
    try:
        keys = read_keys(text)
    except ValueError as error:
        raise InvalidInput.of(field, str(error), "invalid") from None
    if not keys:
        raise InvalidInput.of(field, "holds no key", "invalid")
    return Sealer(keys)


def _beside(path: Path) -> Sealer:
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            log.warning("secrets.key_is_readable", file=str(path), remedy=f"chmod 600 {path}")
        return Sealer(read_keys(path.read_text("utf-8")))
    except (OSError, ValueError, IndexError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no key"
        raise StoreError(
            f"the file with the key of the secrets, {path}, cannot be used: {why}; restore it, or "
            "set TOCSIN_SECRET_KEY"
        ) from error


def _make(path: Path) -> None:
    """Make the file whole or not at all; of several processes that do so at once, one wins."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{_HEAD}{new_key()}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        log.info("secrets.key_made", file=str(path))
    finally:
        draft.unlink(missing_ok=True)
