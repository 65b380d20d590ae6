"""Debian's Chromium, driven by Playwright: pages that note what goes wrong in them, axe, screenshots under ``build/screens``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
SCREENS = Path(__file__).parents[3] / "build" / "screens"
PATIENCE_MS = 30_000
"""For what never comes. Nothing of a page is judged by time: its tests may run beside others (tests/distribution.py)."""
WIDTHS = {"phone": 360, "desktop": 1280}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_WATCH = "addEventListener('securitypolicyviolation', e => console.error('CSP: ' + e.violatedDirective + ' ' + e.blockedURI))"

expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def chromium(program: str = CHROMIUM) -> Iterator[Browser]:
    """A headless browser. Root has no sandbox to give: Chromium refuses its own there."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page; ``wrong``: what its console said that it shouldn't, refused requests and violations of its policy."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def axe(self) -> list[str]:
        """What axe finds: rule and place of each fault."""
        options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": TAGS}}
        self.page.evaluate(Axe().axe_script)
        # Of what it found in order nothing comes here: on a long page that is megabytes.
        found = self.page.evaluate("options => axe.run(options).then(results => results.violations)", options)
        return [
            f"{one['id']}: {node['target']} {node.get('failureSummary', '')[:300]}"
            for one in found
            for node in one["nodes"]
        ]

    def too_wide(self) -> int:
        """Pixels by which the page is wider than the window."""
        self.page.wait_for_load_state()  # between two pages there is a moment without any
        wide: int = self.page.locator("html").evaluate("page => page.scrollWidth - page.clientWidth")
        return wide

    def screen(self, name: str) -> None:
        """Keep a picture of the whole page: the window is made as high as it, for what sticks to its edge to stand there."""
        SCREENS.mkdir(parents=True, exist_ok=True)
        size = self.page.viewport_size
        assert size is not None
        height = self.page.evaluate("document.documentElement.scrollHeight")
        self.page.set_viewport_size({"width": size["width"], "height": max(int(height), size["height"])})
        self.page.screenshot(path=SCREENS / f"{name}.png")
        self.page.set_viewport_size(size)


@contextmanager
def watched(
    browser: Browser,
    *,
    language: str = "en",
    width: int = 1280,
    theme: str = "light",
    scripts: bool = True,
    url: str = "",
    any_certificate: bool = False,
) -> Iterator[Watched]:
    """A new window whose troubles are noted. ``any_certificate``: as somebody sees it who was warned of it, and went on."""
    settings: dict[str, Any] = {"reduced_motion": "reduce", "color_scheme": theme, "java_script_enabled": scripts}
    settings["ignore_https_errors"] = any_certificate
    context = browser.new_context(
        locale=language, viewport={"width": width, "height": 800}, base_url=url or None, **settings
    )
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        if scripts:
            page.add_init_script(_WATCH)
        seen = Watched(page)
        page.on(
            "console", lambda message: seen.wrong.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: seen.wrong.append(str(error)))
        page.on("requestfailed", lambda request: seen.wrong.append(f"{request.url}: {request.failure}"))
        yield seen
    finally:
        context.close()
