"""Engine CPU of one two-party call: ours against a minimal hand-written dialplan.

Same engine root, modules, endpoints, authentication, codecs and event records; only the dialplan differs, hangup handlers
included: the minimal one has none. Both engines are up all the time and are loaded in turns, at a fixed rate
below saturation; a round's figure is CPU time of the engine process ÷ calls; the median of the rounds counts.
"""

from __future__ import annotations

import re
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.asterisk import dialplan
from appliance.engine.launch import Engine, EngineLauncher
from appliance.engine.root import find_root
from appliance.paths import EnginePaths, Paths
from bench import Result, Say
from bench.processes import cpu_seconds
from tests.hil.agents.network import Host, Network
from tests.hil.agents.sipp import Sipp, User
from tests.hil.system import System, office

PAIRS: Final = 20
TALK_MS: Final = 500
TARGETS: Final = {"cpu_ratio": ">= 0.85", "dialplan_steps": "<= 12"}


@dataclass
class Bed:
    """One engine with phones that answer."""

    name: str
    engine: Engine
    address: str
    phones: Host
    work: Path
    passwords: dict[str, str]

    def users(self) -> list[User]:
        """Callers: the first half of the extensions call the second."""
        return [User(f"{200 + i}-1", self.passwords[f"{200 + i}-1"], str(200 + PAIRS + i)) for i in range(1, PAIRS + 1)]

    def register(self) -> Sipp:
        """Phones that answer, registered."""
        ids = [f"{200 + PAIRS + i}-1" for i in range(1, PAIRS + 1)]
        callees = Sipp(self.phones, self.work / f"callees-{self.name}", self.address)
        callees.register([User(id, self.passwords[id]) for id in ids])
        return callees.answering(trace=False)

    def load(self, calls: int, rate: float) -> tuple[float, float, int]:
        """(CPU ms per call, calls that were set up per second, calls that failed) of one round."""
        assert self.engine.pid is not None
        before, began = cpu_seconds(self.engine.pid), time.monotonic()
        callers = Sipp(self.phones, self.work / f"load-{self.name}-{began:.0f}", self.address)
        callers.calls(self.users(), calls, rate=rate, at_once=1000, talk_ms=TALK_MS, trace=False)
        callers.finish(calls / rate + 60)
        failed = callers.statistics().get("failed", calls)
        took = time.monotonic() - began
        return 1000 * (cpu_seconds(self.engine.pid) - before) / calls, (calls - failed) / took, failed


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: one short round."""
    rounds, calls, rate = (1, 60, 20.0) if smoke else (5, 800, 40.0)
    with Network() as net, tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        phones, ours_host, minimal_host = net.host("phones"), net.host("ours"), net.host("minimal")
        rows = office(ours_host.address, 2 * PAIRS)
        with System(ours_host, work / "ours", rows) as system:
            assert system.engine is not None
            minimal = start_minimal(system, minimal_host, work / "minimal")
            try:
                ours = Bed("ours", system.engine, ours_host.address, phones, work, system.passwords)
                base = Bed("minimal", minimal, minimal_host.address, phones, work, system.passwords)
                with ours.register(), base.register():
                    return measure(ours, base, system, (rounds, calls, rate), smoke, say)
            finally:
                minimal.stop()


def measure(ours: Bed, base: Bed, system: System, plan: tuple[int, int, float], smoke: bool, say: Say) -> Result:
    """Warm up, then rounds in turns, then saturation."""
    rounds, calls, rate = plan
    figures: dict[str, list[float]] = {"ours": [], "minimal": []}
    failed = 0
    for bed in (ours, base):
        bed.load(20, 20.0)
    for number in range(rounds):
        for bed in (ours, base):
            cpu, _speed, lost = bed.load(calls, rate)
            failed += lost
            figures[bed.name].append(cpu)
            say(f"round {number + 1}/{rounds}: {bed.name} {cpu:.2f} ms CPU a call")
    steps = count_steps(ours, system)
    mine, other = statistics.median(figures["ours"]), statistics.median(figures["minimal"])
    result = {
        "cpu_ratio": round(other / mine, 3),
        "cpu_ms_per_call": round(mine, 2),
        "dialplan_steps": steps,
        "calls": calls * rounds,
        "failed": failed,
    }
    baseline = {"cpu_ms_per_call": round(other, 2)}
    if not smoke:
        for bed, where in ((ours, result), (base, baseline)):
            _cpu, speed, lost = bed.load(2000, 400.0)
            where["calls_per_second_at_saturation"] = round(speed, 1)
            where["failed_at_saturation"] = lost
            say(f"saturation: {bed.name} {speed:.0f} calls/s, {lost} failed besides")
    return Result("call_setup", result, baseline, TARGETS)


def count_steps(bed: Bed, system: System) -> int:
    """Newexten events over all channels of one internal call."""
    from appliance.engine.ami import AmiClient
    from appliance.engine.plan import AMI_USER

    with AmiClient.connect(
        system.launcher.read_ami_secret(), username=AMI_USER, events="dialplan", network_namespace=system.host.namespace
    ) as ami:
        bed.load(1, 5.0)
        steps = 0
        while (event := ami.next_event(2.0)) is not None:
            steps += event.event == "Newexten"
    return steps


def start_minimal(system: System, host: Host, top: Path) -> Engine:
    """The same configuration with the shortest dialplan that makes the same call."""
    launcher = EngineLauncher(find_root(Paths.default()), EnginePaths(top), network_namespace=host.namespace)
    launcher.prepare()
    shutil.copytree(system.paths.engine.current, launcher.paths.current)
    for secret in ("ami.secret",):
        shutil.copy(system.paths.engine.top / secret, launcher.paths.top / secret)
    pjsip = (launcher.paths.current / "pjsip.conf").read_text().replace(system.host.address, host.address)
    domain = re.search(r"^domain=(udp\S*)", pjsip, re.M)
    endpoint = f"PJSIP/${{EXTEN}}-1@{domain[1]}" if domain else "PJSIP/${EXTEN}-1"
    (launcher.paths.current / "pjsip.conf").write_text(
        re.sub(r"^set_var=CHANNEL\(hangup_handler_push\).*\n", "", pjsip, flags=re.M)
    )
    minimal = dialplan("from-device", ("_2XX", [f"Dial({endpoint},60)"]))
    (launcher.paths.current / "extensions.conf").write_text(minimal.text())
    launcher.grant(launcher.paths.config)
    return launcher.start()
