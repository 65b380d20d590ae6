"""A branch's edge by real OpenVPN: it takes what is committed at the centre, goes back from what cuts it off, renews, finds the time."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import DAY, system_clock
from appliance.edge.identity import Identity
from appliance.vpn.pki import Authority, timekeeping
from tests.hil.agents.edge_ground import SITE, TRIAL_S, Ground, edge_ground
from tests.hil.agents.process import eventually

NOBODY = "198.51.100.250"


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    # The edge was enrolled long ago, so its certificate is due for renewal.
    monkeypatch.setattr(timekeeping, "RELEASED", timekeeping.RELEASED - 2 * timekeeping.YEAR)

    def long_ago() -> Any:
        now = system_clock()
        return replace(now, wall=now.wall - 250 * DAY)

    with edge_ground(long_ago) as made:
        yield made


def test_an_edge_follows_the_centre_and_goes_back_by_itself_from_what_cuts_it_off(ground: Ground) -> None:
    ground.commit("198.51.100.10")
    ground.enrol()
    first = Identity(ground.edge_paths).current
    assert first is not None
    ground.start_centre()
    agent = ground.start_edge()
    ground.reached(1)

    # Its certificate was due: it has another by now, and the former is nobody's any more.
    def renewed() -> bool:
        state = Identity(ground.edge_paths).current
        return state is not None and state.certificate != first.certificate and state.trial is None

    eventually(renewed, "the certificate is renewed", 15)
    eventually(lambda: len(Authority(ground.paths.vpn).living(SITE)) == 1, "the former is revoked", 5)
    assert ground.report()["way"] == {"host": "198.51.100.10", "port": 1194}

    # The centre gets another address, before the old one: the edge comes in by it.
    ground.commit("198.51.100.50", "198.51.100.10")
    ground.reached(2)
    assert ground.report()["way"]["host"] == "198.51.100.50"
    assert set(ground.report()["ways"]) == {"198.51.100.10 1194", "198.51.100.50 1194"}

    # A slice that cuts it off; and the agent is killed while that is on trial.
    ground.commit(NOBODY)
    eventually(lambda: ground.in_force() == (3, True), "it is on trial", 10)
    agent.signal(signal.SIGKILL)
    agent.wait()
    ground.start_edge()
    eventually(lambda: ground.in_force() == (2, False), "it went back", 3 * TRIAL_S)
    eventually(lambda: ground.report().get("standing") == "rolled_back", "the centre is told", 10)
    assert ground.report()["revision"] == 3
    assert "wasn't reached" in ground.report()["why"]
    assert ground.status()["refused"]["revision"] == 3

    # What changes nothing of OpenVPN's own lines disturbs no tunnel.
    pid = (ground.edge_paths.run / "openvpn.pid").read_text()
    ground.commit("198.51.100.50", "198.51.100.10")
    eventually(lambda: not ground.status().get("refused"), "all is well again", 10)
    assert (ground.edge_paths.run / "openvpn.pid").read_text() == pid

    # Its service is for edges: a host behind one reaches nothing, nor does anybody outside.
    for host, address in ((ground.lan, "172.29.0.1"), (ground.edge, "198.51.100.10"), (ground.lan, "198.51.100.10")):
        with pytest.raises(OSError, match=r"timed out|refused|unreachable"):
            host.connect(address, 8194, 0.5).close()
    ground.edge.connect("172.29.0.1", 8194, 2).close()


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_ten_years_wrong_is_put_right_through_the_tunnel(ground: Ground, years: int) -> None:
    (preload,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    ground.commit("198.51.100.10")
    ground.enrol()
    ground.start_centre()
    off = ground.work / "off"
    off.write_text(f"{years * 365 * 86400:+d}")
    fake = {
        "LD_PRELOAD": str(preload), "FAKETIME_TIMESTAMP_FILE": str(off), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    ground.start_edge(["-m", "tests.hil.edge_child", str(TRIAL_S)], **fake)
    ground.reached(1)
    assert abs(float(off.read_text())) < 10, "seconds off"
    assert "the clock is set from" in ground.log()
    assert json.loads((ground.edge_paths.clock).read_text())["floor"] / 1000 == pytest.approx(time.time(), abs=60)
