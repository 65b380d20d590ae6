"""The hub with the real engine, real phones and real WebSockets: what happens is what browsers are shown."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from appliance.engine.processes import command_of, descendants
from appliance.engine.unix import connect
from appliance.hub import client
from appliance.run import web
from tests.hil.agents.hub_client import HubClient
from tests.hil.agents.process import Child, eventually
from tests.hil.company import Company, open_company, rows

ROOMS = ["extensions", "calls", "trunks", "links", "alarms"]
BRANCH = [
    ("site", {"id": "branch", "name": "Branch", "company": "demo", "class_of_service": "standard", "emergency_number": "+390200000200",
              "links": [{"to": "hq", "max_calls": 1}]}),
    ("extension", {"id": "ext-206", "number": "206", "label": "Desk 206", "site": "branch"}),
]  # fmt: skip


class HubUnderTest:
    """The product's hub as a process of its own, and browsers at it."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.stack = contextlib.ExitStack()
        self.path = company.system.paths.hub_socket
        self.process: Child = self.start()

    def start(self, argv: Sequence[str] = (sys.executable, "-m", "tests.hil.hub_process")) -> Child:
        """Start it; returns when it listens."""
        system = self.company.system
        web.prepare(system.paths)
        child = system.host.start(
            argv, system.paths.state / "hub.log", env=system.environment, cwd=Path(__file__).parents[2]
        )  # fmt: skip
        self.stack.callback(child.stop)

        def listening() -> bool:
            assert child.running, child.text()
            with socket.socket(socket.AF_UNIX) as trial, contextlib.suppress(OSError):
                connect(trial, self.path)
                return True
            return False

        eventually(listening, "the hub listens", 20)
        return child

    def restart(self) -> None:
        """Kill it and start another one."""
        self.process.signal(signal.SIGKILL)
        self.process.wait()
        self.process = self.start()

    def browser(self, who: str = "operator", rooms: list[str] | None = None) -> HubClient:
        """A browser that is connected and up to date."""
        made = self.stack.enter_context(HubClient(self.path, who, rooms or ROOMS))
        made.until(lambda: made.state == "live", "it is live")
        return made


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with open_company(tmp_path_factory.mktemp("hub"), rows(more=BRANCH)) as company:
        company.phone("201-1")
        company.phone("202-1")
        company.phone("203-1")
        company.phone("206-1")
        yield company


@pytest.fixture
def hub(company: Company) -> Iterator[HubUnderTest]:
    found = HubUnderTest(company)
    with found.stack:
        yield found
    company.quiet()


def pairs(call: dict[str, Any]) -> set[frozenset[str]]:
    """Who talks to whom, by number."""
    number = {party["id"]: party["number"] for party in call["parties"]}
    return {frozenset((party["number"], number[other])) for party in call["parties"] for other in party["with"]}


def test_a_call_is_shown_from_ringing_to_its_end(company: Company, hub: HubUnderTest) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    browser = hub.browser()
    browser.states(ext_201="idle", ext_202="idle", ext_204="unreachable")
    assert browser.extension("ext-201")["devices"][0]["address"].startswith("192.0.2.")
    call = one.call("202").ringing()
    incoming = two.incoming()
    browser.states(ext_201="busy", ext_202="ringing")
    browser.shows("ringing")
    shown = browser.calls()[0]
    assert (shown["dialled"], shown["direction"], shown["answered"]) == ("202", "internal", None)
    assert [(party["number"], party["role"]) for party in shown["parties"]] == [("201", "caller"), ("202", "called")]
    incoming.answer()
    call.established()
    browser.shows("up")
    browser.states(ext_202="busy")
    assert pairs(browser.calls()[0]) == {frozenset(("201", "202"))}
    assert browser.calls()[0]["answered"] >= browser.calls()[0]["started"]
    incoming.hold()
    browser.shows("held")
    browser.states(ext_201="busy", ext_202="hold")
    incoming.resume()
    browser.shows("up")
    incoming.transfer("203")
    third = company.phone("203-1").incoming()
    browser.shows("ringing")
    browser.states(ext_202="idle", ext_203="ringing")
    third.answer()
    browser.shows("up")
    assert pairs(browser.calls()[0]) == {frozenset(("201", "203"))}
    told = browser.heard("transfer")
    assert [(item["kind"], item["by"], item["of"], item["to"]) for item in told] == [("blind", "202", "201", "203")]
    assert told[0]["call"] == browser.calls()[0]["id"]
    third.hangup()
    browser.shows()
    browser.states(ext_201="idle", ext_202="idle", ext_203="idle")
    # Exactly that: one call, and each state that it had, in order, without repetitions.
    states = [data["state"] for data in browser.heard("call") if "state" in data]
    assert states == ["ringing", "up", "held", "up", "ringing", "up"]
    assert len({data["id"] for data in browser.heard("call")}) == len(browser.heard("call_gone")) == 1


