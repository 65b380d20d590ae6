"""An edge's agent against the centre's real service over TLS on loopback; only the tunnel is left out: the centre is reached while it listens.

With real tunnels: tests/hil/test_edge.py, tests/hil/test_edge_service.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import HOUR, MINUTE, Moment, system_clock
from appliance.core.errors import NotFoundError
from appliance.edge import agent as agent_module
from appliance.edge.agent import Agent
from appliance.edge.bans import EdgeBans
from appliance.edge.clock import EdgeClock, keep_system_clock
from appliance.edge.identity import Identity
from appliance.edge.paths import EdgePaths
from appliance.edge.states import State, States
from appliance.edge.tunnel import Tunnel
from appliance.firewall.bans.judge import Wanted
from appliance.vpn.inside import service
from appliance.vpn.pki import Purpose, timekeeping
from appliance.vpn.slices import Remote, Slice, formats, signed
from tests.unit.edge.slices import a_slice
from tests.unit.vpn.test_inside import Place, centre
from tests.unit.vpn.trap import TRAP

TRIAL_S = 2.0
PATIENCE_S = 30.0


class Open(Tunnel):
    """No tunnel is needed. ``tended``: names of the states that it was made for."""

    def __init__(self, paths: EdgePaths) -> None:
        super().__init__(paths)
        self.tended: list[str] = []
        self.by: Remote | None = None

    def tend(self, state: State) -> None:
        if self.tended[-1:] != [state.name]:
            self.tended.append(state.name)

    def stop(self) -> None:
        self.tended.append("stopped")

    def way(self, slice: Slice) -> Remote | None:  # noqa: ARG002 (asked for by name)
        return self.by


class NoKernel:
    """Where bans would go."""

    def sync(self, wanted: Wanted) -> None:
        self.wanted = wanted


@dataclass
class Machine:
    """Its clocks run on from where a test puts them."""

    skew: int = 0
    boot: str = "first"

    def __call__(self) -> Moment:
        now = system_clock()
        return Moment(now.wall + self.skew, now.uptime + self.skew, self.boot)


@dataclass
class Edge:
    """An edge and its agent."""

    place: Place
    identity: Identity
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        self.paths = self.identity.states.paths
        self.tunnel = Open(self.paths)
        self.agent = self.another()

    def another(self) -> Agent:
        clock = EdgeClock(self.paths.clock, keep_system_clock, self.machine)
        return Agent(
            self.paths, clock, trial_s=TRIAL_S, uptime=self.machine, tunnel=self.tunnel, bans=EdgeBans(NoKernel())  # type: ignore[arg-type]
        )  # fmt: skip

    @property
    def told(self) -> dict[str, Any]:
        return self.agent.told()

    @property
    def faults(self) -> str:
        return " ".join(self.told["faults"])

    @property
    def state(self) -> State:
        found = self.identity.current
        assert found is not None
        return found

    def reports(self) -> dict[str, Any]:
        return self.place.reports.of("milan") or {}

    async def settled(self, revision: int) -> None:
        """That revision is in force, proven, and the centre knows."""
        await eventually(
            lambda: (
                (self.told["revision"], self.told["on_trial"], self.told["centre_reached"]) == (revision, False, True)
                and (self.reports().get("revision"), self.reports().get("standing")) == (revision, "confirmed")
            ),
            f"revision {revision}: {self.told}",
        )

    def passes(self, time: int) -> None:
        """So many ms, here and at the centre."""
        self.machine.skew += time
        self.place.skew[0] += timedelta(milliseconds=time)

    def commit(self, revision: int, **more: Any) -> None:
        self.place.slices.now["milan"] = self.slice(revision, **more)

    def slice(self, revision: int, **more: Any) -> Slice:
        return a_slice(**{"revision": revision, "inside": ["127.0.0.1"], "inside_port": self.place.port, **more})


async def eventually(probe: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not probe():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(edge: Edge) -> AsyncIterator[Edge]:
    """Its agent runs; what it dies of is the test's. Ended as by a kill: the tunnel stays."""
    task = asyncio.create_task(edge.agent.run())
    try:
        yield edge
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert "stopped" not in edge.tunnel.tended


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "ROUND_S", 0.05)
    monkeypatch.setattr(agent_module, "WAIT_S", 0.5)
    monkeypatch.setattr(agent_module, "REFUSED_S", 0.2)
    monkeypatch.setattr(agent_module, "RETRY_S", (0.05,))
    monkeypatch.setattr(service, "LOOK_S", 0.05)
    monkeypatch.setattr(service, "FRESH_S", 0.05)
    monkeypatch.setattr("appliance.applier.files.os.fsync", lambda _handle: None)  # nothing here cuts the power


