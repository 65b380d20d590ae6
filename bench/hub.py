"""A thousand browsers while fifty calls a second begin, ring, are answered and end: how late they see it, and what it costs.

The engine is played by what a real one once said (tests/data/hub): a real one with both ends of fifty calls a second takes
more than one of two cores, so with the browsers the machine itself would be what is measured. Each call is the recorded
events of one two-party call, with ids of its own, ringing for one second and talking for two. 950 browsers have the
lamps of 1,000 extensions and their own calls, 50 are operators' panels with all calls and trunks too; 20 different sets of
rights.

Latency: from the moment at which the event is handed to TCP to the moment at which a browser's frame was read, for about one
in a hundred frames of each browser. Both clocks are the machine's monotonic one. Baseline: the same hub with text made for
each socket and sent through Quart (:mod:`bench.hub_process`), same load.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from appliance.hub.client import HubClient
from appliance.paths import Paths
from appliance.store import Store
from bench import Result, Say
from bench.processes import cpu_seconds, rss_mb
from tests.hil.agents.ami_replay import AmiReplay, Lines
from tests.hil.agents.process import Child, eventually
from tests.hil.system import objects, office
from tests.unit.hub import traces

SOCKETS: Final = 1000
EXTENSIONS: Final = 1000
RATE: Final = 50.0
RING_S: Final = 1.0
TALK_S: Final = 2.0
TARGETS: Final = {"p99_ms": "<= 100", "hub_core_share": "<= 0.6"}
SECRET: Final = "played"
Moments = dict[tuple[str, str], list[float]]
"""Extension and state → when the events were sent that gave it that state."""


def run(smoke: bool, say: Say) -> Result:
    """Measure ours, then the baseline; ``smoke``: 50 browsers, 10 calls/s, 4 seconds each."""
    sockets, rate, seconds = (50, 10.0, 4.0) if smoke else (SOCKETS, RATE, 30.0)
    found = {}
    for kind in ("ours", "naive"):
        with tempfile.TemporaryDirectory() as folder:
            found[kind] = asyncio.run(measure(kind, Path(folder), sockets, rate, seconds))
        say(f"{kind}: {found[kind]}")
    figures = found["ours"] | {"sockets": sockets, "calls_per_second": rate, "engine": "recorded events, replayed"}
    figures["failed"] = found["ours"]["lost"]
    return Result("hub", figures, found["naive"], TARGETS)


async def measure(kind: str, work: Path, sockets: int, rate: float, seconds: float) -> dict[str, Any]:
    """One hub under load."""
    paths = Paths(state=work / "state", cache=Paths.default().cache)
    make_store(paths)
    async with AmiReplay(SECRET) as engine:
        engine.tables["PJSIPShowContacts"] = list(contacts())
        env = {"CENTRALINO_STATE": str(paths.state), "CENTRALINO_AMI_PORT": str(engine.port)}
        with ExitStack() as stack:
            for place in (paths.web, paths.hub):
                place.mkdir(parents=True)
            paths.hub_ami_secret.write_text(SECRET)
            hub = stack.enter_context(
                Child([sys.executable, "-m", "bench.hub_process", kind], work / "hub.log", env=env)
            )
            await asyncio.to_thread(eventually, lambda: is_live(paths), f"the hub is live: {hub.text()}", 30)
            return await loaded(hub, engine, paths, work, (sockets, rate, seconds))


async def loaded(
    hub: Child, engine: AmiReplay, paths: Paths, work: Path, load: tuple[int, float, float]
) -> dict[str, Any]:
    """Browsers, calls, figures."""
    sockets, rate, seconds = load
    argv = [sys.executable, "-m", "bench.hub_clients", str(paths.hub_socket), str(sockets), str(seconds)]
    clients = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 28
    )
    assert clients.stdin is not None
    assert clients.stdout is not None
    try:
        opened = await asyncio.wait_for(clients.stdout.readline(), 120)
        assert opened == b"open\n", (opened, hub.text())
        moments: Moments = defaultdict(list)
        playing = asyncio.create_task(play(engine, rate, moments))
        await asyncio.sleep(RING_S + TALK_S)  # as many calls as there will be all the time
        began, before = time.monotonic(), cpu_seconds(hub.process.pid)
        clients.stdin.write(b"go\n")
        told = await asyncio.wait_for(clients.stdout.readline(), seconds + 120)
        took, used = time.monotonic() - began, cpu_seconds(hub.process.pid) - before
        if playing.done():
            playing.result()  # it ends by a mistake only
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    finally:
        if clients.returncode is None:
            clients.kill()
        await clients.wait()
    assert told, (hub.text(), (work / "hub.log").read_text())
    return figures(json.loads(told), moments, (used, took, seconds), rss_mb(hub.process.pid))


def figures(
    told: Mapping[str, Any], moments: Moments, spent: tuple[float, float, float], memory: float
) -> dict[str, Any]:
    """What came of it."""
    used, took, seconds = spent
    late = []
    for now, extension, state in told["seen"]:
        sent = moments[extension, state]
        if (
            index := bisect(sent, now)
        ) > 0:  # the last one before: nobody gets the same state twice within three seconds
            late.append(1000 * (now - sent[index - 1]))
    late.sort()
    assert late, "no frame was read that could be timed"
    return {
        "p50_ms": round(late[len(late) // 2], 1),
        "p99_ms": round(late[int(len(late) * 0.99)], 1),
        "max_ms": round(late[-1], 1),
        "timed": len(late),
        "hub_core_share": round(used / took, 3),
        "hub_mb": round(memory, 1),
        "frames_per_second": round(told["frames"] / seconds),
        "mb_per_second": round(told["bytes"] / seconds / 1e6, 1),
        "lost": told["lost"],
    }


def is_live(paths: Paths) -> bool:
    """Whether the hub has reached the engine."""
    try:
        return bool(HubClient(paths.hub_socket).health()["state"] == "live")
    except Exception:  # noqa: BLE001 (not yet; eventually() has the deadline)
        return False


def make_store(paths: Paths) -> None:
    """A document with a thousand extensions."""
    rows = office("192.0.2.10", EXTENSIONS, first=1000)
    with Store.default(paths) as store:
        proposed = store.propose(objects(rows), (), base=0, author="bench", message="bench")
        store.promote(proposed.number)


def contacts() -> Iterator[Lines]:
    """Every device is registered."""
    for number in range(1000, 1000 + EXTENSIONS):
        yield (
            ("Event", "ContactList"),
            ("ObjectName", f"{number}-1;@0"),
            ("Uri", f"sip:{number}-1@192.0.2.11:5060"),
            ("Status", "Reachable"),
        )


def template() -> list[Lines]:
    """Events of the trace's first call that has two legs, is answered, and is not held nor transferred."""
    events = [[(key, value) for key, value in item[2]] for item in traces.read() if item[0] == "event"]
    for link in dict.fromkeys(dict(lines).get("Linkedid", "") for lines in events):
        mine = [lines for lines in events if link in (dict(lines).get("Linkedid"), dict(lines).get("DestLinkedid"))]
        ids = {
            kind: sorted(dict(lines).get("Uniqueid", "") for lines in mine if dict(lines)["Event"] == kind)
            for kind in ("Newchannel", "BridgeEnter", "BridgeLeave", "Hangup", "Hold", "BlindTransfer")
        }
        first = ids["Newchannel"]
        plain = (
            len(first) == 2 and first == ids["BridgeEnter"] == ids["BridgeLeave"] == ids["Hangup"] and not ids["Hold"]
        )
        if link and plain:
            return list(mine)
    raise AssertionError("the trace has no plain call")


