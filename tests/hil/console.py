"""The console's own process over a running product, and a browser in front of it."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyotp
from playwright.sync_api import Browser, BrowserContext, Page, expect

from appliance.access import Access
from appliance.run.certificate import ensure_certificate
from tests.hil.agents.process import eventually
from tests.hil.system import System

PASSWORD = "lampione torinese sotto la pioggia"


@dataclass
class Console:
    """Where it listens; whose state it serves."""

    system: System
    url: str
    log: Path

    def link(self, person: str) -> str:
        """A one-time link, whole."""
        with Access.open(self.system.paths) as access:
            return f"{self.url}/sign-in/link#{access.links.make(person)}"

    def ready(self) -> bool:
        context = ssl._create_unverified_context()  # noqa: S323 (a certificate of our own)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/openapi.json", context=context, timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def console(system: System) -> Iterator[Console]:
    """The process, on this machine's loopback; its peers are sockets and databases of the product's state."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ensure_certificate(system.paths.console, "portal", ("localhost", "127.0.0.1"))
    made = Console(system, f"https://localhost:{port}", system.paths.state / "console.log")
    environment = {**system.environment, "CENTRALINO_PORTAL_PORT": str(port), "CENTRALINO_PORTAL_URL": made.url}
    with made.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance.console"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:

        def up() -> bool:
            assert process.poll() is None, made.log.read_text()
            return made.ready()

        eventually(up, "the console answers", 30)
        yield made
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def window(browser: Browser, console: Console, *, language: str = "en", width: int = 1280) -> Iterator[Page]:
    """A browser of somebody's own, that trusts the certificate."""
    context: BrowserContext = browser.new_context(
        base_url=console.url, ignore_https_errors=True, locale=language, viewport={"width": width, "height": 900},
        reduced_motion="reduce",
    )  # fmt: skip
    try:
        page = context.new_page()
        page.set_default_timeout(15_000)
        yield page
    finally:
        context.close()


def first_sign_in(page: Page, console: Console, person: str, password: str = PASSWORD) -> str:
    """By a one-time link: a password, and an authenticator app where one is asked for. Its seed; empty without."""
    page.goto(console.link(person))
    page.get_by_label("New password").fill(password)
    page.get_by_label("The same again").fill(password)
    page.get_by_role("button", name="Set the password and sign in").click()
    if page.get_by_role("heading", name="One more step: a second factor").count() == 0:
        return ""
    page.get_by_role("button", name="Set up an authenticator app").click()
    seed = page.locator("code.big").inner_text()
    page.get_by_label("Type the code that the app shows").fill(pyotp.TOTP(seed).now())
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.get_by_role("link", name="I have kept them").click()
    return seed
