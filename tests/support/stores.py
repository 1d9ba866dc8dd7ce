"""Every store there is, by name, empty and open."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.support.memory_store import MemoryStore
from tocsin.store.port import Store

STORES = ("memory", "sqlite")


def make_store(kind: str, directory: Path, *, inline: bool = False) -> Store:
    """A new store, not open yet, whose files (if any) are in a directory of its own.

    ``inline`` runs everything in the calling thread, where the store has a choice.
    """
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite":
        from tocsin.store.sqlite import Inline, SqliteStore

        if inline:
            return SqliteStore(":memory:", runner=Inline())
        path = directory / "tocsin.db"
        shutil.copyfile(_migrated(), path)
        return SqliteStore(str(path))
    raise AssertionError(f"no such store: {kind}")


@cache
def _migrated() -> Path:
    """An empty database, migrated once: to migrate each anew takes longer than most tests."""
    from tocsin.store.sqlite import migrate

    path = Path(tempfile.mkdtemp(prefix="tocsin-test-")) / "empty.db"
    migrate(str(path))
    return path
