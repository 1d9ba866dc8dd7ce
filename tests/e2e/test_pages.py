"""Pages as such: live and offline, keys, colours, phones, the timeline; axe finds nothing."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import VisitFactory, press_at_once
from tests.support.process import Receiver, Tocsin, free_port, wait_until

PAGES = {
    "overview": "/",
    "timeline": "/timeline?range=15m",
    "jobs": "/jobs",
    "job": "/jobs/ticks",
    "history": "/jobs/ticks?tab=history",
    "definition": "/jobs/ticks?tab=definition",
    "editor": "/jobs/ticks/edit",
    "new job": "/jobs/new",
    "executions": "/executions",
    "failed": "/executions/{failed}",
    "cluster": "/cluster",
    "keys": "/keys",
    "secrets": "/secrets",
    "audit": "/audit",
    "not there": "/jobs/nobody",
}


@pytest.fixture(scope="module")
def alive(node: Tocsin, receiver: Receiver) -> dict[str, Any]:
    """Jobs that fire, fail, and are paused."""
    node.create(
        [
            {"name": "ticks", "schedule": {"every": "2s"}, "target": {"url": receiver.url()},
             "tags": ["often"], "description": "Every two seconds"},
            {"name": "breaks", "schedule": {"every": "3s"}, "retry": {"max_attempts": 1},
             "target": {"url": receiver.url("/status?code=500")}},
            {"name": "sleeps", "schedule": {"every": "1h"}, "target": {"log": "zzz"}},
        ]
    )  # fmt: skip
    node.post("/jobs/sleeps/pause", expect=200)
    failed = wait_until(
        lambda: node.get("/executions", state="failed", limit=1)["items"], "one has failed"
    )
    wait_until(lambda: node.get("/executions", state="succeeded", limit=1)["items"], "one has run")
    return {"failed": failed[0]["id"]}


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_in_light_and_in_dark(
    visit: VisitFactory, alive: dict[str, Any], name: str
) -> None:
    look = visit(color_scheme="light")
    page = look.open(PAGES[name].format(**alive))
    look.settle()
    assert look.violations() == []
    # The page follows the system while it is open.
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    # Colours on their way from one to the other are neither.
    page.evaluate(
        """Promise.all(document.getAnimations().filter(one => one instanceof CSSTransition)
          .map(one => one.finished.catch(() => null)))"""
    )
    assert look.violations() == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_phone(
    visit: VisitFactory, alive: dict[str, Any], name: str
) -> None:
    look = visit(viewport={"width": 360, "height": 740}, has_touch=True)
    page = look.open(PAGES[name].format(**alive))
    look.settle()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    if name in {"overview", "jobs", "job", "editor"}:
        assert look.violations() == []


def test_names_on_the_timeline_of_a_phone_are_whole(
    visit: VisitFactory, alive: dict[str, Any], node: Tocsin
) -> None:
    name = "sends-the-report-of-the-day-to-finance"
    node.create([{"name": name, "schedule": {"every": "1m"}, "target": {"log": "x"}}])
    look = visit(viewport={"width": 360, "height": 740}, has_touch=True)
    page = look.open("/timeline?range=15m")
    lane = page.locator(f"[data-lane={name}]")
    link, picture = lane.get_by_role("link", name=name), lane.get_by_role("img")
    expect(link).to_be_visible()
    assert link.evaluate("one => one.scrollWidth <= one.clientWidth")
    above, below = link.bounding_box(), picture.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] + above["height"] <= below["y"] + 1
    # The lane has the whole width.
    assert below["width"] > 300
    assert look.violations() == []
    node.client.delete(f"/api/v1/jobs/{name}").raise_for_status()


def test_the_menu_of_a_phone(visit: VisitFactory, alive: dict[str, Any]) -> None:
    look = visit(viewport={"width": 360, "height": 740}, has_touch=True)
    page = look.open("/")
    page.get_by_role("button", name="Open the menu").tap()
    page.get_by_role("dialog").get_by_role("link", name="Executions").tap()
    expect(page.get_by_role("heading", name="Executions")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_overview_says_what_is_wrong(visit: VisitFactory, alive: dict[str, Any]) -> None:
    look = visit()
    page = look.open("/")
    # Far more than a tenth fails here.
    expect(page.get_by_test_id("verdict")).to_have_text("Many calls fail")
    expect(page.get_by_role("region", name="Fails now")).to_contain_text("breaks")
    expect(page.get_by_role("region", name="Fires next")).to_contain_text("ticks")
    expect(page.get_by_role("region", name="Nodes")).to_contain_text("Holds its lease")


def test_executions_arrive_by_themselves(
    visit: VisitFactory, alive: dict[str, Any], node: Tocsin
) -> None:
    look = visit()
    page = look.open("/executions")
    first = page.locator("[data-execution]").first
    before = first.get_attribute("data-execution")
    expect(page.locator(f"[data-execution='{before}']")).to_be_visible()
    expect(first).not_to_have_attribute("data-execution", before or "")


def test_offline_is_said_and_coming_back_is_noticed(
    visit: VisitFactory, alive: dict[str, Any]
) -> None:
    look = visit()
    page = look.open("/jobs")
    expect(page.get_by_test_id("live").first).to_contain_text("Live")
    look.context.set_offline(True)
    expect(page.get_by_role("alert").first).to_contain_text("Connection lost")
    # What was there is still there.
    expect(page.locator("[data-job=ticks]")).to_be_visible()
    look.context.set_offline(False)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_test_id("live").first).to_contain_text("Live")


def test_a_server_that_ends_and_starts_again(visit: VisitFactory, tmp_path: Any) -> None:
    own = Tocsin(tmp_path, options=("--port", str(free_port()))).start()
    try:
        own.create([{"name": "stays", "schedule": {"every": "1h"}, "target": {"log": "x"}}])
        look = visit(at=own)
        page = look.open("/")
        expect(page.get_by_test_id("verdict")).to_have_text("Everything is fine")
        own.kill()
        expect(page.get_by_role("alert").first).to_contain_text("Connection lost")
        expect(page.get_by_test_id("verdict")).to_have_text("The server does not answer")
        own.start()
        expect(page.get_by_test_id("verdict")).to_have_text("Everything is fine")
        expect(page.get_by_role("alert")).to_have_count(0)
    finally:
        own.close()


def test_the_palette_finds_pages_and_jobs(visit: VisitFactory, alive: dict[str, Any]) -> None:
    look = visit()
    page = look.open("/")
    page.keyboard.press("Control+k")
    page.get_by_label("Search jobs and commands").fill("tick")
    expect(page.get_by_role("option", name="ticks")).to_be_visible()
    assert look.violations() == []
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/jobs/ticks$"))
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Search jobs and commands")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Control+k")
    page.get_by_label("Search jobs and commands").fill("failed exec")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/executions\?state=failed$"))


def test_everything_by_keys(visit: VisitFactory, alive: dict[str, Any]) -> None:
    look = visit()
    page = look.open("/")
    press_at_once(page, "gj")
    expect(page).to_have_url(re.compile("/jobs$"))
    page.locator("[data-job=breaks]").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_label("Select breaks")).to_be_checked()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Select breaks")).not_to_be_checked()
    page.keyboard.press("/")
    expect(page.get_by_label("Search jobs")).to_be_focused()
    page.get_by_label("Search jobs").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    assert look.violations() == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/jobs/breaks$"))


def test_times_in_another_zone(visit: VisitFactory, alive: dict[str, Any]) -> None:
    look = visit()
    page = look.open(f"/executions/{alive['failed']}")
    expect(page.get_by_text(re.compile(r"UTC\+[12]")).first).to_be_visible()
    page.get_by_role("button", name="Europe/Berlin").click()
    page.get_by_role("menuitem", name="UTC").click()
    expect(page.get_by_text(re.compile(r"UTC\+[12]"))).to_have_count(0)
    page.reload()
    expect(page.get_by_role("button", name="UTC")).to_be_visible()


def test_colours_are_chosen_and_kept(visit: VisitFactory, alive: dict[str, Any]) -> None:
    look = visit(color_scheme="light")
    page = look.open("/cluster")
    scheme = "document.documentElement.dataset.mantineColorScheme"
    assert page.evaluate(scheme) == "light"
    page.get_by_role("button", name="Colours: As the system").click()
    page.get_by_role("button", name="Colours: Light").click()
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    page.reload()
    # Before the page's script: the first paint is dark already.
    assert page.evaluate(scheme) == "dark"


def test_from_the_timeline_to_an_execution(visit: VisitFactory, alive: dict[str, Any]) -> None:
    look = visit()
    page = look.open("/timeline?range=15m")
    lane = page.locator("[data-lane=breaks]")
    expect(lane).to_be_visible()
    expect(page.locator("[data-lane=ticks] [data-mark=ahead]").first).to_be_visible()
    lane.locator("[data-mark=failed]").first.click()
    expect(page).to_have_url(re.compile("/executions/[0-9a-f-]{36}$"))
    page.go_back()
    page.get_by_role("button", name="Zoom out (-)").click()
    expect(page).to_have_url(re.compile("range=30m"))
    page.get_by_role("button", name="Earlier (←)").click()
    expect(page).to_have_url(re.compile("at="))
    page.get_by_role("button", name="Now").click()
    expect(page).not_to_have_url(re.compile("at="))


def test_an_unknown_page_says_so(visit: VisitFactory, alive: dict[str, Any]) -> None:
    look = visit()
    answer = look.page.goto(look.base + "/joobs")
    assert answer is not None
    assert answer.status == 404
    expect(look.page.get_by_role("heading", name="There is no such page")).to_be_visible()
    look.page.get_by_role("link", name="To the overview").click()
    expect(look.page.get_by_test_id("verdict")).to_be_visible()
    page = look.open("/jobs/nobody")
    expect(page.get_by_role("heading", name="There is no such job")).to_be_visible()
