"""Conversations of the client of OpenVPN's management interface with a daemon that plays its part."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from appliance.engine import openvpn_management, openvpn_session
from appliance.engine.openvpn_management import Management, Subscription
from tests.hil.agents.openvpn_replay import OpenVpnReplay, status
from tests.unit.hub.loops import run, until

status(2)  # is read from disk here, not in the loop
Work = Callable[[OpenVpnReplay, Management], Awaitable[None]]


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Times that a test can wait for."""
    with (
        patch.object(openvpn_session, "COMMAND_TIMEOUT_S", 0.15),
        patch.object(openvpn_management, "GREETING_S", 0.05),
        patch.object(openvpn_management, "TURN_S", 0.2),
        patch.object(openvpn_management, "BACKOFF_S", (0.01, 0.02)),
        patch.object(openvpn_management, "REFRESH_PAUSE_S", 0.01),
    ):
        yield


@contextlib.asynccontextmanager
async def managing(path: Path, refresh_s: float = 60) -> AsyncIterator[Management]:
    management = Management(path, refresh_s=refresh_s)
    running = asyncio.create_task(management.run())
    try:
        yield management
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def conversing(work: Work, *, refresh_s: float = 60) -> None:
    """Run ``work`` with a daemon and a client that is connected to it."""

    async def within(path: Path) -> None:
        async with OpenVpnReplay(path) as daemon, managing(path, refresh_s) as management:
            await management.up(5)
            await until(lambda: management.snapshot, "the status is read")
            await work(daemon, management)

    with TemporaryDirectory() as folder:
        run(within(Path(folder, "socket")))


def standing_of(kind: str, management: Management) -> Callable[[], bool]:
    return lambda: bool(management.standing.error and management.standing.error.error_id == f"vpn_management_{kind}")


async def taken(subscription: Subscription, count: int) -> list[object]:
    return [await asyncio.wait_for(subscription.get(), 5) for _ in range(count)]
