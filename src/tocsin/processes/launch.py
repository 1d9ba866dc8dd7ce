"""How a child is started: a fresh interpreter with the settings in its environment.

So ``ps`` shows what it is, no option (which may hold a password) shows twice, and neither threads
nor locks nor memory of the supervisor are taken along.
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

_PREFIX = "TOCSIN_"


def child_command(settings: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of a process with these settings, by field name.

    Those that are ``None`` are left to their defaults. No other setting reaches it.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(_PREFIX)
    }
    for name, value in settings.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            environment[_PREFIX + name.upper()] = text
    command = [sys.executable, "-m", "tocsin", "serve", "--node-name", str(settings["node_name"])]
    return command, environment
