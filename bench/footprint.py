"""Memory of every process, idle and after 10,000 calls. Baseline: the bare engine of the call_setup benchmark, idle."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from bench import Result, Say
from bench.call_setup import PAIRS, Bed, start_minimal
from bench.processes import rss_mb
from tests.hil.agents.network import Network
from tests.hil.system import System, office

CALLS: Final = 10_000
RATE: Final = 80.0
TARGETS: Final = {"engine_growth_ratio": "<= 1.5"}


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: 100 calls."""
    calls = 100 if smoke else CALLS
    with Network() as net, tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        phones, host, other = net.host("phones"), net.host("pbx"), net.host("minimal")
        with System(host, work / "system", office(host.address, 2 * PAIRS)) as system:
            history = system.start_history()
            assert system.engine is not None
            minimal = start_minimal(system, other, work / "minimal")
            try:
                assert minimal.pid is not None
                baseline = {"engine_idle_mb": round(rss_mb(minimal.pid), 1)}
            finally:
                minimal.stop()
            pids = {
                "engine": system.engine.pid or 0,
                "applier": system.applier.process.pid,
                "history": history.process.pid,
            }
            idle = {name: round(rss_mb(pid), 1) for name, pid in pids.items()}
            say(f"idle: {idle}")
            bed = Bed("ours", system.engine, host.address, phones, work, system.passwords)
            with bed.register():
                began = time.monotonic()
                _cpu, _speed, failed = bed.load(calls, RATE)
            say(f"{calls} calls in {time.monotonic() - began:.0f} s, {failed} failed")
            loaded = {name: round(rss_mb(pid), 1) for name, pid in pids.items()}
            say(f"after: {loaded}")
    figures = {
        "calls": calls,
        "failed": failed,
        "idle_mb": idle,
        "after_mb": loaded,
        "engine_growth_ratio": round(loaded["engine"] / idle["engine"], 2),
    }
    return Result("footprint", figures, baseline, TARGETS)
