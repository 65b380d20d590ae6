"""The call history and its statistics in Debian's Chromium: both languages, phone and desktop; without scripts; by keyboard."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.core.document import parse
from appliance.history.model import Call, Outcome
from appliance.kinds import KINDS
from appliance.paths import Paths
from tests.hil.agents.browser import WIDTHS, Watched, chromium, watched
from tests.hil.portal_app import Portal, portal_over
from tests.unit.access.company import ROWS
from tests.unit.console.past import START, call, from_outside, remember, usual

DESKS = [
    ("extension", {"id": f"e{number}", "number": str(number), "label": label, "site": "torino" if number > 300 else "milano"})
    for number, label in ((202, "Accounts"), (203, "Purchasing, second floor, left"), (302, "Workshop"), (303, "Shop"))
]  # fmt: skip


def month() -> list[Call]:
    """A month of office hours, up to yesterday evening."""
    dice = random.Random(4)
    rome = ZoneInfo("Europe/Rome")
    evening = datetime.now(rome).replace(hour=18, minute=0, second=0, microsecond=0) - timedelta(days=1)
    made = []
    for day in range(28):
        date = evening - timedelta(days=day)
        for _ in range(6 if date.weekday() < 5 else 1):
            when = date - timedelta(minutes=dice.randrange(540))
            minutes = (when - START).total_seconds() / 60
            caller, called = dice.sample(["201", "202", "203", "301", "302", "303"], 2)
            one = (
                from_outside(minutes, called, "Rossi")
                if dice.random() < 0.3
                else call(minutes, caller, called, dice.random() < 0.8)
            )
            made.append(
                one
                if one.answered
                else replace(one, outcome=dice.choice((Outcome.BUSY, Outcome.NO_ANSWER, Outcome.FAILED)))
            )
    return sorted([*usual(), *made], key=lambda one: one.ended)


CALLS = month()
GROUP = next(id for id, made in enumerate(CALLS, 1) if made.transfers)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    path = tmp_path_factory.mktemp("calls")
    with portal_over(path, [parse(KINDS, kind, row) for kind, row in [*ROWS, *DESKS]]) as running:
        running.who = "administrator"
        remember(Paths(path, path), CALLS)
        yield running


def looks_well(seen: Watched, name: str) -> None:
    assert seen.wrong == [], name
    assert seen.too_wide() <= 0, name
    seen.screen(name)
    assert seen.axe() == [], name
    seen.wrong.clear()  # axe itself may say something


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", ["en", "it"])
def test_every_page(browser: Browser, portal: Portal, language: str, width: str) -> None:
    theme = "dark" if width == "phone" else "light"
    with watched(browser, language=language, width=WIDTHS[width], theme=theme, url=portal.url) as seen:
        for name, path in (
            ("calls", "/calls?from=2026-03-01"), ("calls-found", "/calls?q=rossi&direction=inbound&loss=1"), ("call", f"/calls/{GROUP}"),
            ("call-plain", "/calls/1"), ("statistics-day", "/statistics"), ("statistics-extension", "/statistics?by=extension"),
        ):  # fmt: skip
            seen.page.goto(path)
            assert seen.page.locator("html").get_attribute("lang") == language
            looks_well(seen, f"{name}-{language}-{width}")


def test_what_can_t_be_searched_for_or_read(browser: Browser, portal: Portal, tmp_path: Path) -> None:
    with watched(browser, width=360, url=portal.url) as seen:
        seen.page.goto("/calls?from=x&talk=y")
        expect(seen.page.get_by_role("alert").get_by_role("link")).to_have_count(2)
        seen.wrong = [text for text in seen.wrong if "422" not in text]  # the browser notes the status
        looks_well(seen, "calls-faults")
        for name, path in (
            ("calls-nothing", "/calls?q=nobody"),
            ("statistics-nothing", "/statistics?from=2020-01-01&to=2020-01-31"),
        ):
            seen.page.goto(path)
            expect(seen.page.locator(".empty").get_by_role("link")).to_have_count(1)
            looks_well(seen, name)
    with portal_over(tmp_path, [parse(KINDS, kind, row) for kind, row in ROWS]) as closed:
        closed.who = "administrator"
        with watched(browser, width=360, url=closed.url) as seen:
            seen.page.goto("/calls")
            expect(seen.page.get_by_role("heading", level=1)).to_have_text("The call history can't be read now")
            seen.wrong = [text for text in seen.wrong if "503" not in text]
            looks_well(seen, "calls-closed")
            remember(Paths(tmp_path, tmp_path), [])
            seen.page.get_by_role("link", name="Try again").click()
            expect(seen.page.get_by_text("make one from a phone")).to_be_visible()
            looks_well(seen, "calls-none")


def test_by_keyboard_from_the_menu_to_a_call_and_its_file(browser: Browser, portal: Portal, tmp_path: Path) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/extension")
        focus(page, "Call history")
        page.keyboard.press("Enter")
        page.get_by_role("searchbox", name="Number or name").focus()
        page.keyboard.type("<script>")
        page.keyboard.press("Enter")
        expect(page.locator("#list .count")).to_have_text("1 call")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as CSV").press("Enter")
        file = tmp_path / "calls.csv"
        download.value.save_as(file)
        with file.open(encoding="utf-8-sig", newline="") as lines:
            [row] = csv.DictReader(lines)
        assert row["from_name"] == '<script>alert("x")</script>'
        page.locator("#list tbody th a").press("Enter")
        expect(page.get_by_role("img")).to_have_count(1)
        expect(page.locator(".facts")).to_contain_text('<script>alert("x")</script>')
        assert [
            text for text in seen.wrong if "calls.csv" not in text
        ] == []  # the browser leaves the file to the download


def test_without_scripts(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url, scripts=False) as seen:
        page = seen.page
        page.goto("/calls")
        page.get_by_label("Outcome").select_option("failed")
        page.get_by_role("button", name="Search").click()
        failed = [made for made in CALLS if made.outcome is Outcome.FAILED]
        expect(page.locator("#list tbody tr")).to_have_count(len(failed))
        page.get_by_role("link", name="Show all").click()
        expect(page.locator("#list tbody tr")).to_have_count(50)
        page.get_by_role("link", name="Older").click()
        expect(page.locator("#list tbody tr")).to_have_count(50)
        page.get_by_role("link", name="To the newest").first.click()
        page.goto("/statistics")
        page.get_by_label("By", exact=True).select_option("weekday")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.locator(".figures tbody tr")).to_have_count(8)
        page.get_by_role("link", name="7 days").click()
        expect(page.locator(".figures tbody tr")).to_have_count(8)
        expect(page.locator("nav.quick [aria-current]")).to_have_text("7 days")


def test_somebody_with_own_calls_only(browser: Browser, portal: Portal) -> None:
    portal.who = "user"
    try:
        with watched(browser, width=360, language="it", url=portal.url) as seen:
            seen.page.goto("/calls?from=2026-03-02&to=2026-03-02")
            expect(seen.page.locator("#list tbody tr")).to_have_count(11)
            looks_well(seen, "calls-own")
    finally:
        portal.who = "administrator"


def focus(page: Page, name: str) -> None:
    """By the tabulator key alone."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    raise AssertionError(f"{name} can't be reached")
