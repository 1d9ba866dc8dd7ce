"""What people do with jobs: create, edit, trigger, watch, retry, pause many, delete."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import VisitFactory
from tests.support.process import Receiver, Tocsin, wait_until


def test_the_first_step_is_shown_and_taken(visit: VisitFactory, node: Tocsin) -> None:
    look = visit()
    page = look.open("/")
    expect(page.get_by_test_id("verdict")).to_have_text("Ready, and nothing to do")
    expect(page.get_by_text("curl -X PUT")).to_be_visible()
    page.get_by_role("button", name="Create sample job").click()
    expect(page).to_have_url(re.compile(r"/jobs/hello$"))
    expect(page.get_by_role("heading", name="hello")).to_be_visible()
    assert node.get("/jobs/hello")["schedule"]["every"] == "10s"
    node.client.delete("/api/v1/jobs/hello").raise_for_status()


def test_create_with_a_wrong_cron_at_first(
    visit: VisitFactory, node: Tocsin, receiver: Receiver
) -> None:
    look = visit()
    page = look.open("/jobs/new")
    page.get_by_role("textbox", name="Name", exact=True).fill("report")
    page.get_by_text("Cron", exact=True).click()
    page.get_by_label("Cron expression").fill("61 2 * * *")
    # While it is typed, in the words of the server.
    expect(page.get_by_role("region", name="When it fires")).to_contain_text("61")
    page.get_by_role("textbox", name="URL").fill(receiver.url("/ok"))
    page.get_by_text("JSON", exact=True).click()
    page.get_by_label("Body", exact=True).fill('{"report": "{{ job_name }}"}')
    page.get_by_role("button", name="Create job").click()
    expect(page.get_by_text("Not saved:")).to_be_visible()
    expect(page.get_by_label("Cron expression")).to_have_attribute("aria-invalid", "true")
    # Nothing that was typed is lost.
    expect(page.get_by_role("textbox", name="URL")).to_have_value(receiver.url("/ok"))
    assert node.get("/jobs", text="report")["items"] == []

    page.get_by_label("Cron expression").fill("0 2 * * *")
    expect(page.get_by_test_id("words")).to_contain_text("At 02:00 every day")
    page.get_by_role("button", name="Create job").click()
    expect(page).to_have_url(re.compile(r"/jobs/report$"))
    job = node.get("/jobs/report")
    assert job["schedule"]["cron"] == "0 2 * * *"
    assert job["schedule"]["timezone"] == "Europe/Berlin"
    assert job["target"]["body"] == {"report": "{{ job_name }}"}


def test_what_was_typed_survives_a_reload(visit: VisitFactory) -> None:
    look = visit()
    page = look.open("/jobs/new")
    page.get_by_role("textbox", name="Name", exact=True).fill("half-way")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("half-way")
    expect(page.get_by_text("it was not saved yet")).to_be_visible()
    page.get_by_role("button", name="Start over").click()
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("")


def test_the_builder_writes_cron(visit: VisitFactory) -> None:
    look = visit()
    page = look.open("/jobs/new")
    page.get_by_label("It fires", exact=True).select_option("weekly")
    page.get_by_role("button", name="Wed").click()
    page.get_by_label("At", exact=True).fill("07:45")
    expect(page.get_by_text("45 7 * * MON,TUE,THU,FRI")).to_be_visible()
    expect(page.get_by_test_id("words")).to_contain_text("07:45")


def test_edit_and_be_told_of_another_who_edits(
    visit: VisitFactory, node: Tocsin, receiver: Receiver
) -> None:
    node.create(
        [{"name": "edited", "schedule": {"every": "1h"}, "target": {"url": receiver.url()}}]
    )
    look = visit()
    page = look.open("/jobs/edited/edit")
    page.get_by_label("Description").fill("mine")
    node.client.patch("/api/v1/jobs/edited", json={"tags": ["theirs"]}).raise_for_status()
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("Somebody changed this job")).to_be_visible()
    assert node.get("/jobs/edited")["description"] == ""
    page.get_by_role("button", name="Save mine over it").click()
    expect(page).to_have_url(re.compile(r"/jobs/edited$"))
    assert node.get("/jobs/edited")["description"] == "mine"


def test_a_test_call_shows_the_whole_answer(
    visit: VisitFactory, node: Tocsin, receiver: Receiver
) -> None:
    before = receiver.count()
    look = visit()
    page = look.open("/jobs/new")
    page.get_by_role("textbox", name="URL").fill(receiver.url("/status?code=418"))
    page.get_by_role("button", name="Send a test call now").click()
    trial = page.get_by_test_id("trial")
    expect(trial).to_contain_text("HTTP 418")
    expect(trial).to_contain_text("as asked")
    expect(trial).to_contain_text("Tocsin-Attempt: 1")
    assert receiver.count() == before + 1
    assert [one["name"] for one in node.get("/jobs", text="418")["items"]] == []


def test_trigger_watch_it_live_and_retry_what_failed(
    visit: VisitFactory, node: Tocsin, receiver: Receiver
) -> None:
    node.create(
        [
            {
                "name": "by-hand",
                "schedule": {"every": "1d"},
                "target": {"url": receiver.url("/fail?n=1"), "method": "POST"},
                "retry": {"max_attempts": 1},
            }
        ]
    )
    look = visit()
    page = look.open("/jobs/by-hand")
    expect(page.get_by_test_id("live").first).to_contain_text("Live")
    page.get_by_role("button", name="Trigger now").click()
    # Who points at it keeps it from going away.
    page.get_by_role("link", name="Watch it").hover()
    # Nobody reloads: the event does it.
    expect(page.get_by_role("region", name="Last executions")).to_contain_text("503")
    page.get_by_role("link", name="Watch it").click()
    expect(page.get_by_role("heading", name="by-hand")).to_contain_text("Failed")
    expect(page.get_by_text("The target has a problem of its own (503)")).to_be_visible()
    expect(page.get_by_text("First byte")).to_be_visible()
    failed = page.url
    # The receiver fails the first arrival of each execution; told to answer well, it does.
    node.client.patch(
        "/api/v1/jobs/by-hand", json={"target": {"url": receiver.url("/ok")}}
    ).raise_for_status()
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_role("heading", name="by-hand")).to_contain_text("Succeeded")
    assert page.url != failed
    expect(page.get_by_text("Retry of")).to_be_visible()


def test_watch_one_that_takes_its_time_and_cancel_it(
    visit: VisitFactory, node: Tocsin, receiver: Receiver
) -> None:
    node.create(
        [
            {
                "name": "hangs",
                "schedule": {"every": "1d"},
                "target": {"url": receiver.url("/hang"), "timeout": "1h"},
            }
        ]
    )
    execution = node.post("/jobs/hangs/trigger", expect=202)
    look = visit()
    page = look.open(f"/executions/{execution['id']}")
    expect(page.get_by_role("heading", name="hangs")).to_contain_text("Running")
    expect(page.get_by_role("region", name="Attempts")).to_contain_text("A call is under way")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="hangs")).to_contain_text("Cancelled")
    expect(page.get_by_text("somebody asked for it")).to_be_visible()


@pytest.fixture(scope="module")
def many(node: Tocsin, receiver: Receiver) -> list[str]:
    """Jobs to choose from."""
    names = [f"many-{number:03}" for number in range(120)]
    node.create(
        [
            {
                "name": name,
                "schedule": {"every": "1d"},
                "target": {"url": receiver.url()},
                "tags": ["even" if number % 2 == 0 else "odd", "many"],
            }
            for number, name in enumerate(names)
        ]
    )
    return names


def test_filters_are_in_the_address(visit: VisitFactory, many: list[str]) -> None:
    look = visit()
    page = look.open("/jobs")
    page.get_by_label("Search jobs").fill("many-01")
    expect(page.locator("[data-job]")).to_have_count(10)
    page.get_by_role("button", name="Show only jobs with the tag odd").first.click()
    expect(page.locator("[data-job]")).to_have_count(5)
    assert "text=many-01" in page.url
    assert "tag=odd" in page.url
    page.reload()
    expect(page.locator("[data-job]")).to_have_count(5)
    page.get_by_role("button", name="Show all").click()
    expect(page).not_to_have_url(re.compile("text="))


def test_bulk_pause_and_its_undo(visit: VisitFactory, node: Tocsin, many: list[str]) -> None:
    look = visit()
    page = look.open("/jobs?text=many-00")
    expect(page.locator("[data-job]")).to_have_count(10)
    page.get_by_label("Select all that are loaded").check()
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_role("button", name="Undo").hover()  # so that it stays
    expect(page.get_by_text("10 jobs paused")).to_be_visible()
    assert len(node.get("/jobs", status="paused", text="many-00")["items"]) == 10
    page.get_by_role("button", name="Undo").click()
    wait_until(
        lambda: not node.get("/jobs", status="paused", text="many-00")["items"], "all are resumed"
    )
    expect(page.locator("[data-job] [data-status=paused]")).to_have_count(0)


def test_bulk_delete_asks_first(visit: VisitFactory, node: Tocsin, many: list[str]) -> None:
    look = visit()
    page = look.open("/jobs?text=many-11")
    page.get_by_label("Select many-110").check()
    page.get_by_label("Select many-111").check()
    bar = page.get_by_role("region", name="What to do with the selected jobs")
    bar.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete 2 jobs?")
    dialog.get_by_role("button", name="Keep").click()
    assert len(node.get("/jobs", text="many-11")["items"]) == 10
    expect(dialog).to_have_count(0)
    bar.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator("[data-job]")).to_have_count(8)
    assert len(node.get("/jobs", text="many-11")["items"]) == 8


def test_a_long_list_holds_few_rows_and_reaches_its_end(
    visit: VisitFactory, many: list[str]
) -> None:
    look = visit()
    page = look.open("/jobs?tag=many")
    page.locator("[data-job]").first.wait_for()
    for _ in range(40):
        page.mouse.wheel(0, 1_500)
        if page.locator("[data-job=many-119]").count():
            break
        page.wait_for_timeout(50)
    expect(page.locator("[data-job=many-119]")).to_be_visible()
    assert page.locator("[data-job]").count() < 60


def test_duplicate_and_copy(visit: VisitFactory, node: Tocsin, many: list[str]) -> None:
    look = visit(permissions=["clipboard-read", "clipboard-write"])
    page = look.open("/jobs/many-001")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="YAML").click()
    expect(page.get_by_text("Copied as YAML")).to_be_visible()
    assert "name: many-001" in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Duplicate").click()
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("many-001-copy")
    page.get_by_role("button", name="Create job").click()
    expect(page).to_have_url(re.compile(r"/jobs/many-001-copy$"))
    assert node.get("/jobs/many-001-copy")["tags"] == ["odd", "many"]
