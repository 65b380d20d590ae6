"""The change flow in a browser, over the running product: review, commit, confirm, conflict, go back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hil.agents.browser import WIDTHS, Watched, chromium
from tests.hil.agents.process import eventually
from tests.hil.console import Console, console, first_sign_in, window
from tests.hil.office import Office, open_office

PEOPLE = [("person", {"id": id, "name": id, "roles": ["administrator"]}) for id in ("admin", "second")]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("changes"), PEOPLE) as office:
        yield office


@pytest.fixture(scope="module")
def portal(office: Office) -> Iterator[Console]:
    with console(office.system) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def admin(portal: Console, browser: Browser) -> Iterator[Page]:
    with window(browser, portal) as page:
        first_sign_in(page, portal, "admin")
        yield page


def rename(page: Page, extension: str, label: str) -> None:
    page.goto(f"/objects/extension/{extension}/edit")
    page.locator("input[name=label]").fill(label)
    page.get_by_role("button", name="Save").first.click()
    page.goto("/changes")


def served(office: Office, number: str) -> str:
    """The name that the engine has for an extension."""
    return office.ami.getvar(f"AST_CONFIG(tables/names.conf,{number[-2:]},{number})")


def test_a_change_is_reviewed_committed_and_taken_back(office: Office, admin: Page) -> None:
    rename(admin, "ext-203", "Ufficio <b>acquisti</b> & co")
    expect(admin.get_by_role("link", name="Changes (1)")).to_be_visible()
    expect(admin.locator("ins")).to_have_text("Ufficio <b>acquisti</b> & co")
    expect(admin.locator("del")).to_have_text("Desk 203")
    expect(admin.locator(".effect")).to_have_text("No call notices it.")
    seen = Watched(admin)
    assert seen.axe() == []
    seen.screen("changes-review")
    assert served(office, "203") == "Desk 203", "pending is not in force"
    admin.get_by_label("Why").fill("A better name")
    admin.get_by_role("button", name="Commit", exact=True).click()
    expect(admin.get_by_role("status")).to_have_text("It is in force.")
    assert served(office, "203") == "Ufficio <b>acquisti</b> & co"
    assert seen.axe() == []
    seen.screen("changes-revision")
    admin.get_by_role("link", name="History of the configuration").click()
    row = admin.get_by_role("row").nth(1)
    expect(row).to_contain_text("A better name")
    expect(row).to_contain_text("admin")
    assert seen.axe() == []
    seen.screen("changes-history")
    admin.get_by_role("row").nth(2).get_by_role("link").click()
    admin.get_by_role("button", name="Go back to it").click()
    expect(admin.get_by_text("It is in force.")).to_be_visible()
    assert served(office, "203") == "Desk 203"


def test_a_commit_is_undone_unless_somebody_confirms_it(office: Office, admin: Page) -> None:
    rename(admin, "ext-203", "For now")
    admin.get_by_label("Undo it unless confirmed within").select_option("5")
    admin.get_by_role("button", name="Commit", exact=True).click()
    expect(admin.get_by_text("is in force for now")).to_contain_text("5 min")
    assert served(office, "203") == "For now"
    admin.get_by_role("button", name="Keep it").click()
    expect(admin.get_by_text("is in force for now")).to_have_count(0)
    assert office.system.client.state()["confirm"] is None
    assert served(office, "203") == "For now"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", ["en", "it"])
def test_every_page_looks_well(admin: Page, language: str, width: str) -> None:
    size = admin.viewport_size
    assert size is not None
    rename(admin, "ext-205", "Sala riunioni al primo piano, lato cortile")
    admin.context.add_cookies([{"name": "language", "value": language, "url": "/".join(admin.url.split("/")[:3])}])
    admin.set_viewport_size({"width": WIDTHS[width], "height": 800})
    admin.emulate_media(color_scheme="dark" if width == "phone" else "light")
    seen = Watched(admin)
    try:
        for name, path in (
            ("changes-review", "/changes"), ("changes-history", "/history"), ("changes-revision", "/history/2"),
            ("changes-unknown", "/objects/extension/ext-999"), ("reference", "/reference?of=extension"),
        ):  # fmt: skip
            admin.goto(path)
            assert seen.too_wide() <= 0, name
            seen.screen(f"{name}-{language}-{width}")
            assert seen.axe() == [], name
        admin.goto("/changes")
        admin.locator("button.danger").click()
        expect(admin.locator(".empty")).to_be_visible()
        seen.screen(f"changes-none-{language}-{width}")
    finally:
        admin.context.clear_cookies(name="language")
        admin.set_viewport_size(size)
        admin.emulate_media(color_scheme="light")


def test_what_is_wrong_is_told_before_anything_happens(office: Office, admin: Page) -> None:
    before = office.system.client.state()["revision"]
    admin.goto("/objects/extension/ext-204/edit")
    admin.locator("input[name=number]").fill("203")
    admin.get_by_role("button", name="Save").first.click()
    admin.goto("/changes")
    alert = admin.get_by_role("alert")
    expect(alert).to_contain_text("Extension 203 Desk 20")
    expect(alert).to_contain_text(": Number")
    expect(admin.get_by_role("button", name="Commit", exact=True)).to_have_count(0)
    admin.get_by_role("button", name="Discard all of it").click()
    expect(admin.get_by_text("Nothing is pending.")).to_be_visible()
    assert office.system.client.state()["revision"] == before


def test_two_administrators_see_each_other_and_choose_field_by_field(
    office: Office, portal: Console, browser: Browser, admin: Page
) -> None:
    """One at a desk in English, the other at a phone's width in Italian; both typed before the other had committed."""
    with window(browser, portal, width=360) as other:
        first_sign_in(other, portal, "second")
        other.context.add_cookies([{"name": "language", "value": "it", "url": portal.url}])
        path = "/objects/extension/ext-206"
        admin.goto(path)
        other.goto(path)
        expect(other.get_by_text("admin ne ha aperto il modulo")).to_be_visible()
        looks_well(other, "two-form")
        other.goto("/objects/extension")
        expect(other.get_by_text("admin ne ha aperto il modulo")).to_be_visible()
        looks_well(other, "two-list-it")
        other.goto(path)
        other.locator("input[name=label]").fill("Theirs")
        other.locator("input[name=ring_seconds]").fill("33")
        other.get_by_role("button", name="Salva").click()
        admin.goto("/objects/extension")
        expect(admin.get_by_text("second is changing it, since")).to_be_visible()
        looks_well(admin, "two-list")
        admin.goto(path)
        expect(admin.get_by_text("second is changing it, since")).to_be_visible()
        other.goto("/changes")
        other.get_by_role("button", name="Applica", exact=True).click()
        expect(other.get_by_text("È in vigore.")).to_be_visible()
        other.goto(path)

        admin.locator("input[name=label]").fill("Mine")
        admin.get_by_role("button", name="Save").click()
        expect(admin.get_by_role("heading", level=1)).to_have_text("You and somebody else both changed 206 Mine")
        expect(admin.get_by_role("group", name="Label").get_by_label("Take theirs (second, ")).to_be_visible()
        expect(admin.get_by_text("Only somebody else changed these")).to_contain_text("Ring")
        looks_well(admin, "two-choose")
        admin.get_by_label("Keep yours").focus()  # by keyboard alone: to theirs and back, then on
        for key in ("ArrowDown", "ArrowUp"):
            admin.keyboard.press(key)
        expect(admin.get_by_label("Keep yours")).to_be_checked()
        admin.keyboard.press("Enter")
        expect(admin).to_have_url(f"{portal.url}/changes")
        admin.get_by_role("button", name="Commit", exact=True).click()
        expect(admin.get_by_text("It is in force.")).to_be_visible()
        assert served(office, "206") == "Mine"

        other.locator("input[name=label]").fill("Theirs again")
        other.get_by_role("button", name="Salva").click()
        expect(other.get_by_role("group", name="Etichetta").get_by_label("Prendi l'altro (admin, ")).to_be_visible()
        looks_well(other, "two-choose-it")
        other.goto("/changes")
        expect(other.get_by_role("button", name="Applica", exact=True)).to_have_count(0)
        looks_well(other, "two-review-it")
        other.get_by_label("Tieni il tuo").check()
        other.get_by_role("button", name="Usa ciò che è scelto").click()
        other.get_by_role("button", name="Applica", exact=True).click()
        expect(other.get_by_text("È in vigore.")).to_be_visible()
        assert served(office, "206") == "Theirs again"


