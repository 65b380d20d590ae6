"""``python -m appliance.vpn``: keeps the voice VPN's daemons, until SIGTERM or SIGINT; they end with it.

Killed otherwise, it leaves them running for the next one. Environment: see :mod:`appliance.paths`, :mod:`appliance.engine.place`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from functools import partial

from appliance.applier.server import group_id
from appliance.core.errors import CentralinoError
from appliance.paths import Paths
from appliance.vpn.enrolment.gate import vpn_gate
from appliance.vpn.enrolment.ordered import Invitations, opened
from appliance.vpn.keeper import vpn_keeper
from appliance.vpn.service import Service

_log = logging.getLogger("centralino.vpn")


def main() -> int:
    """Exit code 0, or 1 with one line why not."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    paths = Paths.default()
    try:
        group = group_id() if os.geteuid() == 0 else None
        keeper = vpn_keeper(paths)
        invitations = Invitations(partial(opened, paths))
        asyncio.run(Service(keeper, paths, group, vpn_gate(paths, keeper), invitations).run())
    except CentralinoError as error:
        _log.error("%s (%s)", error, error.hint)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
