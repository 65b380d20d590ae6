"""``python -m appliance.vpn``: keeps the voice VPN's daemons, until SIGTERM or SIGINT; they end with it.

Killed otherwise, it leaves them running for the next one. Environment: see :mod:`appliance.paths`, :mod:`appliance.engine.place`.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Final

from appliance.engine.processes import Interrupted, interruptible
from appliance.paths import Paths
from appliance.vpn.keeper import vpn_keeper

ROUND_S: Final = 0.5


def main() -> int:
    """Exit code 0."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    keeper = vpn_keeper(Paths.default())
    with interruptible():
        try:
            while True:
                keeper.tend()
                time.sleep(ROUND_S)
        except Interrupted:
            keeper.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
