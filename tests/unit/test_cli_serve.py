"""``tocsin serve``, ``migrate`` and ``config``: what makes a node from options."""

import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tocsin.cli.catalogue import settings_catalogue
from tocsin.cli.main import run
from tocsin.domain.errors import InvalidInput, SchemaMismatch
from tocsin.settings import Settings

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in settings_catalogue():
        monkeypatch.delenv(setting.variable, raising=False)


class App:
    """What the command line needs of ``tocsin.app``."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []
        self.error: Exception | None = None
        self.exit_code = 0

    def run(self, settings: Settings) -> int:
        self.migrate(settings)
        return self.exit_code

    def migrate(self, settings: Settings) -> None:
        self.settings.append(settings)
        if self.error is not None:
            raise self.error

    check_migrations = migrate


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    made = App()
    module = ModuleType("tocsin.app")
    for name in ("run", "migrate", "check_migrations"):
        setattr(module, name, getattr(made, name))
    monkeypatch.setitem(sys.modules, "tocsin.app", module)
    monkeypatch.setattr("tocsin.app", module, raising=False)
    return made


def test_every_setting_is_an_option(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    assert run(["serve", "--help"]) == 0
    shown = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    for setting in settings_catalogue():
        assert f" {setting.option} " in shown
        assert setting.variable in shown
        assert f"─ {setting.group} ─" in shown
    assert "default 8080 · 0 to 65535 · TOCSIN_PORT" in shown


def test_options_make_the_settings(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", "9000")
    monkeypatch.setenv("TOCSIN_EXCERPT", "10")
    args = ["--port", "0", "--demo", "--lease-ttl", "10s", "--log-file", "x.log"]
    assert run(["serve", *args]) == 0
    [settings] = app.settings
    assert settings.port == 0
    assert settings.demo is True
    assert settings.lease_ttl == 10_000
    assert settings.log_file == "x.log"
    assert settings.excerpt == 10
    assert settings.max_held == 20_000


def test_a_switch_can_be_turned_off_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_DEMO", "true")
    assert run(["serve"]) == 0
    assert run(["serve", "--no-demo"]) == 0
    assert [settings.demo for settings in app.settings] == [True, False]


def test_the_exit_code_of_the_node_is_that_of_the_command(app: App) -> None:
    app.exit_code = 7
    assert run(["serve"]) == 7


def test_refused_settings_are_named(app: App, capsys: Captured) -> None:
    assert run(["serve", "--port", "x", "--log-level", "loud"]) == 2
    assert capsys.readouterr().err == (
        "Error: 2 settings are not valid\n"
        "  --port 'x': must be a whole number, 0 to 65535\n"
        "  --log-level 'loud': must be one of debug, info, warning, error\n"
        "'tocsin serve --help' shows every setting with its range.\n"
    )
    assert app.settings == []


def test_a_setting_that_proves_unusable_is_named_too(app: App, capsys: Captured) -> None:
    app.error = InvalidInput.of("log_file", "cannot open /x: Permission denied")
    assert run(["serve"]) == 2
    assert "--log-file: cannot open /x: Permission denied" in capsys.readouterr().err


def test_a_misspelt_variable_is_reported(
    app: App, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_DATABSE", "x")
    assert run(["serve"]) == 0
    assert "did you mean TOCSIN_DATABASE?" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["migrate"], ["migrate", "--check"]])
def test_migrate(app: App, args: list[str], capsys: Captured) -> None:
    assert run([*args, "--database", "sqlite:///other.db"]) == 0
    assert app.settings[0].database == "sqlite:///other.db"
    assert capsys.readouterr().out == "the database is up to date\n"
    app.error = SchemaMismatch("the tables are older than this program; run `tocsin migrate`")
    assert run(args) == 1
    assert "the tables are older" in capsys.readouterr().err


def config(capsys: Captured, *args: str) -> dict[str, Any]:
    assert run(["config", "show", "--json", *args]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {line["name"]: line for line in lines}


def test_config_shows_every_setting_with_its_source(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_LEASE_TTL", "10000ms")
    monkeypatch.setenv("TOCSIN_BOOTSTRAP_KEY", "geheimnis")
    monkeypatch.setenv("TOCSIN_DATABASE", "postgresql://user:pw@host/db")
    shown = config(capsys)
    assert list(shown) == list(Settings.model_fields)
    assert shown["lease_ttl"] == {
        "name": "lease_ttl",
        "value": "10s",
        "source": "TOCSIN_LEASE_TTL",
    }
    assert shown["port"]["source"] == "default"
    assert shown["bootstrap_key"]["value"] == "********"
    assert shown["database"]["value"] == "postgresql://user:********@host/db"
    assert list(config(capsys, "--changed")) == ["database", "bootstrap_key", "lease_ttl"]


def test_config_for_people(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", "9000")
    monkeypatch.setenv("TOCSIN_PROT", "9000")
    assert run(["config", "show"]) == 0
    captured = capsys.readouterr()
    assert re.search(r"^Server$", captured.out, re.MULTILINE)
    assert re.search(r"^port +9000 +TOCSIN_PORT$", captured.out, re.MULTILINE)
    assert re.search(r"^excerpt +4096 \(4 KiB\) +default$", captured.out, re.MULTILINE)
    assert "TOCSIN_PROT is not known" in captured.err
