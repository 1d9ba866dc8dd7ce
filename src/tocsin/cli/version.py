"""``tocsin version``."""

import json
import platform
import sqlite3
from importlib.metadata import version as installed_version

from tocsin.cli.parameters import AsJson


def version(as_json: AsJson = False) -> None:
    """Show the version of Tocsin and of what it runs on."""
    print_version(as_json=as_json)


def print_version(*, as_json: bool) -> None:
    """Print it."""
    facts = {
        "tocsin": installed_version("tocsin"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    if as_json:
        print(json.dumps(facts))
    else:
        print(f"tocsin {facts['tocsin']} (Python {facts['python']}, SQLite {facts['sqlite']})")
