"""The voice VPN: what packets of voice cost through one daemon and through two, and how soon 500 branches are back after a restart.

*Traffic*: 200 octets of payload, as G.711 has them with RTP, between branches (real OpenVPN) and the centre, whose daemons have the configuration
that the plan gives them for 500 branches. At a fixed load of 100 calls (50 packets a second each way and call) the CPU of the centre's
daemons counts, and the CPU of the whole machine with both ends and the generators; then as fast as it goes, one way. Baseline: the same processes
send the same packets between the same two hosts without a tunnel. On two cores branches, generators and daemons share what there is:
what a daemon could do with a core of its own follows from its CPU for each packet (``daemon_us_per_packet``, at 100 calls).

*Reconnect*: 500 branches, each an OpenVPN process of its own (without an interface), are in; every daemon is killed at once; the
keeper starts them again, and the branches find out by their own pings. Counted from the kill to the last that is in again. CPU
of both ends is told apart: the branches' 500 processes would be on 500 machines.
*Quality*: 500 branches are asked through their tunnels once a second. Here they are addresses of one host that answers for all, so what counts is
our process alone. Baseline: as many echoes sent and read at the same pace by a process that remembers nothing of them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from unittest import mock

from appliance.vpn import plan
from bench import Result, Say
from bench.vpn_ground import Ground, ground
from bench.vpn_quality import addresses
from tests.hil.agents.network import Host, Network
from tests.hil.agents.process import eventually

CALLS: Final = 100
PER_CALL: Final = 50
TUNNELS: Final = 8
SITES: Final = 500
PORT: Final = 20_000
PAYLOAD_BITS: Final = 8 * 200
IDLE_S: Final = 10.0
BACK_MAX_S: Final = 120.0
TARGETS: Final = {
    "reconnect_s": "<= 30",
    "not_back": "<= 0",
    "keeper_core_share": "<= 0.05",
    "lost_at_100_calls": "<= 0.001",
    "quality_core_share": "<= 0.04",
    "quality_unknown": "<= 0",
}
Figures = dict[str, Any]


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: two tunnels, parts of a second, eight branches that ping more often."""
    sites, tunnels, seconds = (8, 2, 0.2) if smoke else (SITES, TUNNELS, 5.0)
    figures: Figures = {"branches": sites}
    baseline: Figures = {}
    pings = mock.patch.multiple(plan, PING_S=1, DEAD_S=3) if smoke else contextlib.nullcontext()
    with tempfile.TemporaryDirectory(prefix="centralino-vpn-") as folder, Network() as net, pings:
        Path(folder).chmod(0o711)
        for daemons in (1,) if smoke else (1, 2):
            with ground(net, Path(folder) / str(daemons), daemons, sites) as made:
                if daemons == 1:
                    plain = {
                        way: flow(made, [], seconds, rate) for way, rate in (("calls", CALLS * PER_CALL), ("fast", 0))
                    }
                    say(f"without a tunnel: {plain}")
                    baseline = bare(plain)
                tunnel(made, tunnels)
                found = {
                    way: flow(made, list(range(1, tunnels + 1)), seconds, rate)
                    for way, rate in (("calls", CALLS * PER_CALL), ("fast", 0))
                }
                say(f"{len(made.daemons)} daemons: {found}")
                figures |= traffic(found, len(made.daemons))
                if smoke:
                    figures |= reconnect(made, range(tunnels + 1, sites + 1), smoke, say)
        if not smoke:
            with ground(net, Path(folder) / "many", 2, sites, lowest=True) as made:
                figures |= reconnect(made, range(1, sites + 1), smoke, say)
        asked, plain_share = quality(net, sites, 2.0 if smoke else IDLE_S, say)
        figures |= asked
        baseline |= plain_share
    return Result("vpn", figures, baseline, TARGETS)


# Traffic


def tunnel(made: Ground, number: int) -> None:
    """So many branches come in, each with an interface of its own."""
    configs = {each: made.enrol(each, f"branch-{each}") for each in range(1, number + 1)}
    eventually(lambda: made.admitted() >= number, "they are let in")
    began = time.time()
    for each, config in configs.items():
        made.connect(each, config)
    assert made.all_in(began, 30) is not None, made.process.text()
    for each in range(1, number + 1):
        made.route(each, f"branch-{each}")


def flow(made: Ground, tunnels: list[int], seconds: float, rate: int) -> Figures:
    """Streams between branches and centre. ``rate``: packets a second each way; 0: as fast as they go, towards the centre."""
    inside = {n: str(made.network(n)[1]) for n in tunnels}
    centre, edges = (made.centre.address, inside) if tunnels else (made.outside, {0: made.edges.address})
    ends = [
        End(made.edges, [_end(at, f"branch-{n}" if n else "", [centre]) for n, at in edges.items()], seconds, rate),
        End(made.centre, [_end(centre, "", list(edges.values()))], seconds, rate or None),
    ]
    before = (made.cpu(), machine_seconds())
    for end in ends:
        end.begin()
    up, down = (end.told() for end in ends)
    after = (made.cpu(), machine_seconds())
    came = down["received"] + up["received"]
    return {
        "sent": up["sent"] + down["sent"], "received": came, "per_s": round(down["received"] / down["took"]),
        "cpu": {name: round(after[0][name] - before[0][name], 2) for name in after[0]}, "machine_s": round(after[1] - before[1], 2),
        "seconds": seconds,
    }  # fmt: skip


