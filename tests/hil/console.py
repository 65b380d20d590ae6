"""The console's own process over a running product, and a browser in front of it."""

from __future__ import annotations

import socket
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyotp
from playwright.sync_api import Browser, BrowserContext, Page, expect

from appliance.access.access import Access
from appliance.paths import Paths
from appliance.run import gate, web
from appliance.run.certificate import ensure_certificate
from tests.hil.agents.browser import PATIENCE_MS
from tests.hil.agents.process import Child, eventually
from tests.hil.live_hub import start_hub
from tests.hil.system import System

PASSWORD = "lampione torinese sotto la pioggia"


class Served(Protocol):
    """Whose state it serves."""

    @property
    def paths(self) -> Paths: ...

    @property
    def environment(self) -> dict[str, str]: ...


@dataclass
class Console:
    """Where it listens; whose state it serves."""

    system: Served
    url: str
    log: Path
    processes: dict[str, Child] = field(default_factory=dict)

    def start_hub(self) -> None:
        """The hub, where the engine is; another one in the place of one that was killed."""
        if "hub" in self.processes:
            self.processes["hub"].stop()
        assert isinstance(self.system, System), "a hub needs an engine"
        self.processes["hub"] = start_hub(self.system)

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
def console(system: Served, port: int = 0, *, hub: bool = False) -> Iterator[Console]:
    """The process behind a gate, on this machine's loopback; its peers are sockets and databases of the product's state.

    :param port: where it listens; 0: anywhere.
    :param hub: the live hub as well, at :attr:`Console.hub`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))
        port = free.getsockname()[1]
    paths = system.paths
    made = Console(system, f"https://localhost:{port}", paths.state / "console.log")
    environment = {**system.environment, "CENTRALINO_PORTAL_URL": made.url}
    web.make_places(paths)
    ensure_certificate(paths.gate, "portal", ("localhost", "127.0.0.1"))
    gate.prepare(paths, "127.0.0.1", port)
    with ExitStack() as stack:
        started = {
            "console": ([sys.executable, "-m", "appliance.console"], made.log),
            "gate": (gate.command(paths), paths.state / "gate.log"),
        }
        made.processes = {
            name: stack.enter_context(Child(argv, file, env=environment)) for name, (argv, file) in started.items()
        }
        if hub:
            made.start_hub()
        processes = made.processes.values()

        def up() -> bool:
            assert all(process.running for process in processes), [process.text() for process in processes]
            return made.ready()

        eventually(up, "the console answers", 30)
        try:
            yield made
        finally:
            if hub:
                made.processes["hub"].stop()


@contextmanager
def window(browser: Browser, console: Console, *, language: str = "en", width: int = 1280) -> Iterator[Page]:
    """A browser of somebody's own, that trusts the certificate."""
    context: BrowserContext = browser.new_context(
        base_url=console.url, ignore_https_errors=True, locale=language, viewport={"width": width, "height": 900},
        reduced_motion="reduce",
    )  # fmt: skip
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
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
