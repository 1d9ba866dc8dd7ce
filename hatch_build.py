"""Puts the built web UI into the wheel and the source archive."""

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent


class BuildUi(BuildHookInterface):  # type: ignore[type-arg,misc]  # hatchling is untyped here
    """Builds the pages first, unless an archive brings them along or it is an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Run before the files are collected."""
        if version == "editable" or os.environ.get("TOCSIN_WITHOUT_UI") == "1":
            return
        built = ROOT / "src/tocsin/ui/static/index.html"
        if not (ROOT / "ui").is_dir():
            if not built.is_file():
                raise RuntimeError(
                    "neither the sources of the web UI nor its built pages are here; "
                    "TOCSIN_WITHOUT_UI=1 builds without them"
                )
            return
        sys.path.insert(0, str(ROOT / "tools"))
        import ui

        try:
            ui.build()
        except ui.Unable as error:
            raise RuntimeError(
                f"the web UI cannot be built: {error}; TOCSIN_WITHOUT_UI=1 builds without it"
            ) from error
