"""``python -m appliance.firewall.bans``: the judge of bans, until SIGTERM or SIGINT. Needs CAP_NET_ADMIN.

Killed, it leaves all bans standing for their time. Environment: see :mod:`appliance.paths`, :mod:`appliance.engine.place`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from appliance.applier.server import group_id
from appliance.core.errors import CentralinoError
from appliance.firewall.bans.feeds.dropped import Dropped
from appliance.firewall.bans.feeds.engine import engine_events
from appliance.firewall.bans.feeds.reports import Reports
from appliance.firewall.bans.service import Service
from appliance.paths import Paths

_log = logging.getLogger("centralino.bans")


def judging(paths: Paths, group: int | None) -> Service:
    """The judge of an installation, with every feed."""
    feeds = (lambda desk: engine_events(paths, desk), lambda desk: Reports(desk, paths, group), Dropped)
    return Service(paths, group, feeds)


def main() -> int:
    """Exit code 0, or 1 with one line why not."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("centralino.runner").setLevel(
        logging.WARNING
    )  # the kernel's sets are looked at every three seconds
    paths = Paths.default()
    try:
        asyncio.run(judging(paths, group_id() if os.geteuid() == 0 else None).run())
    except CentralinoError as error:
        _log.error("%s (%s)", error, error.hint)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