class Copies:
    """Copies of the recorded call with ids, phones and moments of their own; both legs become phones."""

    def __init__(self) -> None:
        self.events = template()
        made = [dict(lines) for lines in self.events if dict(lines)["Event"] == "Newchannel"]
        self.legs = [(leg["Uniqueid"], leg["Channel"]) for leg in made]
        last = [dict(lines) for lines in self.events if dict(lines)["Event"] == "Hangup"]
        self.numbers = [next(leg["CallerIDNum"] for leg in last if leg["Uniqueid"] == id) for id, _ in self.legs]
        self.bridge = next(dict(lines)["BridgeUniqueid"] for lines in self.events if "BridgeUniqueid" in dict(lines))
        self.answer = next(n for n, lines in enumerate(self.events) if dict(lines).get("ChannelState") == "6")
        self.end = next(n for n, lines in enumerate(self.events) if dict(lines)["Event"] == "BridgeLeave")

    def make(self, number: int, epoch: int, caller: int, called: int) -> list[list[Lines]]:
        """The three parts of one copy: until it rings, its answer, its end."""
        exact = {self.bridge: f"bridge-{number}"}
        for leg, extension in enumerate((caller, called)):
            exact[self.legs[leg][0]] = f"centralino-{epoch}.{1000 + 2 * number + leg}"
            exact[self.legs[leg][1]] = f"PJSIP/{extension}-1@udp.0-{2 * number + leg:08x}"
            exact[self.numbers[leg]] = str(extension)
        now = f"{time.time():.6f}"
        copy: list[Lines] = [
            [(key, now if key == "Timestamp" else exact.get(text, text)) for key, text in lines]
            for lines in self.events
        ]
        return [copy[: self.answer], copy[self.answer : self.end], copy[self.end :]]


async def play(engine: AmiReplay, rate: float, moments: Moments) -> None:
    """Calls at a fixed rate for ever; ``moments`` is filled."""
    copies, began, epoch = Copies(), time.monotonic(), int(time.time())
    under_way: list[asyncio.Task[None]] = []
    for number in range(10**9):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        # Neighbours talk, so that nobody is in two calls: everybody is free again after ten seconds at 50 calls/s.
        caller = 1000 + 2 * number % EXTENSIONS
        call = copies.make(number, epoch, caller, caller + 1)
        under_way.append(asyncio.create_task(play_one(engine, call, (f"ext-{caller}", f"ext-{caller + 1}"), moments)))
        under_way = [task for task in under_way if not task.done()]


async def play_one(engine: AmiReplay, call: list[list[Lines]], extensions: tuple[str, str], moments: Moments) -> None:
    """One call from beginning to end."""
    (begin, answer, end), (caller, called) = call, extensions

    def told(extension: str, state: str) -> None:
        moments[extension, state].append(time.monotonic())

    told(caller, "busy")
    told(called, "ringing")
    engine.send(*begin)
    await asyncio.sleep(RING_S)
    told(called, "busy")
    engine.send(*answer)
    await asyncio.sleep(TALK_S)
    told(caller, "idle")
    told(called, "idle")
    engine.send(*end)
