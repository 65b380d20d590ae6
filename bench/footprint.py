"""Memory of every process: idle, after 10,000 calls, and when the engine has calmed down; and how long each takes to start.

``demo_mb`` are the processes of ``centralino run`` with the demo company, the simulated provider among them. Then the whole appliance,
by ``centralino run`` too, takes 10,000 calls of an office at 80/s: ``idle_mb`` before, ``after_mb`` a minute after. The baseline is an engine
with the minimal dialplan of the call_setup benchmark, the same allocator and the same calls. Right after the calls both engines
(``engine_mb``) hold what SIP must keep for 32 s (RFC 3261); what is left a minute later is what a busy hour leaves behind.
``start_s``: seconds until a process is at work again when it was killed (:mod:`bench.starts`), with this office's document.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.engine.launch import Engine
from appliance.engine.processes import descendants
from appliance.paths import Paths
from bench import Result, Say
from bench.call_setup import PAIRS, Bed, start_minimal
from bench.processes import rss_mb
from bench.starts import start_seconds, told
from tests.hil.agents.network import Host, Network
from tests.hil.agents.process import eventually
from tests.hil.system import System, office

CALLS: Final = 10_000
RATE: Final = 80.0
PROCESSES: Final = ("applier", "engine", "history", "notifications", "hub", "console", "gate")
CALM_S: Final = 60.0
"""Timers D, J and K of RFC 3261 are over after 32 s; the allocator gives pages back a second after they were freed, while anything is allocated."""
TARGETS: Final = {"engine_growth_ratio": "<= 1.5", "engine_to_minimal_ratio": "<= 1.25"}


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: 100 calls, and no waiting for calm."""
    calls, calm_s = (100, 0.0) if smoke else (CALLS, CALM_S)
    with Network() as net, tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with running(net.host("appliance"), work / "demo") as services:
            demo = megabytes(services)
        say(f"idle, centralino run with the demo company: {demo}")
        phones, host, other = net.host("phones"), net.host("pbx"), net.host("minimal")
        with System(host, work / "system", office(host.address, 2 * PAIRS)) as system:
            pass  # its document is committed, its files are there
        with running(host, system.paths.state) as services:
            idle = megabytes(services)
            attached = system.launcher.attach()
            assert attached is not None
            ours = Bed("ours", attached, host.address, phones, work, system.passwords)
            engine, failed = loaded(ours, calls, calm_s, say)
            after = megabytes(services)
            say(f"centralino run, before and after the calls: {idle}, {after}")
            names = ("gate",) if smoke else PROCESSES
            starts = start_seconds(system.paths, services, names, say)
        minimal = start_minimal(system, other, work / "minimal")
        try:
            base = Bed("minimal", minimal, other.address, phones, work, system.passwords)
            baseline, base_failed = loaded(base, calls, calm_s, say)
        finally:
            minimal.stop()
    figures = {
        "calls": calls,
        "failed": failed,
        "demo_mb": demo,
        "idle_mb": idle,
        "after_mb": after,
        "start_s": starts,
        "engine_mb": engine,
        "engine_growth_ratio": round(engine["calm"] / engine["idle"], 2),
        "engine_to_minimal_ratio": round(engine["after"] / baseline["after"], 2),
    }
    return Result("footprint", figures, {"engine_mb": baseline, "failed": base_failed}, TARGETS)


def loaded(bed: Bed, calls: int, calm_s: float, say: Say) -> tuple[dict[str, float], int]:
    """The engine's memory in MB idle, right after the calls and when it has calmed down; how many calls failed."""
    seen = {"idle": engine_mb(bed.engine)}
    with bed.register():
        began = time.monotonic()
        _cpu, _speed, failed = bed.load(calls, RATE)
        seen["after"] = engine_mb(bed.engine)
        say(f"{bed.name}: {calls} calls in {time.monotonic() - began:.0f} s, {failed} failed; {seen}")
    time.sleep(calm_s)  # the span that is measured
    seen["calm"] = engine_mb(bed.engine)
    say(f"{bed.name}: {seen['calm']} MB after {calm_s:g} s of calm")
    return seen, failed


def engine_mb(engine: Engine) -> float:
    assert engine.pid is not None
    return round(rss_mb(engine.pid), 1)


@contextmanager
def running(host: Host, state: Path) -> Iterator[Path]:
    """``centralino run`` in this state directory, once it is up; where its supervisor tells of its services."""
    status = state / "run" / "supervisor.json"
    env = {**os.environ, "CENTRALINO_STATE": str(state), "CENTRALINO_CACHE": str(Paths.default().cache)}
    command = host.start([sys.executable, "-m", "appliance.cli", "run"], state.with_suffix(".log"), env=env)
    try:
        eventually(all_up(status), "the appliance is up", 120, 0.2)
        yield status
    finally:
        command.stop(60)


def megabytes(status: Path) -> dict[str, float]:
    """MB of each process that a supervisor tells of, and its own."""
    found = json.loads(status.read_text())
    families = {each["name"]: family_mb(each["pid"]) for each in found["services"]}
    families["supervisor"] = rss_mb(found["supervisor"])  # all of them are its family
    return {name: round(megabytes, 1) for name, megabytes in sorted(families.items())}


def family_mb(pid: int) -> float:
    """MB of a process and what it started: a confined one is the sandbox, its inside, and the server's workers."""
    return sum(rss_mb(each) for each in (pid, *descendants(pid)))


def all_up(status: Path) -> Callable[[], bool]:
    """Whether the last service that a start brings up runs, by the supervisor's status file."""

    def look() -> bool:
        try:
            services = told(status)
        except (OSError, ValueError):
            return False
        return services.get("gate", {}).get("pid") is not None

    return look
