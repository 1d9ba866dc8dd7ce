"""What the web UI takes in a browser: its first view, and lists of 1,000 and 100,000.

In Chromium on this machine, so the server and the browser share its cores, as they do on nobody's
desk. Script is the CPU time of the page's own code; it depends least on what else runs.
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page
from tests.e2e.browser import chromium
from tests.support.masses import fill
from tests.support.process import KEY, Tocsin, now_ms

from bench.context import Bench
from bench.report import Figure, Figures

FEW, MANY, QUICK = 1_000, 100_000, 10_000
VIEWS = 5
SCREENS = 20

_WATCH = """
    window.marks = {}; window.pauses = [];
    new PerformanceObserver((list) => {
      for (const task of list.getEntries()) window.pauses.push(task.duration);
    }).observe({type: 'longtask', buffered: true});
    new MutationObserver(() => {
      const said = document.querySelector('[data-testid=verdict]')?.textContent;
      if (said && said !== 'Looking…') window.marks.verdict ??= performance.now();
      if (said && said !== 'Looking…' && document.querySelector('.rows')
        && !document.querySelector('[aria-busy=true]')) window.marks.whole ??= performance.now();
    }).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
"""


def run(bench: Bench) -> list[Figure]:
    """The first view, then both sizes side by side."""
    many = QUICK if bench.quick else MANY
    figures = [Figures(f"the overview of {many:,} jobs"), Figures(f"lists of {many:,}")]
    with _served(bench, FEW) as small, _served(bench, many) as large, chromium() as browser:
        for _ in range(1 if bench.quick else VIEWS):
            _first_view(browser, large, figures[0])
        for path in ("/jobs", "/executions"):
            few = _list(browser, small, path)
            for measure, (unit, value) in _list(browser, large, path).items():
                figures[1].add(
                    f"{path[1:]}: {measure}",
                    unit,
                    value,
                    baseline_name=f"of {FEW:,}",
                    baseline=few[measure][1],
                )
    return [figure for part in figures for figure in part.all()]


@contextmanager
def _served(bench: Bench, size: int) -> Iterator[Tocsin]:
    with tempfile.TemporaryDirectory(dir=bench.home) as home:
        node = Tocsin(Path(home), env=bench.env)
        bench.say(f"ui: filling {size:,} jobs and {size:,} executions")
        with ThreadPoolExecutor(1) as aside:
            aside.submit(fill, node.database_url(), now=now_ms(), jobs=size, history=size).result()
        node.start()
        try:
            yield node
        finally:
            node.close()


@contextmanager
def _page(browser: Browser, node: Tocsin) -> Iterator[tuple[BrowserContext, Page, str]]:
    base = f"http://127.0.0.1:{node.port}"
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.request.post(f"{base}/api/v1/session", data={"key": KEY})
    page = context.new_page()
    page.add_init_script(_WATCH)
    yield context, page, base
    context.close()


def _first_view(browser: Browser, node: Tocsin, figures: Figures) -> None:
    """Of a browser that has nothing of it yet."""
    with _page(browser, node) as (context, page, base):
        session = context.new_cdp_session(page)
        session.send("Performance.enable")
        page.goto(f"{base}/")
        _until(page, "window.marks.whole")
        marks = page.evaluate("window.marks")
        painted = page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        )
        figures.add("something is painted", "ms", painted)
        figures.add("the verdict is there", "ms", marks["verdict"])
        figures.add("everything is there", "ms", marks["whole"])
        figures.add("script", "ms", _metric(session, "ScriptDuration"))


def _list(browser: Browser, node: Tocsin, path: str) -> dict[str, tuple[str, float]]:
    with _page(browser, node) as (context, page, base):
        session = context.new_cdp_session(page)
        session.send("Performance.enable")
        page.goto(base + path)
        _until(page, "document.querySelector('[role=row][aria-rowindex=\"2\"]')")
        page.mouse.move(640, 500)
        page.wait_for_timeout(500)

        def scroll() -> None:
            for _ in range(SCREENS):
                page.mouse.wheel(0, 800)
                page.wait_for_timeout(60)

        found = _cost(page, session, scroll)
        measures = {
            f"script for {SCREENS} screens": ("ms", found["script"]),
            "longest pause while scrolling": ("ms", found["pause"]),
        }
        page.evaluate("window.scrollTo(0, 0)")
        if path == "/jobs":
            took = _cost(page, session, lambda: _search(page))["took"]
            measures["search, from the last letter to the rows"] = ("ms", took)
        return measures


def _search(page: Page) -> None:
    page.get_by_label("Search jobs").fill("needle")
    _until(page, "document.querySelector('[data-job] .small .dim')?.textContent.includes('needle')")


def _cost(page: Page, session: CDPSession, act: Callable[[], None]) -> dict[str, float]:
    """What the page does from the start of an act until it has come to rest."""
    page.evaluate("window.pauses.length = 0")
    before = _metric(session, "ScriptDuration")
    began = page.evaluate("performance.now()")
    act()
    took = page.evaluate("performance.now()") - began
    page.wait_for_timeout(800)
    pauses: list[float] = page.evaluate("window.pauses")
    return {
        "script": _metric(session, "ScriptDuration") - before,
        # Shorter ones than 50 ms are not told of.
        "pause": max(pauses, default=0.0),
        "took": took,
    }


def _metric(session: CDPSession, name: str) -> float:
    """Milliseconds."""
    metrics: list[dict[str, Any]] = session.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) * 1_000 for one in metrics if one["name"] == name)


def _until(page: Page, condition: str) -> None:
    # Not `wait_for_function`: the policy of the page allows no `eval`.
    while not page.evaluate(f"!!({condition})"):
        page.wait_for_timeout(5)
