"""Passkeys with a real browser: Chromium's own WebAuthn and its virtual authenticator, over a page on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from appliance.access.factors import Factors
from appliance.access.passkeys import RelyingParty
from appliance.access.sessions import Stage
from appliance.access.signin import SignIn
from appliance.core.errors import RefusedError
from tests.unit.access.ground import AGENT, HOME, PASSWORD, Ground, open_ground

MAKE = """async (options) => JSON.stringify((await navigator.credentials.create({
    publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(options))})).toJSON())"""
SIGN = """async (options) => JSON.stringify((await navigator.credentials.get({
    publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(options))})).toJSON())"""


class Page(BaseHTTPRequestHandler):
    """Any page will do: it gives the origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Sign in</title>")

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def page_server() -> Iterator[str]:
    """An origin. A browser takes http://localhost for secure."""
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://localhost:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def real(url: str, tmp_path: Path) -> Iterator[Ground]:
    with open_ground(url, tmp_path) as ground:
        yield ground


def test_a_browser_makes_a_passkey_and_signs_in_with_it(real: Ground) -> None:
    with page_server() as origin, sync_playwright() as playwright:
        party = RelyingParty("localhost", (origin,))
        signin = SignIn(real.access, lambda: real.document, lambda _: True, party)
        factors = Factors(real.access, lambda: real.document, party)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            page = browser.new_page()
            page.goto(origin)
            devtools = page.context.new_cdp_session(page)
            devtools.send("WebAuthn.enable")
            options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}  # fmt: skip
            device = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
            session = signin.link(real.access.links.make("ann"), PASSWORD, HOME, AGENT).session
            assert session.stage is Stage.ENROL
            ceremony = factors.begin_passkey(session)
            enrolled = factors.add_passkey(
                session, ceremony.token, page.evaluate(MAKE, ceremony.options), "browser", HOME
            )
            assert enrolled.outcome.session.stage is Stage.FULL
            for _ in range(2):  # nobody types a name
                ceremony = signin.passkey_options()
                outcome = signin.passkey(ceremony.token, page.evaluate(SIGN, ceremony.options), HOME, AGENT)
                assert (outcome.session.person, outcome.session.stage) == ("ann", Stage.FULL)
            half = signin.password("ann", PASSWORD, HOME, AGENT)
            assert half.session.stage is Stage.PASSWORD
            ceremony = signin.passkey_options()
            answer = page.evaluate(SIGN, ceremony.options)
            assert signin.passkey(ceremony.token, answer, HOME, AGENT, half.session).session.id == half.session.id
            with pytest.raises(RefusedError):
                signin.passkey(ceremony.token, answer, HOME, AGENT)  # a replay
            credentials = devtools.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"]
            assert [each["isResidentCredential"] for each in credentials] == [True]
        finally:
            browser.close()
