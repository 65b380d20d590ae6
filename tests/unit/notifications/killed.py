"""A reader of the spool and a sender, both killed again and again: python -m tests.unit.notifications.killed DIR RECEIVER AUTHORITY KILLS

DIR holds the spool ``cel``. Prints as JSON how often each was killed while at work.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from appliance.history.ingest import Ingest
from appliance.history.spool import Spool
from appliance.notifications import backoff
from appliance.notifications.state import State
from appliance.store.history import open_history
from tests.unit.notifications.ground import Ground, sending


def read(work: Path) -> None:
    """Take in the spool, a little at a time, and wait for more."""
    ingest = Ingest(open_history(f"sqlite:///{work}/history.db"), Spool(work / "cel", 3000))
    while True:
        if not ingest.step():
            time.sleep(0.005)


def send(work: Path, url: str, authority: str) -> None:
    """Send until killed."""
    backoff.FIRST_WAIT_S = 0.02  # type: ignore[misc]
    ground = Ground(work)
    ground.document.put("crm", url, authority=authority)

    async def run() -> None:
        async with sending(ground):
            await asyncio.sleep(3600)

    asyncio.run(run())


def forked(work: Callable[[], None]) -> int:
    """A process that does this."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    return child


def done(ground: Ground, calls: int) -> bool:
    found = ground.listed(state=State.DELIVERED)
    return sum(each.type == "call.ended" for each in found) == calls and not ground.listed(state=State.WAITING)


def main(work: Path, url: str, authority: Path, kills: int, calls: int) -> None:
    rng = random.Random(11)
    ground = Ground(work)
    pem = authority.read_text()
    jobs: dict[str, Callable[[], None]] = {"reader": lambda: read(work), "sender": lambda: send(work, url, pem)}
    pids = {name: forked(job) for name, job in jobs.items()}
    killed = dict.fromkeys(jobs, 0)
    for turn in range(kills):
        time.sleep(rng.uniform(0.01, 0.25))  # a random moment of its work
        name = ("sender", "reader", "sender")[turn % 3]
        os.kill(pids[name], signal.SIGKILL)
        _, status = os.waitpid(pids[name], 0)
        killed[name] += os.WIFSIGNALED(status)
        pids[name] = forked(jobs[name])
    deadline = time.monotonic() + 60
    while not done(ground, calls) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    print(json.dumps({"killed": killed, "done": done(ground, calls)}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
