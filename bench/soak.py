"""Hours of two voices over two lines of which one is always being harmed, by chance: what is lost. ``python -m bench.soak --hours 2``, alone on its machine.

Not among ``make bench``, which is to end the same day. The same ground as :mod:`bench.failover`; OpenVPN's keys are exchanged every six minutes. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from typing import Any, Final

from bench.failover import of
from tests.hil.agents.relay import LINES, Protected

REKEY_S: Final = 360
HARMS: Final = ("dead", "oneway", "loss3", "jitter60", "small-packets", "relay")
LASTS_S: Final = (2.0, 20.0)
CALM_S: Final = (1.0, 20.0)


def harm(world: Protected, chance: random.Random) -> str:
    """One line, or a relay, is harmed for a while; what was done."""
    what, line, seconds = chance.choice(HARMS), chance.choice(list(LINES)), chance.uniform(*LASTS_S)
    with contextlib.ExitStack() as harmed:
        match what:
            case "dead":
                harmed.enter_context(world.dead(line))
            case "oneway":
                harmed.enter_context(world.dropping(line, chance.choice(("centre", "edge"))))
            case "loss3" | "small-packets":
                rule = "numgen random mod 100 < 3" if what == "loss3" else "meta length > 1400"
                for end in ("centre", "edge"):
                    harmed.enter_context(world.dropping(line, end, rule))
            case "jitter60":
                world.worsen(line, jitter_ms=60)
                harmed.callback(world.worsen, line)
            case _:
                line, seconds = chance.choice(("centre", "edge")), 1.0
                world.kill_relay(line)
        time.sleep(seconds)
    return f"{what} {line} {seconds:.0f} s"


def run(hours: float, seed: int) -> dict[str, Any]:
    """Soak; figures."""
    chance, harms = random.Random(seed), 0
    with Protected(reneg_s=REKEY_S, slow=True) as world:
        world.worsen("backup", delay_ms=10)
        until = time.monotonic() + 3600 * hours
        with world.stream() as stream:
            while time.monotonic() < until:
                time.sleep(chance.uniform(*CALM_S))
                done = harm(world, chance)
                harms += 1
                left = (until - time.monotonic()) / 60
                print(
                    f"{done}; {harms} harms, {world.rekeys()} exchanges of keys, {left:.0f} min left",
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(2)
        heard = of(stream, world.rekeys())
    return {"hours": hours, "seed": seed, "harms": harms, **heard.as_figures()}


def main() -> int:
    """See this module."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=7, help="of what is harmed when")
    options = parser.parse_args()
    figures = run(options.hours, options.seed)
    print(json.dumps({"name": "soak", "figures": figures}), flush=True)
    return 0 if not figures["lost_up"] + figures["lost_down"] else 1


if __name__ == "__main__":
    sys.exit(main())
