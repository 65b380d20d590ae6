"""Two hundred calls talk while twenty revisions are committed, one after another.

What is measured, and what isn't: the tap is at the engine's own cables, so a gap is a gap in what the engine sends, not
in what a busy test machine delivers. Two things on such a machine aren't the engine's doing, and are taken out: when a
caller's SIPp itself paused, what it said arrives with that pause (only what the engine adds to it counts), and when
there are gaps without any commit in the same run and under the same load (a span before the first one, and one after the last), commits
are allowed as much as that to the nearest packet, and no more. In between all the time counts, also between two commits.
The engine runs at the priority that its unit in the image gives it.
"""

from __future__ import annotations

import bisect
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from appliance.core.document import parse
from appliance.core.model import Object
from appliance.kinds import KINDS
from tests.hil.agents.peer import SipPeer
from tests.hil.agents.process import eventually
from tests.hil.agents.sipp import Sipp
from tests.hil.agents.tap import Tap
from tests.hil.company import ACCOUNT, PBX, Company, open_company, rows

CALLS, OUTSIDE, REVISIONS, SAMPLED = 200, 20, 20, 20
FIRST = 2000
GAP_MS = 60
CONTROL_S = 15.0
BETWEEN_S = 1.0
PACKET_MS = 20


@dataclass(frozen=True)
class Leg:
    """One channel: the engine's address of its voice, and that of the channel which it is bridged with."""

    device: str
    voice: tuple[str, int]
    other: tuple[str, int]


def device(n: int, slot: int = 1) -> str:
    return f"{FIRST + n}-{slot}"


def legs(company: Company) -> list[Leg]:
    """Every channel that is up, by its bridge."""
    with company.system.ami() as ami:
        channels = ami.channels()
        here = {c["Uniqueid"]: ami.getvar("CHANNEL(rtp,src)", c["Channel"]).rpartition(":") for c in channels}
    voice = {id: (host, int(port)) for id, (host, _, port) in here.items()}
    bridges: dict[str, list[Any]] = {}
    for channel in channels:
        bridges.setdefault(channel["BridgeId"], []).append(channel)
    found = []
    for one, other in (pair for pair in bridges.values() if len(pair) == 2):
        for a, b in ((one, other), (other, one)):
            name = a["Channel"].removeprefix("PJSIP/").partition("@")[0]
            found.append(Leg(name, voice[a["Uniqueid"]], voice[b["Uniqueid"]]))
    return found


class Ears:
    """Taps at the engine's cables, on the voice of some legs."""

    def __init__(self, company: Company, sampled: list[Leg]) -> None:
        ports = " or ".join(f"port {leg.voice[1]}" for leg in sampled)
        self.sampled = sampled
        self.taps = [
            Tap(
                company.system.host,
                company.work / f"{cable}.pcap",
                leg=cable,
                bpf=f"udp and ({ports})",
                afterwards=True,
            )
            for cable in ("eth0", "eth1")
        ]

    def __enter__(self) -> Ears:
        for tap in self.taps:
            tap.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for tap in self.taps:
            tap.stop()

    def times(self, *, source: tuple[str, int] | None = None, target: tuple[str, int] | None = None) -> list[float]:
        """When packets from an address of the engine, or to it, passed."""
        return sorted(
            packet.time
            for tap in self.taps
            for stream in tap.streams()
            if (source is None or stream.source == source) and (target is None or stream.target == target)
            for packet in stream.packets
        )

    def gaps(self, start: float, end: float) -> list[tuple[float, float]]:
        """Per sampled leg: the longest gap in what the engine sent, in ms, and of that what it added itself."""
        return [longest(self.times(source=leg.voice), self.times(target=leg.other), start, end) for leg in self.sampled]


def longest(sent: list[float], received: list[float], start: float, end: float) -> tuple[float, float]:
    """(longest gap in ``sent``, longest part of one that a pause in ``received`` at that time doesn't explain), in ms."""
    inside = [start, *(t for t in sent if start <= t <= end), end]
    whole = added = 0.0
    for before, after in pairwise(inside):
        gap = 1000 * (after - before)
        whole = max(whole, gap)
        if gap > GAP_MS:
            low = max(bisect.bisect_left(received, before - 0.03) - 1, 0)
            high = bisect.bisect_right(received, after) + 1
            pause = max((1000 * (b - a) for a, b in pairwise(received[low:high])), default=0.0)
            gap -= max(0.0, pause - PACKET_MS)
        added = max(added, gap)
    return whole, added


