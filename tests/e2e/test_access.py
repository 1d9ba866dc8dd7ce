"""By keys alone, with less motion, without sight of the screen; and that what is copied works."""

import os
import re
import subprocess
from collections import defaultdict
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import VisitFactory
from tests.support.process import KEY, Receiver, Tocsin

ASKED_EVERY_MS = 10_000
"""How often the overview asks for its figures again."""


@pytest.fixture(scope="module")
def names(node: Tocsin, receiver: Receiver) -> list[str]:
    """Jobs that fire once a day, one that hangs, and an execution."""
    made = ["first", "hangs", "second", "third"]
    node.create(
        [
            {
                "name": name,
                "schedule": {"every": "1d"},
                "target": {
                    "url": receiver.url("/hang" if name == "hangs" else "/ok"),
                    "timeout": "1h",
                },
            }
            for name in made
        ]
    )
    node.post("/jobs/hangs/trigger", expect=202)
    return made


def focused(page: Page) -> str:
    """The name of what has the focus."""
    found: str = page.evaluate(
        "(document.activeElement.getAttribute('aria-label')"
        " || document.activeElement.textContent).trim()"
    )
    return found


def test_a_job_is_deleted_by_keys_and_the_focus_comes_back(
    visit: VisitFactory, node: Tocsin, names: list[str]
) -> None:
    look = visit()
    page = look.open("/jobs")
    button = page.get_by_role("button", name="What to do with third")
    button.focus()
    page.keyboard.press("Enter")
    menu = page.get_by_role("menu")
    expect(menu).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(menu).to_be_visible()
    expect(menu.locator("[data-autofocus]")).to_be_focused()
    # The last entry, from the first one backwards.
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete third?")
    # Tab stays within the dialog.
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate("!!document.activeElement.closest('[role=dialog]')")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    assert node.get("/jobs/third")["status"] == "active"
    page.keyboard.press("Enter")
    expect(menu).to_be_visible()
    page.get_by_role("menuitem", name="Delete").focus()
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    # It is said for a moment only.
    expect(page.get_by_text("third deleted")).to_be_visible()
    expect(page.locator("[data-job=third]")).to_have_count(0)


def test_single_letters_can_be_turned_off(visit: VisitFactory, names: list[str]) -> None:
    look = visit()
    page = look.open("/jobs")
    page.locator("[data-job=first]").wait_for()
    page.keyboard.press("?")
    page.get_by_role("switch", name="Single letters are shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    for key in ("?", "n", "j", "x", "g", "e"):
        page.keyboard.press(key)
    expect(page).to_have_url(re.compile("/jobs$"))
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("region", name="What to do with the selected jobs")).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_nothing_turns_where_less_motion_is_wanted(visit: VisitFactory, names: list[str]) -> None:
    turning = "getComputedStyle(document.querySelector('.vrow .turning')).animationName"
    for wanted in ("no-preference", "reduce"):
        look = visit(reduced_motion=wanted)
        page = look.open("/executions")
        page.locator(".vrow .turning").first.wait_for()
        assert (page.evaluate(turning) == "none") == (wanted == "reduce")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    moving = page.evaluate(
        "document.getAnimations().filter(one => one.playState === 'running'"
        " && one.effect.getComputedTiming().duration > 1).length"
    )
    assert moving == 0


def test_what_changes_is_said(visit: VisitFactory, names: list[str]) -> None:
    look = visit()
    page = look.open("/")
    page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
    expect(page.get_by_test_id("announcer")).to_have_text(re.compile("^Jobs"))
    row = page.locator("[data-job=first]")
    expect(row.get_by_role("img", name="Nothing has run yet")).to_be_visible()
    expect(page.get_by_role("table", name="Jobs").get_by_role("columnheader")).to_have_count(9)
    expect(row.get_by_role("cell")).to_have_count(9)


def test_exact_times_are_a_hover_away_in_the_zone_of_ones_choice(
    visit: VisitFactory, names: list[str]
) -> None:
    look = visit()
    for path in ("/", "/jobs", "/executions", "/jobs/first", "/cluster", "/audit"):
        page = look.open(path)
        look.settle()
        times = page.locator("main time")
        expect(times.first).to_be_visible()
        assert page.locator("main time:not([data-at])").count() == 0, path
        times.first.hover()
        expect(page.get_by_role("tooltip")).to_contain_text(
            re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.* UTC\+[12]")
        )
    page.get_by_role("button", name="Europe/Berlin").click()
    page.get_by_role("menuitem", name="UTC").click()
    page.locator("main time").first.hover()
    expect(page.get_by_role("tooltip")).to_contain_text(re.compile(r"UTC\n"))


