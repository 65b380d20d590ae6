"""The call flow in Debian's Chromium: edited by mouse, and by keyboard alone; read without scripts; looked at in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from appliance.core.document import parse
from appliance.kinds import KINDS
from tests.hil.agents.browser import WIDTHS, Watched, chromium, watched
from tests.hil.portal_app import Portal, Rows, company, portal_over

MORE: Rows = [
    (
        "ring_group",
        {"id": "night", "name": "Night <b>desk</b>", "site": "torino", "members": [{"extension": "ext-301"}]},
    ),
]
WRONG: Rows = [
    ("did", {"id": "gone", "number": "+390200000777", "company": "demo", "label": "To nobody",
             "destination": {"type": "ring_group", "ring_group": "removed"}}),
    ("ring_group", {"id": "ring-a", "name": "Ring A", "number": "441", "site": "milano", "members": [{"extension": "ext-202"}],
                    "no_answer": {"type": "ring_group", "ring_group": "ring-b"}}),
    ("ring_group", {"id": "ring-b", "name": "Ring B", "site": "milano", "members": [{"extension": "ext-203"}],
                    "no_answer": {"type": "ring_group", "ring_group": "ring-a"}}),
    ("did", {"id": "abroad", "number": "+390200000778", "company": "demo", "label": "Sent on",
             "destination": {"type": "number", "number": "+442079460000", "site": "milano"}}),
]  # fmt: skip
TO_NIGHT = {"type": "ring_group", "ring_group": "night"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with portal_over(tmp_path, company(MORE)) as running:
        yield running


def looks_well(seen: Watched, name: str) -> None:
    assert seen.wrong == [], name
    assert seen.too_wide() <= 0, name
    seen.screen(name)
    assert seen.axe() == [], name
    seen.wrong.clear()


def box(page: Page, name: str) -> Locator:
    return page.locator(f'#picture .node[data-node="{name}"] a.box')


def dot(page: Page, place: str) -> Locator:
    return page.locator(f'#picture .port[data-port="{place}"] .reach')


def drag(page: Page, source: Locator, target: Locator | tuple[float, float]) -> None:
    source.scroll_into_view_if_needed()
    page.mouse.move(*middle(source))
    page.mouse.down()
    if isinstance(target, Locator):
        target = middle(target)
    page.mouse.move(*target, steps=4)
    page.mouse.up()


def middle(place: Locator) -> tuple[float, float]:
    found = place.bounding_box()
    assert found is not None
    return found["x"] + found["width"] / 2, found["y"] + found["height"] / 2


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def fields(portal: Portal, kind: str, id: str) -> dict[str, Any]:
    found = portal.candidate(kind, id)
    assert found is not None
    return found.model_dump(mode="json")


def said(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("#said")).to_have_text(text)


def test_by_mouse(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.set_viewport_size({"width": 1280, "height": 1000})
        page.goto("/flow")
        before = fields(portal, "did", "main")["destination"]
        page.get_by_role("button", name="Whole").click()
        still = middle(box(page, "did/main"))
        page.mouse.move(*middle(dot(page, "did/main/destination")))
        page.mouse.down()
        page.mouse.move(*middle(box(page, "extension/ext-301")), steps=3)
        expect(page.locator(".node.drop")).to_have_attribute("data-node", "extension/ext-301")
        assert middle(box(page, "did/main")) == still, "nothing moves under the pointer"
        press(page, "Escape")
        page.mouse.up()
        expect(page.locator(".drop, .drawn")).to_have_count(0)
        assert portal.store.candidate("boss").put == ()
        drag(page, dot(page, "did/main/destination"), box(page, "ring_group/night"))
        said(page, "Calls of Main number go on to: Ring a group: Night <b>desk</b>.")
        assert fields(portal, "did", "main")["destination"] == TO_NIGHT
        expect(box(page, "did/main")).to_be_focused()
        expect(page.locator('[data-source="did/main"][data-target="ring_group/night"]')).to_have_count(1)
        page.get_by_role("button", name="Take back").click()
        said(page, "The last edit is taken back.")
        assert fields(portal, "did", "main")["destination"] == before

        drag(page, dot(page, "did/branch/destination"), box(page, "did/main"))
        said(page, "Calls can’t be sent there.")
        drag(page, dot(page, "did/branch/destination"), box(page, "to:service/echo"))
        said(page, "Calls of Branch go on to: Play a service: Echo test.")
        dot(page, "ring_group/front-desk/no_answer").click()
        expect(page.get_by_role("dialog")).to_contain_text("Where do calls of Front desk go?")
        page.get_by_role("combobox", name="Calls go on to").fill("busy")
        page.get_by_role("option", name="Refuse the call: Busy").click()
        looks_well(seen, "flow-dialog")
        page.get_by_role("button", name="Connect").click()
        said(page, "Calls of Front desk go on to: Refuse the call: Busy.")

        # Onto a dot: what is made is connected; the way back takes both.
        drag(page, page.locator("[data-add=ring_group]"), dot(page, "did/echo/destination"))
        expect(page.get_by_role("heading", level=1)).to_have_text("Add ring group")
        page.locator("#name").fill("Late desk")
        page.get_by_role("combobox", name="Site").fill("Milano")
        page.get_by_role("option", name="Milano").click()
        page.get_by_role("combobox", name="Extension").first.fill("201")
        page.get_by_role("option", name="201 Reception").click()
        page.get_by_role("button", name="Save").click()
        said(page, re.compile("Late desk is among your changes"))
        assert fields(portal, "did", "echo")["destination"] == {"type": "ring_group", "ring_group": "late-desk"}
        page.get_by_role("button", name="Take back").click()
        said(page, "The last edit is taken back.")
        assert portal.candidate("ring_group", "late-desk") is None
        assert fields(portal, "did", "echo")["destination"] == {"type": "service", "service": "echo"}

        # The ground is moved, the picture made larger.
        page.set_viewport_size({"width": 700, "height": 600})
        page.get_by_role("button", name="Larger").click()
        page.get_by_role("button", name="Larger").click()
        ground = page.locator("#canvas").bounding_box()
        assert ground is not None
        left = page.evaluate("document.getElementById('canvas').scrollLeft")
        page.locator("#canvas").scroll_into_view_if_needed()
        ground = page.locator("#canvas").bounding_box()
        assert ground is not None
        free = page.evaluate(
            """([x, y, w, h]) => { for (let i = 20; i < w - 20; i += 15) for (let j = 20; j < h - 20; j += 15) {
                const at = document.elementFromPoint(x + i, y + j);
                if (at && at.closest("#canvas") && !at.closest(".node")) return [x + i, y + j]; } }""",
            [ground["x"], ground["y"], ground["width"], ground["height"]],
        )
        page.mouse.move(*free)
        page.mouse.down()
        page.mouse.move(free[0] - 120, free[1], steps=3)
        page.mouse.up()
        assert page.evaluate("document.getElementById('canvas').scrollLeft") == left + 120
        assert seen.wrong == []


def test_by_keyboard_alone(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.goto("/flow")
        before = fields(portal, "did", "main")["destination"]
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("Boolean(document.activeElement.closest('#picture'))"):
                break
        expect(box(page, "trunk/line-1")).to_be_focused()  # one stop of Tab for the whole picture
        press(page, "ArrowRight")
        expect(box(page, "outside/")).to_be_focused()
        press(page, "ArrowRight")
        while page.evaluate("document.activeElement.closest('.node').dataset.node") != "did/main":
            press(page, "ArrowDown")
        press(page, "ArrowRight")
        expect(box(page, "ring_group/front-desk")).to_be_focused()
        press(page, "ArrowRight")
        expect(page.locator("#whisper")).to_have_text("There is no more in that direction.")
        press(page, "ArrowLeft", "c")
        expect(page.get_by_role("dialog")).to_contain_text("Where do calls of Main number go?")
        expect(page.get_by_role("combobox", name="Calls go on to")).to_be_focused()
        press(page, "Enter")  # nothing is chosen: the dialog stays
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.type("night")
        expect(page.get_by_role("option")).to_have_count(1)
        press(page, "ArrowDown", "Enter")
        expect(page.get_by_role("combobox")).to_have_value("Ring a group: Night <b>desk</b>")
        press(page, "Enter")
        said(page, "Calls of Main number go on to: Ring a group: Night <b>desk</b>.")
        assert fields(portal, "did", "main")["destination"] == TO_NIGHT
        expect(box(page, "did/main")).to_be_focused()
        press(page, "Control+z")
        said(page, "The last edit is taken back.")
        assert fields(portal, "did", "main")["destination"] == before
        expect(box(page, "did/main")).to_be_focused()

        press(page, "ArrowRight", "Delete")
        expect(page.get_by_role("dialog")).to_contain_text("Remove Front desk?")
        expect(page.get_by_role("dialog").get_by_role("link", name="Main number")).to_be_visible()
        press(page, "Escape")
        expect(box(page, "ring_group/front-desk")).to_be_focused()
        press(page, "Delete")
        page.get_by_role("dialog").get_by_role("button", name="Remove").press("Enter")
        said(page, "front-desk will be removed when you commit.")
        expect(box(page, "ring_group/front-desk")).to_have_attribute(
            "aria-label", "Ring group: front-desk; doesn't exist"
        )
        press(page, "Control+z")
        said(page, "The last edit is taken back.")

        box(page, "ring_group/front-desk").focus()
        press(page, "0", "+", "-")
        expect(page.locator("#whisper")).to_have_text(re.compile("[0-9]+ %"))
        press(page, "c")
        expect(page.get_by_role("dialog")).to_be_visible()
        press(page, "Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(box(page, "ring_group/front-desk")).to_be_focused()
        press(page, "n")
        focused = page.locator("[data-add]:focus")
        expect(focused).to_have_count(1)
        box(page, "ring_group/front-desk").focus()
        press(page, "Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Front desk")
        page.get_by_role("link", name="Cancel").press("Enter")
        expect(page).to_have_url(re.compile("/flow$"))
        # The list changes it too.
        page.get_by_role("link", name="Change where Main number sends calls: Destination").press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("Where do calls of Main number go?")
        assert seen.wrong == []


def test_what_others_did_meanwhile_is_told_and_nothing_is_lost(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.set_viewport_size({"width": 1280, "height": 1200})
        page.goto("/flow?did=main")
        portal.store.promote(portal.store.propose(remove=[("did", "main")], base=1, author="auditor").number)
        dot(page, "did/main/destination").click()
        page.get_by_role("combobox", name="Calls go on to").fill("busy")
        expect(page.get_by_role("option")).to_have_text(["Nothing matches"])
        press(page, "Escape", "Escape")
        page.goto("/flow")
        put = parse(KINDS, "did", {**fields(portal, "did", "branch"), "label": "Changed"})
        portal.store.stage("boss", put=[put])
        drag(page, dot(page, "did/branch/destination"), box(page, "ring_group/night"))
        expect(page.get_by_role("alert")).to_contain_text("has changed since you looked at it")
        expect(page.get_by_role("alert")).to_be_focused()
        drag(page, dot(page, "did/branch/destination"), box(page, "ring_group/night"))
        said(page, "Calls of Changed go on to: Ring a group: Night <b>desk</b>.")


def test_what_others_committed_is_merged_or_chosen(browser: Browser, portal: Portal) -> None:
    def committed_by_another(**changed: Any) -> None:
        item = portal.store.document().objects["did"]["main"].model_dump(mode="json")
        put = parse(KINDS, "did", {**item, **changed})
        portal.store.promote(portal.store.propose([put], base=portal.store.head().number, author="auditor").number)

    with watched(browser, url=portal.url) as seen:
        page = seen.page
        page.set_viewport_size({"width": 1280, "height": 1200})
        page.goto("/flow")
        committed_by_another(label="Reception")
        drag(page, dot(page, "did/main/destination"), box(page, "ring_group/night"))
        said(
            page,
            re.compile("^Calls of Reception go on to: .* What somebody else committed meanwhile is in it too: Label.$"),
        )
        committed_by_another(destination={"type": "hangup", "reason": "busy"})
        drag(page, dot(page, "did/main/destination"), box(page, "extension/ext-301"))
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("You and somebody else both changed Reception.")
        expect(alert).to_be_focused()
        looks_well(seen, "flow-conflict")
        alert.get_by_role("link", name="Choose").click()
        page.get_by_role("radio", name=re.compile("^Take theirs")).check()
        page.get_by_role("button", name="Use what is chosen").click()
        expect(page.locator("#picture")).to_be_visible()
        assert fields(portal, "did", "main")["destination"] == {"type": "hangup", "reason": "busy"}


def test_without_scripts(browser: Browser, portal: Portal) -> None:
    with watched(browser, url=portal.url, scripts=False) as seen:
        page = seen.page
        page.goto("/flow")
        expect(page.locator("#picture .node")).to_have_count(11)
        page.locator("#number").fill("0200")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("What happens to a call to +390200000200")
        page.get_by_role("link", name="Change where Main number sends calls: otherwise").click()
        expect(page).to_have_url(re.compile("#destination$"))
        page.get_by_label("Refuse the call").check()
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#said")).to_contain_text("Main number is among your changes")
        expect(box(page, "to:hangup/unavailable")).to_be_visible()
        page.get_by_role("button", name="Take back").click()
        expect(page.locator("#said")).to_have_text("The last edit is taken back.")
        assert fields(portal, "did", "main")["destination"]["type"] == "ring_group"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", ["en", "it"])
def test_it_looks_well(browser: Browser, tmp_path: Path, language: str, width: str) -> None:
    theme = "dark" if width == "phone" else "light"
    many: Rows = [
        ("did", {"id": f"d{n}", "number": f"+39021{n:06}", "company": "demo", "label": f"Desk {n}",
                 "destination": {"type": "extension", "extension": f"ext-20{n % 3 + 1}"}})
        for n in range(60)
    ]  # fmt: skip
    with (
        portal_over(tmp_path, company([*MORE, *WRONG, *many])) as portal,
        watched(browser, language=language, width=WIDTHS[width], theme=theme, url=portal.url) as seen,
    ):
        pages = {"number": "/flow?did=main"}
        if (language, width) in (("en", "desktop"), ("it", "phone")):
            pages |= {"company": "/flow", "faults": "/flow?problems=1", "not-ours": "/flow?number=%2B390299999999"}
        for name, path in pages.items():
            seen.page.goto(path)
            assert seen.page.locator("html").get_attribute("lang") == language
            looks_well(seen, f"flow-{name}-{language}-{width}")
        portal.who = "auditor"
        seen.page.goto("/flow?did=main")
        looks_well(seen, f"flow-reader-{language}-{width}")
