"""What other processes of ours report: datagrams at ``run/attempts.sock``, written by
:class:`~appliance.firewall.bans.reporting.Reporter`. Proven, all of it: they speak with whoever it is by TCP.

Who may write there may have anybody banned: root and the group of the web processes. Nothing else may; what can't be read is
left out.

What happens when more is reported than we read: whoever reports doesn't wait, and what doesn't fit is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import socket
from typing import Final

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.unix import bind
from appliance.firewall.bans.model import Attempt, Outcome, Service
from appliance.firewall.bans.reporting import LONGEST
from appliance.firewall.bans.service import SOCKET_MODE, Desk
from appliance.paths import Paths

AT_ONCE: Final = 200
AGAIN_S: Final = 5.0
_SERVICES: Final = {each.value: each for each in (Service.PORTAL, Service.API, Service.PROVISIONING, Service.VPN)}
_OUTCOMES: Final = {"failed": Outcome.FAILED, "succeeded": Outcome.SUCCEEDED}


class Reports:
    """A feed; see :class:`~appliance.firewall.bans.service.Feed`. ``group``: numeric group whose members may report, None: ours."""

    name = "reports"

    def __init__(self, desk: Desk, paths: Paths, group: int | None = None) -> None:
        self._desk, self._path, self._group = desk, paths.attempts_socket, group
        self.trouble: CentralinoError | None = None

    async def run(self) -> None:
        """Take reports until it is cancelled."""
        while True:
            try:
                await self._listen()
            except OSError as error:
                self.trouble = UnavailableError(
                    f"failed sign-ins aren't seen: {error.strerror or error}",
                    f"see {self._path}",
                    error_id="no_reports",
                )
            await asyncio.sleep(AGAIN_S)

    async def _listen(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as inbox:
            await asyncio.to_thread(self._bound, inbox)
            loop = asyncio.get_running_loop()
            try:
                loop.add_reader(inbox.fileno(), self._read, inbox)
                self.trouble = None
                await loop.create_future()
            finally:
                loop.remove_reader(inbox.fileno())
                self._path.unlink(missing_ok=True)

    def _bound(self, inbox: socket.socket) -> None:
        """There is one judge (its other socket sees to that): a name that is left is of one that was killed."""
        self._path.unlink(missing_ok=True)
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            bind(inbox, self._path)
        finally:
            os.umask(before)
        if self._group is not None:
            os.chown(self._path, -1, self._group)

    def _read(self, inbox: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                found = attempt(inbox.recv(LONGEST + 1), *self._desk.times())
                if found is not None:
                    self._desk.take(found)


def attempt(said: bytes, when: int, wall: int) -> Attempt | None:
    """What a report tells; None: nothing that can be read."""
    try:
        where, address, outcome, account, detail = json.loads(said)
        source = ipaddress.ip_address(address.partition("%")[0])
        return Attempt(
            when, wall, source, _SERVICES[where], _OUTCOMES[outcome], str(account), str(detail), proven=True
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
