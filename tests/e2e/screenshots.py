"""Pictures of every page, for the documentation: ``make screenshots``.

Run as a program: ``python -m tests.e2e.screenshots FOLDER [NAME ...]``; without names those of
the documentation, with ``all`` every one.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.browser import chromium
from tests.e2e.png import smaller
from tests.e2e.stage import make_past
from tests.support.process import KEY, Receiver, Tocsin, now_ms, rfc3339, wait_until
from tocsin.domain.instant import DAY

DOCUMENTED = {
    "overview",
    "overview-dark",
    "timeline",
    "jobs",
    "job",
    "editor",
    "execution",
    "executions",
    "cluster",
    "keys",
    "secrets",
    "audit",
    "sign-in",
    "phone-overview",
}

WIDE = {"width": 1280, "height": 800}
LOW = {"width": 1280, "height": 640}
"""For pages that have little to show, or much of the same."""
PHONE = {"width": 390, "height": 844}


def main(folder: Path, only: set[str]) -> None:
    """Take the pictures that are asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        receiver = Receiver(home)
        node = _node(home, "eu-west-1a")
        second = _node(home, "eu-west-1b")
        try:
            asyncio.run(
                make_past(node.database, base_url=f"http://127.0.0.1:{receiver.port}", now=now_ms())
            )
            node.start()
            second.start()
            wait_until(
                lambda: len(node.get("/executions", state="succeeded", limit=5)["items"]) >= 5,
                "something has run",
            )
            _furnish(node)
            _take(node, folder, only)
        finally:
            second.close()
            node.close()
            receiver.close()


def _node(home: Path, name: str) -> Tocsin:
    """One of the nodes on the database of the stage."""
    env = {"TOCSIN_EGRESS_ALLOW": "127.0.0.0/8", "TOCSIN_NODE_NAME": name}
    return Tocsin(home, env=env, name=name)


def _furnish(node: Tocsin) -> None:
    """Keys, secrets and what the audit log tells of them; all made up, and gone with the server."""
    keys: tuple[dict[str, Any], ...] = (
        {"name": "deploy-pipeline", "role": "editor"},
        {"name": "grafana", "role": "viewer", "expires_at": rfc3339(now_ms() + 90 * DAY)},
        {"name": "on-call", "role": "operator"},
        {"name": "shop-team", "role": "operator", "tags": ["shop"]},
        {"name": "old-laptop", "role": "editor"},
    )
    made = {key["name"]: node.post("/keys", key) for key in keys}
    node.client.delete(f"/api/v1/keys/{made['old-laptop']['id']}").raise_for_status()
    for name in ("CRM_TOKEN", "HOOK_PASSWORD", "WAREHOUSE_API_KEY"):
        node.client.put(
            f"/api/v1/secrets/{name}", json={"value": f"made-up-{name.lower()}"}
        ).raise_for_status()
    for job, header in (
        ("sync-crm-contacts", "{{ secret.CRM_TOKEN }}"),
        ("export-to-warehouse", "{{ secret.WAREHOUSE_API_KEY }}"),
    ):
        node.client.patch(
            f"/api/v1/jobs/{job}", json={"target": {"headers": {"X-Api-Key": header}}}
        ).raise_for_status()
    for act in ("pause", "resume"):
        node.client.post(
            f"/api/v1/jobs/backup-databases/{act}",
            headers={"Authorization": f"Bearer {made['on-call']['key']}"},
        ).raise_for_status()


def _take(node: Tocsin, folder: Path, only: set[str]) -> None:
    base = f"http://127.0.0.1:{node.port}"
    failed = node.get("/executions", state="failed", limit=1)["items"][0]["id"]
    skipped = node.get("/executions", state="skipped", limit=1)["items"][0]["id"]
    pages = {
        "overview": "/",
        "timeline": "/timeline?range=6h",
        "timeline-week": "/timeline?range=7d",
        "jobs": "/jobs",
        "job": "/jobs/nightly-report?window=7d",
        "job-often": "/jobs/sync-crm-contacts",
        "job-history": "/jobs/push-price-updates?tab=history",
        "job-definition": "/jobs/nightly-report?tab=definition",
        "editor": "/jobs/nightly-report/edit",
        "editor-new": "/jobs/new",
        "executions": "/executions",
        "execution": f"/executions/{failed}",
        "execution-skipped": f"/executions/{skipped}",
    }
    low_pages = {
        "cluster": "/cluster",
        "keys": "/keys",
        "secrets": "/secrets",
        "audit": "/audit",
    }
    with chromium() as browser:
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport=WIDE, color_scheme=scheme, timezone_id="Europe/Berlin", locale="en-GB"
            )
            context.request.post(f"{base}/api/v1/session", data={"key": KEY})
            page = context.new_page()
            for name, path in pages.items():
                if scheme == "light" or name in {"overview", "timeline", "job", "jobs", "editor"}:
                    _shoot(page, base + path, folder, _named(name, scheme), only)
            if scheme == "light":
                _special(page, base, folder, only)
                page.set_viewport_size(LOW)
                for name, path in low_pages.items():
                    _shoot(page, base + path, folder, name, only)
                # Nobody is signed in any more.
                context.clear_cookies()
                _shoot(page, f"{base}/sign-in", folder, "sign-in", only)
            context.close()
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport=PHONE, color_scheme=scheme, timezone_id="Europe/Berlin", locale="en-GB",
                device_scale_factor=2, has_touch=True,
            )  # fmt: skip
            context.request.post(f"{base}/api/v1/session", data={"key": KEY})
            page = context.new_page()
            for name in ("overview", "jobs", "job", "timeline", "execution", "editor"):
                if scheme == "light" or name == "overview":
                    _shoot(page, base + pages[name], folder, _named(f"phone-{name}", scheme), only)
            context.close()


def _named(name: str, scheme: str) -> str:
    return name if scheme == "light" else f"{name}-dark"


def _shoot(page: Page, url: str, folder: Path, name: str, only: set[str]) -> None:
    if not only & {name, "all"}:
        return
    page.goto(url)
    _settle(page)
    _keep(page, folder, name)


def _keep(page: Page, folder: Path, name: str) -> None:
    (folder / f"{name}.png").write_bytes(smaller(page.screenshot()))


def _special(page: Page, base: str, folder: Path, only: set[str]) -> None:
    if only & {"palette", "all"}:
        page.goto(f"{base}/jobs")
        _settle(page)
        page.keyboard.press("Control+k")
        page.get_by_label("Search jobs and commands").fill("report")
        page.get_by_role("option", name="nightly-report").wait_for()
        _keep(page, folder, "palette")
    if only & {"shortcuts", "all"}:
        page.goto(f"{base}/cluster")
        _settle(page)
        page.keyboard.press("?")
        page.get_by_role("dialog").wait_for()
        page.wait_for_timeout(200)
        _keep(page, folder, "shortcuts")
    if only & {"trial", "all"}:
        page.goto(f"{base}/jobs/new?from=push-price-updates")
        _settle(page)
        page.get_by_role("button", name="Send a test call now").click()
        page.get_by_test_id("trial").wait_for()
        page.wait_for_timeout(500)
        _keep(page, folder, "trial")


def _settle(page: Page) -> None:
    """Wait until nothing is on its way any more."""
    page.locator("h1").first.wait_for()
    expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=30_000)
    page.evaluate("document.fonts.ready.then(() => true)")
    page.wait_for_timeout(700)


if __name__ == "__main__":
    main(Path(sys.argv[1]), set(sys.argv[2:]) or DOCUMENTED)
