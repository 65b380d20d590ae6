"""What an idle branch's router pays for its edge: memory, processor, and what goes over a line that is paid for by what it carries.

``mb``: resident memory of the agent, of the relay with whoever holds its sockets, of OpenVPN's client, and of the technician's console with its worker; ``ours_mb`` is all of it
but OpenVPN. ``cpu_percent``: of one core, over the time that is measured, nobody calling, the console watching the lines and no page of it open. ``metered_mb_day``: octets of the second line's
interface, both ways, for a day. The baseline, same run and machine: the same edge before it had lines of its own, as OpenVPN alone keeps it up by the first one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from appliance.edge.asking import Edge
from appliance.engine.processes import descendants, noted
from bench import Result, Say
from bench.processes import cpu_seconds, rss_mb
from tests.hil.agents.edge_ground import Ground, edge_ground
from tests.hil.agents.network import LANS
from tests.hil.agents.process import eventually
from tests.hil.test_protected_edge import FIBRE, LTE, addresses, all_up

DAY_S: Final = 86_400
MB: Final = 1_000_000
TARGETS: Final = {"ours_mb": "<= 150", "cpu_percent": "<= 3"}


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: for five seconds."""
    seconds, calm_s = (5.0, 1.0) if smoke else (120.0, 15.0)
    with edge_ground() as ground:
        ground.commit(*addresses(ground))
        ground.enrol()
        ground.start_centre()
        agent = ground.start_edge()
        ground.reached(1)
        time.sleep(calm_s)
        alone = idle(ground, {"agent": agent.process.pid, "openvpn": openvpn(ground)}, "eth0", seconds)
        say(f"by OpenVPN alone: {alone}")
        ground.commit(
            *addresses(ground),
            lines=[set_up(ground, FIBRE, "provider"), set_up(ground, {**LTE, "role": "metered"}, "isp-two")],
        )
        ground.reached(2)
        all_up(ground)
        console = start_console(ground)
        time.sleep(calm_s)  # what a start takes isn't idle
        holder = noted(ground.edge_paths.run / "relay" / "holder.pid")
        relay = noted(ground.edge_paths.run / "relay" / "relay.pid")
        assert holder is not None
        assert relay is not None
        found = idle(
            ground, {"agent": agent.process.pid, "openvpn": openvpn(ground), "holder": holder, "relay": relay, "console": console}, "eth2", seconds
        )  # fmt: skip
        say(f"with two lines, the second metered, and the console: {found}")
    mb = found["mb"]
    figures = {
        "mb": mb, "ours_mb": round(sum(mb.values()) - mb["openvpn"], 1), "cpu_percent": found["cpu_percent"], "metered_mb_day": found["mb_day"],
    }  # fmt: skip
    return Result("edge_footprint", figures, alone, TARGETS)


def set_up(ground: Ground, line: Mapping[str, Any], lan: str) -> dict[str, Any]:
    """A line whose interface the edge sets up itself."""
    access = {"type": "static", "addresses": [f"{LANS[lan][0]}77/24"], "gateways": [ground.centre.address_on(lan)]}
    return {**line, "access": access}


def idle(ground: Ground, pids: Mapping[str, int], device: str, seconds: float) -> dict[str, Any]:
    """Over so long, with what each process has started."""
    families = {name: (pid, *descendants(pid)) if name == "console" else (pid,) for name, pid in pids.items()}
    every = [pid for family in families.values() for pid in family]
    cpu, octets, began = sum(map(cpu_seconds, every)), carried(ground, device), time.monotonic()
    time.sleep(seconds)  # the span that is measured
    took = time.monotonic() - began
    return {
        "mb": {name: round(sum(map(rss_mb, family)), 1) for name, family in families.items()},
        "cpu_percent": round(100 * (sum(map(cpu_seconds, every)) - cpu) / took, 2),
        "mb_day": round((carried(ground, device) - octets) / took * DAY_S / MB, 1),
    }


def carried(ground: Ground, device: str) -> int:
    """Octets of an interface of the edge's, both ways."""
    place = f"/sys/class/net/{device}/statistics"
    said = ground.edge.run(["cat", f"{place}/rx_bytes", f"{place}/tx_bytes"]).stdout
    return sum(map(int, said.split()))


def openvpn(ground: Ground) -> int:
    """Process id of the edge's client."""
    pid = noted(ground.edge_paths.run / "openvpn.pid")
    assert pid is not None
    return pid


def start_console(ground: Ground) -> int:
    """Its process id, once it answers."""
    env = {**ground.env, "CENTRALINO_EDGE_CONSOLE": str(ground.work / "console"), "PATH": os.environ["PATH"]}
    child = ground.edge.start(
        [sys.executable, "-m", "appliance.cli", "edge", "console"], ground.work / "console.log", env=env
    )
    ground.children.append(child)
    eventually(lambda: "listens at" in (ground.work / "console.log").read_text(), "the console listens", 20)
    ground.lan.connect(ground.edge.address_on("branch"), 8443, 10).close()
    assert Edge(ground.edge_paths.orders).status()["enrolled"]
    return int(child.process.pid)
