"""Signing in, and what a role hides or disables; keys, secrets and the audit log."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import VisitFactory
from tests.support.process import KEY, Tocsin


@pytest.fixture(scope="module")
def job(node: Tocsin) -> dict[str, Any]:
    """A job to be allowed to, or not."""
    made: dict[str, Any] = node.create(
        [{"name": "guarded", "schedule": {"every": "1d"}, "target": {"log": "x"}}]
    )[0]
    return made


def new_key(node: Tocsin, role: str) -> dict[str, Any]:
    """A key with a role."""
    made: dict[str, Any] = node.post("/keys", {"name": f"a-{role}", "role": role})
    return made


def test_sign_in_with_a_wrong_key_and_a_right_one(visit: VisitFactory, job: Any) -> None:
    look = visit(key=None)
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
    page.reload()
    expect(page.get_by_role("textbox", name="API key")).to_be_visible()


def test_a_link_signs_in_and_leaves_no_key_behind(visit: VisitFactory, job: Any) -> None:
    look = visit(key=None)
    page = look.open(f"/sign-in#key={KEY}")
    expect(page.get_by_test_id("verdict")).to_be_visible()
    assert KEY not in page.url
    assert "tocsin_session" not in page.evaluate("document.cookie")


def test_a_viewer_is_told_why_not(visit: VisitFactory, job: Any, node: Tocsin) -> None:
    look = visit(key=new_key(node, "viewer")["key"])
    page = look.open("/jobs/guarded")
    for name in ("Trigger now", "Pause"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()
    reason = "Needs the role operator; this key has the role viewer."
    guarded = page.locator(f"[data-tip='{reason}']")
    expect(guarded).to_have_count(2)
    # By keys, too.
    page.keyboard.press("Tab")
    guarded.first.focus()
    expect(page.get_by_role("tooltip")).to_have_text(reason)
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_have_count(0)
    assert look.violations() == []
    # By keys neither.
    page.keyboard.press("t")
    page.keyboard.press("p")
    page.goto(look.base + "/jobs/new")
    expect(page.get_by_role("button", name="Create job")).to_be_disabled()
    expect(page.get_by_role("link", name="API keys")).to_have_count(0)
    assert node.get("/jobs/guarded")["status"] == "active"
    assert node.get("/executions", job="guarded", state="succeeded")["items"] == []


def test_pages_that_are_opened_by_hand_offer_nothing_to_a_viewer(
    visit: VisitFactory, job: Any, node: Tocsin
) -> None:
    node.client.put("/api/v1/secrets/KEPT", json={"value": "made-up"}).raise_for_status()
    look = visit(key=new_key(node, "viewer")["key"])
    for path, button, role in (
        ("/keys", "New key", "admin"),
        ("/secrets", "New secret", "editor"),
    ):
        page = look.open(path)
        expect(page.get_by_role("button", name=button)).to_be_disabled()
        reason = f"Needs the role {role}; this key has the role viewer."
        expect(page.locator(f"[data-tip='{reason}']")).to_have_count(1)
    # It may read what there is, and is not offered to change it.
    expect(page.get_by_role("row", name=re.compile("KEPT"))).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("New value|Delete"))).to_have_count(0)
    look.settle()
    assert look.violations() == []


def test_a_key_for_some_tags_is_told_of_its_own_jobs(
    visit: VisitFactory, job: Any, node: Tocsin
) -> None:
    node.create(
        [{"name": "mine", "schedule": {"every": "1d"}, "target": {"log": "x"}, "tags": ["mine"]}]
    )
    key = node.post("/keys", {"name": "for-some", "role": "viewer", "tags": ["mine"]})
    look = visit(key=key["key"])
    page = look.open("/")
    # There are no figures of all jobs for it, and nothing that waits for them for ever.
    expect(page.get_by_test_id("verdict")).to_have_text("No job that this key sees fails")
    fires = page.get_by_role("region", name="Fires next")
    expect(fires).to_contain_text("mine")
    expect(fires).not_to_contain_text("guarded")
    look.settle()
    assert look.violations() == []
    # The timeline is of its own jobs, too.
    node.post("/jobs/mine/trigger", expect=202)
    node.post("/jobs/guarded/trigger", expect=202)
    page.get_by_role("navigation").get_by_role("link", name="Timeline").click()
    expect(page.locator("[data-lane=mine] [data-mark=succeeded]")).to_be_visible()
    expect(page.locator("[data-lane]")).to_have_count(1)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert look.violations() == []


def test_an_operator_pauses_but_does_not_edit(visit: VisitFactory, job: Any, node: Tocsin) -> None:
    look = visit(key=new_key(node, "operator")["key"])
    page = look.open("/jobs/guarded")
    reason = "Needs the role editor; this key has the role operator."
    expect(page.locator(f"[data-tip='{reason}']")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("guarded paused")).to_be_visible()
    assert node.get("/jobs/guarded")["status"] == "paused"


def test_a_key_that_is_revoked_leads_to_the_door(
    visit: VisitFactory, job: Any, node: Tocsin
) -> None:
    key = new_key(node, "editor")
    look = visit(key=key["key"])
    page = look.open("/jobs/guarded")
    node.client.delete(f"/api/v1/keys/{key['id']}").raise_for_status()
    page.get_by_role("navigation").get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("textbox", name="API key")).to_be_visible()


def test_an_admin_makes_and_revokes_a_key(visit: VisitFactory, job: Any, node: Tocsin) -> None:
    look = visit()
    page = look.open("/keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("made-here")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("It is shown this once")).to_be_visible()
    secret = page.get_by_role("region", name="The new key").inner_text()
    assert secret.startswith("tcs_")
    page.get_by_role("button", name="I have kept it").click()
    row = page.get_by_role("row", name=re.compile("made-here"))
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")
    assert look.violations() == []
    page.goto(look.base + "/audit")
    revoked = page.get_by_role("row", name=re.compile("Revoked key made-here"))
    expect(revoked).to_contain_text("status: active → revoked")
    expect(revoked.locator("[data-tip='key.revoke']")).to_be_visible()
    assert look.violations() == []
    assert secret not in page.content()