def test_two_calls_become_one_by_an_attended_transfer(company: Company, hub: HubUnderTest) -> None:
    one, two, three = company.phone("201-1"), company.phone("202-1"), company.phone("203-1")
    browser = hub.browser()
    call = one.call("202").ringing()
    incoming = two.incoming().answer()
    call.established()
    incoming.hold()
    consultation = two.call("203").ringing()
    browser.shows("held", "ringing")
    third = three.incoming().answer()
    consultation.established()
    browser.shows("held", "up")
    first = browser.calls()[0]["id"]
    incoming.transfer_to(consultation)
    incoming.closed()
    browser.shows("up")
    assert browser.calls()[0]["id"] == first
    assert pairs(browser.calls()[0]) == {frozenset(("201", "203"))}
    browser.states(ext_202="idle")
    third.hangup()
    browser.shows()


def test_outside_calls_groups_and_thin_links(company: Company, hub: HubUnderTest) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    browser = hub.browser()
    company.line.does((0, "180 Ringing"), (0.5, "200 OK"))
    call = one.call("00200000999").established()
    browser.shows("up")
    shown = browser.calls()[0]
    assert (shown["direction"], shown["trunk"], shown["dialled"]) == ("outbound", "line", "00200000999")
    assert browser.all("trunk")["line"]["calls"] == 1
    call.hangup()
    browser.shows()
    browser.until(lambda: browser.all("trunk")["line"]["calls"] == 0, "the line is free")
    browser.until(lambda: browser.all("trunk")["account"]["registration"] == "registered", "it has registered", 30)
    call = one.call("400").ringing()
    two.incoming()
    company.phone("203-1").incoming()
    browser.states(ext_202="ringing", ext_203="ringing")
    assert len(browser.calls()) == 1
    call.hangup()
    browser.shows()
    browser.states(ext_202="idle", ext_203="idle")
    call = one.call("206").ringing()
    incoming = company.phone("206-1").incoming().answer()
    call.established()
    browser.until(lambda: browser.all("link")["branch.hq"]["calls"] == 1, "the link carries a call")
    assert browser.all("link")["branch.hq"]["max_calls"] == 1
    incoming.hangup()
    browser.until(lambda: browser.all("link")["branch.hq"]["calls"] == 0, "the link is free")


def test_do_not_disturb_by_star_code_is_shown(company: Company, hub: HubUnderTest) -> None:
    one = company.phone("201-1")
    browser = hub.browser()
    one.call("*78").established().closed(20)
    browser.states(ext_201="dnd")
    hub.restart()
    again = hub.browser()
    assert again.extension("ext-201")["state"] == "dnd"
    one.call("*79").established().closed(20)
    again.states(ext_201="idle")


def test_who_may_see_less_sees_less(company: Company, hub: HubUnderTest) -> None:
    one, two, three = company.phone("201-1"), company.phone("202-1"), company.phone("203-1")
    browser, own = hub.browser(), hub.browser("own-ext-202", [*ROOMS, "me"])
    call = one.call("203").ringing()
    three.incoming().answer()
    call.established()
    browser.shows("up")
    other = two.call("201").ringing()
    one.incoming()
    own.shows("ringing")
    assert {party["number"] for party in own.calls()[0]["parties"]} == {"201", "202"}
    assert own.all("call", "me").keys() == own.all("call").keys()
    assert own.all("extension").keys() == own.all("extension", "me").keys() == {"ext-202"}
    assert own.all("trunk") == {}
    other.hangup()
    call.hangup()
    own.shows()
    browser.shows()
    said = json.dumps(own.messages)
    assert "203-1" not in said, "nothing of the other call"


def test_a_killed_hub_comes_back_and_nothing_differs(company: Company, hub: HubUnderTest) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    browser = hub.browser()
    call = one.call("202").ringing()
    incoming = two.incoming().answer()
    call.established()
    browser.shows("up")
    incoming.hold()
    browser.shows("held")
    memory = company.system.paths.hub / "memory.json"
    answered = browser.calls()[0]["answered"]
    eventually(lambda: memory.exists() and answered in json.loads(memory.read_text()).values(), "it is remembered", 5)
    before = browser.rooms
    hub.restart()
    browser.close()
    assert browser.close_code != 1000
    first, browser.rooms = browser.epoch, {}
    browser.state = ""
    browser.open()
    browser.until(lambda: browser.state == "live", "it is live again")
    assert browser.rooms == before
    assert browser.epoch != first
    assert not browser.resumed
    incoming.resume()
    browser.shows("up")
    # A lost connection is resumed: what happened meanwhile comes, and nothing else.
    browser.close()
    count = len(browser.messages)
    other = hub.browser()
    call.hangup()
    other.shows()
    browser.open()
    browser.shows()
    assert browser.resumed
    types = [message["type"] for message in browser.messages[count:]]
    assert "snapshot" not in types
    assert "call_gone" in types
    browser.until(lambda: browser.rooms == other.rooms, "the same as another one")


