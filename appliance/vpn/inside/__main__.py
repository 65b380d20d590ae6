"""``python -m appliance.vpn.inside``: the centre's service within the tunnels, until SIGTERM or SIGINT.

Environment: see :mod:`appliance.paths`, :mod:`appliance.engine.place`.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from appliance.engine.place import engine_namespace
from appliance.paths import Paths
from appliance.vpn.inside.banned import SharedBans
from appliance.vpn.inside.run import Run


def main() -> int:
    """Exit code 0."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    paths = Paths.default()
    asyncio.run(Run(paths, engine_namespace(), SharedBans(paths)).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
