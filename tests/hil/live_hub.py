"""The product's own hub beside a running product."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.core.errors import UnavailableError
from appliance.hub.client import HubClient
from appliance.run import web
from tests.hil.agents.process import Child, eventually
from tests.hil.system import System


def start_hub(system: System) -> Child:
    """Where the engine is; it listens at the installation's socket soon."""
    web.make_places(system.paths)
    log, root = system.paths.state / "hub.log", Path(__file__).parents[2]
    return system.host.start([sys.executable, "-m", "appliance.hub"], log, env=system.environment, cwd=root)


@contextlib.contextmanager
def live_hub(system: System, started: list[Child] | None = None) -> Iterator[HubClient]:
    """The same, until it knows what the engine does; ``started`` gets its process."""
    with start_hub(system) as child:
        if started is not None:
            started.append(child)
        asked = HubClient(system.paths.hub_socket)

        def live() -> bool:
            assert child.running, child.text()
            with contextlib.suppress(UnavailableError):
                return bool(asked.health()["state"] == "live")
            return False

        eventually(live, "the hub is live", 20)
        yield asked
