"""The voice VPN's process and TURN's: what they do when they fail by a mistake of ours."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest

from appliance.paths import Paths
from appliance.turn.service import Service as TurnService
from appliance.vpn.service import Service as VpnService


class Keeper:
    """One whose second round fails as it never should."""

    network_namespace = None
    interfaces: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.sites: dict[str, str] = {}
        self.living: dict[str, Any] = {}
        self.changed: set[tuple[str, str]] = set()
        self.rounds, self.stopped = 0, False

    def tend(self) -> None:
        self.rounds += 1
        if self.rounds == 2:
            raise AssertionError("a mistake of ours")

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize("service", [VpnService, TurnService])
def test_a_mistake_of_ours_ends_the_process_and_no_daemon(service: Any) -> None:
    """The next one, started by the supervisor, takes the daemons over."""
    keeper = Keeper()
    with tempfile.TemporaryDirectory() as folder, pytest.raises(AssertionError, match="a mistake of ours"):
        asyncio.run(service(keeper, Paths(Path(folder), Path(folder))).run())
    assert (keeper.rounds, keeper.stopped) == (2, False)
