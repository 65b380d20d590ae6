"""The technician's console of a real edge with two lines, in Chromium, as somebody with a telephone sees it: sign-in, lines as they are now, a test call, the drill, help."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from appliance.edge.identity import Identity
from appliance.paths import CHECKOUT
from appliance.vpn.pki.tls_crypt import relay_key
from tests.hil.agents.browser import CHROMIUM, WIDTHS, Watched, chromium, watched
from tests.hil.agents.edge_ground import Ground, edge_ground
from tests.hil.agents.network import Host
from tests.hil.agents.process import Child, eventually
from tests.hil.test_protected_edge import FIBRE, LTE, addresses, all_up, dead

PAGES = {
    "lines": "/",
    "network": "/network",
    "phones": "/phones",
    "tests": "/tests",
    "events": "/events",
    "logs": "/logs",
    "support": "/support",
}


@dataclass
class Console:
    """A branch's edge, its console, and a browser."""

    ground: Ground
    browser: Browser
    url: str
    code: str
    child: Child

    @property
    def env(self) -> dict[str, str]:
        return environment(self.ground)


def environment(ground: Ground) -> dict[str, str]:
    return {
        **ground.env,
        "CENTRALINO_EDGE_CONSOLE": str(ground.work / "console"),
        "PYTHONPATH": str(CHECKOUT),
        "LANG": "C.UTF-8",
    }


def command(ground: Ground, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "edge", *words],
        env={**os.environ, **environment(ground)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def new_code(ground: Ground) -> str:
    found = re.search(r"[0-9A-Z]{4}(?:-[0-9A-Z]{4}){2}", command(ground, "code"))
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def console() -> Iterator[Console]:
    with edge_ground() as ground, chromium(program_at(ground.edge, ground.work)) as browser:
        ground.edge.run(["sysctl", "-q", "-w", "net.ipv4.ping_group_range=0 2147483647"])
        ground.edge.run(["ip", "route", "add", "default", "dev", "eth2"])  # a modem's: it needs no gateway
        ground.commit(*addresses(ground), lines=[FIBRE, LTE])
        ground.enrol()
        ground.start_centre()
        ground.start_edge()
        ground.reached(1)
        all_up(ground)
        argv = [sys.executable, "-m", "appliance.cli", "edge", "console"]
        child = ground.edge.start(argv, ground.work / "console.log", env=environment(ground))
        ground.children.append(child)
        made = Console(ground, browser, f"https://{ground.edge.address_on('branch')}:8443", "", child)
        eventually(lambda: "listens at" in (ground.work / "console.log").read_text(), "the console listens", 20)
        with window(made) as seen:
            seen.page.goto("/")
            expect(seen.page.get_by_text("centralino edge code")).to_be_visible()  # what to do where there is none
            seen.screen("technician-no-code")
        made.code = new_code(ground)
        yield made


def window(console: Console, **more: object) -> contextlib.AbstractContextManager[Watched]:
    return watched(console.browser, url=console.url, any_certificate=True, **{"width": WIDTHS["phone"], **more})  # type: ignore[arg-type]


def program_at(host: Host, work: Path) -> str:
    """Chromium at a host of the test network."""
    script = work / "chromium"
    script.write_text(f'#!/bin/sh\nexec ip netns exec {host.namespace} {CHROMIUM} "$@"\n')
    script.chmod(0o755)
    return str(script)


def wrong(seen: Watched) -> list[str]:
    """What went wrong; not that the browser didn't wait for the icon of a page that was left."""
    return [each for each in seen.wrong if not ("icon.svg" in each and "ERR_ABORTED" in each)]


def enter(seen: Watched, console: Console) -> None:
    seen.page.goto("/")
    seen.page.locator("#code").fill(console.code.lower().replace("-", " "))
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator("nav.tabs")).to_be_visible()


