"""Keys that the command line remembers."""

import json
import stat
from pathlib import Path

import pytest

from tocsin.logins import forget_key, logins_file, save_key, saved_key


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def test_each_server_has_its_key() -> None:
    assert saved_key("http://a:1") is None
    save_key("http://a:1/", "one")
    save_key("HTTP://B:2", "two")
    assert saved_key("a:1") == "one"
    assert saved_key("http://b:2") == "two"
    save_key("http://a:1", "three")
    assert saved_key("http://A:1") == "three"
    assert saved_key("https://a:1") is None
    assert forget_key("http://a:1")
    assert not forget_key("http://a:1")
    assert saved_key("http://b:2") == "two"


def test_only_their_owner_reads_them(home: Path) -> None:
    path = save_key("http://a:1", "one")
    assert path == logins_file() == home / "config" / "tocsin" / "logins.json"
    path.chmod(0o644)
    save_key("http://a:1", "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["logins.json"]


@pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"http://a:1": 5}', "\xff"])
def test_a_damaged_file_counts_as_empty_and_is_replaced(content: str) -> None:
    path = save_key("http://b:1", "x")
    path.write_text(content, "latin-1")
    assert saved_key("http://a:1") is None
    save_key("http://a:1", "one")
    assert json.loads(path.read_text()) == {"http://a:1": "one"}
