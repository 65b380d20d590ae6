"""``python -m appliance.console.technician ADDRESS… --port N [--watch]``: what ``centralino edge console`` becomes, without what a command needs besides."""

from __future__ import annotations

import argparse
import logging
import sys

from appliance.console.technician.paths import ConsolePaths
from appliance.console.technician.serving import serve
from appliance.core.errors import CentralinoError
from appliance.edge.paths import EdgePaths


def main() -> int:
    """Exit code 1: it can't serve; the log says why."""
    parser = argparse.ArgumentParser(prog="centralino edge console")
    parser.add_argument("places", nargs="+")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--watch", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        serve(ConsolePaths.default(), EdgePaths.default(), options.places, options.port, watch=options.watch)
    except CentralinoError as error:
        logging.getLogger("centralino.edge.console").error("%s (%s)", error.message, error.hint)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