def run(tmp_path: Path, test: Callable[[Edge], Awaitable[None]], *, age: timedelta = timedelta()) -> None:
    """``age``: how long ago the centre was made, and the edge enrolled."""

    async def inner() -> None:
        async with centre(tmp_path, -age) as place:
            identity = place.edge(tmp_path / "edge")
            place.skew[0] = timedelta()
            await test(Edge(place, identity))

    asyncio.run(inner())


def test_it_takes_what_is_committed_and_tells_how_it_stands(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        async with running(edge):
            await edge.settled(7)
            assert edge.told["clock_sure"]
            edge.commit(8, networks=["10.9.0.0/24"])
            await edge.settled(8)
            assert edge.tunnel.tended == ["000001", "000002"]
            edge.commit(9, networks=["10.9.0.0/24"])  # another revision of the same
            await asyncio.sleep(0.3)
            assert edge.state.name == "000002"
            assert edge.told["faults"] == []

    run(tmp_path, test)


def test_by_which_address_it_came_is_told_when_it_knows_and_when_it_is_another(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        async with running(edge):
            await edge.settled(7)
            assert edge.reports()["way"] is None
            for host in ("198.51.100.10", "203.0.113.10"):
                edge.tunnel.by = Remote(host=host, port=1170)
                await eventually(lambda host=host: edge.reports()["way"] == {"host": host, "port": 1170}, f"by {host}")  # type: ignore[misc]

    run(tmp_path, test)


def test_what_cuts_it_off_is_undone_told_and_not_tried_again_at_once(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        nobody = socket.create_server(("127.0.0.1", 0))
        dead = nobody.getsockname()[1]
        nobody.close()
        async with running(edge):
            await edge.settled(7)
            edge.commit(8, inside_port=dead)
            await eventually(lambda: edge.reports().get("standing") == "rolled_back", "the centre knows")
            assert (edge.told["revision"], edge.told["on_trial"]) == (7, False)
            assert edge.told["refused"]["revision"] == edge.reports()["revision"] == 8
            assert "wasn't reached" in edge.told["refused"]["why"]
            assert edge.tunnel.tended == ["000001", "000002", "000001"]
            await asyncio.sleep(0.3)
            assert edge.state.slice.revision == 7, "it waits"
            edge.passes(HOUR + MINUTE)
            await eventually(lambda: edge.tunnel.tended[-1] != "000001", "it is tried again after an hour")
            await eventually(lambda: (edge.told["refused"] or {}).get("times") == 2, "and undone again")
            edge.commit(9, networks=["10.9.0.0/24"])
            await edge.settled(9)
            assert edge.told["refused"] is None

    run(tmp_path, test)


def test_a_trial_goes_on_when_the_agent_was_killed_or_the_machine_was_started_anew(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.place.server.close()
        states, former = edge.identity.states, edge.state
        fresh = signed(edge.slice(8, networks=["10.9.0.0/24"]), edge.place.authority.signer())
        trial = agent_module.trials.begun(former.name, 10 * MINUTE, edge.machine())
        with states.lock():
            states.put(replace(former.material, slice=fresh), trial)
        for boot in ("second", "third"):
            edge.machine.boot = boot
            edge.agent = edge.another()
            async with running(edge):
                await eventually(lambda: _trial(states).boot == edge.machine.boot, "it begins anew")
                assert edge.state.slice.revision == 8
        assert _trial(states).tries == 3
        edge.agent = edge.another()  # killed, and started within the same start of the machine
        async with running(edge):
            await eventually(lambda: edge.state.slice.revision == 7, "its time is over")

    run(tmp_path, test)


def _trial(states: States) -> Any:
    name = states.name
    assert name is not None
    return states.trial(name)


def test_the_certificate_is_renewed_at_two_thirds_of_its_life_and_the_former_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeping, "RELEASED", timekeeping.RELEASED - 2 * timekeeping.YEAR)

    async def test(edge: Edge) -> None:
        first = edge.state.certificate
        async with running(edge):
            await eventually(lambda: edge.state.certificate != first and not edge.told["on_trial"], "it is renewed")
            await eventually(lambda: len(edge.place.authority.living("milan")) == 1, "the former is revoked")
            assert edge.state.slice.revision == 7
            assert edge.state.certificate.serial_number != first.serial_number
            assert edge.told["faults"] == []

    run(tmp_path, test, age=timedelta(days=250))


def test_a_fresh_certificate_is_not_renewed(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        async with running(edge):
            await edge.settled(7)
            await asyncio.sleep(0.3)
        assert len(edge.place.authority.issued("milan")) == 1

    run(tmp_path, test)


def test_a_disk_that_is_full_while_it_renews_changes_nothing_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeping, "RELEASED", timekeeping.RELEASED - 2 * timekeeping.YEAR)
    renewed = Identity.renewed

    def slowly(self: Identity, *arguments: Any) -> None:
        """So that the round sees the new state, and ends the talk, before the talk has heard that it succeeded."""
        renewed(self, *arguments)
        time.sleep(0.3)

    monkeypatch.setattr(Identity, "renewed", slowly)

    async def test(edge: Edge) -> None:
        first = edge.state
        with TRAP.set(edge.paths.top / "pending", 1, full=True):
            async with running(edge):
                await eventually(lambda: "no space left" in edge.faults, "it is told")
                assert edge.told["centre_reached"]
                assert edge.state == first
        # The key fits, and what was granted for it doesn't.
        edge.agent = edge.another()
        with TRAP.set(edge.paths.states, 1, full=True):
            async with running(edge):
                await eventually(lambda: "no space left" in edge.faults, "it is told")
                assert edge.state == first
                assert not list(edge.paths.states.glob("*.new"))
                TRAP.top = ""
                edge.passes(HOUR + MINUTE)
                await eventually(lambda: edge.state.certificate != first.certificate, "it is tried again after an hour")
                await eventually(lambda: not edge.told["on_trial"] and edge.told["faults"] == [], "and all is well")

    run(tmp_path, test, age=timedelta(days=250))


def test_revoked_it_says_so_keeps_its_tunnel_and_another_enrolment_is_noticed(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        async with running(edge):
            await edge.settled(7)
            edge.place.authority.revoke_site("milan")
            await eventually(lambda: "isn't let in any more" in edge.faults, "it is told")
            assert edge.tunnel.tended == ["000001"]
            again = Identity(edge.paths)
            granted = edge.place.authority.enrol("milan", again.prepare())
            slice = signed(edge.slice(8), edge.place.authority.signer())
            again.install(granted.chain, granted.root, granted.tls_crypt_key, slice)
            edge.commit(8)
            await edge.settled(8)
            assert edge.told["faults"] == []

    run(tmp_path, test)


def test_another_site_s_slice_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        async with running(edge):
            await edge.settled(7)
            edge.place.slices.now["milan"] = edge.slice(8, site="rome")
            await eventually(lambda: "another site's slice" in edge.faults, "it is told")
            assert (edge.state.name, edge.told["on_trial"]) == ("000001", False)
            edge.commit(9, networks=[])
            await edge.settled(9)
            assert edge.told["faults"] == []

    run(tmp_path, test)


@pytest.mark.parametrize("content", [b"garbage", b"{}", b"[" * 9999])
def test_a_slice_that_nobody_signed_is_told_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    async def test(edge: Edge) -> None:
        async with running(edge):
            await edge.settled(7)
            signer = edge.place.authority.signer()
            monkeypatch.setattr(service, "signed", lambda *_: signer.sign(Purpose.TIME, content))
            edge.commit(8, networks=[])
            await eventually(lambda: edge.told["faults"], "it is told")
            assert (edge.state.name, edge.told["revision"]) == ("000001", 7)

    run(tmp_path, test)


def test_while_the_centre_is_away_nothing_changes(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        async with running(edge):
            await edge.settled(7)
            await edge.place.server.close()
            await eventually(lambda: not edge.told["centre_reached"], "it is noticed")
            assert "can't be reached through the tunnel" in edge.faults
            await asyncio.sleep(0.3)
            assert (edge.state.name, edge.tunnel.tended) == ("000001", ["000001"])
            await edge.place.server.listen("again", socket.create_server(("127.0.0.1", edge.place.port)))
            await eventually(lambda: edge.told["centre_reached"] and not edge.told["faults"], "it is back")

    run(tmp_path, test)


def test_a_week_without_the_centre_and_a_start_of_the_machine_and_all_that_happened_arrives_in_order(
    tmp_path: Path,
) -> None:
    lines = [{"line": number, "up": True, "best": number == 1} for number in (1, 2)]
    paths = [{"number": 4 * at, "role": "primary", "device": f"eth{at}", "host": "192.0.2.7", "port": 1170, "monthly_gb": None} for at in (0, 1)]  # fmt: skip

    def happened(edge: Edge) -> list[tuple[str, Any]]:
        return [(each["what"], each["about"].get("line")) for each in reversed(edge.place.events.of("milan"))]

    def kept(edge: Edge) -> list[str]:
        """What waits for the centre."""
        return [each.what for each in edge.agent._journal.waiting(1 << 20)[1]]

    async def day(edge: Edge, number: int) -> None:
        edge.passes(24 * 3600 * 1000)
        line = lines[number % 2]
        for up in (False, True):
            before = len(kept(edge))
            lines[number % 2] = line | {"up": up}
            await eventually(lambda before=before: len(kept(edge)) == before + 1, f"day {number} is kept")  # type: ignore[misc]

    async def test(edge: Edge) -> None:
        def with_lines() -> None:
            edge.tunnel.relay.told = lambda: list(lines)  # type: ignore[method-assign]
            edge.tunnel.relay.changes = list  # type: ignore[method-assign]

        with_lines()
        edge.commit(8, paths=paths)
        async with running(edge):
            await edge.settled(8)
            await eventually(lambda: ("revision", None) in happened(edge), "what happens is told at once")
            before = happened(edge)
            await edge.place.server.close()
            await eventually(lambda: kept(edge)[-1:] == ["centre_away"], "it is noticed")
            for number in range(4):
                await day(edge, number)
        edge.machine.boot = "second"
        edge.agent = edge.another()
        async with running(edge):
            await eventually(lambda: kept(edge)[-1:] == ["started"], "it goes on with what it has")
            assert edge.told["revision"] == 8
            for number in range(4, 7):
                await day(edge, number)
            assert happened(edge) == before
            await edge.place.server.listen("again", socket.create_server(("127.0.0.1", edge.place.port)))
            lasts = ("centre_reached", None)
            await eventually(lambda: happened(edge)[-1] == lasts, f"all has arrived: {happened(edge)}")
            await eventually(lambda: kept(edge) == [], "and is forgotten")
        days = [(what, lines[number % 2]["line"]) for number in range(7) for what in ("line_down", "line_up")]
        assert happened(edge) == [*before, ("centre_away", None), *days[:8], ("started", None), *days[8:], lasts]
        found = edge.place.events.of("milan")
        assert [each["number"] for each in reversed(found)] == list(range(1, len(found) + 1))
        begun = next(each["about"] for each in found if each["what"] == "started")
        assert begun == {"machine": True, "revision": 8, "lines": {"1": True, "2": True}}

    run(tmp_path, test)


def test_a_centre_that_asks_for_no_events_gets_none_and_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(edge: Edge) -> None:
        async def nothing(*_: object) -> None:
            raise NotFoundError("there is nothing here", "", error_id="nothing_here")

        monkeypatch.setattr(edge.place.inside, "_happened", nothing)
        async with running(edge):
            await edge.settled(7)
            await eventually(lambda: edge.agent._events_at > 0, "it knows")
            assert edge.told["faults"] == []
            first, *_more = edge.agent._journal.waiting(1 << 20)[1]
            assert first.what == "started"

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("written", "words"), [((4, 5, 6), "too old for this centre"), ((0,), "too new for this centre")]
)
def test_a_centre_of_too_distant_a_release_is_told_and_the_branch_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: tuple[int, ...], words: str
) -> None:
    async def test(edge: Edge) -> None:
        async with running(edge):
            await edge.settled(7)
            for format in list(formats.WRITERS):
                monkeypatch.delitem(formats.WRITERS, format)  # type: ignore[misc]
            for format in written:
                monkeypatch.setitem(formats.WRITERS, format, lambda _slice: {})  # type: ignore[arg-type]
            edge.commit(8, networks=[])
            await eventually(lambda: words in edge.faults, "it is told")
            assert (edge.state.name, edge.tunnel.tended) == ("000001", ["000001"])
            assert edge.told["centre_reached"]

    run(tmp_path, test)


def test_of_an_edge_that_belongs_to_no_site_it_is_told(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        bare = Edge(edge.place, Identity(EdgePaths(tmp_path / "bare")))
        async with running(bare):
            await eventually(bare.paths.socket.exists, "it listens")
            assert (bare.told["enrolled"], bare.told["faults"], bare.tunnel.tended) == (False, [], [])
            reader, writer = await asyncio.open_unix_connection(str(bare.paths.socket))
            assert b'"enrolled": false' in await asyncio.wait_for(reader.read(), 5)
            writer.close()

    run(tmp_path, test)
