"""An edge's agent whose clock is libfaketime's: what it sets is the file that says how far off its clock is."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

from appliance.edge.agent import Agent
from appliance.edge.clock import EdgeClock
from appliance.edge.paths import EdgePaths


def main(trial_s: float) -> None:
    file = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])

    def step(wall: int) -> None:
        off = float(file.read_text()) + wall / 1000 - time.time()
        file.write_text(f"{off:+.3f}")

    logging.basicConfig(level=logging.INFO)
    paths = EdgePaths.default()
    asyncio.run(Agent(paths, EdgeClock(paths.clock, step), trial_s=trial_s).run())


if __name__ == "__main__":
    main(float(sys.argv[1]))
