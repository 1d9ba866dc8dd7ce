"""What goes wrong around a page: clocks, sessions, limits, slow networks, and hostile texts."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Request, Route, expect

from tests.e2e.conftest import STATIC, VisitFactory
from tests.e2e.test_size import FIRST_PAGE
from tests.support.process import KEY, Receiver, Tocsin, now_ms, rfc3339, wait_until
from tocsin.domain.instant import HOUR, MINUTE

EVIL = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'


@pytest.fixture(scope="module")
def evil() -> Iterator[str]:
    """The URL of a target that answers with markup."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(500)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(EVIL)))
            self.end_headers()
            self.wfile.write(EVIL.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_markup_in_whatever_is_shown_stays_text(
    visit: VisitFactory, node: Tocsin, evil: str
) -> None:
    node.create(
        [
            {
                "name": "evil",
                "description": EVIL,
                "schedule": {"every": "1h"},
                "target": {"url": evil, "headers": {"X-Evil": EVIL}, "body": {EVIL: EVIL}},
                "retry": {"max_attempts": 1},
                "tags": ["<b>bold</b>"],
                "metadata": {EVIL: EVIL},
            }
        ]
    )
    node.post("/jobs/evil/trigger", expect=202)
    failed = wait_until(
        lambda: node.get("/executions", job="evil", state="failed")["items"], "it has failed"
    )[0]
    look = visit()
    page = look.page
    for path, shown in (
        ("/jobs", EVIL),
        ("/jobs/evil", EVIL),
        ("/jobs/evil?tab=history", "500"),
        ("/jobs/evil?tab=definition", "onerror="),
        ("/jobs/evil/edit", "Edit evil"),
        (f"/executions/{failed['id']}", EVIL),
        ("/jobs?text=" + EVIL.replace('"', "%22") + "&tag=<b>x</b>", "<b>x</b>"),
        ("/executions?job=<b>x</b>", "<b>x</b>"),
        ("/jobs/<img src=x onerror=pwned=1>", "There is no such job"),
        ("/audit", "evil"),
    ):
        look.open(path)
        look.settle()
        expect(page.locator("main")).to_contain_text(shown)
        assert page.locator("img[src=x], main script, main b:text-is('x')").count() == 0, path
        assert page.evaluate("window.pwned") is None, path


@pytest.mark.parametrize("hours", [-5, 5])
def test_fires_are_counted_down_by_the_clock_of_the_server(
    visit: VisitFactory, node: Tocsin, hours: int
) -> None:
    at = rfc3339(now_ms() + 3 * HOUR + 30 * MINUTE)
    node.client.put(
        "/api/v1/jobs/by-the-server", json={"schedule": {"at": at}, "target": {"log": "x"}}
    ).raise_for_status()
    look = visit()
    look.page.clock.install(time=(now_ms() + hours * HOUR) / 1_000)
    page = look.open("/jobs?text=by-the-server")
    expect(page.locator("[data-job=by-the-server] time").first).to_have_text(
        re.compile("^in 3h (29|30)m$")
    )


def test_a_time_years_ahead_is_said_in_years(visit: VisitFactory, node: Tocsin) -> None:
    node.client.put(
        "/api/v1/jobs/far-away",
        json={"schedule": {"at": rfc3339(now_ms() + 1_494 * 24 * HOUR)}, "target": {"log": "x"}},
    ).raise_for_status()
    page = visit().open("/jobs?text=far-away")
    time = page.locator("[data-job=far-away] time").first
    expect(time).to_have_text("in 4y 1mo")
    time.hover()
    expect(page.get_by_role("tooltip")).to_contain_text(re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d"))


def test_a_session_that_ends_while_somebody_types_loses_nothing(
    visit: VisitFactory, node: Tocsin
) -> None:
    key = node.post("/keys", {"name": "ends", "role": "editor"})
    look = visit(key=key["key"])
    page = look.open("/jobs/new")
    page.get_by_role("textbox", name="Name", exact=True).fill("typed-before")
    page.get_by_label("Description").fill("a long text")
    page.get_by_text("Write into the log", exact=True).click()
    page.get_by_role("textbox", name="Line").fill("said")
    node.client.delete(f"/api/v1/keys/{key['id']}").raise_for_status()
    page.get_by_role("button", name="Create job").click()
    expect(page.get_by_role("textbox", name="API key")).to_be_visible()
    expect(page.get_by_text("What you typed is kept")).to_be_visible()
    page.get_by_role("textbox", name="API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("typed-before")
    expect(page.get_by_label("Description")).to_have_value("a long text")
    page.get_by_role("button", name="Create job").click()
    expect(page).to_have_url(re.compile("/jobs/typed-before$"))
    assert node.get("/jobs/typed-before")["target"]["log"] == "said"


@pytest.mark.parametrize("path", ["/keys", "/secrets", "/audit", "/executions"])
def test_a_session_that_has_ended_leads_to_the_door_from_every_page(
    visit: VisitFactory, node: Tocsin, path: str
) -> None:
    look = visit()
    page = look.open("/cluster")
    look.context.clear_cookies()
    link = page.get_by_role("navigation").locator(f"a[href='{path}']")
    # Before anything else asks: only this page finds out.
    link.click()
    expect(page.get_by_role("textbox", name="API key")).to_be_visible()


def test_who_signs_out_in_one_tab_is_asked_in_the_other(visit: VisitFactory, node: Tocsin) -> None:
    look = visit()
    page = look.open("/jobs")
    other = look.context.new_page()
    other.goto(look.base + "/jobs")
    other.get_by_role("heading", name="Jobs").wait_for()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("textbox", name="API key")).to_be_visible()
    # At once, and not when it asks for something next.
    expect(other.get_by_role("textbox", name="API key")).to_be_visible()


def test_back_and_forward_find_what_was_chosen(visit: VisitFactory, node: Tocsin) -> None:
    node.create(
        [
            {"name": f"kept-{number}", "schedule": {"every": "1d"}, "target": {"log": "x"}}
            for number in range(3)
        ]
    )
    look = visit()
    page = look.open("/jobs")
    page.get_by_label("Search jobs").fill("kept-1")
    expect(page.locator("[data-job]")).to_have_count(1)
    page.locator("[data-job=kept-1]").get_by_role("link", name="kept-1", exact=True).click()
    page.get_by_role("tab", name="History").click()
    expect(page).to_have_url(re.compile("tab=history"))
    page.go_back()
    page.wait_for_url(re.compile(r"/jobs\?text=kept-1$|/jobs/kept-1$"))
    if "/jobs/kept-1" in page.url:
        page.go_back()
    expect(page).to_have_url(re.compile(r"/jobs\?text=kept-1$"))
    expect(page.get_by_label("Search jobs")).to_have_value("kept-1")
    expect(page.locator("[data-job]")).to_have_count(1)
    page.go_forward()
    expect(page.get_by_role("heading", name="kept-1")).to_be_visible()


def test_a_limit_that_is_reached_is_said_and_nothing_is_lost(
    visit: VisitFactory, tmp_path: Path
) -> None:
    own = Tocsin(tmp_path, env={"TOCSIN_RATE_LIMIT": "6/day"}).start()
    try:
        own.create([{"name": "often", "schedule": {"every": "1d"}, "target": {"log": "x"}}])
        look = visit(at=own)
        page = look.open("/jobs/often")
        csrf = look.context.request.get(look.base + "/api/v1/session").json()["csrf_token"]
        status = 0
        while status < 400:
            answer = look.context.request.post(
                look.base + "/api/v1/jobs/often/resume", headers={"Tocsin-CSRF": csrf}
            )
            status = answer.status
        assert status == 429
        page.get_by_role("button", name="Pause").click()
        # By the day: windows are those of the clock, and the end of a minute is never far.
        expect(page.get_by_role("alert").first).to_contain_text(
            re.compile("more than 6 writes in .*; try again in")
        )
        expect(page.locator("[data-status=active]").first).to_be_visible()
        # Reading goes on.
        page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
        expect(page.locator("[data-job=often]")).to_be_visible()
    finally:
        own.close()


def test_a_store_that_does_not_answer_is_said_and_asked_again(
    visit: VisitFactory, node: Tocsin
) -> None:
    look = visit()
    page = look.open("/cluster")
    down = {"on": True}

    def answer(route: Route) -> None:
        if not down["on"]:
            route.fallback()
            return
        route.fulfill(
            status=503,
            content_type="application/problem+json",
            body='{"detail": "the store did not answer; try again", "code": "store_unavailable"}',
        )

    page.route(re.compile(r"/api/v1/(jobs|executions)(\?|$)"), answer)
    page.get_by_role("navigation").get_by_role("link", name="Executions").click()
    said = page.get_by_role("alert").filter(has_text="the store did not answer")
    expect(said).to_be_visible()
    down["on"] = False
    said.get_by_role("button", name="Try again").click()
    expect(said).to_have_count(0)
    expect(page.get_by_role("table", name="Executions")).to_be_visible()


def test_on_a_slow_network_the_place_of_everything_is_there_first(
    visit: VisitFactory, node: Tocsin
) -> None:
    node.client.put(
        "/api/v1/jobs/rests", json={"schedule": {"every": "1d"}, "target": {"log": "x"}}
    ).raise_for_status()
    look = visit()
    page = look.page
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile(r"/api/v1/stats"), hold)
    page.goto(look.base + "/")
    # The frame and what has come already; of the rest the place.
    expect(page.get_by_role("region", name="Nodes")).to_contain_text("Holds its lease")
    expect(page.locator("[aria-busy=true]").first).to_be_visible()
    before = page.get_by_role("region", name="Fires next").bounding_box()
    for route in held:
        route.continue_()
    page.unroute(re.compile(r"/api/v1/stats"))
    look.settle()
    after = page.get_by_role("region", name="Fires next").bounding_box()
    assert before is not None
    assert after is not None
    # What is read does not jump when the rest arrives.
    assert abs(after["y"] - before["y"]) < 2


def test_the_first_view_fetches_little_and_nothing_waits_in_a_row(
    visit: VisitFactory, tmp_path: Path
) -> None:
    idle = Tocsin(tmp_path).start()
    try:
        idle.create([{"name": "rests", "schedule": {"every": "1d"}, "target": {"log": "x"}}])
        look = visit(at=idle)
        page = look.page
        asked: list[Request] = []
        page.on("request", lambda one: asked.append(one))  # noqa: PLW0108  # Playwright marks it
        script: list[Route] = []

        def hold(route: Route) -> None:
            script.append(route)

        page.route(re.compile(r"/assets/first-.*\.js"), hold)
        wanted = re.compile(r"/api/v1/(session|stats|cluster|jobs|executions)|/healthz|/readyz")

        def answered() -> set[str]:
            return {
                urlsplit(one.url).path
                for one in asked
                if wanted.search(one.url) and one.response() is not None
            }

        # While the script is held back, the data comes: it does not wait for the script.
        page.goto(look.base + "/", wait_until="commit")
        all_of_it = {
            "/api/v1/session",
            "/api/v1/stats",
            "/api/v1/cluster",
            "/api/v1/jobs",
            "/api/v1/executions",
            "/healthz",
            "/readyz",
        }
        while answered() != all_of_it:
            page.wait_for_event("response", lambda one: wanted.search(one.url) is not None)
        while not script:
            page.wait_for_timeout(20)  # until the route has been told of it
        before = len(asked)
        script[0].continue_()
        expect(page.get_by_test_id("verdict")).to_have_text("Everything is fine")
        expect(page.get_by_role("region", name="Fires next")).to_contain_text("rests")
        # When the script is there, nothing more is asked for before all is shown.
        late = {urlsplit(one.url).path for one in asked[before:]}
        assert {path for path in late if not path.startswith("/assets/")} <= {
            "/api/v1/events",
            "/favicon.svg",
        }
        assert not {path for path in late if path.endswith((".js", ".css"))}, late
        # Whatever is fetched is named in the page itself, fonts in its style.
        index = (STATIC / "index.html").read_text()
        files = [
            urlsplit(one.url).path
            for one in asked
            if not wanted.search(one.url) and "/api/" not in one.url
        ]
        unnamed = [name for name in files if name != "/" and name not in index]
        assert all(name.endswith(".woff2") for name in unnamed), unnamed
        assert len(files) == len(set(files))
        assert len(files) <= 9, files
        sent = {
            urlsplit(one.url).path: one.sizes()["responseBodySize"]
            for one in asked
            if one.url.endswith((".js", ".css", ".woff2"))
        }
        scripts = sum(size for name, size in sent.items() if name.endswith(".js"))
        assert 100_000 < scripts < FIRST_PAGE, sent
        assert sum(sent.values()) < FIRST_PAGE + 120_000, sent
    finally:
        idle.close()


def test_a_schedule_that_the_server_takes_for_too_often_is_refused_while_it_is_typed(
    visit: VisitFactory, tmp_path: Path, receiver: Receiver
) -> None:
    own = Tocsin(tmp_path, env={"TOCSIN_MIN_INTERVAL": "1m"}).start()
    try:
        look = visit(at=own)
        page = look.open("/jobs/new")
        page.get_by_role("textbox", name="Name", exact=True).fill("seldom")
        page.get_by_role("textbox", name="URL").fill(receiver.url())
        page.get_by_text("Cron", exact=True).click()
        cron = page.get_by_label("Cron expression")
        cron.fill("*/20 * * * * *")
        # What it says is shown all the same, and that it will not be taken.
        expect(page.get_by_test_id("words")).to_contain_text("20 seconds")
        refused = page.get_by_test_id("refused")
        expect(refused).to_contain_text("Not to be saved: it fires every 20s at its most often")
        expect(cron).to_have_attribute("aria-invalid", "true")
        assert look.violations() == []
        page.get_by_role("button", name="Create job").click()
        expect(page.get_by_text("Not saved: a field is not right yet.")).to_be_visible()
        expect(cron).to_be_focused()
        assert own.get("/jobs")["items"] == []
        page.get_by_text("Interval", exact=True).click()
        every = page.get_by_role("textbox", name="Every")
        every.fill("59s")
        expect(refused).to_contain_text("fires every 59s")
        every.fill("1m")
        expect(refused).to_have_count(0)
        page.get_by_role("button", name="Create job").click()
        expect(page).to_have_url(re.compile("/jobs/seldom$"))
        # A job that has such a schedule from before keeps it.
        assert own.get("/jobs/seldom")["schedule"]["every"] == "1m"
    finally:
        own.close()
