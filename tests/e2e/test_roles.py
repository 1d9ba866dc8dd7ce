"""Signing in, and what a role hides or disables, by the contract of ``/api/v1/session``.

The server of these tests has no authentication. What it would say of a session is put in its
place here, on the way to the browser; everything else is real.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.conftest import Visit, VisitFactory
from tests.support.process import Tocsin

KEY = "tcs_3f9a_correct"


@dataclass
class Door:
    """What the server would say of who asks."""

    role: str = "admin"
    signed_in: bool = False
    sent: list[dict[str, str]] = field(default_factory=list)
    """The headers of changes."""

    def session(self, route: Route) -> None:
        """`/api/v1/session`."""
        request = route.request
        if request.method == "POST":
            self.signed_in = json.loads(request.post_data or "{}").get("key") == KEY
        if request.method == "DELETE":
            self.signed_in = False
            route.fulfill(status=204)
            return
        if not self.signed_in:
            problem = {"title": "Not signed in", "status": 401, "code": "unauthorized"}
            route.fulfill(status=401, json=problem)
            return
        route.fulfill(
            json={
                "auth": "on",
                "role": self.role,
                "namespace": "default",
                "namespaces": ["default"],
                "actions": [],
                "csrf_token": "token-of-the-session",
                "key": {"id": "k1", "name": "alice", "prefix": "3f9a"},
            }
        )

    def page(self, route: Route) -> None:
        """Pages: as a server with these features would serve them."""
        answer = route.fetch()
        features = 'name="tocsin-features" content="session keys audit"'
        route.fulfill(
            response=answer,
            body=answer.text().replace('name="tocsin-features" content=""', features),
        )

    def change(self, route: Route) -> None:
        """Changes: let through, and noted."""
        if route.request.method != "GET":
            self.sent.append(route.request.headers)
        route.continue_()


def enter(look: Visit, door: Door) -> None:
    """Put the door before the server."""
    page = look.page
    page.route(re.compile(r"/api/v1/session$"), door.session)
    page.route(re.compile(r"/api/v1/jobs/"), door.change)
    page.route(
        lambda url: "/api/" not in url and "/assets/" not in url and "." not in url.split("/")[-1],
        door.page,
    )


@pytest.fixture(scope="module")
def job(node: Tocsin) -> dict[str, Any]:
    """A job to be allowed to, or not."""
    made: dict[str, Any] = node.create(
        [{"name": "guarded", "schedule": {"every": "1d"}, "target": {"log": "x"}}]
    )[0]
    return made


def test_sign_in_with_a_wrong_key_and_a_right_one(visit: VisitFactory, job: Any) -> None:
    look, door = visit(), Door()
    enter(look, door)
    page = look.open("/jobs")
    expect(page.get_by_role("textbox", name="API key")).to_be_focused()
    assert look.violations() == []
    page.get_by_role("textbox", name="API key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("This key is not valid")).to_be_visible()
    page.get_by_role("textbox", name="API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    # Where one wanted to go.
    expect(page.locator("[data-job=guarded]")).to_be_visible()
    expect(page).to_have_url(re.compile("/jobs$"))
    expect(page.get_by_role("link", name="API keys")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("textbox", name="API key")).to_be_visible()
    assert not door.signed_in


def test_a_link_signs_in_and_leaves_no_key_behind(visit: VisitFactory, job: Any) -> None:
    look, door = visit(), Door()
    enter(look, door)
    page = look.open(f"/sign-in#key={KEY}")
    expect(page.get_by_test_id("verdict")).to_be_visible()
    assert KEY not in page.url
    page.go_back()
    assert KEY not in page.url


def test_a_viewer_is_told_why_not(visit: VisitFactory, job: Any) -> None:
    look, door = visit(), Door(role="viewer", signed_in=True)
    enter(look, door)
    page = look.open("/jobs/guarded")
    for name in ("Trigger now", "Pause"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()
    expect(
        page.get_by_title("Needs the role operator; this key has the role viewer.")
    ).to_have_count(2)
    assert look.violations() == []
    # By keys neither.
    page.keyboard.press("t")
    page.keyboard.press("p")
    page.goto(look.base + "/jobs/new")
    expect(page.get_by_role("button", name="Create job")).to_be_disabled()
    expect(page.get_by_role("link", name="API keys")).to_have_count(0)
    assert door.sent == []


def test_an_operator_pauses_but_does_not_edit(visit: VisitFactory, job: Any, node: Tocsin) -> None:
    look, door = visit(), Door(role="operator", signed_in=True)
    enter(look, door)
    page = look.open("/jobs/guarded")
    expect(
        page.get_by_title("Needs the role editor; this key has the role operator.")
    ).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("guarded paused")).to_be_visible()
    assert node.get("/jobs/guarded")["status"] == "paused"
    # What proves that the change comes from the page, and which namespace it is about.
    assert door.sent[0]["tocsin-csrf"] == "token-of-the-session"
    assert door.sent[0]["tocsin-namespace"] == "default"


def test_a_session_that_ends_leads_to_the_door(visit: VisitFactory, job: Any) -> None:
    look, door = visit(), Door(signed_in=True)
    enter(look, door)
    page = look.open("/jobs/guarded")
    page.route(
        re.compile(r"/api/v1/jobs\?"),
        lambda route: route.fulfill(status=401, json={"title": "Not signed in", "status": 401}),
    )
    door.signed_in = False
    page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("textbox", name="API key")).to_be_visible()