def test_the_hint_can_be_pointed_at_and_sent_away(visit: VisitFactory, names: list[str]) -> None:
    look = visit()
    page = look.open("/cluster")
    look.settle()
    page.locator("main time").first.hover()
    hint = page.get_by_role("tooltip")
    expect(hint).to_be_visible()
    hint.hover()
    page.wait_for_timeout(400)
    expect(hint).to_be_visible()
    assert look.violations() == []
    page.keyboard.press("Escape")
    expect(hint).to_have_count(0)


def test_a_copied_command_does_what_it_says(
    visit: VisitFactory, node: Tocsin, names: list[str]
) -> None:
    look = visit(permissions=["clipboard-read", "clipboard-write"])
    page = look.open("/jobs/second")
    for form, program in (("curl", ["bash", "-c"]), ("Python", ["python3", "-c"])):
        page.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name=form).click()
        expect(page.get_by_text(f"Copied as {form}")).to_be_visible()
        text = page.evaluate("navigator.clipboard.readText()")
        assert KEY not in text
        done = subprocess.run(
            [*program, text.replace("/jobs/second", f"/jobs/by-{form.lower()}")],
            check=True,
            capture_output=True,
            timeout=60,
            env={"PATH": os.environ["PATH"], "TOCSIN_KEY": KEY},
        )
        assert done.stdout
        copy = node.get(f"/jobs/by-{form.lower()}")
        assert copy["target"] == node.get("/jobs/second")["target"]


def test_copying_works_where_the_browser_has_no_clipboard(
    visit: VisitFactory, names: list[str]
) -> None:
    look = visit()
    # As it is where the page came over plain HTTP from another machine.
    look.page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined});"
        "crypto.randomUUID = undefined;"
        "document.addEventListener('copy', () => {"
        "  window.copied = document.activeElement.value});"
    )
    page = look.open("/jobs/first")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="curl").click()
    expect(page.get_by_text("Copied as curl")).to_be_visible()
    assert "curl -X PUT" in page.evaluate("window.copied")
    page.get_by_role("button", name="Trigger now").click()
    expect(page.get_by_text("first triggered")).to_be_visible()


def test_a_page_whose_file_is_gone_leaves_the_frame_standing(
    visit: VisitFactory, names: list[str]
) -> None:
    look = visit()
    look.page.route("**/assets/Cluster-*.js", lambda route: route.abort())
    page = look.open("/jobs")
    page.get_by_role("navigation").get_by_role("link", name="Cluster").click()
    expect(page.get_by_role("heading", name="Tocsin was updated")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
    expect(page.locator("[data-job=first]")).to_be_visible()


def test_the_first_view_asks_for_each_thing_once(visit: VisitFactory, tmp_path: object) -> None:
    idle = Tocsin(tmp_path).start()  # type: ignore[arg-type]
    try:
        idle.create([{"name": "rests", "schedule": {"every": "1d"}, "target": {"log": "x"}}])
        look = visit(at=idle)
        page = look.open("/")
        expect(page.get_by_test_id("verdict")).to_have_text("Everything is fine")
        expect(page.get_by_text("Every fire time was kept")).to_be_visible()
        asked: dict[str, list[float]] = defaultdict(list)
        for url, began in page.evaluate(
            "performance.getEntriesByType('resource').map(one => [one.name, one.startTime])"
        ):
            asked[url.removeprefix(look.base)].append(began)
        # What `early.js` asks for is what the page wants, word for word: it is not asked again
        # before it may have changed.
        again = {
            path: times
            for path, times in asked.items()
            if any(later - earlier < ASKED_EVERY_MS / 2 for earlier, later in pairwise(times))
        }
        assert again == {}
        data = [path for path in asked if path.startswith(("/api/", "/healthz", "/readyz"))]
        assert 3 <= len(data) <= 8, data
        assert page.evaluate("Object.keys(window.tocsinEarly.answers)") == []
    finally:
        idle.close()