def test_it_listens_in_the_branch_and_at_no_line(console: Console) -> None:
    ground = console.ground
    ground.lan.connect(ground.edge.address_on("branch"), 8443, 5).close()
    for network in ("provider", "isp-two"):
        with pytest.raises(OSError):
            ground.centre.connect(ground.edge.address_on(network), 8443, 1).close()
    said = ground.edge.run(["ss", "-Hltn"]).stdout
    assert {"127.0.0.1:8443", "169.254.1.1:8443"} <= set(said.split())


def test_nobody_sees_anything_without_the_code(console: Console) -> None:
    with window(console) as seen:
        page = seen.page
        for path in ("/", "/live", "/tests", "/tests/going", "/events", "/logs", "/support"):
            page.goto(path)
            assert page.url.endswith("/sign-in"), path
        page.locator("#code").fill("0000-0000-0000")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("This isn't the code of this device")
        assert seen.axe() == []
        enter(seen, console)
        (cookie,) = [each for each in page.context.cookies() if each["name"] == "__Host-technician"]
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
        sent = "fetch('/tests/call', {method: 'POST', body: new URLSearchParams({seconds: '3'})}).then(answer => answer.status)"
        assert page.evaluate(sent) == 409, "a form without its token is somebody else's"
        page.get_by_role("button", name="Sign out").click()
        page.goto("/events")
        assert page.url.endswith("/sign-in")
    assert console.code not in (console.ground.work / "console.log").read_text()


