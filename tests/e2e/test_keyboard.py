"""By the keyboard alone, at any zoom, and as a screen reader is told: what axe does not look at."""

import re
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Visit, VisitFactory
from tests.support.process import Receiver, Tocsin, wait_until

LONG = "the-longest-name-that-a-job-can-have-" + "x" * 63
"""A hundred letters."""

PAGES = {
    "overview": "/",
    "timeline": "/timeline?range=15m",
    "jobs": "/jobs",
    "job": f"/jobs/{LONG}",
    "history": f"/jobs/{LONG}?tab=history",
    "definition": f"/jobs/{LONG}?tab=definition",
    "editor": f"/jobs/{LONG}/edit",
    "new job": "/jobs/new",
    "executions": "/executions",
    "execution": "/executions/{failed}",
    "cluster": "/cluster",
    "keys": "/keys",
    "secrets": "/secrets",
    "audit": "/audit",
    "not there": "/joobs",
}

STOP = """() => {
  const on = document.activeElement;
  if (on === document.body) return [];
  const label = on.closest('label') ?? on;
  // An input that is drawn by its label has no place of its own.
  const box = (on.matches('[type=radio]') ? label : on).getBoundingClientRect();
  const name = (on.getAttribute('aria-label') || on.textContent || on.id).trim().slice(0, 60);
  const found = [];
  const top = Math.max(0, box.top), bottom = Math.min(innerHeight, box.bottom);
  const x = (Math.max(0, box.left) + Math.min(innerWidth - 1, box.right)) / 2;
  const seen = (part) => {
    const there = document.elementFromPoint(x, top + (bottom - top) * part);
    return there && (label.contains(there) || there.contains(on)
      || there.closest('label')?.contains(on));
  };
  if (bottom <= top) found.push('is out of sight');
  else if (![0.1, 0.5, 0.9].some(seen)) {
    const there = document.elementFromPoint(x, (top + bottom) / 2);
    found.push('is behind ' + (there?.className || there?.tagName));
  }
  const drawn = (one) => {
    const style = getComputedStyle(one);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
  };
  // Fields change their border, and have a caret.
  if (!on.matches('input, textarea, select') && !drawn(on) && !drawn(label))
    found.push('does not show the focus');
  return found.map((one) => name + ' ' + one);
}"""
"""What is wrong with the place that the focus has come to (WCAG 2.4.7 and 2.4.11)."""


@pytest.fixture(scope="module")
def failed(node: Tocsin, receiver: Receiver) -> str:
    """A job with everything long, and an execution of it that failed."""
    node.create(
        [
            {
                "name": LONG,
                "description": "Überträgt die Übersicht an alle 部門, jeden Tag. " * 6,
                "schedule": {"every": "1h"},
                "target": {
                    "url": receiver.url("/status?code=500&" + "long=" * 60),
                    "headers": {"X-Long": "a-header-without-a-space" * 12},
                },
                "retry": {"max_attempts": 1},
                "tags": ["tag-" + "y" * 40, "größe"],
            }
        ]
    )
    node.post(f"/jobs/{LONG}/trigger", expect=202)
    found = wait_until(
        lambda: node.get("/executions", state="failed", limit=1)["items"], "it has failed"
    )
    return str(found[0]["id"])


def go(page: Page, wanted: Locator, *, most: int = 120) -> None:
    """Press Tab until something has the focus; each stop on the way can be seen."""
    wanted.wait_for()
    for _ in range(most):
        page.keyboard.press("Tab")
        assert page.evaluate(STOP) == []
        if wanted.evaluate(
            "one => one === document.activeElement || one.contains(document.activeElement)"
        ):
            return
    raise AssertionError(f"not reached by {most} times Tab: {wanted}")


