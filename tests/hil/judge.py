"""The judge of bans beside a system under test, the tools that it is there for, and what it says of who uses them."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from appliance.core.errors import CentralinoError
from appliance.firewall.bans import asking
from tests.hil.agents.network import Host
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.tap import Tap
from tests.hil.system import System

SOON_S = 3.0
"""Between the first packet and the ban, at most."""


class JudgeAtWork:
    """The judge's process: start it, ask it, stop it. ``work``: where the tools keep what they find."""

    def __init__(self, system: System, work: Path) -> None:
        self.system, self.work = system, work

    def start(self) -> None:
        """Returns when it judges."""
        self.child = self.system._start_python("appliance.firewall.bans")
        eventually(self._judges, "the judge judges")

    def stop(self) -> None:
        """Bans stay."""
        self.child.stop()

    def _judges(self) -> bool:
        assert self.child.running, self.child.text()
        with contextlib.suppress(CentralinoError):
            self.lift("198.51.100.250")
            return not self.told().troubles
        return False

    def told(self, search: str = "") -> asking.Told:
        """All that it tells."""
        return asking.told(self.system.paths, search)

    def lift(self, network: str) -> None:
        """Lift bans by hand."""
        asking.lift(self.system.paths, network)

    def ban(self, address: str, deadline_s: float = 8) -> asking.Standing:
        """The ban of an address, which must come."""
        found = eventually(lambda: self.told(f"{address}/32").bans, f"{address} is banned", deadline_s)
        assert len(found) == 1
        return found[0]

    def soon(self, address: str, wire: Tap) -> asking.Standing:
        """The same, in time: by the first packet of that address that was seen on a wire."""
        ban = self.ban(address)
        assert ban.since / 1000 - wire.first(address) < SOON_S
        return ban

    def counted(self, name: str) -> int:
        """Packets of a counter of bans."""
        return next((each.packets for each in self.told().counters if each.name == name), 0)

    def tool(self, host: Host, *argv: str) -> Child:
        """One of SIPVicious's tools, which keeps its sessions in its home."""
        home = self.work / f"{host.name}-{argv[0]}-{secrets.token_hex(3)}"
        home.mkdir()
        return host.start(list(argv), home / "out.log", env={**os.environ, "HOME": str(home)}, cwd=home)
