"""The generated pages in Debian's Chromium: every kind, both languages, phone and desktop; without scripts; by keyboard alone.

Pictures are kept under ``build/screens``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.core.document import parse
from appliance.kinds import KINDS
from appliance.pbx.groups.model import RingGroup
from tests.hil.agents.browser import WIDTHS, Watched, chromium, watched
from tests.hil.portal_app import Portal, company, portal_over

NASTY = ('<script>alert("x")</script>', '"><img src=x onerror=alert(1)>', "'; DROP TABLE staged_change; --")
MANY = 1000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with portal_over(tmp_path, company()) as running:
        yield running


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal that nobody changes anything in."""
    with portal_over(tmp_path_factory.mktemp("portal"), company()) as running:
        yield running


def looks_well(seen: Watched, name: str, *, axe: bool = True) -> None:
    assert seen.wrong == [], name
    assert seen.too_wide() <= 0, name
    seen.screen(name)
    if axe:
        assert seen.axe() == [], name
        seen.wrong.clear()  # axe itself may say something


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_of_every_kind(looked_at: Portal, width: str) -> None:
    """In both languages at once, each in a browser of its own: most of the time goes into axe, which keeps one core busy.

    So axe judges a page once at a width: in the one language at a phone's, dark, and in the other at a desktop's, light. What
    it finds is in the template, which is the same in both, or in the colours, which are the theme's. All else is in all four.
    """
    with ThreadPoolExecutor() as browsers:
        drawn = [browsers.submit(draw_every_page, looked_at, language, width) for language in ("en", "it")]
    for one in drawn:
        one.result()


