"""The live pages in a browser: a dashboard that follows real calls, lamps, a call placed by a click, and what is said when something is down."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.engine.ami import AmiError
from tests.hil.agents.browser import WIDTHS, Watched, chromium
from tests.hil.agents.softphone import Call, converse
from tests.hil.company import Company, open_company, rows
from tests.hil.console import Console, console, first_sign_in, window

NASTY = "<b>O'Neil</b> & “Co”"
MORE = [
    ("person", {"id": "clerk", "name": "Clerk", "roles": ["user"]}),
    ("person", {"id": "front", "name": NASTY, "roles": ["operator"]}),
    ("person", {"id": "boss", "name": "Maria Antonietta Degli Alessandri", "roles": ["administrator"]}),
    ("extension", {"id": "ext-201", "number": "201", "label": "Desk 201", "site": "hq", "person": "clerk"}),
    ("extension", {"id": "ext-202", "number": "202", "label": "Desk 202", "site": "hq", "person": "front"}),
]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with open_company(tmp_path_factory.mktemp("live"), rows(more=MORE)) as company:
        for phone in ("201-1", "202-1", "203-1"):
            company.phone(phone)
        yield company


@pytest.fixture(scope="module")
def portal(company: Company) -> Iterator[Console]:
    with console(company.system, hub=True) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def front(portal: Console, browser: Browser) -> Iterator[Page]:
    with window(browser, portal) as page:
        first_sign_in(page, portal, "front")
        yield page


@pytest.fixture(autouse=True)
def _quiet(company: Company) -> Iterator[None]:
    yield
    with company.system.ami() as ami, contextlib.suppress(AmiError):
        ami.action("Hangup", {"Channel": "/^PJSIP/"})
    company.quiet()


def rings(company: Company, caller: str, number: str) -> Call:
    """A call that rings there."""
    outgoing = company.phone(caller).call(number).ringing()
    company.phone(f"{number}-1").incoming()
    return outgoing


def is_live(page: Page) -> None:
    expect(page.locator("[data-standing]")).to_have_text("Live")


def looks_well(page: Page, name: str) -> None:
    seen = Watched(page)
    assert seen.too_wide() <= 0, name
    seen.screen(name)
    assert seen.axe() == [], name


def test_the_dashboard_follows_a_call(company: Company, front: Page) -> None:
    one, three = company.phone("201-1"), company.phone("203-1")
    front.goto("/dashboard")
    is_live(front)
    expect(front.get_by_text("Nobody is on the phone.")).to_be_visible()
    outgoing = one.call("203").ringing()
    row = front.locator("tr[data-key^=call-]")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Clerk")
    expect(row).to_contain_text("rings")
    three.incoming().answer()
    outgoing.established()
    expect(row.locator(".mark")).to_have_text("talking")
    expect(front.locator(".tile").first).to_have_text("1 Calls now")
    looks_well(front, "dashboard-call")
    row.get_by_role("button", name="End").click()
    outgoing.closed()
    expect(front.get_by_text("Nobody is on the phone.")).to_be_visible()


def test_lamps_change_in_place_and_names_are_only_text(company: Company, front: Page) -> None:
    front.goto("/panel")
    is_live(front)
    lamp = front.locator("[data-id=ext-203]")
    expect(lamp.locator(".word")).to_have_text("free")
    expect(front.locator("[data-id=ext-204] .word")).to_have_text("no phone registered")
    expect(front.locator("[data-id=ext-202] .name")).to_have_text(NASTY)
    outgoing = rings(company, "201-1", "203")
    expect(lamp).to_have_attribute("data-state", "ringing")
    expect(lamp.locator(".word")).to_have_text("rings")
    looks_well(front, "panel-ringing")
    outgoing.hangup()
    expect(lamp.locator(".word")).to_have_text("free")


def test_a_click_makes_two_phones_ring_and_talk(company: Company, front: Page) -> None:
    two, three = company.phone("202-1"), company.phone("203-1")
    front.goto("/panel")
    is_live(front)
    front.get_by_role("link", name="Call Desk 203").click()
    expect(front.get_by_label("Number")).to_have_value("203")
    looks_well(front, "live-call-placed")
    front.get_by_role("button", name="Call", exact=True).click()
    own = two.incoming()
    expect(front.get_by_text("Your phone rings: lift it, then 203 is called.")).to_be_visible()
    own.answer()
    called = three.incoming().answer()
    assert all(report.good() for report in converse(two, three, 1.0))
    front.goto("/panel")
    mine = front.locator("#own-calls")
    expect(mine).to_contain_text("Desk 203")
    looks_well(front, "panel-own-call")
    mine.get_by_label("Transfer to").fill("201")
    mine.get_by_role("button", name="Transfer").click()
    third = company.phone("201-1").incoming().answer()
    expect(front.get_by_text("You are in no call.")).to_be_visible()
    third.hangup()
    called.closed()


def test_one_asks_first_and_puts_through(company: Company, front: Page) -> None:
    one, three = company.phone("201-1"), company.phone("203-1")
    at_three = three.call("202").ringing()
    own = company.phone("202-1").incoming().answer()
    front.goto("/panel")
    mine = front.locator("#own-calls")
    size = front.viewport_size
    assert size is not None
    front.set_viewport_size({"width": WIDTHS["phone"], "height": 800})
    looks_well(front, "panel-ask-first-phone")
    front.set_viewport_size(size)
    mine.get_by_label("Transfer to").fill("201")
    mine.get_by_role("button", name="Ask first").click()
    one.incoming().reject()
    expect(mine).to_contain_text("Whom you asked is busy.")
    mine.get_by_label("Transfer to").fill("201")
    mine.get_by_role("button", name="Ask first").click()
    expect(mine).to_contain_text("Desk 203 is waiting.")
    asked = one.incoming().answer()
    expect(mine.get_by_role("button", name="Back to the first")).to_be_visible()
    expect(mine.get_by_role("button", name="Put through")).to_be_visible()
    looks_well(front, "panel-consultation")
    mine.get_by_role("button", name="Put through").click()
    own.closed()
    assert all(report.good() for report in converse(one, three, 0.5))
    expect(front.get_by_text("You are in no call.")).to_be_visible()
    at_three.hangup()
    asked.closed()


def test_a_user_is_shown_the_own_affairs_alone(company: Company, portal: Console, browser: Browser) -> None:
    with window(browser, portal) as page:
        first_sign_in(page, portal, "clerk")
        page.goto("/panel")
        is_live(page)
        expect(page.locator(".lamp")).to_have_count(1)
        outgoing = rings(company, "202-1", "203")
        page.goto("/dashboard")
        is_live(page)
        expect(page.get_by_text("Nobody is on the phone.")).to_be_visible()
        outgoing.hangup()
        outgoing = rings(company, "202-1", "201")
        page.goto("/panel")
        expect(page.locator("#own-calls")).to_contain_text(NASTY)
        outgoing.hangup()


def test_an_administrator_sees_everything(company: Company, portal: Console, browser: Browser) -> None:
    outgoing = rings(company, "201-1", "203")
    with window(browser, portal) as page:
        first_sign_in(page, portal, "boss")
        for language, width in (("en", 1280), ("it", 360)):
            page.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
            page.emulate_media(color_scheme="dark" if width == 1280 else "light")
            page.set_viewport_size({"width": width, "height": 800})
            page.goto("/dashboard")
            expect(page.locator("[data-standing]")).to_have_text("Live" if language == "en" else "In diretta")
            expect(page.locator("tr[data-key^=trunk-]")).to_have_count(2)
            looks_well(page, f"dashboard-administrator-{language}-{width}")
    outgoing.hangup()


def test_a_dead_hub_is_said_and_a_new_one_taken(company: Company, portal: Console, front: Page) -> None:
    front.goto("/dashboard")
    is_live(front)
    portal.processes["hub"].signal(signal.SIGKILL)
    expect(front.locator("[data-standing]")).to_contain_text("this may be out of date")
    front.reload()
    expect(front.get_by_text("Calls can't be shown now; they go on.")).to_be_visible()
    looks_well(front, "dashboard-without-hub")
    front.goto("/objects/extension")
    expect(front.get_by_role("link", name="Desk 203")).to_be_visible()
    front.goto("/dashboard")
    portal.start_hub()
    is_live(front)
    outgoing = rings(company, "201-1", "203")
    expect(front.locator("tr[data-key^=call-]")).to_have_count(1)
    outgoing.hangup()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_live_page_in_italian(company: Company, front: Page, width: str) -> None:
    outgoing = rings(company, "201-1", "203")
    size = front.viewport_size
    assert size is not None
    front.set_viewport_size({"width": WIDTHS[width], "height": 800})
    front.context.add_cookies([{"name": "language", "value": "it", "url": "/".join(front.url.split("/")[:3])}])
    front.emulate_media(color_scheme="dark" if width == "phone" else "light")
    try:
        for path in ("dashboard", "panel", "call"):
            front.goto(f"/{path}")
            assert front.locator("html").get_attribute("lang") == "it"
            if path != "call":
                expect(front.locator("[data-standing]")).to_have_text("In diretta")
            looks_well(front, f"live-{path}-it-{width}")
    finally:
        front.context.clear_cookies(name="language")
        front.set_viewport_size(size)
        outgoing.hangup()
