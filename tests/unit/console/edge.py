"""The real hub and the voice VPN's real orders beside a portal, in a thread; only what OpenVPN's daemons would tell is given."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from appliance.core.errors import UnavailableError
from appliance.engine.ami_stream import Place
from appliance.failover.drill import Drill
from appliance.hub import service
from appliance.hub.app import create_app
from appliance.hub.client import HubClient
from appliance.hub.directory import directory
from appliance.hub.sign_in import visible
from appliance.paths import Paths
from appliance.store import Store
from appliance.vpn.enrolment.ordered import Invitations
from appliance.vpn.enrolment.service import Enrolment
from appliance.vpn.inside.events import Events
from appliance.vpn.orders import answer_order
from appliance.vpn.pki import Authority
from tests.hil.agents.process import eventually

TURIN: dict[str, Any] = {
    "site": "torino", "interface": "voice-0", "connected": True, "since": 1_795_406_000, "address": "198.51.100.7", "inside": ["172.29.0.3"],
    "received": 123_456_789, "sent": 98_765_432, "received_rate": 84_000.0, "sent_rate": 1_240_000.0, "rtt_ms": 13.0,
    "rtt_median_ms": 11.75, "loss": 0.034, "version": "2.6.14", "certificate": "torino.0784d168",
    "certificate_ends": "2026-12-05T00:00:00+00:00",
    "lines": [
        {"number": 1, "id": "torino-fibre", "name": "Fibra voce", "role": "primary", "up": False, "address": None, "rtt_ms": None,
         "loss_up": None, "loss_down": None, "capped": False},
        {"number": 2, "id": "torino-adsl", "name": "ADSL", "role": "backup", "up": True, "address": "198.51.100.7 41000", "rtt_ms": 21.4,
         "loss_up": 0.0312, "loss_down": 0.0, "capped": False},
        {"number": 3, "id": "torino-lte", "name": "LTE", "role": "metered", "up": True, "address": "203.0.113.9 5000", "rtt_ms": 48.0,
         "loss_up": 0.0, "loss_down": None, "capped": True},
    ],
}  # fmt: skip
ROME: dict[str, Any] = {"site": "roma", "interface": "voice-0", "connected": False}
FAULT = "openvpn is not installed (apt install openvpn)"


def told(*rows: dict[str, Any], faults: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the voice VPN's process says."""
    daemon = {"interface": "voice-0", "standing": "up", "alarm": ""}
    return {"at": 0.0, "faults": list(faults), "alarms": [], "daemons": [daemon], "branches": list(rows)}


@contextmanager
def edge(
    paths: Paths, store: Store, says: dict[str, Any], authority: Authority | None = None
) -> Iterator[dict[str, Any]]:
    """``says`` may be changed while it runs; the hub asks every tenth of a second."""
    for place in (paths.web, paths.run):
        place.mkdir(exist_ok=True)
    stop, loops = asyncio.Event(), list[asyncio.AbstractEventLoop]()
    document = store.document()
    hub = service.Hub(
        Place(lambda: "", port=1), visible, lambda known: None if known else directory(document, 1), ask_tunnels=lambda: dict(says)
    )  # fmt: skip
    config = Config()
    config.bind = [f"unix:{paths.hub_socket}"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.2

    async def work() -> None:
        loops.append(asyncio.get_running_loop())
        async with contextlib.AsyncExitStack() as stack:
            if authority is not None:
                revoke = authority.revoke_site
                enrolment = Enrolment(paths.vpn, authority)
                invitations = Invitations(lambda: contextlib.nullcontext((enrolment, store.document())))
                orders = await asyncio.start_unix_server(
                    lambda *both: answer_order(
                        revoke, *both, invitations, Drill(paths.vpn.drill), Events(paths.vpn.events)
                    ),
                    paths.vpn_orders_socket,
                )
                await stack.enter_async_context(orders)
            await serve(create_app(hub, None), config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]

    before = service.ASK_TUNNELS_S, service.FOLLOW_S
    service.ASK_TUNNELS_S = service.FOLLOW_S = 0.1  # type: ignore[misc]
    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    asked = HubClient(paths.hub_socket)

    def listens() -> bool:
        """Its socket is there a moment before it listens."""
        with contextlib.suppress(UnavailableError):
            return bool(asked.state("branch").objects)
        return False

    try:
        eventually(listens, "branches are told")
        eventually(lambda: len(asked.state("alarm").objects) == len(says["faults"]), "faults are told")
        yield says
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)
        service.ASK_TUNNELS_S, service.FOLLOW_S = before  # type: ignore[misc]
