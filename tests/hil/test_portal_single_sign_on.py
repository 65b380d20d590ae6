"""Single sign-on and a directory's password in a real browser: the console's own process, a real provider, a real directory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.access.access import Access
from appliance.core.document import parse
from appliance.handed import FILE
from appliance.kinds import KINDS
from appliance.paths import Paths
from appliance.store import Store
from tests.hil.agents.browser import Watched, chromium
from tests.hil.agents.identity_provider import CLIENT, SECRET, Idp, provider
from tests.hil.agents.slapd import BASE, PEOPLE, READER, READER_PASSWORD, Slapd, free_port, person, slapd
from tests.hil.console import PASSWORD, Console, console, window

STEP = "One more step: a second factor"


@dataclass
class Site:
    """A state directory with a document, and no engine: what signing in needs."""

    paths: Paths
    port: int

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "CENTRALINO_STATE": str(self.paths.state), "CENTRALINO_CACHE": str(self.paths.cache)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    top = tmp_path_factory.mktemp("single-sign-on")
    made = Site(Paths(top / "state", top / "cache"), free_port())
    made.paths.store.mkdir(parents=True)
    return made


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Idp]:
    callback = f"https://localhost:{site.port}/sign-in/with/sso/callback"
    with provider(tmp_path_factory.mktemp("idp"), [callback]) as running:
        yield running


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    people = [person("bob", "Bob Sample", "bob@example.com", "kestrel umbra 8")]
    with slapd(tmp_path_factory.mktemp("slapd"), people) as running:
        yield running


@pytest.fixture(scope="module")
def portal(site: Site, idp: Idp, directory: Slapd) -> Iterator[Console]:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("person", {"id": "ann", "name": "Ann", "email": "a.example@example.com", "roles": ["user"]}),
        ("person", {"id": "bob", "name": "Bob", "email": "bob@example.com", "roles": ["administrator"]}),
        ("person", {"id": "boss", "name": "Boss", "roles": ["user"]}),
        ("secret", {"id": "client"}),
        ("secret", {"id": "reader"}),
        ("identity_provider", {"id": "sso", "name": "Example login", "issuer": idp.issuer, "client_id": CLIENT,
                               "secret": "client", "authority": idp.authority.pem}),
        ("directory_service", {"id": "corp", "name": "Company", "servers": [{"host": "localhost", "port": directory.tls_port}],
                               "authority": directory.authority.pem, "bind_dn": READER, "secret": "reader", "base": PEOPLE}),
    ]  # fmt: skip
    with Store(f"sqlite:///{site.paths.document_db}") as store:
        objects = [parse(KINDS, kind, data) for kind, data in rows]
        store.promote(store.propose(objects, base=0, author="test").number)
    place = site.paths.handed_to("console")
    place.mkdir(parents=True)
    (place / FILE).write_text(json.dumps({"client": SECRET, "reader": READER_PASSWORD}))  # as the applier does
    with console(site, site.port) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def names(page: Page) -> set[str]:
    return {cookie["name"] for cookie in page.context.cookies()}


def test_a_person_goes_to_the_provider_and_comes_back_signed_in(portal: Console, idp: Idp, browser: Browser) -> None:
    idp.set(user=None, fault="", claims={})
    with window(browser, portal) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto("/account")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.get_by_role("link", name="Sign in with Example login").click()
        expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
        cookie = next(each for each in page.context.cookies() if each["name"] == "__Host-provider")
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
        page.get_by_role("link", name="ann").click()
        expect(page).to_have_url(f"{portal.url}/account")  # where it wanted to go
        expect(page.get_by_role("banner").get_by_role("link", name="ann")).to_be_visible()
        assert names(page) >= {"__Host-session"}
        assert "__Host-provider" not in names(page)
        assert not [url for url in asked if "token" in url.partition("?")[2].replace("token_type", "")]
        page.go_back()
        page.go_back()
        page.goto("/account")
        page.get_by_role("button", name="Sign out").click()
        assert "__Host-session" not in names(page)
        page.goto("/account")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_session_that_somebody_slipped_in_before_is_worth_nothing_after(
    portal: Console, idp: Idp, browser: Browser
) -> None:
    idp.set(user="ann", fault="", claims={})
    with window(browser, portal) as page:
        page.goto("/sign-in")
        planted = {"name": "__Host-session", "value": "known-to-somebody-else-000000000000000000000", "url": portal.url,
                   "secure": True, "sameSite": "Lax"}  # fmt: skip
        page.context.add_cookies([planted])  # type: ignore[list-item]
        page.get_by_role("link", name="Sign in with Example login").click()
        expect(page.get_by_role("banner").get_by_role("link", name="ann")).to_be_visible()
        session = next(each for each in page.context.cookies() if each["name"] == "__Host-session")
        assert session["value"] != planted["value"]


def test_an_answer_of_another_browser_opens_nothing(portal: Console, idp: Idp, browser: Browser) -> None:
    idp.set(user="ann", fault="", claims={})
    with window(browser, portal) as thief:
        thief.goto("/sign-in")
        thief.route("**/sign-in/with/sso/callback**", lambda route: route.abort())
        with thief.expect_request("**/sign-in/with/sso/callback**") as caught:
            thief.get_by_role("link", name="Sign in with Example login").click(no_wait_after=True)
        stolen = caught.value.url
    assert "code=" in stolen
    with window(browser, portal) as victim:
        victim.goto("/sign-in")
        victim.goto(stolen)  # a link that the thief sent, to have the victim work in the thief's account
        expect(victim.get_by_role("alert")).to_contain_text("didn't work")
        assert "__Host-session" not in names(victim)


def test_what_goes_wrong_is_said_and_the_other_ways_are_there(portal: Console, idp: Idp, browser: Browser) -> None:
    with window(browser, portal) as page:
        for user, fault, said in (
            ("nobody", "", "didn't let you sign in"), ("bob", "", "hasn't verified your e-mail address"),
            ("eve", "", "nobody here has the account"), ("ann", "expired", "didn't work"),
        ):  # fmt: skip
            idp.set(user=user, fault=fault, claims={})
            page.goto("/sign-in")
            page.get_by_role("link", name="Sign in with Example login").click()
            expect(page.get_by_role("alert")).to_contain_text(said, ignore_case=True)
            expect(page.get_by_label("Password")).to_be_visible()
            assert "__Host-session" not in names(page)
    idp.set(user=None, fault="")


def sign_in(page: Page, name: str, password: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Name or e-mail").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_the_directory_s_password_opens_the_portal(portal: Console, browser: Browser) -> None:
    with window(browser, portal) as page:
        sign_in(page, "bob", "wrong")
        expect(page.get_by_role("alert")).to_contain_text("That is not right")
        sign_in(page, "bob", "kestrel umbra 8")
        expect(page.get_by_role("heading", name=STEP)).to_be_visible()  # an administrator: ours is asked for


def test_without_a_directory_it_is_said_and_passwords_kept_here_work(
    portal: Console, directory: Slapd, browser: Browser, site: Site
) -> None:
    with window(browser, portal) as page:
        page.goto(portal.link("boss"))
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set the password and sign in").click()
        expect(page.get_by_role("banner").get_by_role("link", name="boss")).to_be_visible()
        directory.child.stop()
        page.context.clear_cookies()
        sign_in(page, "bob", "kestrel umbra 8")
        expect(page.get_by_role("alert")).to_contain_text("directory doesn't answer")
        sign_in(page, "boss", PASSWORD)
        expect(page.get_by_role("banner").get_by_role("link", name="boss")).to_be_visible()
    with Access.open(site.paths) as access:
        kept = "\n".join(str(each.detail) for each in access.audit.entries(limit=1000))
    log = portal.log.read_text()
    for secret in (SECRET, READER_PASSWORD, "kestrel umbra 8", PASSWORD, "code="):
        assert secret not in log + kept
    assert BASE in READER


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("language", ["en", "it"])
def test_the_page_can_be_read_by_everybody(portal: Console, browser: Browser, language: str, width: int) -> None:
    with window(browser, portal, language=language, width=width) as page:
        seen = Watched(page)
        page.on("console", lambda message: seen.wrong.append(message.text) if message.type == "error" else None)
        page.goto("/sign-in")
        assert seen.axe() == []
        assert seen.too_wide() == 0
        seen.screen(f"single-sign-on-{language}-{width}")
        assert seen.wrong == []