def test_a_dead_engine_is_said_at_once_and_then_all_is_right_again(company: Company, hub: HubUnderTest) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    browser = hub.browser()
    call = one.call("202").ringing()
    two.incoming().answer()
    call.established()
    browser.shows("up")
    assert company.system.engine is not None
    company.system.engine.kill()
    browser.until(lambda: browser.state == "stale", "it may be out of date", 5)
    late = HubClient(hub.path, "operator", ROOMS)
    with late:
        late.until(lambda: "calls" in late.rooms, "there is a snapshot")
        assert late.state == "stale", "never without a word"
    company.system.start_engine()
    browser.until(lambda: browser.state == "live", "it is live again", 30)
    assert browser.calls() == []
    kinds = [message["type"] for message in browser.messages]
    states = [index for index, kind in enumerate(kinds) if kind == "state"]
    assert states[-2] < kinds.index("call_gone") < states[-1], "first what is different, then that it is right"
    for phone in ("201-1", "202-1"):
        with contextlib.suppress(AssertionError):
            company.phone(phone).control.request("hangup", "")
    browser.states(ext_201="idle", ext_202="idle")
    call = one.call("202").ringing()
    two.incoming().answer()
    call.established()
    browser.shows("up")
    call.hangup()
    browser.shows()


def test_a_new_revision_is_shown_without_a_restart(company: Company, hub: HubUnderTest) -> None:
    browser = hub.browser()
    company.put("extension", id="ext-205", number="205", label="Warehouse", site="hq")
    browser.until(lambda: browser.extension("ext-205").get("name") == "Warehouse", "it has another name")
    assert browser.state == "live"


def refused(hub: HubUnderTest, token: str, origin: str = "https://portal.example") -> int:
    with pytest.raises(InvalidStatus) as found, HubClient(hub.path, token, ROOMS, origin=origin):
        pass
    return int(found.value.response.status_code)


def test_nobody_unknown_comes_in(hub: HubUnderTest) -> None:
    assert refused(hub, "somebody") == 401
    assert refused(hub, "operator", "https://evil.example") == 403
    assert refused(hub, "operator", "http://portal.example") == 403
    many = [hub.browser("operator-2") for _ in range(10)]
    assert refused(hub, "operator-2") == 429
    many[0].close()
    eventually(lambda: client.HubClient(hub.path).health()["sockets"] == 9, "one has left")
    hub.browser("operator-2")


def test_as_it_is_started_it_isn_t_root_and_lets_nobody_in(hub: HubUnderTest) -> None:
    hub.process.signal(signal.SIGTERM)
    assert hub.process.wait() == 0
    paths = hub.company.system.paths
    web.prepare(paths)
    hub.process = hub.start(
        web.confined(paths, [sys.executable, "-m", "appliance.hub"], writable=(paths.store, paths.hub, paths.web))
    )
    eventually(lambda: client.HubClient(hub.path).health()["state"] == "live", "it is live")
    assert refused(hub, "operator") == 401
    pids = [hub.process.process.pid, *descendants(hub.process.process.pid)]
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids if "appliance.hub" in command_of(pid) and "bwrap" not in command_of(pid)[0]]  # fmt: skip
    assert status
    for text in status:
        assert f"Uid:\t{web.WEB_UID}\t{web.WEB_UID}\t{web.WEB_UID}" in text
        assert "CapEff:\t0000000000000000" in text
    hub.process.signal(signal.SIGTERM)
    hub.process.wait()
    left = lambda: [pid for pid in pids if Path(f"/proc/{pid}").exists()]  # noqa: E731
    eventually(lambda: not left(), "nothing of it is left that would still listen when the next one starts")


def test_it_stops_gracefully(hub: HubUnderTest) -> None:
    browser = hub.browser()
    hub.process.signal(signal.SIGTERM)
    assert browser.wait_closed() == 1001
    assert hub.process.wait() == 0
    assert not hub.path.exists()


def test_the_engine_s_own_interfaces_answer_on_loopback_only(company: Company, hub: HubUnderTest) -> None:
    """From the phones' network, and from the providers': neither AMI nor ARI nor the hub."""
    hub.browser()
    port = company.system.launcher.ami_port
    for host in (company.desk, company.net.hosts["line"]):
        lan = next(iter(host.legs))
        for address in {leg[0] for name, leg in company.system.host.legs.items() if name == lan}:
            for number in (port, 8088, 8089, 443):
                with pytest.raises(OSError, match=r"refused|timed out"):
                    host.connect(address, number, 2).close()
    inside = company.system.host.connect("127.0.0.1", port, 2)
    assert inside.recv(100).startswith(b"Asterisk Call Manager")
    inside.close()
