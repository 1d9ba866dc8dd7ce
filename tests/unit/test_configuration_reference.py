"""docs/configuration.md is made from the settings."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tocsin.cli.catalogue import settings_catalogue

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "configuration_reference", ROOT / "tools" / "configuration_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_is_up_to_date(tool: ModuleType) -> None:
    assert tool.main(["--check"]) == 0, "run `make docs`"


def test_every_setting_has_its_line(tool: ModuleType) -> None:
    lines = tool.reference().splitlines()
    for setting in settings_catalogue():
        [line] = [one for one in lines if one.startswith(f"| `{setting.option}` |")]
        assert f"`{setting.variable}`" in line
        assert setting.default in line
        assert line.count("|") == 6


def test_a_document_that_is_out_of_date_is_noticed_and_mended(
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tool, "TARGET", tmp_path / "configuration.md")
    assert tool.main(["--check"]) == 1
    assert "run `make docs`" in capsys.readouterr().err
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0