@pytest.mark.parametrize("language", ["en", "it"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_in_every_look(console: Console, language: str, width: str) -> None:
    with window(
        console, language=language, width=WIDTHS[width], theme="dark" if width == "desktop" else "light"
    ) as seen:
        enter(seen, console)
        for name, path in PAGES.items():
            seen.page.goto(path)
            expect(seen.page.locator("h1")).to_be_visible()
            assert seen.page.locator("html").get_attribute("lang") == language
            assert seen.too_wide() == 0, name
            assert seen.axe() == [], name
            seen.screen(f"technician-{name}-{language}-{width}")
        seen.page.goto("/")
        other = {"en": "Italiano", "it": "English"}[language]
        seen.page.get_by_role("button", name=other).click()
        expect(seen.page.locator("html")).not_to_have_attribute("lang", language)
        assert not wrong(seen)


def test_a_line_dies_and_the_page_shows_it_by_itself(console: Console) -> None:
    all_up(console.ground)
    with window(console) as seen:
        enter(seen, console)
        first, second = seen.page.locator("section.line").nth(0), seen.page.locator("section.line").nth(1)
        expect(first.locator(".mark").first).to_have_text("works")
        with dead(console.ground, "provider"):
            expect(first.locator(".mark").first).to_have_text("down")
            expect(second.get_by_text("the best now")).to_be_visible()
            expect(seen.page.get_by_text("nothing came through by line 1 any more").first).to_be_visible()
            expect(first.locator("rect.down")).not_to_have_count(0)  # it is drawn, too
            seen.screen("technician-line-down")
        expect(first.locator(".mark").first).to_have_text("works")
        expect(first.locator("rect.down")).not_to_have_count(0)
        seen.page.goto("/events")
        expect(seen.page.get_by_text("Line 1 is down").first).to_be_visible()
        assert not wrong(seen)


def test_a_line_is_used_by_hand_and_as_it_is_judged_again(console: Console) -> None:
    all_up(console.ground)
    with window(console, scripts=False) as seen:
        enter(seen, console)
        page = seen.page
        page.get_by_label("Line to use").select_option("2")
        page.get_by_label("For how many minutes").fill("5")
        page.get_by_role("button", name="Use this line").click()
        expect(page.get_by_text("Line 2 alone is used by hand, as long as it works, for 5 min more.")).to_be_visible()

        def held() -> bool:
            page.goto("/")
            return page.locator("section.line").nth(0).get_by_text("held back by hand").count() == 1

        eventually(held, "the other is held back", 10)
        seen.screen("technician-by-hand")
        page.get_by_role("button", name="As lines are judged again").click()
        expect(page.get_by_text("by hand, as long as it works")).to_have_count(0)
        assert not wrong(seen)


def test_an_interface_is_set_up_here_on_trial_and_kept(console: Console) -> None:
    all_up(console.ground)
    with window(console) as seen:
        enter(seen, console)
        page = seen.page
        page.goto("/network")
        card = page.locator("section.card").nth(0)
        expect(card.get_by_text("Set up by this router's own system.")).to_be_visible()
        card.get_by_label("Address, with the length of its network").fill("198.51.100.88")
        card.get_by_label("The provider's router").fill("198.51.100.10")
        card.get_by_role("button", name="Use these addresses").click()
        expect(page.get_by_text("no length of its network").first).to_be_visible()
        assert seen.axe() == []
        page.goto("/network")
        card.get_by_label("Address, with the length of its network").fill("198.51.100.88/24")
        card.get_by_label("The provider's router").fill("198.51.100.10")
        card.get_by_role("button", name="Use these addresses").click()
        expect(page.get_by_text("The setting of eth0 is on trial")).to_be_visible()
        assert seen.axe() == []
        assert seen.too_wide() == 0
        seen.screen("technician-network-on-trial")
        page.get_by_role("button", name="Keep it").click()
        expect(page.get_by_role("button", name="Keep it")).to_have_count(0)

        def shows(text: str) -> bool:
            page.goto("/network")
            return card.get_by_text(text).count() > 0

        eventually(lambda: shows("198.51.100.88/24"), "it has the address", 10)
        expect(card.get_by_text("set here")).to_be_visible()
        card.get_by_role("button", name="As the configuration at the centre says").click()
        eventually(lambda: shows("Set up by this router's own system."), "it is as it was", 10)
        page.goto("/events")
        expect(page.get_by_text("Interface eth0 was set up at the router: 198.51.100.88/24").first).to_be_visible()
        assert [each for each in wrong(seen) if "422" not in each] == []
    said = console.ground.edge.run(["ip", "-4", "-o", "address", "show", "dev", "eth0"]).stdout
    eventually(
        lambda: (
            "198.51.100.88" not in console.ground.edge.run(["ip", "-4", "-o", "address", "show", "dev", "eth0"]).stdout
        ),
        said,
        10,
    )


def test_the_drill_shows_its_proof(console: Console) -> None:
    all_up(console.ground)
    with window(console, language="it") as seen:
        enter(seen, console)
        page = seen.page
        page.goto("/tests")
        page.locator("#line").select_option("1")
        page.locator("#drill-s").fill("6")
        page.locator("form[action='/tests/drill'] button").click()
        expect(page.locator("#measurement progress")).to_be_visible()
        expect(page.locator("#measurement .mark")).to_be_visible()
        seen.screen("technician-drill-going")
        said = page.locator("#measurement .said")
        expect(said).to_be_visible()
        assert "nessuno" in said.inner_text() or "nessun" in said.inner_text(), said.inner_text()
        assert seen.axe() == []
        assert seen.too_wide() == 0
        seen.screen("technician-drill-over")
        expect(page.locator(".strips .cut")).not_to_have_count(0)
        assert not wrong(seen)


def test_a_test_call_works_without_scripts_too(console: Console) -> None:
    with window(console, scripts=False) as seen:
        enter(seen, console)
        page = seen.page
        page.goto("/tests")
        page.locator("#call-s").fill("3")
        page.locator("form[action='/tests/call'] button").click()
        expect(page.locator("#measurement progress")).to_be_visible()

        def over() -> bool:
            page.goto("/tests")
            return bool(page.locator("#measurement .said").count())

        eventually(over, "its result is there when the page is loaded again", 20)
        expect(page.locator("#measurement .said")).to_contain_text("none was lost")


def test_who_is_heard_in_the_branch_is_shown(console: Console) -> None:
    ground = console.ground
    ground.lan.run(["ip", "link", "set", "eth0", "address", "00:04:13:2d:24:01"])
    ground.lan.connect(ground.edge.address_on("branch"), 8443, 5).close()
    with window(console) as seen:
        enter(seen, console)
        seen.page.get_by_role("link", name="Phones").click()
        row = seen.page.locator("ul.seen li").filter(has_text=ground.lan.address)
        expect(row).to_contain_text("Snom, Gigaset")
        expect(row).to_contain_text("00:04:13:2d:24:01")
        assert seen.page.locator("ul.seen li").count() == 1, "nobody of the lines"
    there = [f"{name}={value}" for name, value in console.env.items()]
    said = ground.edge.run(["env", *there, sys.executable, "-m", "appliance.cli", "edge", "phones", "--json"]).stdout
    assert [(each["address"], each["maker"]) for each in json.loads(said)] == [(ground.lan.address, "Snom, Gigaset")]


def test_lines_are_tried_from_here(console: Console) -> None:
    all_up(console.ground)
    with window(console, language="it") as seen:
        enter(seen, console)
        page = seen.page
        page.goto("/tests")
        page.get_by_role("button", name="Controllare le linee").click()
        rows = page.locator("#found li")
        expect(page.locator("#found progress")).to_have_count(0)
        expect(rows.filter(has_text="Linea 1")).to_have_count(1)
        expect(rows.filter(has_text="Linea 2")).to_have_count(1)
        assert page.locator("#found .problem").all_inner_texts() == []
        assert seen.axe() == []
        assert seen.too_wide() == 0
        seen.screen("technician-check")
        far = console.ground.centre.address_on("isp-two")
        page.locator("#host").fill(far)
        page.locator("#by").select_option("2")
        page.get_by_role("button", name="Ping").click()
        expect(rows.filter(has_text="persi")).to_have_count(1)
        page.locator("#host").fill(far)
        page.get_by_role("button", name="Percorso").click()
        expect(page.locator("#found progress")).to_have_count(0)
        expect(rows.first).to_contain_text(far)
        page.locator("#host").fill("-i eth0")
        page.get_by_role("button", name="Ping").click()
        expect(page.locator("h1")).to_contain_text("-i eth0")
        assert not [each for each in wrong(seen) if "422" not in each]


def test_the_bundle_is_downloaded_and_holds_no_secret(console: Console, tmp_path: Path) -> None:
    with window(console) as seen:
        enter(seen, console)
        seen.page.goto("/support")
        with seen.page.expect_download() as found:
            seen.page.get_by_role("button", name="Download it").click()
        file = tmp_path / "bundle.tar.gz"
        found.value.save_as(file)
    done = subprocess.run(["tar", "-xzOf", str(file)], capture_output=True, check=True)
    state = Identity(console.ground.edge_paths).current
    assert state is not None
    assert state.site.encode() in done.stdout
    for secret in (
        relay_key(state.material.tunnel_key).hex().encode(),
        b"PRIVATE KEY",
        b"OpenVPN tls-crypt-v2 client key-----",
    ):
        assert secret not in done.stdout
    key = "".join(state.identity_file.read_text().split("-----BEGIN PRIVATE KEY-----")[1].split()[:1])[:40]
    assert len(key) == 40
    assert key.encode() not in done.stdout


def test_the_edge_is_away_and_the_page_says_what_to_do(console: Console) -> None:
    agent = next(child for child in reversed(console.ground.children) if child is not console.child)
    with window(console) as seen:
        enter(seen, console)
        agent.stop()
        expect(seen.page.get_by_text("The edge doesn't run")).to_be_visible()
        seen.screen("technician-edge-away")
        seen.page.goto("/tests")
        expect(seen.page.get_by_text("No edge runs here")).to_be_visible()
        console.ground.start_edge()
        all_up(console.ground)
        seen.page.goto("/")
        expect(seen.page.locator("section.line").first).to_be_visible()
