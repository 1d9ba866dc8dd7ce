"""What docs/security.md names is there."""

import re
from pathlib import Path

from tocsin.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_the_tests_that_show_it_exist() -> None:
    _, _, shown = PAGE.partition("## How it is shown")
    folder, found = "", []
    for name in re.findall(r"`([\w/*]*test_[\w*]+\.py)`", shown):
        # A name without a folder is in that of the one before it.
        folder, _, file = name.rpartition("/") if "/" in name else (folder, "", name)
        assert list((ROOT / folder).glob(file)), f"{folder}/{file}"
        found.append(file)
    assert len(found) > 20


def test_the_settings_that_it_names_exist() -> None:
    names = {name.lower() for name in re.findall(r"`?TOCSIN_([A-Z_]+)", PAGE)}
    assert names - {"key"} <= set(Settings.model_fields)
