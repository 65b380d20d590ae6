"""``python -m appliance.edge [--trial S] [--keep-clock]``: what ``centralino edge run`` becomes, without what a command needs besides."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from appliance.core.errors import CentralinoError
from appliance.edge.agent import Agent
from appliance.edge.clock import EdgeClock, keep_system_clock, set_system_clock
from appliance.edge.paths import EdgePaths


def main() -> int:
    """Exit code 1: it can't run; the log says why."""
    parser = argparse.ArgumentParser(prog="centralino edge run")
    parser.add_argument("--trial", type=float)
    parser.add_argument("--keep-clock", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    paths = EdgePaths.default()
    clock = EdgeClock(paths.clock, keep_system_clock if options.keep_clock else set_system_clock)
    try:
        asyncio.run(Agent(paths, clock, trial_s=options.trial).run())
    except CentralinoError as error:
        logging.getLogger("centralino.edge").error("%s (%s)", error.message, error.hint)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
