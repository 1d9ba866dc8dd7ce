"""A real server with real jobs, and Chromium on its pages."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    expect,
)

from tests.e2e.browser import chromium
from tests.support.process import KEY, Receiver, Tocsin

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src/tocsin/ui/static"
AXE = ROOT / "ui/node_modules/axe-core/axe.min.js"

PATIENCE_MS = 20_000
"""How long a page may take to show what is expected, on a machine that is busy otherwise."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Playwright keeps an event loop running in its thread, so nothing else may run beside it."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """The pages are there: a test of the page that says how to build them would pass unseen."""
    assert (STATIC / "index.html").is_file(), "build the web UI first: make ui"
    assert AXE.is_file(), "install what the web UI is built with first: make ui"
    expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; each has a context of its own."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the module."""
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="module")
def receiver(home: Path) -> Iterator[Receiver]:
    """Receives the calls."""
    started = Receiver(home)
    yield started
    started.close()


@pytest.fixture(scope="module")
def node(home: Path) -> Iterator[Tocsin]:
    """A server without jobs."""
    started = Tocsin(home, env={"TOCSIN_EGRESS_ALLOW": "127.0.0.0/8"}).start()
    yield started
    started.close()
    assert "Traceback" not in started.whole_log()


@dataclass
class Visit:
    """A page of the server, and everything about it that must not happen."""

    page: Page
    base: str
    context: BrowserContext
    problems: list[str] = field(default_factory=list)
    """Errors of scripts, violations of the policy, and requests to other hosts."""

    def open(self, path: str) -> Page:
        """Go to a page and wait until it has its heading."""
        self.page.goto(self.base + path)
        self.page.locator("h1").first.wait_for()
        return self.page

    def settle(self) -> None:
        """Wait until nothing is a placeholder any more."""
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0)

    def violations(self) -> list[dict[str, Any]]:
        """What axe finds on the page as it is, by WCAG 2.2 AA and its best practices."""
        if not self.page.evaluate("'axe' in window"):
            # Past the policy of the page, as the debugger may.
            self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate(
            """async () => {
              const {violations} = await axe.run(document, {runOnly: [
                'wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']});
              return violations.map(one => ({id: one.id, impact: one.impact,
                nodes: one.nodes.slice(0, 4).map(node => node.html.slice(0, 200)
                  + ' — ' + node.failureSummary.slice(0, 300))}));
            }"""
        )
        return list(found)


def press_at_once(page: Page, keys: str) -> None:
    """Press letters in one go, where the page gives little time between them."""
    page.evaluate(
        """keys => { for (const key of keys) document.body.dispatchEvent(
            new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true})); }""",
        keys,
    )


def type_at_once(field: Locator, text: str) -> None:
    """Type letter by letter, each of them seen by the page, with no time in between."""
    field.evaluate(
        """async (field, text) => {
          const {set} = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value');
          field.focus();
          for (let end = 1; end <= text.length; end += 1) {
            set.call(field, text.slice(0, end));
            field.dispatchEvent(new InputEvent('input', {bubbles: true}));
            await new Promise(queueMicrotask);
          }
        }""",
        text,
    )


VisitFactory = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser, node: Tocsin) -> Iterator[VisitFactory]:
    """Opens contexts, signed in unless the key is `None`; none of them may have a problem."""
    visits: list[Visit] = []

    def make(*, at: Tocsin | None = None, key: str | None = KEY, **options: Any) -> Visit:
        base = f"http://127.0.0.1:{(at or node).port}"
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "timezone_id": "Europe/Berlin"} | options
        )
        context.set_default_timeout(PATIENCE_MS)
        if key is not None:
            answer = context.request.post(f"{base}/api/v1/session", data={"key": key})
            assert answer.ok, answer.text()
        page = context.new_page()
        made = Visit(page=page, base=base, context=context)

        def on_console(message: ConsoleMessage) -> None:
            # That a request was refused is shown on the page, and looked at there.
            expected = re.search(r"Failed to load resource|net::ERR_|EventSource", message.text)
            if message.type == "error" and not expected:
                made.problems.append(message.text)

        def on_request(request: Request) -> None:
            if not request.url.startswith((base, "data:", "blob:")):
                made.problems.append(f"asks another host: {request.url}")

        page.on("console", on_console)
        page.on("pageerror", lambda error: made.problems.append(str(error)))
        page.on("request", on_request)
        visits.append(made)
        return made

    yield make
    for one in visits:
        one.context.close()
    assert [problem for one in visits for problem in one.problems] == []
