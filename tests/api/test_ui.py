"""The pages: served at the root, nothing from elsewhere, and an answer where there are none."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.harness import Api, make_api
from tests.support.memory_store import MemoryStore
from tocsin.api.routes.ui import PAGES

INDEX = '<meta name="tocsin-version" content="" /><meta name="tocsin-features" content="" />'


@pytest.fixture
async def built(tmp_path: Path) -> AsyncIterator[Api]:
    """An API with pages."""
    assets = tmp_path / "assets"
    assets.mkdir()
    (tmp_path / "index.html").write_text(INDEX)
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("no")
    (assets / "index-abc.js").write_text("let a = 1")
    (assets / "index-abc.js.gz").write_bytes(gzip.compress(b"let a = 1"))
    api = make_api(MemoryStore(), ui=tmp_path)
    async with api.client:
        yield api


@pytest.mark.parametrize("path", ["/", *(f"/{page}" for page in PAGES), "/jobs/a.b/edit?tab=x&y=z"])
async def test_every_page_is_the_one_page(built: Api, path: str) -> None:
    answer = await built.ask("GET", path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    # What the page needs to know before its first request.
    assert 'name="tocsin-version" content="0.0.test"' in answer.text
    assert 'name="tocsin-features" content="' in answer.text
    # A new version is seen at the next load.
    assert answer.headers["cache-control"] == "no-cache"


async def test_scripts_and_data_come_from_here_alone(built: Api) -> None:
    policy = (await built.ask("GET", "/")).headers["content-security-policy"]
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == rules["font-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert "http" not in policy
    assert "unsafe-eval" not in policy


async def test_files_are_kept_for_good_and_sent_compressed(built: Api) -> None:
    path = "/assets/index-abc.js"
    plain = await built.ask("GET", path, headers={"Accept-Encoding": "identity"})
    assert (plain.text, plain.headers.get("content-encoding")) == ("let a = 1", None)
    zipped = await built.ask("GET", path, headers={"Accept-Encoding": "gzip, br"})
    assert (zipped.text, zipped.headers["content-encoding"]) == ("let a = 1", "gzip")
    for answer in (plain, zipped):
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/other.js",
        "/assets/index-abc.js.gz",
        "/assets/..%2fsecret.txt",
        "/assets/%2e%2e/secret.txt",
        "/secret.txt",
        "/early.js",
        "/nothing",
    ],
)
async def test_nothing_else_is_served(built: Api, path: str) -> None:
    await built.ask("GET", path, status=404)


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("path", ["/joobs", "/index.html", "/no/such/page?x=y", "/%00", "/Jobs"])
async def test_a_mistyped_address_is_the_page_that_says_so_to_a_browser(
    built: Api, path: str
) -> None:
    answer = await built.client.get(path, headers={"Accept": BROWSER})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert 'name="tocsin-version" content="0.0.test"' in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "Accept" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("method", "path", "accept"),
    [
        ("GET", "/joobs", "*/*"),
        ("GET", "/joobs", "application/json"),
        ("GET", "/joobs", "application/json, text/html;q=0"),
        ("GET", "/joobs", "application/json, text/html;q=0.5"),
        ("POST", "/joobs", BROWSER),
        ("GET", "/api/v1/joobs", BROWSER),
        ("GET", "/api", BROWSER),
        ("GET", "/assets/gone-abc.js", BROWSER),
        ("GET", "/early.js", BROWSER),
    ],
)
async def test_programs_are_told_of_a_mistyped_address_in_problem_details(
    built: Api, method: str, path: str, accept: str
) -> None:
    answer = await built.ask(method, path, status=404, headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


async def test_a_method_that_a_resource_does_not_know_is_no_page(built: Api) -> None:
    answer = await built.ask("GET", "/api/v1/jobs:batch", status=405, headers={"Accept": BROWSER})
    assert answer.json()["code"] == "method_not_allowed"


async def test_where_they_were_not_built_the_page_says_how() -> None:
    for folder in (None, Path("/nowhere")):
        api = make_api(MemoryStore(), ui=folder)
        async with api.client:
            answer = await api.ask("GET", "/")
            assert "make ui" in answer.text
            await api.ask("GET", "/assets/index.js", status=404)
            await api.get("/healthz")