def worst(spans: list[list[tuple[float, float]]]) -> float:
    """The longest gap of the engine's own, over all spans and legs."""
    return max(added for gaps in spans for _, added in gaps)


def test_a_gap_and_whose_it_is_are_told() -> None:
    steady = [n * 0.02 for n in range(500)]
    holed = [t for t in steady if not 4.99 < t < 5.07]
    assert longest(steady, steady, 0, 9.98) == pytest.approx((20, 20), abs=0.1)
    assert longest(holed, steady, 0, 9.98) == pytest.approx((100, 100), abs=0.1)
    assert longest(holed, holed, 0, 9.98) == pytest.approx((100, 20), abs=0.1)
    assert longest(steady[:250], steady, 0, 9.98)[1] > 4900, "a stream that ends is a gap"


def at_the_images_priority(pid: int | None) -> None:
    """Nice=-10, as in the engine's unit."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), -10)


def revision(number: int, before: dict[str, Any]) -> tuple[list[Object], list[tuple[str, str]]]:
    """What revision 1…20 puts and removes: devices that talk, both trunks, hints, and the contexts that calls are in."""
    n = 10 * (number - 1)
    put: list[tuple[str, dict[str, Any]]] = [
        # Twenty endpoints in calls: callers and those they talk to.
        *(("device", before[device(i)] | {"language": "en", "label": f"Changed in {number}"})
          for start in (0, CALLS) for i in range(start + n, start + n + 10)),
        # Both trunks, the one that carries calls and the one that is registered: endpoints and dialplan.
        ("provider", before["telco"] | {"session_timers": number % 2 == 0}),
        ("trunk", before["line"] | {"max_calls": 100 + number}),
        ("trunk", before[ACCOUNT] | {"max_calls": 100 + number}),
        # The hint of an extension that talks: it gets one more device, and the one of the last revision loses it again.
        ("device", {"id": device(n, 2), "extension": f"ext-{FIRST + n}", "slot": 2, "secret": device(n, 2)}),
        ("secret", {"id": device(n, 2)}),
        # The dialplan: patterns of the context in which all internal calls are, a group, the emergency numbers.
        ("number_plan", before["plan"] | {"ranges": [*before["plan"]["ranges"], {"first": "500", "last": f"{500 + number}"}]}),
        ("ring_group", {"id": "news", "name": f"News {number}", "number": f"{410 + number}", "site": "hq",
                        "members": [{"extension": f"ext-{FIRST + n}"}]}),
        ("emergency_plan", before["italy"] | {"numbers": ["112", "113", "115", "118", f"15{number % 10}"]}),
    ]  # fmt: skip
    if number % 5 == 0:  # all four hundred endpoints at once
        put.append(("class_of_service", before["standard"] | {"may_transfer_outside": number % 10 == 0}))
        put.append(("site", before["hq"] | {"language": "en" if number % 10 == 0 else "it"}))
    last = device(n - 10, 2)
    return [parse(KINDS, *row) for row in put], [("device", last), ("secret", last)] if number > 1 else []


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    # Four hundred phones that register, and calls that end, within a second make the engine say that queues grow.
    queues = ["Taskprocessor 'stasis/"]
    with open_company(tmp_path, rows(2 * CALLS, first=FIRST), own_line=True, complaints=queues) as company:
        assert company.system.engine is not None
        at_the_images_priority(company.system.engine.pid)
        yield company


def call_everybody(company: Company) -> tuple[list[Sipp], list[Sipp]]:
    """Callees that answer, callers that talk until hung up on: 180 inside, 20 over the trunk."""
    inside = range(CALLS - OUTSIDE)
    phones, others = company.net.host("callers"), company.net.host("callees")
    called = [device(CALLS + i) for i in range(CALLS)]
    callee = company.sipp(others, "callees").register(company.users(called)).answering(tone_hz=600, trace=False)
    outside = Sipp(company.net.host("line", "provider", 21), company.work / "line", "198.51.100.10", port=5060)
    outside.answering(tone_hz=800, trace=False)
    # Callers register where somebody answers whether they are there.
    home = company.sipp(company.net.host("homes"), "homes").register(company.users(device(i) for i in range(CALLS)))
    home.answering(trace=False)
    company.reachable(device(i) for i in range(2 * CALLS))
    users = company.users([device(i) for i in inside], [str(FIRST + CALLS + i) for i in inside])
    out = company.users([device(i) for i in range(CALLS - OUTSIDE, CALLS)], [f"0020000{i:04}" for i in range(OUTSIDE)])
    callers = [
        company.sipp(phones, name).calls(who, rate=20, at_once=CALLS, talk_ms=None, tone_hz=400, trace=False)
        for name, who in (("inside", users), ("outside", out))
    ]
    for sipp in (callee, outside, *callers):  # or they would be the ones who pause
        at_the_images_priority(sipp.child.process.pid)
    return callers, [callee, outside, home]


@pytest.mark.slow
def test_two_hundred_calls_dont_notice_twenty_revisions(company: Company) -> None:
    before = {data["id"]: data for _, data in rows(2 * CALLS, first=FIRST)} | {
        data["id"]: data for kind, data in rows(2 * CALLS, first=FIRST) if kind in ("device", "trunk", "class_of_service")
    }  # fmt: skip
    callers, callees = call_everybody(company)
    system = company.system
    with SipPeer(company.desk, PBX) as lamp, system.ami() as ami:
        try:
            eventually(lambda: len(ami.channels()) == 2 * CALLS, f"{CALLS} calls are up", 60, 0.5)
            eventually(lambda: len(legs(company)) == 2 * CALLS, "all of them talk", 30, 0.5)
            lamp.ask(lamp.request("REGISTER", device(399), Expires="600"), device(399), system.passwords[device(399)])
            watch = lamp.subscribe(device(399), system.passwords[device(399)], str(FIRST), "dialog", 600)
            assert b"confirmed" in watch.next().body
            registered, channels = company.contacts(), {c["Uniqueid"] for c in ami.channels()}
            assert len(registered) == 2 * CALLS
            everyone = {leg.voice: leg for leg in legs(company)}
            mine = sorted((leg for leg in everyone.values() if leg.device < device(CALLS)), key=lambda leg: leg.device)
            chosen = mine[5 :: CALLS // SAMPLED]  # two of them over the trunk
            sampled = [leg for each in chosen for leg in (each, everyone[each.other])]
            assert len(sampled) == 2 * SAMPLED
            with Ears(company, sampled) as ears:
                before_all = time.time()
                time.sleep(CONTROL_S)  # the span without a commit that is compared with
                commits, took = [], []
                for number in range(1, REVISIONS + 1):
                    put, remove = revision(number, before)
                    began = time.time()
                    system.commit(*put, remove=remove)
                    took.append(time.time() - began)
                    assert company.lines_up() == ["Registered"], f"after revision {number}"
                    time.sleep(BETWEEN_S)  # what the commit set off in the engine may go on: it counts too
                    commits.append((began, time.time()))
                time.sleep(CONTROL_S)
                controls = [(before_all, commits[0][0]), (commits[-1][1], time.time())]
            during, control = ([ears.gaps(*span) for span in spans] for spans in (commits, controls))
            figures = {
                "gap_with_commits_ms": round(worst(during)), "gap_without_ms": round(worst(control)),
                "commit_median_s": round(statistics.median(took), 2), "commit_max_s": round(max(took), 2),
            }  # fmt: skip
            print(figures)  # noqa: T201 (shown by pytest -rP)
            assert {c["Uniqueid"] for c in ami.channels()} == channels, "calls were dropped"
            assert company.contacts() == registered, "registrations were lost"
            gaps = worst(during), max(GAP_MS, worst(control) + PACKET_MS)
            assert all(tap.dropped() == 0 for tap in ears.taps)
            ami.hangup("/^PJSIP/.*/", 16)
            watch.until("terminated")
            for sipp in callers:
                sipp.wait(30)
        finally:
            for sipp in (*callers, *callees):
                sipp.stop()
        assert sum(sipp.statistics()["successful"] for sipp in callers) == CALLS
        assert {book.result for sipp in callers for book in sipp.books()} == {"answered"}
        assert gaps[0] <= gaps[1], (figures, during)
