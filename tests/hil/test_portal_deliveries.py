"""What was sent to whom, in Debian's Chromium: both languages, phone and desktop; a dead letter is sent again without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from appliance.core.document import parse
from appliance.history import notice
from appliance.kinds import KINDS
from appliance.notifications.events import Names
from appliance.notifications.queue import Health, Outcome, Wants
from appliance.notifications.state import State
from appliance.paths import Paths
from tests.hil.agents.browser import WIDTHS, Watched, chromium, watched
from tests.hil.portal_app import Portal, portal_over
from tests.unit.access.company import ROWS
from tests.unit.notifications.ground import WHOLE, Ground, call
from tests.unit.notifications.receiver import authority

NOW = 1_795_406_000_000
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43
MORE = [
    *(
        ("notification_endpoint", {"id": id, "name": name, "target": {"type": "webhook", "url": f"https://{id}.example.com/calls", "secret": "line"}})
        for id, name in (("crm", "CRM"), ("door-opener", "Door"), ("fresh", "Nothing sent yet"))
    ),
    ("notification_endpoint", {"id": "own", "name": "Own", "events": ["call.missed"], "fields": ["caller"], "target": {"type": "webhook", "url": "https://own.example.com/", "secret": "line", "authority": authority().pem}}),
    ("history_export", {"id": "billing", "name": "Billing", "site": "milano", "columns": ["started", "talk_s"], "target": {"type": "sftp", "host": "files.example.com", "username": "calls", "secret": "line", "host_key": KEY}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def filled(ground: Ground) -> None:
    """Some delivered, some that wait, dead letters, a file that doesn't arrive."""
    for n in range(6):
        ground.notice(
            call(f"centralino-1795406{n:03}.{n}", *(WHOLE if n % 2 else (notice.STARTED, notice.MISSED, notice.ENDED)))
        )
    ground.queue.fan_out([Wants("crm"), Wants("door-opener")], Names({"201": ("anna", "Anna B.")}), NOW)
    refused = "the server's certificate isn't trusted: certificate has expired"
    while due := ground.queue.due("crm", NOW, 50):
        bad = {each.number for each in due if each.stream.endswith(".4")}
        outcomes = [
            Outcome(each, 410, "HTTP 410", permanent=True) if each.number in bad else Outcome(each, 204) for each in due
        ]
        ground.queue.settle(outcomes, {"crm": Health(0, None, NOW)}, NOW)
    tried = ground.queue.due("door-opener", NOW, 1)
    ground.queue.settle(
        [Outcome(tried[0], None, refused, wait_ms=60_000)], {"door-opener": Health(0, NOW, None, refused)}, NOW
    )
    runs = ground.deliveries.runs
    runs.begin("billing", NOW)
    for n in (1, 2):
        runs.add(
            "billing", runs.newest()["billing"], NOW, f"billing_00000{n}_2026-11-25T0230_2026-11-26T0230.csv", "{}", NOW
        )
        newest = runs.newest()["billing"].number
        runs.arrived(newest, NOW) if n == 1 else runs.failed(newest, "the server doesn't let this user in", 60_000, NOW)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    path = tmp_path_factory.mktemp("deliveries")
    with portal_over(path, [parse(KINDS, kind, row) for kind, row in [*ROWS, *MORE]]) as running:
        running.who = "administrator"
        ground = Ground(Paths(path, path).store)
        filled(ground)
        yield running
        ground.close()


def looks_well(seen: Watched, name: str) -> None:
    assert seen.wrong == [], name
    assert seen.too_wide() <= 0, name
    seen.screen(name)
    assert seen.axe() == [], name
    seen.wrong.clear()  # axe itself may say something


@pytest.mark.parametrize(("language", "theme"), [("en", "dark"), ("it", "light")])
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_look_well(browser: Browser, portal: Portal, language: str, theme: str, width: str) -> None:
    with watched(browser, url=portal.url, language=language, width=WIDTHS[width], theme=theme) as seen:
        page, mark = seen.page, f"{language}-{width}"
        page.goto("/deliveries")
        expect(page.get_by_role("heading", level=1)).to_have_text("Deliveries" if language == "en" else "Consegne")
        looks_well(seen, f"deliveries-{mark}")
        page.locator("th.when a").first.click()
        expect(page.locator("pre")).to_contain_text('"call"')
        looks_well(seen, f"delivery-{mark}")
        if language == "it":
            for place in ("notification_endpoint/own", "history_export/billing"):
                page.goto(f"/objects/{place}")
                looks_well(seen, f"{place.partition('/')[0]}-{mark}")


def test_a_dead_letter_is_sent_again_without_scripts(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url, scripts=False) as seen:
        page = seen.page
        page.goto("/objects/site")
        page.get_by_role("link", name="Deliveries").first.click()
        page.get_by_label("State").select_option("dead letter")
        page.get_by_role("button", name="Show", exact=True).click()
        rows = page.locator("table").nth(1).locator("tbody tr")
        expect(rows).to_have_count(3)
        rows.first.get_by_role("link").click()
        page.get_by_role("button", name="Send again").click()
        expect(page.get_by_role("status")).to_have_text("1 will be sent again.")
        page.goto("/deliveries")
        page.get_by_role("button", name="Send dead letters again: crm").click()
        expect(page.get_by_role("status")).to_have_text("2 will be sent again.")


def test_an_empty_page_says_what_to_do_next(browser: Browser, tmp_path: Path) -> None:
    with (
        portal_over(tmp_path, [parse(KINDS, kind, row) for kind, row in ROWS]) as portal,
        watched(browser, url=portal.url) as seen,
    ):
        portal.who = "administrator"
        seen.page.goto("/deliveries")
        expect(seen.page.get_by_text("There is no call history yet")).to_be_visible()
        ground = Ground(Paths(tmp_path, tmp_path).store)
        seen.wrong.clear()  # the browser notes the status
        seen.page.get_by_role("link", name="Try again").click()
        expect(seen.page.get_by_text("Nobody is told of anything yet.")).to_be_visible()
        looks_well(seen, "deliveries-empty")
        seen.page.get_by_role("link", name="Add notification address").click()
        expect(seen.page.get_by_role("heading", level=1)).to_have_text("Add notification address")
        assert ground.listed(state=State.DEAD) == []
        ground.close()
