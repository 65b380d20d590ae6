"""A branch with two lines, by the whole product: the document says so, its edge and the centre's relays follow, and a line's death is seen and not heard."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.core.errors import UnavailableError
from appliance.engine.processes import noted
from tests.hil.agents.edge_ground import SITE, Ground, edge_ground
from tests.hil.agents.process import eventually
from tests.hil.agents.relay import Stream

FIBRE = {"name": "fibre", "number": 1, "device": "eth0"}
LTE = {"name": "lte", "number": 2, "device": "eth2", "role": "backup"}
INSIDE = "172.29.0.1"
VOICE = 10_000
"""A port that phones may send voice to."""


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """The edge has come in by OpenVPN alone, and then two lines were committed."""
    with edge_ground() as made:
        made.commit(*addresses(made))
        made.enrol()
        made.start_centre()
        made.start_edge()
        made.reached(1)
        made.commit(*addresses(made), lines=[FIBRE, LTE])
        made.reached(2)
        all_up(made)
        yield made


def addresses(ground: Ground) -> tuple[str, str]:
    return ground.centre.address_on("provider"), ground.centre.address_on("isp-two")


def branch(ground: Ground) -> dict[str, Any]:
    """What the centre tells of it; nothing while its process is being started."""
    try:
        return dict(ground.told()["branches"][0])
    except (UnavailableError, IndexError):
        return {"connected": False}


def alarms(ground: Ground) -> list[str]:
    return [each["message"] for each in ground.told()["alarms"] if each["id"] == "line_down"]


def ups(ground: Ground) -> dict[str, bool | None]:
    return {each["name"]: each["up"] for each in branch(ground).get("lines", ())}


def all_up(ground: Ground) -> None:
    eventually(
        lambda: ups(ground) == {"fibre": True, "lte": True} and branch(ground)["connected"], "both lines are up", 20
    )


def talk(ground: Ground) -> Stream:
    return Stream([(ground.centre, INSIDE), (ground.lan, ground.lan.address)], port=VOICE)


def dead(ground: Ground, lan: str) -> Any:
    return ground.net.blackhole(ground.edge.address_on(lan))


def test_it_comes_in_by_its_lines_and_its_real_address_is_told(ground: Ground) -> None:
    assert "remote 127.0.0.1 1195 udp4" in (ground.edge_paths.run / "openvpn.conf").read_text()
    told = branch(ground)
    assert told["address"] == ground.edge.address_on("provider")
    fibre, lte = told["lines"]
    assert (fibre["role"], fibre["address"].partition(" ")[0]) == ("primary", ground.edge.address_on("provider"))
    assert (lte["role"], lte["address"].partition(" ")[0]) == ("backup", ground.edge.address_on("isp-two"))
    assert ground.told()["faults"] == []
    assert {(each["line"], each["up"]) for each in ground.status()["lines"] if each["up"]} == {(1, True), (2, True)}
    assert ground.report()["way"] == {"host": addresses(ground)[0], "port": 1170}


def test_a_line_dies_unheard_and_an_alarm_tells(ground: Ground) -> None:
    all_up(ground)
    with talk(ground) as stream:
        with dead(ground, "provider"):
            eventually(lambda: ups(ground)["fibre"] is False, "it is seen", 10)
            eventually(lambda: alarms(ground), "and told", 20)
            assert [each.partition(":")[0] for each in alarms(ground)] == [f"fibre of {SITE} is down"]
            assert branch(ground)["address"] == ground.edge.address_on("isp-two")
        all_up(ground)
        eventually(lambda: not alarms(ground), "and over", 10)
    assert stream.missing() == ([], [])
    assert stream.sent[0] > 400


def test_with_everything_of_ours_dead_but_the_relays_lines_die_unheard(ground: Ground) -> None:
    all_up(ground)
    keeper, agent = ground.children[0], ground.children[-1]
    relays = [ground.paths.vpn.run / "relays" / "0" / "holder.pid", ground.edge_paths.run / "relay" / "holder.pid"]
    holders = [noted(file) for file in relays]
    assert None not in holders
    for child in (keeper, agent):
        child.signal(signal.SIGKILL)
        child.wait()
    with talk(ground) as stream:
        time.sleep(1)
        with dead(ground, "provider"):
            time.sleep(3)
        time.sleep(1.5)
        with dead(ground, "isp-two"):
            time.sleep(3)
        ground.start_centre(["appliance.vpn"])
        ground.start_edge()
        all_up(ground)
    assert stream.missing() == ([], [])
    assert [noted(file) for file in relays] == holders, "taken over, not started again"


def test_openvpns_server_is_killed_and_the_edge_is_told_at_once(ground: Ground) -> None:
    all_up(ground)
    pid = noted(ground.paths.vpn.run / "voice-0.pid")
    assert pid is not None
    with talk(ground) as stream:
        time.sleep(0.5)
        heard = len(stream.got[0])
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: noted(ground.paths.vpn.run / "voice-0.pid") not in (None, pid), "it is started again", 10)
        began, heard = time.monotonic(), len(stream.got[0])
        eventually(lambda: len(stream.got[0]) > heard + 25, "voice again", 30)
        assert time.monotonic() - began < 9, (
            "sooner than a client that waits until it has heard nothing for ten seconds"
        )
    all_up(ground)


def opens(ground: Ground, port: int) -> bool:
    """Whether anything comes back to the edge's own machine for the packet that opens a session of OpenVPN's."""
    log = ground.paths.vpn.log / "voice-0.log"
    before = log.stat().st_size
    with ground.edge.socket() as end:
        end.settimeout(1.0)
        end.sendto(b"\x50" + os.urandom(60), (addresses(ground)[0], port))
        with contextlib.suppress(TimeoutError):
            return bool(end.recv(2000))
    return log.stat().st_size > before


def test_nobody_is_let_in_without_a_relay_when_the_document_says_so(ground: Ground) -> None:
    all_up(ground)
    with talk(ground) as stream:
        assert opens(ground, 1194), "a daemon answers who opens a session, if he is heard"
        ground.commit(*addresses(ground), lines=[FIBRE, LTE], direct=False)
        assert not opens(ground, 1194)
        assert not opens(ground, 1170), "a relay says nothing to strangers"
        time.sleep(1)
    assert stream.missing() == ([], [])
    ground.commit(*addresses(ground), lines=[FIBRE, LTE])


def test_a_line_is_taken_away_and_the_last_one_too(ground: Ground) -> None:
    all_up(ground)
    with talk(ground) as stream:
        ground.commit(*addresses(ground), lines=[LTE])
        ground.reached(ground.generations)
        eventually(lambda: ups(ground) == {"lte": True}, "one line", 10)
        time.sleep(1)
    assert stream.missing() == ([], [])
    ground.commit(*addresses(ground))
    ground.reached(ground.generations)
    eventually(lambda: "lines" not in branch(ground) and branch(ground)["connected"], "by OpenVPN alone", 20)
    assert noted(ground.paths.vpn.run / "relays" / "0" / "holder.pid") is not None, "others may come by it"
    assert noted(ground.edge_paths.run / "relay" / "holder.pid") is None
    ground.commit(*addresses(ground), lines=[FIBRE, LTE])
    ground.reached(ground.generations)


def test_a_revoked_branch_is_heard_by_no_relay(ground: Ground) -> None:
    all_up(ground)
    ground.authority.revoke_site(SITE)
    eventually(lambda: not branch(ground)["connected"], "it is cut off", 5)
    eventually(lambda: set(ups(ground).values()) == {None}, "its lines are heard no more", 5)
