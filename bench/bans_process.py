"""``python -m bench.bans_process ours|naive ATTEMPTS RATE SECONDS``: digests failed attempts; prints one line of JSON.

The baseline does what fail2ban does: a list of times for each source, looked through at each attempt; ten within ten minutes are a
ban. It weighs nothing, forgives nobody, and remembers every source for ten minutes.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.model import Attempt, Outcome, Service, Sign
from appliance.firewall.bans.policy import Policy
from bench.processes import cpu_seconds, rss_mb

BATCH: Final = 1000
FIND_TIME_MS: Final = 600_000
MAX_RETRY: Final = 10
Take = Callable[[Sequence[Attempt]], object]


class Naive:
    """A list of times for each source."""

    def __init__(self) -> None:
        self.times: dict[str, list[int]] = {}
        self.bans: dict[str, int] = {}

    def take(self, attempts: Sequence[Attempt]) -> list[str]:
        """Those that are banned now."""
        found = []
        for attempt in attempts:
            source = str(attempt.source)
            times = [when for when in self.times.get(source, ()) if when > attempt.when - FIND_TIME_MS]
            times.append(attempt.when)
            self.times[source] = times
            if len(times) >= MAX_RETRY:
                del self.times[source]
                self.bans[source] = attempt.when
                found.append(source)
        return found


def batch(chance: random.Random, now: int) -> list[Attempt]:
    """A tenth of a second of 10,000 a second: nine in ten from sources that come once, half of them invented; the others
    from 2,000 that go on."""
    made = []
    for n in range(BATCH):
        number = chance.getrandbits(32) if n % 10 else 0x0B000000 + chance.randrange(2000) * 256
        proven = n % 2 == 0
        signs = Sign.UNKNOWN_ACCOUNT if n % 5 == 0 else Sign.NONE
        account = str(1000 + chance.randrange(5000))
        address = ipaddress.IPv4Address(number)
        made.append(
            Attempt(now + n // 10, now, address, Service.SIP, Outcome.FAILED, account, "wrong password", proven, signs)
        )
    return made


def policy() -> Policy:
    """That of a company with 500 branches."""
    outer = tuple(ipaddress.ip_network(0xC6120000 + 7 * n) for n in range(500))
    sites = tuple(ipaddress.ip_network((0x0A000000 + 512 * n, 24)) for n in range(500))
    return Policy(protected=outer, inside=sites)


def main() -> None:
    kind, attempts, rate, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    chance, judge, naive = random.Random(1), Judge(policy()), Naive()
    take: Take = judge.take if kind == "ours" else naive.take
    empty, pid = rss_mb(os.getpid()), os.getpid()
    now, spent, longest = 0, 0.0, 0.0
    for _ in range(attempts // BATCH):
        given = batch(chance, now)
        began = time.process_time()  # so that Python's pauses count, and not what else the machine does
        take(given)
        took = time.process_time() - began
        spent += took
        longest = max(longest, took)
        now += 100
    full = rss_mb(pid)
    pause = BATCH / rate
    began, before, batches = time.monotonic(), cpu_seconds(pid), int(seconds / pause)
    for n in range(batches):
        take(batch(chance, now))
        now += 100
        time.sleep(max(0.0, began + (n + 1) * pause - time.monotonic()))
    passed = time.monotonic() - began
    print(
        json.dumps(
            {
                "attempts_per_cpu_second": round(attempts / spent),
                "longest_batch_cpu_ms": round(1000 * longest, 1),
                "core_share": round((cpu_seconds(pid) - before) / passed, 3),
                "rate": round(batches * BATCH / passed),
                "mb": round(full - empty, 1),
                "sources": len(judge.sources) if kind == "ours" else len(naive.times),
                "bans": len(judge.standing) if kind == "ours" else len(naive.bans),
            }
        )
    )


if __name__ == "__main__":
    main()
