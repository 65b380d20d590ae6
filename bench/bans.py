"""The gate against intruders under fire: what 10,000 failed attempts a second cost, and how soon somebody is kept out.

*Digesting*: a process of its own judges two million attempts as fast as it can (attempts for each second of CPU, memory), then 10,000 a second
(share of a core, making the attempts included). Nine in ten come from a source of its own. Baseline, same run, same attempts: what
fail2ban does (:mod:`bench.bans_process`).

*Time to ban*: in a namespace with the real nft and a real database, beside 50,000 bans. A host sends a packet every half
millisecond; its tenth attempt is judged in a batch with 1,000 of others. The time from there until its last packet that arrived
was sent is what it takes. Baseline: nft adds one address to an *interval* set of as many (what one would take at first).
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from appliance.clock import system_clock
from appliance.firewall.bans import sets
from appliance.firewall.bans.gate import Gate
from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.keeper import Keeper
from appliance.firewall.bans.kernel import Kernel
from appliance.firewall.bans.model import Attempt, Ban, Outcome, Reason, Service
from appliance.firewall.bans.rules import Rules
from appliance.store.bans import open_bans
from bench import Result, Say
from bench.bans_process import batch
from tests.hil.agents.network import Host, Network

RATE: Final = 10_000
ATTEMPTS: Final = 2_000_000
BANS: Final = 50_000
ROUNDS: Final = 30
PORT: Final = 5060
SETTLED_S: Final = 0.1
TARGETS: Final = {
    "attempts_per_cpu_second": ">= 50000", "core_share": "<= 0.25", "mb": "<= 150", "ban_p95_ms": "<= 500", "not_banned": "<= 0",
}  # fmt: skip


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: a hundredth of the attempts, 1,000 bans, two rounds."""
    attempts, seconds, bans, rounds = (20_000, 0.3, 1_000, 2) if smoke else (ATTEMPTS, 20.0, BANS, ROUNDS)
    found = {kind: digested(kind, attempts, seconds, say) for kind in ("ours", "naive")}
    figures = found["ours"] | {"random_sources": attempts}
    baseline = dict(found["naive"])
    with Network() as net, tempfile.TemporaryDirectory() as folder:
        appliance, stranger = net.host("appliance"), net.host("stranger")
        figures |= banned(appliance, stranger, Path(folder), bans, rounds, say)
        figures["hash_set_add_ms"] = timed_add(
            appliance, "banned4"
        )  # before there is an interval set: nft reads all of those
        baseline["interval_set_add_ms"] = interval_add(appliance, bans)
    say(
        f"adding one address beside {bans}: {figures['hash_set_add_ms']} ms; interval set {baseline['interval_set_add_ms']} ms"
    )
    return Result("bans", figures, baseline, TARGETS)


def digested(kind: str, attempts: int, seconds: float, say: Say) -> dict[str, Any]:
    """A process of its own judges."""
    argv = [sys.executable, "-m", "bench.bans_process", kind, str(attempts), str(RATE), str(seconds)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    say(f"{kind}: {found}")
    return found


def banned(appliance: Host, stranger: Host, folder: Path, bans: int, rounds: int, say: Say) -> dict[str, Any]:
    """How soon a stranger's packets stop arriving."""
    rules = Rules(bans=bans + 10_000)
    database = open_bans(f"sqlite:///{folder}/bans.db")
    try:
        judge = Judge(rules=rules)
        judge.restore(some_bans(bans), [], 1)
        gate = Gate(judge, Kernel(network_namespace=appliance.namespace), Keeper(database, rules), system_clock)
        began = time.monotonic()
        gate.start()
        filled = time.monotonic() - began
        say(f"{bans} bans put into kernel and database in {filled:.2f} s")
        took = [one_round(gate, appliance, stranger, n) for n in range(rounds)]
    finally:
        database.close()
    good = sorted(ms for ms in took if ms is not None)
    say(f"banned after (ms): {[round(ms, 1) for ms in good]}")
    return {
        "bans_loaded": bans,
        "fill_s": round(filled, 2),
        "ban_p50_ms": round(good[len(good) // 2], 1) if good else None,
        "ban_p95_ms": round(good[int(len(good) * 0.95)], 1) if good else None,
        "not_banned": len(took) - len(good),
    }


def some_bans(count: int) -> Iterator[Ban]:
    """Bans of somebody else."""
    for n in range(count):
        network = ipaddress.ip_network(0x0C000000 + 300 * n)
        yield Ban(network, 0, 6 * 86_400_000, 0, Reason.GUESSING, "guesses")


def one_round(gate: Gate, appliance: Host, stranger: Host, number: int) -> float | None:
    """Ms from the tenth attempt to silence; None: it was heard for ever."""
    source = ipaddress.ip_address(stranger.address)
    gate.lift(ipaddress.ip_network(source))
    chance = random.Random(number)
    time.sleep(0.002)  # what came before is forgiven

    def attempt(account: int) -> Attempt:
        moment = system_clock()
        return Attempt(
            gate.now(moment), moment.wall, source, Service.SIP, Outcome.FAILED, str(account), "wrong password", True
        )

    if gate.take([attempt(n) for n in range(9)]):
        return None
    others = [replace(one, when=gate.now(), proven=False) for one in batch(chance, 0)]
    with arriving(appliance, stranger) as heard:
        while not heard:
            time.sleep(0.001)
        began = time.monotonic()
        gate.take([*others, attempt(9)])
        deadline = time.monotonic() + 5
        while heard and time.monotonic() - heard[-1] < SETTLED_S:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.005)
        return max(0.0, 1000 * (heard[-1] - began))


@contextlib.contextmanager
def arriving(appliance: Host, stranger: Host) -> Iterator[list[float]]:
    """When the packets were sent that arrive."""
    heard: list[float] = []
    over = threading.Event()
    with appliance.socket() as inbox, stranger.socket() as outbox:
        inbox.bind((appliance.address, PORT))
        inbox.settimeout(0.05)

        def send() -> None:
            while not over.is_set():
                outbox.sendto(repr(time.monotonic()).encode(), (appliance.address, PORT))
                time.sleep(0.0005)

        def receive() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    heard.append(float(inbox.recv(100)))

        threads = [threading.Thread(target=work) for work in (send, receive)]
        for thread in threads:
            thread.start()
        try:
            yield heard
        finally:
            over.set()
            for thread in threads:
                thread.join()


def interval_add(appliance: Host, bans: int) -> float:
    """Ms to add one address to an interval set of as many."""
    elements = ", ".join(f"{ban.network.network_address} timeout 6d" for ban in some_bans(bans))
    nft(
        appliance,
        f"add set inet {sets.TABLE} interval4 {{ type ipv4_addr; flags interval,timeout; }}\n"
        f"add element inet {sets.TABLE} interval4 {{ {elements} }}\n",
    )
    return timed_add(appliance, "interval4")


def timed_add(appliance: Host, name: str) -> float:
    """Median of five, in ms."""
    took = []
    for n in range(5):
        began = time.monotonic()
        nft(appliance, f"add element inet {sets.TABLE} {name} {{ 198.51.100.{2 * n} timeout 1h }}\n")
        took.append(1000 * (time.monotonic() - began))
    return round(sorted(took)[2], 1)


def nft(appliance: Host, script: str) -> None:
    subprocess.run(appliance.argv(["nft", "-f", "-"]), input=script, text=True, check=True, capture_output=True)