def draw_every_page(portal: Portal, language: str, width: str) -> None:
    theme = "dark" if width == "phone" else "light"
    objects = portal.store.document().objects
    with (
        chromium() as browser,
        watched(browser, language=language, width=WIDTHS[width], theme=theme, url=portal.url) as seen,
    ):
        turns = itertools.cycle([True, False] if (language == "en") == (width == "phone") else [False, True])
        for kind in KINDS:
            id = next(iter(objects[kind]))
            for what, path in (("list", ""), ("new", "/new"), ("edit", f"/{id}")):
                seen.page.goto(f"/objects/{kind}{path}")
                assert seen.page.locator("html").get_attribute("lang") == language
                looks_well(seen, f"{kind}-{what}-{language}-{width}", axe=next(turns))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_other_states_of_pages(browser: Browser, portal: Portal, theme: str) -> None:
    """Empty, nothing found, faults, pending changes, a deletion that others stand in the way of, the menu of a phone."""
    with watched(browser, theme=theme, width=360, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/extension?q=nowhere")
        expect(page.get_by_text("Nothing here matches “nowhere”.")).to_be_visible()
        looks_well(seen, f"nothing-found-{theme}")
        page.get_by_text("Menu", exact=True).click()
        looks_well(seen, f"menu-{theme}")
        page.goto("/objects/site/torino/delete")
        expect(page.get_by_role("link", name="Workshop")).to_be_visible()
        looks_well(seen, f"delete-{theme}")
        page.goto("/objects/did/new")
        page.get_by_role("textbox", name="Number", exact=False).first.fill("02")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert").get_by_role("link")).to_have_text(["Number", "Company", "Destination"])
        expect(page.locator("#number-fault")).to_contain_text("Is not in the right form")
        seen.wrong = [text for text in seen.wrong if "422" not in text]  # the browser notes the status
        looks_well(seen, f"faults-{theme}")
        portal.store.stage("boss", put=[parse(KINDS, "extension", {"id": "ext-900", "number": "209", "site": "milano"})],
                           remove=[("extension", "ext-304")])  # fmt: skip
        page.goto("/objects/extension")
        expect(page.locator("tr.added")).to_have_count(1)
        expect(page.locator("tr.removed")).to_have_count(1)
        looks_well(seen, f"pending-{theme}")


def test_an_empty_list_says_what_to_do_next(browser: Browser, tmp_path: Path) -> None:
    rows = [item for item in company() if item.kind not in ("notification_endpoint",)]
    with portal_over(tmp_path, rows) as portal, watched(browser, url=portal.url) as seen:
        seen.page.goto("/objects/notification_endpoint")
        expect(seen.page.get_by_text("There is none yet.")).to_be_visible()
        looks_well(seen, "empty")
        seen.page.locator(".empty").get_by_role("link").click()
        expect(seen.page.get_by_role("heading", level=1)).to_have_text("Add notification address")
        portal.who = "auditor"
        seen.page.goto("/objects/notification_endpoint")
        expect(seen.page.get_by_text("Ask an administrator to make one.")).to_be_visible()
        expect(seen.page.get_by_role("link", name="Add notification address")).to_have_count(0)


def members(portal: Portal) -> list[tuple[str, int]]:
    group = portal.candidate("ring_group", "front-desk")
    assert isinstance(group, RingGroup)
    return [(member.extension, member.delay_seconds) for member in group.members]


def test_without_scripts(browser: Browser, portal: Portal) -> None:
    """Searching, adding and moving a member, choosing a destination, saving, removing."""
    with watched(browser, url=portal.url, scripts=False) as seen:
        page = seen.page
        page.goto("/objects/ring_group")
        page.get_by_role("searchbox").fill("front")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name="Front desk").click()
        page.get_by_role("button", name="Add member").click()
        expect(page.get_by_role("status").first).to_have_text("Added at position 4 of 4.")
        page.locator("#members-3-extension").select_option(label="301 Branch reception")
        page.locator("#members-3-delay_seconds").fill("7")
        page.get_by_role("button", name="Move member 4 up").click()
        page.get_by_role("button", name="Remove member 1").click()
        page.get_by_label("Call an outside number").check()
        page.locator("#no_answer-number-number").fill("+390200000999")
        page.locator("#no_answer-number-site").select_option("torino")
        page.get_by_role("button", name="Save").click()
        expect(page).to_have_url(re.compile("/objects/ring_group\\?saved=front-desk"))
        expect(page.get_by_role("status").first).to_contain_text("Front desk is among your changes")
        expect(page.locator(".mark.changed")).to_be_visible()
        assert members(portal) == [("ext-202", 0), ("ext-301", 7), ("ext-203", 5)]
        group = portal.candidate("ring_group", "front-desk")
        assert group is not None
        assert group.model_dump(mode="json")["no_answer"] == {
            "type": "number",
            "number": "+390200000999",
            "site": "torino",
        }
        page.goto("/objects/did/echo/delete")
        page.get_by_role("button", name="Remove").click()
        expect(page.locator("tr.removed")).to_contain_text("echo")
        assert portal.candidate("did", "echo") is None
        page.goto("/objects/did/echo")
        expect(page.get_by_text("It will be removed when you commit your changes.")).to_be_visible()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until a control has the focus, as somebody without a mouse does."""
    wanted = page.locator(selector)
    for _ in range(120):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the keyboard doesn't get to {selector}")


def focused(page: Page, selector: str) -> None:
    expect(page.locator(selector)).to_be_focused()


def test_members_are_edited_and_put_in_order_by_keyboard_alone(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/ring_group/front-desk")
        page.keyboard.press("Tab")
        focused(page, ".skip")
        press(page, "Enter")
        tab_to(page, "button[value='add:members']")
        press(page, "Enter")
        focused(page, "#members-3-extension")
        expect(page.locator("#said")).to_have_text("Added at position 4 of 4.")
        page.keyboard.type("work")
        expect(page.locator("[role=option]")).to_have_count(1)
        press(page, "ArrowDown", "Enter")
        expect(page.locator("#members-3-extension")).to_have_value("302 Workshop")
        tab_to(page, "button[value='up:members-3']")
        press(page, "Enter")
        focused(page, "button[value='up:members-2']")
        expect(page.locator("#said")).to_have_text("Moved to position 3 of 4.")
        press(page, "Enter")
        focused(page, "button[value='up:members-1']")
        press(page, "Enter")
        focused(page, "button[value='down:members-0']")  # it is the first: up is out of use
        press(page, "Tab", "Tab")
        tab_to(page, "button[value='remove:members-1']")
        press(page, "Enter")
        expect(page.locator("#said")).to_have_text("Removed; 3 left.")
        focused(page, "button[value='add:members']")
        tab_to(page, "#ring_seconds")
        page.keyboard.type("45")
        press(page, "Enter")  # Enter saves, it presses none of the buttons before it
        expect(page).to_have_url(re.compile("saved=front-desk"))
        assert members(portal) == [("ext-302", 0), ("ext-202", 0), ("ext-203", 5)]
        assert seen.wrong == []


def test_the_picker_is_a_combobox(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/device/new")
        box = page.get_by_role("combobox", name="Extension")
        box.click()
        expect(page.locator("[role=option]")).to_have_count(12)
        press(page, "ArrowDown", "ArrowDown")
        expect(page.locator("[role=option][aria-selected=true]")).to_have_text("202 Sales")
        assert box.get_attribute("aria-activedescendant") == page.locator(
            "[role=option][aria-selected=true]"
        ).get_attribute("id")
        assert seen.axe() == []
        press(page, "Escape")
        expect(box).to_have_value("")
        expect(box).to_have_attribute("aria-expanded", "false")
        page.keyboard.type("nobody at all")
        expect(page.locator("[role=option]")).to_have_text(["Nothing matches"])
        press(page, "Tab")
        expect(box).to_have_value("")  # what isn't a choice isn't kept
        box.fill("203 pur")
        page.locator("[role=option]", has_text="203 Purchasing").click()
        expect(page.locator("select[name=extension]")).to_have_value("ext-203")
        seen.screen("combobox")
        assert seen.wrong == []


@pytest.mark.parametrize("scripts", [True, False])
def test_what_is_missing_is_made_on_the_way(browser: Browser, portal: Portal, scripts: bool) -> None:
    """A site inside a ring group, a company inside the site: and back, nothing typed is lost."""
    with watched(browser, url=portal.url, scripts=scripts) as seen:
        page = seen.page
        page.goto("/objects/ring_group/new")
        page.locator("#name").fill("Night <b>desk</b>")
        page.locator("button[value='create:site:site']").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Add site")
        page.locator("#name").fill("Roma")
        page.locator("button[value='create:company:company']").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Add company")
        page.get_by_role("button", name="Save and go back").click()
        expect(page.get_by_role("alert")).to_contain_text("Name")
        page.locator("#name").fill("Roma Srl")
        page.get_by_role("button", name="Save and go back").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Add site")
        expect(page.locator("select[name=company]")).to_have_value("roma-srl")
        expect(page.locator("#name")).to_have_value("Roma")
        page.get_by_role("button", name="Save and go back").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Add ring group")
        expect(page.locator("select[name=site]")).to_have_value("roma")
        expect(page.locator("#name")).to_have_value("Night <b>desk</b>")
        page.locator("button[value='create:members-0-extension:extension']").click()
        page.get_by_role("button", name="Back without saving").click()
        expect(page.locator("#name")).to_have_value("Night <b>desk</b>")
        assert portal.candidate("site", "roma") is not None
        assert portal.candidate("ring_group", "night-b-desk-b") is None


def test_thousands_of_choices_are_searched(browser: Browser, tmp_path: Path) -> None:
    many: list[tuple[str, dict[str, Any]]] = [
        ("extension", {"id": f"many-{number}", "number": str(number), "label": f"Desk {number}", "site": "milano"})
        for number in range(20000, 20000 + MANY)
    ]
    with portal_over(tmp_path, company(many)) as portal:
        with watched(browser, url=portal.url) as seen:
            page = seen.page
            page.goto("/objects/ring_group/front-desk")
            assert page.locator("select[name='members-0-extension'] option").count() == 2  # none, and the present one
            box = page.get_by_role("combobox", name="Extension").first
            box.fill("desk 20777")
            page.locator("[role=option]", has_text="20777 Desk 20777").click()
            expect(page.locator("select[name='members-0-extension']")).to_have_value("many-20777")
            box.fill("2")
            expect(page.locator("[role=option]").last).to_contain_text("more: go on typing")
            assert seen.wrong == []
            page.goto("/objects/extension?q=Desk")
            expect(page.get_by_text(f"1–50 of {MANY}")).to_be_visible()
            page.get_by_role("link", name="Next").click()
            expect(page.get_by_text(f"51–100 of {MANY}")).to_be_visible()
            page.get_by_role("link", name="Number", exact=True).click()
            page.get_by_role("link", name="Number", exact=True).click()
            expect(page.locator("tbody th").first).to_have_text(f"Desk {20000 + MANY - 1}")
            page.get_by_role("searchbox").fill("20500")
            expect(page.locator("tbody tr")).to_have_count(1)  # as one types
            expect(page).to_have_url(re.compile("q=20500"))
            looks_well(seen, "search-as-one-types")
        with watched(browser, url=portal.url, scripts=False) as seen:
            page = seen.page
            page.goto("/objects/ring_group/front-desk")
            page.locator("[name=_find-members-1-extension]").fill("20888")
            page.locator("button[value='find:members-1-extension']").click()
            page.locator("select[name='members-1-extension']").select_option(label="20888 Desk 20888")
            page.get_by_role("button", name="Save").click()
            expect(page).to_have_url(re.compile("saved="))
            assert members(portal)[1] == ("many-20888", 0)


@pytest.mark.parametrize("name", NASTY)
def test_names_are_shown_as_text(browser: Browser, portal: Portal, name: str) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.on("dialog", lambda dialog: pytest.fail(f"a script of a name ran: {dialog.message}"))
        page.goto("/objects/site/new")
        page.locator("#name").fill(name)
        page.locator("#id").fill("nasty")
        page.get_by_role("combobox", name="Company").fill("demo")
        page.locator("[role=option]").first.click()
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#said")).to_contain_text(name)
        expect(page.locator("tr.added th")).to_have_text(name)
        page.goto("/objects/site/nasty")
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        page.goto("/objects/site/nasty/delete")
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Remove {name}?")
        page.goto("/objects/extension/new")
        box = page.get_by_role("combobox", name="Site")
        box.click()
        expect(page.locator("[role=option]").filter(has_text=name)).to_have_text(name)
        page.goto(f"/objects/site?q={name.replace('#', '')}")
        expect(page.locator("#q")).to_have_value(name)
        assert page.locator("main img, main script").count() == 0
        assert seen.wrong == []


def test_a_new_device_gets_a_password_that_is_shown_once(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/device/new")
        page.locator("#id").fill("202-new")
        page.get_by_role("combobox", name="Extension").fill("202")
        page.locator("[role=option]").first.click()
        page.locator("#slot").fill("2")
        page.get_by_role("button", name="Save").click()
        password = page.locator(".account dd").last.inner_text()
        assert len(password) == 24
        looks_well(seen, "account")
        page.get_by_role("link", name="Continue").click()
        expect(page.locator("tr.added")).to_contain_text("202-new")
        page.goto("/objects/secret/202-new")
        assert password not in page.content()
        expect(page.locator("#value")).to_have_attribute("placeholder", "set; leave empty to keep it")
        before = portal.candidate("secret", "202-new")
        page.get_by_role("button", name="Save").click()
        assert portal.candidate("secret", "202-new") == before
        page.goto("/objects/secret/202-new")
        page.locator("#value").fill("a new one, typed")
        page.get_by_role("button", name="Save").click()
        expect(page).to_have_url(re.compile("saved="))
        assert portal.candidate("secret", "202-new") != before
        assert "typed" not in page.content()


def test_an_auditor_looks_and_changes_nothing(browser: Browser, portal: Portal) -> None:
    portal.who = "auditor"
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/ring_group/front-desk")
        expect(page.get_by_text("You may look at this, not change it.")).to_be_visible()
        expect(page.locator("#form button:visible")).to_have_count(0)
        assert (
            page.locator("#form input:visible:not([readonly], [disabled]), #form select:not([disabled])").count() == 0
        )
        looks_well(seen, "read-only")


def test_fields_that_one_may_not_change_are_locked_and_kept(browser: Browser, portal: Portal) -> None:
    """A role may see an extension's number and change its label; what it can't see isn't there and isn't lost."""
    portal.who = "namer"
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/extension/ext-201")
        expect(page.locator("#number")).not_to_be_editable()
        expect(page.locator("#label")).to_be_editable()
        assert page.locator("[name=site], [name=ring_seconds]").count() == 0
        looks_well(seen, "partly-locked")
        page.locator("#label").fill("Front office")
        page.get_by_role("button", name="Save").click()
        expect(page).to_have_url(re.compile("saved=ext-201"))
        changed = portal.candidate("extension", "ext-201")
        before = portal.store.document().objects["extension"]["ext-201"]
        assert changed == before.model_copy(update={"label": "Front office"})


def test_somebody_else_s_change_meanwhile_is_told(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/company/demo")
        portal.store.stage("boss", put=[parse(KINDS, "company", {"id": "demo", "name": "Other Srl"})])
        page.locator("#name").fill("Mine Srl")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("has changed since you looked at it")
        expect(page.locator("#name")).to_have_value("Mine Srl")


def test_language_and_theme_are_switched_and_remembered(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/extension?q=20&sort=-number")
        page.get_by_role("button", name="Italiano").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Interni")
        expect(page).to_have_url(re.compile("q=20&sort=-number"))
        page.get_by_role("button", name="Scuro").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")  # the page has come back
        page.goto("/objects/did")
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(16, 20, 26)"
        looks_well(seen, "dark-italian")
        page.get_by_role("button", name="Automatico").click()
        assert page.locator("html").get_attribute("data-theme") is None


def test_a_lost_appliance_is_told_and_nothing_typed_is_lost(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/objects/ring_group/front-desk")
        page.locator("#name").fill("Half done")
        page.context.set_offline(True)
        page.get_by_role("button", name="Add member").click()
        expect(page.locator("#said")).to_have_text("The appliance doesn't answer. Try again.")
        page.context.set_offline(False)
        page.get_by_role("button", name="Add member").click()
        expect(page.locator("#said")).to_have_text("Added at position 4 of 4.")
        expect(page.locator("#name")).to_have_value("Half done")