def _end(at: str, device: str, to: list[str]) -> Figures:
    return {"at": at, "port": PORT, "device": device, "to": to}


class End:
    """One process that sends and hears."""

    def __init__(self, host: Host, ends: list[Figures], seconds: float, rate: int | None) -> None:
        argv = [sys.executable, "-m", "bench.vpn_traffic", json.dumps({"ends": ends, "seconds": seconds, "rate": rate})]
        self.process = subprocess.Popen(host.argv(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def told(self) -> Figures:
        said, _ = self.process.communicate(timeout=60)
        return dict(json.loads(said))


def machine_seconds() -> float:
    """CPU that the whole machine has spent, in seconds."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return (sum(map(int, words[:3])) + sum(map(int, words[5:8]))) / 100


def bare(plain: dict[str, Figures]) -> Figures:
    """The baseline's figures."""
    return {
        "packets_per_s": plain["fast"]["per_s"],
        "mbit_per_s": round(plain["fast"]["per_s"] * PAYLOAD_BITS / 1e6, 1),
        "machine_core_share_100_calls": round(plain["calls"]["machine_s"] / plain["calls"]["seconds"], 3),
    }


def traffic(found: dict[str, Figures], daemons: int) -> Figures:
    """Figures of so many daemons."""
    calls, fast = found["calls"], found["fast"]
    figures: Figures = {
        f"packets_per_s_{daemons}": fast["per_s"],
        f"mbit_per_s_{daemons}": round(fast["per_s"] * PAYLOAD_BITS / 1e6, 1),
        f"daemons_core_share_100_calls_{daemons}": round(calls["cpu"]["daemons"] / calls["seconds"], 3),
        f"machine_core_share_100_calls_{daemons}": round(calls["machine_s"] / calls["seconds"], 3),
    }
    if daemons == 1:
        lost = 1 - calls["received"] / calls["sent"]
        figures |= {
            "lost_at_100_calls": round(lost, 5),
            "daemon_us_per_packet": round(1e6 * calls["cpu"]["daemons"] / max(1, calls["received"]), 1),
        }
    return figures


# Reconnect


def reconnect(made: Ground, numbers: range, smoke: bool, say: Say) -> Figures:
    """How soon everybody is back after every daemon was killed."""
    began, number = time.monotonic(), len(numbers)
    configs = {each: made.enrol(each) for each in numbers}
    say(f"{number} branches enrolled in {time.monotonic() - began:.1f} s")
    eventually(lambda: made.admitted() >= len(made.clients) + number, "they are let in", 60)
    first = time.time()
    for each, config in configs.items():
        made.connect(each, config)
    came = made.all_in(first, BACK_MAX_S, numbers)
    say(f"all in after {came} s")
    assert came is not None, (len(made.since()), made.process.text()[-2000:])
    idle = 0.3 if smoke else IDLE_S
    before = made.cpu()
    time.sleep(idle)
    calm = {name: (spent - before[name]) / idle for name, spent in made.cpu().items()}
    say(f"shares of a core while nothing happens: {calm}")
    before = made.cpu()
    killed = time.time()
    made.kill_daemons()
    back = made.all_in(killed + 1, BACK_MAX_S)
    after = made.cpu()
    dead = sum(each.poll() is not None for each in made.clients.values())
    figures = {
        "reconnect_s": None if back is None else round(back + 1, 1), "not_back": 0 if back is not None else number - len(made.since()),
        "clients_ended": dead, "first_connect_s": round(came, 1),
        "reconnect_daemons_cpu_s": round(after["daemons"], 1), "reconnect_clients_cpu_s": round(after["clients"] - before["clients"], 1),
        "keeper_core_share": round(calm["keeper"], 3), "daemons_core_share_idle": round(calm["daemons"], 3),
    }  # fmt: skip
    say(f"{figures}")
    return figures


# Quality


def quality(net: Network, sites: int, seconds: float, say: Say) -> tuple[Figures, Figures]:
    """What asking every branch once a second costs our process: its figures, and those of the least that it can cost."""
    host = net.host("asked")
    for each in addresses(sites):
        host.run(["ip", "address", "add", f"{each}/32", "dev", "lo"])
    found: dict[str, Figures] = {}
    for mode in ("plain", "ours"):
        argv = [sys.executable, "-m", "bench.vpn_quality", host.namespace, str(sites), str(seconds), mode]
        found[mode] = json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout)
    say(f"asking {sites} branches: {found}")
    ours, plain = found["ours"], found["plain"]
    return {
        "quality_core_share": round(ours["share"], 4),
        "quality_to_plain": round(ours["share"] / max(plain["share"], 1e-6), 2),
        "quality_unknown": sites - ours["known"],
        "quality_lost": ours["lost"],
    }, {"quality_core_share": round(plain["share"], 4)}
