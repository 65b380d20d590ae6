"""``make lab``: builds the lab, has people talk in it, and shows it until it is interrupted."""

from __future__ import annotations

import argparse
import itertools
import signal
import socket
import sys
import threading
import time

from appliance.commands.lab import place
from lab.calls import Talk
from lab.control import Control
from lab.page import HERE, PORT, Served
from lab.plan import BRANCHES, HEAD_OFFICE_FIRST, OUTSIDE, PHONES
from lab.topology import Lab
from lab.watch import Watch


def pairs(calls: int) -> list[tuple[str, str]]:
    """Who calls whom: branches the head office, the telephone company, and each other, by turns."""
    torino, roma = BRANCHES
    found = []
    for turn in range(calls):
        at = turn // 3
        found.append((
            (str(torino.first + at), str(HEAD_OFFICE_FIRST + at)),
            (str(roma.first + at), OUTSIDE if not at else str(HEAD_OFFICE_FIRST + PHONES - at)),
            (str(roma.first + PHONES - 1 - at), str(torino.first + PHONES - 1 - at)),
        )[turn % 3])  # fmt: skip
    return found


def main() -> int:
    """See this module."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    parser.add_argument("--calls", type=int, default=3, choices=range(13), metavar="0-12", help="conversations at once")
    parser.add_argument("--port", type=int, default=PORT, help="of the page")
    options = parser.parse_args()
    with socket.socket() as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            end.bind((HERE, options.port))
        except OSError:
            print(
                f"Port {options.port} of this machine is taken. Give the page another: make lab PORT=8100",
                file=sys.stderr,
            )
            return 1
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    steps, began = itertools.count(1), time.monotonic()

    def say(text: str) -> None:
        print(f"  {next(steps)}. {text} ({time.monotonic() - began:.0f} s)", flush=True)

    with (
        Lab(say, taps=False) as lab,
        Talk(lab, pairs(options.calls)) as talk,
        Watch(lab, talk) as watch,
        Control(lab, watch, place()),
        Served(watch, options.port) as served,
    ):
        print(f"\nThe lab runs: {served.url}\n", flush=True)
        print("  centralino lab impair torino-fibre blackhole   harm a line", flush=True)
        print("  centralino lab impair torino-fibre well        and mend it", flush=True)
        print("  centralino lab status                          how everything stands", flush=True)
        print("\nCtrl-C ends it.", flush=True)
        ended.wait()
        print("\nEnding…", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
