"""Ways into the portal, in a real browser, over the console's own process."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.engine.unix import bind
from tests.hil.agents.browser import Watched, chromium
from tests.hil.console import PASSWORD, Console, console, first_sign_in, window
from tests.hil.office import Office, open_office

PEOPLE = [
    *(("person", {"id": id, "name": id, "roles": ["administrator"]}) for id in ("admin", "second", "third")),
    *(
        ("person", {"id": f"reader-{at}", "name": "Reception", "roles": ["user"]})
        for at in ("en-360", "en-1280", "it-360", "it-1280")
    ),
    ("person", {"id": "desk", "name": "Reception", "email": "desk@example.com", "roles": ["user"]}),
]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("sign-in"), PEOPLE) as office:
        yield office


@pytest.fixture(scope="module")
def portal(office: Office) -> Iterator[Console]:
    with console(office.system) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.goto("/sign-in")
    page.get_by_label("Name or e-mail").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_in_as(page: Page, name: str) -> None:
    """The same in any language."""
    page.goto("/sign-in")
    page.locator("#name").fill(name)
    page.locator("#password").fill(PASSWORD)
    page.locator("#password").press("Enter")


def looks_well(seen: Watched, name: str) -> None:
    assert seen.too_wide() == 0, name
    seen.screen(name)
    assert seen.axe() == [], name


def test_an_administrators_first_and_second_sign_in(portal: Console, browser: Browser) -> None:
    with window(browser, portal) as page:
        page.goto(portal.link("admin"))
        assert "#" not in page.url, "the token leaves the address at once"
        page.get_by_label("New password").fill("centralino12")
        page.get_by_label("The same again").fill("centralino12")
        page.get_by_role("button", name="Set the password and sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("tried first")
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set the password and sign in").click()
        expect(page.get_by_role("heading", name="One more step: a second factor")).to_be_visible()
        looks_well(Watched(page), "one-more-step")
        page.goto("/objects/extension")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()  # nothing is open before that step
        page.goto("/account")
        page.get_by_role("button", name="Set up an authenticator app").click()
        seed = page.locator("code.big").inner_text()
        page.get_by_label("Type the code that the app shows").fill("000000")
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_role("button", name="Set up an authenticator app").click()
        seed = page.locator("code.big").inner_text()
        page.get_by_label("Type the code that the app shows").fill(pyotp.TOTP(seed).now())
        page.get_by_role("button", name="Go on").click()
        codes = page.locator("code.big").all_inner_texts()
        assert len(set(codes)) == 10
        page.get_by_role("link", name="I have kept them").click()
        page.goto("/objects/extension")
        expect(page.get_by_role("link", name="Desk 201")).to_be_visible()
        page.goto("/account")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.goto("/objects/extension?q=branch")
        page.get_by_label("Name or e-mail").fill("ADMIN")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_label("Code of your authenticator app").fill("123456")
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("Code of your authenticator app").fill(codes[3])
        page.get_by_role("button", name="Go on").click()
        expect(page).to_have_url(f"{portal.url}/objects/extension?q=branch")  # where it wanted to go
        page.goto("/account")
        expect(page.get_by_text("Recovery codes left: 9")).to_be_visible()


def test_a_passkey_is_made_and_opens_the_door(portal: Console, browser: Browser) -> None:
    with window(browser, portal) as page:
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
                   "isUserVerified": True, "automaticPresenceSimulation": True}  # fmt: skip
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        page.goto(portal.link("second"))
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set the password and sign in").click()
        page.get_by_label("Name of the new passkey").fill("The office's computer")
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_text("The office's computer")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("button", name="Sign in with a passkey").click()
        expect(page.get_by_role("banner").get_by_role("link", name="second")).to_be_visible()
        page.goto("/account")
        page.get_by_role("button", name="Sign out").click()
        sign_in(page, "second")
        page.get_by_role("button", name="Use a passkey").click()
        expect(page.get_by_role("banner").get_by_role("link", name="second")).to_be_visible()


def test_whoever_fails_learns_nothing_of_why(portal: Console, browser: Browser) -> None:
    with window(browser, portal) as page:
        first_sign_in(page, portal, "desk")
        page.goto("/account")
        page.get_by_role("button", name="Sign out").click()
        texts = set()
        for name, password in (("desk", "wrong"), ("nobody", PASSWORD), ("third", PASSWORD), ("desk' OR 1=1 --", "x")):
            sign_in(page, name, password)
            texts.add(page.get_by_role("alert").inner_text())
            assert page.get_by_label("Password").input_value() == ""
        assert len(texts) == 1
        sign_in(page, "desk@example.com")
        expect(page.get_by_role("banner").get_by_role("link", name="Reception")).to_be_visible()


def test_nobody_is_sent_elsewhere_and_no_session_is_taken_over(portal: Console, browser: Browser) -> None:
    with window(browser, portal) as page:
        cookies = page.context.cookies
        page.goto(portal.link("third"))
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set the password and sign in").click()
        before = cookies()[0]
        assert (before["httpOnly"], before["secure"], before["sameSite"], before["path"]) == (True, True, "Lax", "/")
        seed_page = page.get_by_role("button", name="Set up an authenticator app")
        seed_page.click()
        seed = page.locator("code.big").inner_text()
        page.get_by_label("Type the code that the app shows").fill(pyotp.TOTP(seed).now())
        page.get_by_role("button", name="Go on").click()
        assert cookies()[0]["value"] != before["value"], "what was known before the rise is worth nothing after it"
        for wanted in ("//example.com", "https://example.com/", "/\\example.com", "javascript:alert(1)"):
            page.goto(f"/sign-in?next={wanted}")
            assert page.url.startswith(portal.url)
        page.goto("/account")
        page.get_by_role("button", name="Sign out").click()
        assert not [cookie for cookie in cookies() if cookie["name"].endswith("session")]


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("language", ["en", "it"])
def test_every_page_can_be_read_by_everybody(portal: Console, browser: Browser, language: str, width: int) -> None:
    person = f"{'admin' if width == 360 else 'second'}"
    with window(browser, portal, language=language, width=width) as page:
        seen = Watched(page)
        page.on("console", lambda message: seen.wrong.append(message.text) if message.type == "error" else None)
        for name, path in (("sign-in", "/sign-in"), ("link", portal.link(person)), ("nowhere", "/nowhere")):
            page.goto(path)
            assert seen.axe() == [], name
            assert seen.too_wide() == 0, name
            seen.screen(f"{name}-{language}-{width}")
        assert [text for text in seen.wrong if "404" not in text] == []
        assert page.locator("html").get_attribute("lang") == language


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("language", ["en", "it"])
def test_ones_account_can_be_read_by_everybody(
    portal: Console, office: Office, browser: Browser, language: str, width: int
) -> None:
    with window(browser, portal, width=width) as page:
        person = f"reader-{language}-{width}"  # of each a code is good once, whatever app shows it
        first_sign_in(page, portal, person)
        page.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
        seen = Watched(page)
        page.goto("/account")
        looks_well(seen, f"account-{language}-{width}")
        page.locator("form[action$='/account/keys'] [name=name]").fill("CRM")
        page.locator("form[action$='/account/keys'] [name=scopes]").fill("history:view")
        page.locator("form[action$='/account/keys'] button").click()
        looks_well(seen, f"key-{language}-{width}")
        page.goto("/account")
        page.locator("form[action$='/account/app'] button").click()
        looks_well(seen, f"app-{language}-{width}")
        seed = page.locator("code.big").inner_text()
        page.locator("#code").fill(pyotp.TOTP(seed).now())
        page.locator("button.primary").click()
        expect(page.locator("#code")).to_have_count(0)
        page.goto("/account")
        looks_well(seen, f"account-whole-{language}-{width}")
        page.locator("form[action$='/account/recovery'] button").click()
        expect(page.locator(".codes li")).to_have_count(10)
        spare = page.locator("code.big").first.inner_text()
        looks_well(seen, f"recovery-codes-{language}-{width}")
        page.goto("/account")
        page.locator("form[action$='/sign-out'] button").click()
        sign_in_as(page, person)
        expect(page.locator("#code")).to_be_visible()
        looks_well(seen, f"second-factor-{language}-{width}")
        page.locator("#code").fill(spare)
        page.locator("button.primary").click()
        expect(page.locator(".who")).to_be_visible()
        page.goto("/deliveries")
        looks_well(seen, f"forbidden-{language}-{width}")


def test_the_judge_of_bans_hears_who_fails_by_the_address_that_is_true(
    browser: Browser, office: Office, portal: Console
) -> None:
    """Of portal and API, through the gate: what whoever asks says of his address is thrown away."""
    lie = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as judge:
        bind(judge, office.system.paths.attempts_socket)
        judge.settimeout(10)
        context = ssl._create_unverified_context()  # noqa: S323 (a certificate of our own)
        port = int(portal.url.rpartition(":")[2])
        asking = http.client.HTTPSConnection("127.0.0.1", port, context=context, source_address=("127.0.0.7", 0))
        asking.request("GET", "/api/v1/state", headers={**lie, "Authorization": "Bearer ck_somekey_guess"})
        assert asking.getresponse().status == 401
        asking.close()
        assert json.loads(judge.recv(2000))[:4] == ["api", "127.0.0.7", "failed", "key somekey"]
        with window(browser, portal) as page:
            page.set_extra_http_headers(lie)
            sign_in(page, "third", "a wrong password")
            assert json.loads(judge.recv(2000))[:3] == ["portal", "127.0.0.1", "failed"]
    office.system.paths.attempts_socket.unlink()