def test_from_a_new_job_to_its_retry_by_keys_alone(
    visit: VisitFactory, node: Tocsin, receiver: Receiver
) -> None:
    look = visit()
    page = look.open("/jobs")
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keys.press("Enter")
    go(page, page.get_by_role("link", name="New job").first, most=5)
    keys.press("Enter")
    expect(page.get_by_role("heading", name="New job")).to_be_visible()
    # The link is gone, and the focus is where the new page begins.
    expect(page.locator("#content")).to_be_focused()
    go(page, page.get_by_role("textbox", name="Name", exact=True), most=3)
    keys.type("walked")
    # A group of choices is one stop; arrows choose.
    go(page, page.get_by_role("radio", name="Regularly"))
    keys.press("ArrowRight")
    expect(page.get_by_role("radio", name="Interval")).to_be_focused()
    go(page, page.get_by_role("textbox", name="Every"))
    keys.press("Control+a")
    keys.type("1d")
    go(page, page.get_by_role("textbox", name="URL"))
    keys.type(receiver.url("/status?code=500"))
    go(
        page,
        page.get_by_role("spinbutton", name="Attempts").or_(
            page.get_by_role("textbox", name="Attempts")
        ),
    )
    keys.press("Control+a")
    keys.type("1")
    go(page, page.get_by_role("button", name="Create job"))
    keys.press("Enter")
    expect(page).to_have_url(re.compile("/jobs/walked$"))
    assert node.get("/jobs/walked")["schedule"]["every"] == "1d"
    go(page, page.get_by_role("button", name="Trigger now"))
    keys.press("Enter")
    # What the chart shows is said too.
    chart = page.get_by_role("img", name=re.compile("Of the last executions: duration from"))
    expect(chart).to_be_visible()
    last = page.get_by_role("region", name="Last executions")
    expect(last).to_contain_text("HTTP 500")
    # Past the link to the whole history.
    go(page, last.locator("a[href^='/executions/']").first)
    keys.press("Enter")
    expect(page).to_have_url(re.compile("/executions/"))
    expect(page.get_by_role("heading", name="walked")).to_contain_text("Failed")
    failed = page.url
    go(page, page.get_by_role("button", name="Run again"))
    keys.press("Enter")
    expect(page.get_by_text("Retry of")).to_be_visible()
    assert page.url != failed
    expect(page.get_by_role("heading", name="walked")).to_contain_text("Failed")


@pytest.mark.parametrize(("width", "height"), [(640, 512), (320, 256)], ids=["200 %", "400 %"])
@pytest.mark.parametrize("name", PAGES)
def test_at_a_high_zoom_nothing_is_wider_than_the_screen_nor_behind_something(
    visit: VisitFactory, failed: str, name: str, width: int, height: int
) -> None:
    """A screen of 1280 by 1024 at 200 % and at 400 % (WCAG 1.4.10, 2.4.11, 2.5.8)."""
    look = visit(viewport={"width": width, "height": height})
    look.page.goto(look.base + PAGES[name].format(failed=failed))
    look.page.locator("h1").first.wait_for()
    look.settle()
    page = look.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    problems = []
    for _ in range(40):
        page.keyboard.press("Tab")
        problems += page.evaluate(STOP)
        if page.evaluate("document.activeElement === document.body"):
            break
    assert problems == []


NAMED = re.compile(
    r"^\s*- (button|link|textbox|combobox|checkbox|radio|spinbutton|switch|region|dialog|tab"
    r"|searchbox)\b(?P<name> \"[^\"]+\"| /.+/)?"
)


def told(look: Visit) -> list[str]:
    """What a screen reader is told of a page, line by line."""
    return look.page.locator("body").aria_snapshot().splitlines()


@pytest.mark.parametrize("name", PAGES)
def test_what_is_told_of_a_page_can_be_followed(
    visit: VisitFactory, failed: str, name: str, tmp_path: Any
) -> None:
    look = visit()
    look.page.goto(look.base + PAGES[name].format(failed=failed))
    look.page.locator("h1").first.wait_for()
    look.settle()
    lines = told(look)
    (tmp_path / "told.yaml").write_text("\n".join(lines))
    nameless = [line for line in lines if (found := NAMED.match(line)) and not found["name"]]
    assert nameless == []
    # A picture has words, or is none of theirs; the arrows of the component library are in buttons.
    wordless = "svg:not([aria-hidden=true], [aria-label], [aria-labelledby], [class*=mantine-])"
    assert look.page.locator(f"{wordless}:not(button *)").count() == 0
    # One heading says what the page is; those below it leave no level out.
    levels = [
        int(found[1]) for line in lines if (found := re.search(r"- heading .*level=(\d)", line))
    ]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    for landmark in ("main", "navigation"):
        assert any(line.strip().startswith(f"- {landmark}") for line in lines)
    # Words of programs are not read out.
    assert [
        line for line in lines if re.search(r"\b(http_status|queue_full|too_large)\b", line)
    ] == []


@pytest.mark.parametrize("name", ["overview", "jobs", "job", "new job", "execution", "timeline"])
def test_time_that_passes_is_not_spoken(visit: VisitFactory, failed: str, name: str) -> None:
    look = visit()
    page = look.open(PAGES[name].format(failed=failed))
    look.settle()
    # What is told of changes is told of when it changes, which is not every second.
    told_of = page.locator("[aria-live]:not([aria-live=off]), [role=status], [role=alert]")
    assert told_of.count() > 0
    if name != "timeline":
        page.locator("time").first.wait_for()
    assert told_of.locator("time").count() == 0
    for text in told_of.all_inner_texts():
        assert not re.search(r"\bin \d|\d[smhd] ago", text), text
