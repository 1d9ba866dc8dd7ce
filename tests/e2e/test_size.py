"""What the first page makes a browser fetch, and what the wheel holds."""

import gzip
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, STATIC
from tests.support.process import Tocsin, clean_environment

FIRST_PAGE = 300_000
"""Bytes of JavaScript, compressed, that the overview may need."""


def scripts_of_the_first_page() -> set[str]:
    """What the entry imports, and what that imports: fetched before anything is shown."""
    manifest = json.loads((STATIC / "manifest.json").read_text())
    waiting = ["index.html"]
    found: set[str] = set()
    while waiting:
        chunk = manifest[waiting.pop()]
        if chunk["file"] not in found:
            found.add(chunk["file"])
            waiting += chunk.get("imports", [])
    return found


def test_the_first_page_is_small() -> None:
    scripts = scripts_of_the_first_page()
    size = sum(len(gzip.compress((STATIC / name).read_bytes(), 9)) for name in scripts)
    assert size < FIRST_PAGE, f"{size:,} bytes in {sorted(scripts)}"
    # The others are fetched when they are visited.
    manifest = json.loads((STATIC / "manifest.json").read_text())
    for page in ("Jobs", "Job", "Editor", "Timeline", "Executions", "Execution", "Cluster"):
        assert manifest[f"src/pages/{page}.tsx"]["file"] not in scripts


def test_no_file_of_the_pages_names_another_host() -> None:
    index = (STATIC / "index.html").read_text()
    assert re.findall(r'(?:src|href)="(?!/)', index) == []
    assert "<script>" not in index
    for sheet in (STATIC / "assets").glob("*.css"):
        assert re.findall(r"url\((?!/assets/|data:)[^)]*\)", sheet.read_text()) == []


def test_the_wheel_alone_serves_the_pages(tmp_path: Path) -> None:
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    environment = clean_environment()

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=200)

    run(uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "tocsin/ui/static/index.html" in names
    assert not [name for name in names if "node_modules" in name or name.endswith((".ts", ".tsx"))]

    run(uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "empty"))
    python = tmp_path / "empty/bin/python"
    run(uv, "pip", "install", "--quiet", "--python", str(python), str(wheel))

    class Installed(Tocsin):
        """The program of that environment."""

        def command(self) -> list[str]:
            return [str(tmp_path / "empty/bin/tocsin"), *super().command()[-7:]]

    node = Installed(tmp_path)
    assert node.command()[1] == "serve"
    node.start()
    try:
        index = node.client.get("/")
        assert '<div id="root">' in index.text
        (script,) = re.findall(r'href="(/assets/first-[^"]+\.js)"', index.text)
        answer = node.client.get(script)
        assert answer.headers["content-encoding"] == "gzip"
        assert len(answer.content) > 100_000
    finally:
        node.close()


@pytest.mark.parametrize("name", ["package-lock.json", ".npmrc"])
def test_no_registry_is_named(name: str) -> None:
    assert re.findall(r"https?://[^\"]*registry[^\"]*", (ROOT / "ui" / name).read_text()) == []
