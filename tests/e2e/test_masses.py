"""Lists of 100,000 jobs and executions: what scrolling and filtering costs, counted, not timed.

The same is done on a store that is a hundred times smaller: rows that are painted, requests and
what these bring must not depend on how many there are.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Response, expect

from tests.e2e.conftest import Visit, VisitFactory, type_at_once
from tests.support.masses import FEW, fill
from tests.support.process import Tocsin, now_ms
from tocsin.domain.job import Job

MANY = 100_000
SOME = 1_000
CHUNK = 100
"""Rows that a request for a part of a list brings at most."""

ROWS = 70
"""Rows that may exist at once: those of a screen, and some above and below it."""

ELEMENTS = 4_000

WATCH = """
    window.seen = {painted: 0, most: 0};
    new MutationObserver((changes) => {
      for (const change of changes) for (const node of change.addedNodes) {
        if (node.nodeType !== 1) continue;
        window.seen.painted += (node.matches('.vrow') ? 1 : 0)
          + node.querySelectorAll('.vrow').length;
      }
      window.seen.most = Math.max(window.seen.most, document.querySelectorAll('.vrow').length);
    }).observe(document, {subtree: true, childList: true});
"""


@dataclass
class Stock:
    """A server with so many jobs and executions."""

    node: Tocsin
    jobs: list[Job]

    @property
    def owners(self) -> list[Job]:
        """Jobs that have executions, in the order of these, the newest first."""
        return self.jobs[::20]


@pytest.fixture(scope="module")
def stocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Stock]]:
    """The same service, large and small."""
    made = {size: _stock(tmp_path_factory.mktemp(f"of-{size}"), size) for size in (MANY, SOME)}
    yield made
    for stock in made.values():
        stock.node.close()


def _stock(home: Path, size: int) -> Stock:
    node = Tocsin(home)
    # In a thread of its own: the browser's library keeps a loop running in this one.
    with ThreadPoolExecutor(1) as aside:
        filling = aside.submit(fill, node.database_url(), now=now_ms(), jobs=size, history=size)
        jobs = filling.result()
    return Stock(node=node.start(), jobs=jobs)


@dataclass
class Traffic:
    """What a page has asked the server for."""

    page: Page
    path: str
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    """The queries for parts of the list."""
    beside: int = 0
    """How many other requests there were for what rows show."""

    def __post_init__(self) -> None:
        self.page.on("response", self._note)

    def _note(self, response: Response) -> None:
        url = urlsplit(response.url)
        if url.path == "/api/v1/jobs:recent":
            self.beside += 1
        if url.path == self.path:
            self.asked.append(parse_qs(url.query))

    def forget(self) -> None:
        """Count from here on."""
        self.asked.clear()
        self.beside = 0


def seen(page: Page) -> dict[str, int]:
    """How many rows were painted since, and how many existed at once at most."""
    found: dict[str, int] = page.evaluate("window.seen")
    return found


def row_of(page: Page, index: int) -> Any:
    return page.locator(row_at(index))


def row_at(index: int) -> str:
    return f"[role=row][aria-rowindex='{index + 2}']"


def scroll_to(page: Page, index: int, height: int) -> None:
    """Scroll there, and again where the page is moved back, until that row is there."""
    page.wait_for_function(
        """([top, row]) => {
            if (window.scrollY === top) return document.querySelector(row) !== null;
            window.scrollTo(0, top);
            return false;
        }""",
        arg=[index * height, row_at(index)],
        timeout=20_000,
    )


def opened(visit: VisitFactory, stock: Stock, path: str) -> tuple[Visit, Page, Traffic]:
    look = visit(at=stock.node)
    look.page.add_init_script(WATCH)
    traffic = Traffic(look.page, f"/api/v1{path}")
    page = look.open(path)
    row_of(page, 0).wait_for()
    return look, page, traffic


@pytest.mark.parametrize(
    ("path", "height", "named"), [("/jobs", 46, "data-job"), ("/executions", 32, "data-execution")]
)
def test_scrolling_costs_the_same_among_many(
    visit: VisitFactory, stocks: dict[int, Stock], path: str, height: int, named: str
) -> None:
    costs = {}
    for size, stock in stocks.items():
        _, page, traffic = opened(visit, stock, path)
        for index in range(25, 900, 25):
            scroll_to(page, index, height)
            # What is there is that row, and not the place of one.
            row = row_of(page, index)
            expect(row).to_have_attribute(named, _said(stock, path, index) or "", timeout=20_000)
        assert page.evaluate("document.querySelectorAll('*').length") < ELEMENTS
        assert seen(page)["most"] <= ROWS
        # Each part of the list is read once; nothing is read that was not scrolled to.
        cursors = [query.get("cursor", [""])[0] for query in traffic.asked]
        assert len(cursors) == len(set(cursors)) <= 900 // CHUNK + 1
        assert {query["limit"][0] for query in traffic.asked} == {str(CHUNK)}
        costs[size] = seen(page)["painted"]
        assert traffic.beside <= 900 // 25 * 2
    # Rows that came into sight were painted, once or twice, however many there are.
    assert abs(costs[MANY] - costs[SOME]) <= costs[SOME] * 0.2, costs
    assert costs[MANY] <= 3 * 1_000, costs


def _said(stock: Stock, path: str, index: int) -> str | None:
    if path == "/jobs":
        return stock.jobs[index].name
    items = stock.node.get("/executions", limit=1_000)["items"]
    assert items[index]["job_name"] == stock.owners[index % len(stock.owners)].name
    found: str = items[index]["id"]
    return found


@pytest.mark.parametrize("path", ["/jobs", "/executions"])
def test_a_fling_ends_at_rows_that_are_there(
    visit: VisitFactory, stocks: dict[int, Stock], path: str
) -> None:
    _, page, traffic = opened(visit, stocks[MANY], path)
    page.mouse.move(640, 500)
    for _ in range(60):
        page.mouse.wheel(0, 1_200)
    page.wait_for_function("window.scrollY > 3_000")
    expect(page.locator(".vrow.coming")).to_have_count(0)
    expect(page.locator(".vrow").first).to_be_visible()
    assert seen(page)["most"] <= ROWS
    assert len(traffic.asked) <= 30


def test_filters_and_orders_read_one_part_each(
    visit: VisitFactory, stocks: dict[int, Stock]
) -> None:
    _, page, traffic = opened(visit, stocks[MANY], "/jobs")
    rows = page.locator("[data-job]")
    failing = {job.name for job in stocks[MANY].owners[::10]}

    @contextmanager
    def costs_little(asked: int = 2) -> Iterator[None]:
        before = seen(page)["painted"]
        traffic.forget()
        # One for this, and one that came late: what is shown from memory is looked at again.
        yield
        assert seen(page)["painted"] - before <= ROWS, "more was painted than fits on a screen"
        assert len(traffic.asked) <= asked, traffic.asked

    def starts_with(name: str) -> None:
        expect(rows.first).to_have_attribute("data-job", name)

    with costs_little(asked=3):
        # Not each letter is a search.
        type_at_once(page.get_by_label("Search jobs"), "needle")
        expect(page.get_by_role("table", name="Jobs")).to_have_attribute(
            "aria-rowcount", str(FEW + 1)
        )
        expect(rows.first).to_contain_text("the needle in the haystack")
    with costs_little():
        page.get_by_role("button", name="Show all").click()
        starts_with("job-000000")
    with costs_little():
        page.get_by_role("button", name="Paused").click()
        starts_with("job-000049")
    with costs_little():
        page.get_by_role("button", name="Paused").click()
        starts_with("job-000000")
    with costs_little():
        page.get_by_role("button", name="Sort by last results, failing first").click()
        expect(rows.first.get_by_role("img", name="Failed").first).to_be_visible()
    assert rows.first.get_attribute("data-job") in failing
    expect(page.get_by_role("columnheader", name="Last results")).to_have_attribute(
        "aria-sort", "ascending"
    )
    for order, first in (
        ("By name, Z first", f"job-{MANY - 1:06}"),
        ("Oldest first", "job-000000"),
        ("Newest first", f"job-{MANY - 1:06}"),
    ):
        with costs_little():
            page.get_by_role("combobox", name="Order").click()
            page.get_by_role("option", name=order).click()
            starts_with(first)


def test_what_happens_far_down_a_list_reads_what_is_in_sight(
    visit: VisitFactory, stocks: dict[int, Stock]
) -> None:
    stock = stocks[SOME]
    _, page, traffic = opened(visit, stock, "/jobs")
    for index in range(50, 801, 50):
        scroll_to(page, index, 46)
        expect(row_of(page, index)).to_have_attribute("data-job", stock.jobs[index].name)
    traffic.forget()
    job = stock.jobs[803]
    stock.node.client.patch(
        f"/api/v1/jobs/{job.name}", json={"description": "changed meanwhile"}
    ).raise_for_status()
    expect(page.locator(f"[data-job={job.name}]")).to_contain_text("changed meanwhile")
    assert traffic.asked, "it came without having been read"
    # Neither the start of the list nor any other part that one has come by.
    assert len({query["cursor"][0] for query in traffic.asked}) <= 2


def test_executions_stand_still_while_somebody_reads(
    visit: VisitFactory, stocks: dict[int, Stock]
) -> None:
    stock = stocks[SOME]
    _, page, traffic = opened(visit, stock, "/executions")
    for index in range(50, 301, 50):
        scroll_to(page, index, 32)
        # Not the place of one that is still to come.
        expect(row_of(page, index)).to_have_attribute("data-execution", re.compile("."))
    there = row_of(page, 300).get_attribute("data-execution")
    traffic.forget()
    stock.node.post(f"/jobs/{stock.jobs[3].name}/pause", expect=200)
    stock.node.client.patch(
        f"/api/v1/jobs/{stock.jobs[3].name}", json={"target": {"log": "line"}}
    ).raise_for_status()
    stock.node.post(f"/jobs/{stock.jobs[3].name}/trigger", expect=202)
    expect(page.get_by_role("button", name="1 new one")).to_be_visible()
    expect(row_of(page, 300)).to_have_attribute("data-execution", there or "")
    assert traffic.asked == []
    page.get_by_role("button", name="1 new one").click()
    expect(row_of(page, 0)).to_contain_text(stock.jobs[3].name)


def test_filters_of_executions_find_nothing_quickly(
    visit: VisitFactory, stocks: dict[int, Stock]
) -> None:
    _, page, traffic = opened(visit, stocks[MANY], "/executions")
    traffic.forget()
    page.get_by_role("button", name="Skipped").click()
    expect(page.locator("[data-execution]").first).to_contain_text("noticed too late")
    page.get_by_role("button", name="Skipped").click()
    page.get_by_role("combobox", name="Kind of error").click()
    page.get_by_role("option", name="Host not found").click()
    expect(page.get_by_text("No execution fits")).to_be_visible()
    assert len(traffic.asked) <= 3, json.dumps(traffic.asked)
