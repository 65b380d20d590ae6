"""Branches, firewall and bans in Debian's Chromium: both languages, phone and desktop, by keyboard, without scripts, and figures that
change in place. The judge of bans and the hub are real; the kernel's rules are in a network namespace of their own."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from appliance.firewall.bans.service import Service
from appliance.firewall.kernel import Kernel
from appliance.firewall.promise import Machine, promise
from appliance.firewall.rules import script
from appliance.paths import Paths
from appliance.vpn.enrolment.codes import read_code
from appliance.vpn.enrolment.invitation import read_file
from appliance.vpn.enrolment.waiting import Invitations
from appliance.vpn.pki import Authority
from tests.hil.agents.browser import Watched, chromium, watched
from tests.hil.agents.network import Network, require_root
from tests.hil.portal_app import Portal, company, portal_over
from tests.unit.console.edge import FAULT, ROME, TURIN, edge, told
from tests.unit.console.test_branches import ROWS as BRANCHES
from tests.unit.console.test_branches import happened
from tests.unit.console.test_firewall_pages import ROWS as NETWORKS
from tests.unit.console.test_firewall_pages import SPARED
from tests.unit.firewall.attempts import scan
from tests.unit.firewall.test_bans_service import commit, judged, ready, serving
from tests.unit.vpn.ground import Ground, csr

CABLES = [
    ("wan_line", {"id": "torino-fibre", "name": "Fibra <voce>", "site": "torino", "number": 1, "device": "wan",
                  "access": {"type": "static", "addresses": ["198.51.100.2/30"], "gateways": ["198.51.100.1"]}}),
    ("wan_line", {"id": "torino-lte", "name": "LTE", "site": "torino", "number": 3, "device": "wwan0", "role": "metered",
                  "access": {"type": "dhcp"}}),
]  # fmt: skip
ROWS = [*BRANCHES, *(row for row in NETWORKS if row[0] == "network"), *CABLES]
LOOKS = (("en", 1280, "light"), ("it", 360, "dark"), ("it", 1280, "light"))


def looks_well(seen: Watched, name: str, *, judged: bool) -> None:
    assert seen.too_wide() <= 0, name
    cut = "[...document.querySelectorAll('.table')].filter(each => each.scrollWidth > each.clientWidth).length"
    assert seen.page.evaluate(cut) == 0, f"{name}: a table's last column is cut off"
    seen.screen(name)
    if judged:
        assert seen.axe() == [], name


def look_at(browser: Browser, portal: Portal, pages: dict[str, str]) -> None:
    """Each page in every look; axe judges two of them."""
    for language, width, theme in LOOKS:
        with watched(browser, language=language, width=width, theme=theme, scripts=True, url=portal.url) as seen:
            seen.page.route_web_socket("**/live", lambda _socket: None)
            for name, path in pages.items():
                seen.page.goto(path)
                looks_well(
                    seen, f"edge-{name}-{language}-{width}-{theme}", judged=(language == "en") == (width == 1280)
                )
            assert seen.wrong == [], (language, width)


def told_by_hub(socket: WebSocketRoute) -> None:
    """As the hub does: hello to whoever subscribes."""

    def answer(_message: str | bytes) -> None:
        say(
            socket,
            "hello",
            "hub",
            {"epoch": "e", "resumed": False, "rooms": ["branches", "alarms"], "heartbeat_s": 5, "state": "live"},
        )

    socket.on_message(answer)


def say(socket: WebSocketRoute, type: str, room: str, data: dict[str, Any]) -> None:
    socket.send(json.dumps([{"type": type, "seq": 1, "room": room, "data": data}]))


def test_branches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRALINO_VPN", "on")
    authority = Ground(tmp_path).authority
    authority.enrol("torino", csr())
    with chromium() as browser, portal_over(tmp_path, company(ROWS)) as portal:
        paths = Paths(tmp_path, tmp_path)
        with edge(paths, portal.store, told(TURIN, ROME, faults=(FAULT,)), authority):
            happened(paths.vpn.events, "torino")
            pages = {"branches": "/branches", "shut-out": "/branches/torino/revoke", "enrol": "/branches/torino/enrol"}
            pages |= {"happened": "/branches/torino/events", "nothing-happened": "/branches/roma/events"}
            look_at(browser, portal, pages)
            figures_change_in_place(browser, portal)
            enrol(browser, portal, paths)
            shut_out(browser, portal, authority)
        with watched(browser, width=360, url=portal.url) as seen:
            portal.who = "auditor"
            seen.page.route_web_socket("**/live", lambda _socket: None)
            seen.page.goto("/branches")
            looks_well(seen, "edge-branches-without-hub", judged=True)


def figures_change_in_place(browser: Browser, portal: Portal) -> None:
    sockets: list[WebSocketRoute] = []
    with watched(browser, language="it", url=portal.url) as seen:
        page = seen.page
        page.route_web_socket("**/live", lambda socket: (sockets.append(socket), told_by_hub(socket))[1])
        with page.expect_response(
            lambda answer: answer.url.endswith("/branches") and answer.request.resource_type == "fetch"
        ):
            page.goto("/branches")
        row = page.locator("[data-branch=torino]")
        expect(row.locator("[data-figure=rtt_ms]")).to_have_text("12 ms")
        loss = row.locator("[data-figure=loss]")
        fetched: list[str] = []
        page.on("request", lambda request: fetched.append(request.url))
        say(
            sockets[0],
            "branch",
            "branches",
            {"id": "torino", "rtt_ms": 8.1, "loss": 0.0, "sent_rate": 2_500_000, "received": 1_230_000},
        )
        expect(row.locator("[data-figure=rtt_ms]")).to_have_text("8,1 ms")
        expect(row.locator("[data-figure=sent_rate]")).to_have_text("2,5 Mbit/s")
        expect(row.locator("[data-figure=received]")).to_have_text("1,23 MB")
        expect(loss).to_have_text("0 %")
        expect(loss).not_to_have_class("poor")
        say(sockets[0], "branch", "branches", {"id": "torino", "loss": 0.25, "rtt_ms": None})
        expect(loss).to_have_class("poor")
        expect(row.locator("[data-figure=rtt_ms]")).to_have_text("–")
        assert fetched == [], "nothing is asked of the server for it"
        with page.expect_response(lambda answer: answer.url.endswith("/branches")):
            say(sockets[0], "branch", "branches", {"id": "torino", "state": "away", "since": None})
        expect(row.locator("[data-figure=rtt_ms]")).to_have_text("12 ms")  # what the server says holds
        assert seen.wrong == []


def enrol(browser: Browser, portal: Portal, paths: Paths) -> None:
    """By keyboard, without scripts and with (axe is one): what is shown once is the file that is downloaded, and it works."""
    for (language, width, theme), scripts in zip(LOOKS[:2], (False, True), strict=True):
        with watched(browser, scripts=scripts, language=language, width=width, theme=theme, url=portal.url) as seen:
            page = seen.page
            page.route_web_socket("**/live", lambda _socket: None)
            page.goto("/branches/torino/enrol")
            page.locator("form.enrol button").focus()
            page.keyboard.press("Enter")
            code = read_code(page.locator(".code").inner_text())
            copies(page, code.text if scripts else None)
            looks_well(seen, f"edge-invited-{language}-{width}-{theme}", judged=scripts)
            prints(seen, scripts=scripts)
            with page.expect_download() as found:
                page.locator(".invited form button").focus()
                page.keyboard.press("Enter")
            assert read_file(Path(found.value.path()).read_bytes()).secret == code.secret
            assert code.secret.text not in found.value.url
            assert code.secret.text not in page.url
            assert Invitations(paths.vpn).admit(code.secret) is not None
            page.goto("/branches")
            looks_well(seen, f"edge-waiting-{language}-{width}-{theme}", judged=scripts)
            page.locator("[data-invitation=torino] button").focus()
            page.keyboard.press("Enter")
            expect(page.locator(".said[role=status]")).to_be_visible()
            assert Invitations(paths.vpn).admit(code.secret) is None


def prints(seen: Watched, *, scripts: bool) -> None:
    """One sheet with all that the technician needs: what is to be typed, the picture, and which cable goes where."""
    page = seen.page
    button = page.locator("button[data-print]")
    expect(button).to_be_visible() if scripts else expect(button).to_be_hidden()
    cables = page.locator("table.cables tbody")
    for text in ("1. Fibra <voce>", "wan", "198.51.100.2/30", "3. LTE", "wwan0", "DHCP"):
        expect(cables).to_contain_text(text)
    page.emulate_media(media="print")
    expect(button).to_be_hidden()
    expect(page.locator(".invited form button")).to_be_hidden()
    expect(page.locator("img.qr")).to_be_visible()
    expect(page.locator(".code")).to_be_visible()
    sheets = re.findall(rb"/Type\s*/Page\b(?!s)", page.pdf(format="A4"))
    assert len(sheets) == 1
    before = page.viewport_size
    assert before is not None
    page.set_viewport_size({"width": 794, "height": 1123})
    seen.screen(f"edge-invited-printed-{'scripts' if scripts else 'plain'}")
    page.emulate_media(media="screen")
    page.set_viewport_size(before)


def copies(page: Page, text: str | None) -> None:
    """The code goes to the clipboard, and that is said; without scripts (None) there is no button that does nothing."""
    button = page.locator("button[data-copy]")
    if text is None:
        expect(button).to_be_hidden()
        return
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".invited [role=status]")).to_have_text("Copiato.")
    assert page.evaluate("navigator.clipboard.readText()").replace("-", "") == text.replace("-", "")


def shut_out(browser: Browser, portal: Portal, authority: Authority) -> None:
    """By keyboard, without scripts."""
    with watched(browser, scripts=False, width=360, url=portal.url) as seen:
        page = seen.page
        page.goto("/branches")
        page.get_by_role("link", name="Shut out Turin <office>").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Shut it out").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").filter(has_text="its certificates are revoked")).to_be_visible()
        assert authority.living("torino") == []


def test_firewall_and_bans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_root()
    monkeypatch.setenv("CENTRALINO_FIREWALL", "on")
    paths = Paths(tmp_path, tmp_path)
    commit(paths, *SPARED)

    def look() -> None:
        with chromium() as browser, portal_over(tmp_path, company(ROWS)) as portal:
            Kernel(net_host.namespace).load(script(promise(portal.store.document(), Machine())))
            look_at(
                browser,
                portal,
                {"firewall": "/firewall", "bans": "/firewall/bans", "lift": "/firewall/bans/lift?network=203.0.113.7"},
            )
            lift(browser, portal)

    async def work(service: Service) -> None:
        await ready(paths)
        await judged(paths, service, "203.0.113.7", "2001:db8:1:2::3")
        for each in scan(service.times()[0], "192.0.2.9"):
            service.take(each)
        await asyncio.to_thread(look)

    with Network() as net:
        net_host = net.host("centre")
        monkeypatch.setenv("CENTRALINO_ENGINE_NETNS", net_host.namespace)
        serving(paths, work)


def lift(browser: Browser, portal: Portal) -> None:
    """By keyboard, without scripts."""
    with watched(browser, scripts=False, width=360, url=portal.url) as seen:
        page = seen.page
        page.goto("/firewall/bans")
        page.get_by_text("What it did last 203.0.113.7/32").focus()
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Lift 203.0.113.7/32").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Lift").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").filter(has_text="Lifted: 203.0.113.7/32")).to_be_visible()
        page.get_by_role("searchbox").fill("203.0.113.7")
        page.keyboard.press("Enter")
        expect(page.get_by_text("No ban hits 203.0.113.7.")).to_be_visible()
