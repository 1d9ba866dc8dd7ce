"""Keys that the command line remembers, one per server, in a file that only its owner can read.

``$XDG_CONFIG_HOME/tocsin/logins.json``, by default below ``~/.config`` (on Windows below
``%APPDATA%``): an object of addresses, each with its key.
"""

import json
import os
import stat
import sys
import tempfile
from pathlib import Path

_PRIVATE = stat.S_IRUSR | stat.S_IWUSR


def logins_file() -> Path:
    """Where they are kept."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "tocsin" / "logins.json"


def saved_key(server: str) -> str | None:
    """The key for a server; ``None`` without one, and where the file cannot be read."""
    return _read().get(_address(server))


def save_key(server: str, key: str) -> Path:
    """Remember a key for a server instead of the one before; raises ``OSError``."""
    return _write(_read() | {_address(server): key})


def forget_key(server: str) -> bool:
    """Forget the key for a server; whether there was one. Raises ``OSError``."""
    logins = _read()
    if logins.pop(_address(server), None) is None:
        return False
    _write(logins)
    return True


def _address(server: str) -> str:
    address = server.strip().rstrip("/").lower()
    return address if "://" in address else f"http://{address}"


def _read() -> dict[str, str]:
    try:
        found = json.loads(logins_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: key for name, key in found.items() if isinstance(key, str)}


def _write(logins: dict[str, str]) -> Path:
    path = logins_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Made with its final mode and moved into place: at no time can others read it.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".logins-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(logins, file, indent=1, sort_keys=True)
        Path(temporary).chmod(_PRIVATE)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