def looks_well(page: Page, name: str) -> None:
    """No fault that axe finds, nothing wider than the window; pictures of it at its width."""
    seen = Watched(page)
    assert seen.axe() == []
    assert seen.too_wide() == 0
    seen.screen(name)


def test_what_ends_calls_is_asked_for(office: Office, admin: Page) -> None:
    admin.goto("/objects/listener/udp/edit")
    admin.locator("input[name=port]").fill("5070")
    admin.get_by_role("button", name="Save").first.click()
    admin.goto("/changes")
    expect(admin.locator(".effect")).to_contain_text("dropped for a moment")
    admin.get_by_role("button", name="Commit", exact=True).click()
    expect(admin.get_by_role("alert")).to_be_visible()
    admin.get_by_role("button", name="Discard all of it").click()


def test_with_the_applier_dead_the_portal_says_so_and_goes_on(office: Office, admin: Page) -> None:
    rename(admin, "ext-205", "Later")
    office.system.applier.stop()
    admin.goto("/changes")
    expect(admin.get_by_text("can't be told now")).to_contain_text("applier")
    expect(admin.locator("ins")).to_have_text("Later")
    office.system.start_applier()
    admin.goto("/changes")
    expect(admin.locator(".effect")).to_have_text("No call notices it.")
    admin.get_by_role("button", name="Discard all of it").click()


def test_without_the_portal_its_gate_says_so(portal: Console, admin: Page) -> None:
    """The last one: the portal stays down."""
    portal.processes["console"].stop()

    def down() -> bool:
        answer = admin.goto("/dashboard")
        return answer is not None and answer.status == 503

    eventually(down, "the gate answers by itself", 15)
    expect(admin.get_by_role("heading", name="Il portale non è in funzione")).to_be_visible()
    seen = Watched(admin)
    for theme, width in (("light", 1280), ("dark", 360)):
        admin.emulate_media(color_scheme="light" if theme == "light" else "dark")
        admin.set_viewport_size({"width": width, "height": 800})
        assert seen.too_wide() <= 0
        seen.screen(f"portal-down-{theme}-{width}")
        assert seen.axe() == []
