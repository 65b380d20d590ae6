"""``python -m appliance.turn``: keeps the TURN server, until SIGTERM or SIGINT; it ends with it.

Killed otherwise, it leaves coturn running for the next one. Environment: see :mod:`appliance.paths`, :mod:`appliance.engine.place`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from appliance.applier.server import group_id
from appliance.core.errors import CentralinoError
from appliance.paths import Paths
from appliance.turn.keeper import turn_keeper
from appliance.turn.service import Service

_log = logging.getLogger("centralino.turn")


def main() -> int:
    """Exit code 0, or 1 with one line why not."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    paths = Paths.default()
    try:
        asyncio.run(Service(turn_keeper(paths), paths, group_id() if os.geteuid() == 0 else None).run())
    except CentralinoError as error:
        _log.error("%s (%s)", error, error.hint)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
