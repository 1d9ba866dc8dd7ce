"""Make the types of the web UI's client from the API: ``ui/src/api/schema.ts``.

With ``--check`` nothing is written: it fails where the file is not what would be made.
"""

import json
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import ui
from tocsin.api.app import create_api

SCHEMA = ui.UI / "src/api/schema.ts"


def document() -> str:
    """The OpenAPI document, without starting anything."""
    # Routes close over their collaborators, and call none of them before the first request.
    api = create_api(Mock(version="0", ui=None, demo=True))
    return json.dumps(api.openapi())


def main() -> int:
    """Write the file, or compare it."""
    check = "--check" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        described, made = Path(folder, "openapi.json"), Path(folder, "schema.ts")
        described.write_text(document())
        try:
            ui.npm("run", "--silent", "client", "--", str(described), "--output", str(made))
        except ui.Unable as error:
            print(error, file=sys.stderr)
            return 1
        if not check:
            SCHEMA.write_text(made.read_text())
        elif SCHEMA.read_text() != made.read_text():
            print(f"{SCHEMA.name} is not up to date with the API: run `make client`")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
