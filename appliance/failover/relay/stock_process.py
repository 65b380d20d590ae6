"""The relay of an edge whose OpenVPN server isn't ours: between OpenVPN's client on the loopback and the lines.

What happens when…

* a line's device isn't there, or has carried its month's volume: see :mod:`.at_edge`;
* it is killed: the next one goes on with its sockets, by the line that was followed; what came meanwhile waited;
* the configuration is another: lines that are still there go on, others begin or end;
* what it goes by can't be read: what was good before goes on, and it is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from appliance.failover.relay.at_edge import AtEdge
from appliance.failover.relay.batch import host_and_port
from appliance.failover.relay.edge import Sent
from appliance.failover.relay.stock import Stock
from appliance.failover.relay.wire import Copying, Role


class StockProcess(AtEdge):
    """See this module."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._stock = Stock({}, Copying.CALLS)
        self._begun = False

    def configure(self, config: dict[str, Any], now: float) -> None:
        """``{"listen": [host, port], "copying": …, "lines": [{"path", "role", "device", "host", "port", "cap"}, …], "month": …}``"""
        lines = {int(line["path"]): line for line in config["lines"]}
        roles = {path: Role[line["role"].upper()] for path, line in lines.items()}
        self._stock.go_by(roles, Copying[config["copying"].upper()])
        self.open_client(config["listen"])
        if not self._begun:
            self._begun = True
            self._resume(now)
        self.lines_are(lines, config.get("month"), now)

    def _resume(self, now: float) -> None:
        former = self.former()
        try:
            self._stock.resume(former["session"], now)
            self._client = bytes.fromhex(former["client"])
        except (KeyError, TypeError, ValueError):
            pass  # there was none, or it is garbled: the next answer tells

    def by_client(self, datagram: bytes, tos: int, now: float) -> Iterable[Sent]:
        """See :meth:`.AtEdge.by_client`."""
        sent = self._stock.client(datagram, tos, now)
        if self._stock.anew:
            self._stock.anew = False
            self.other_ports(now)
        return sent

    def by_line(self, path: int, datagram: bytes, now: float) -> bytes | None:
        """See :meth:`.AtEdge.by_line`."""
        followed = self._stock.followed
        payload = self._stock.heard(path, datagram, now)
        if followed is None and self._stock.followed is not None:
            self.write_state()
        return payload

    def refuse(self) -> None:
        """Counted."""
        self._stock.refused += 1

    def capped(self, paths: frozenset[int], now: float) -> None:  # noqa: ARG002 (asked for by name)
        """See :meth:`.AtEdge.capped`."""
        self._stock.cap(paths)

    def tick(self, now: float) -> None:
        """What is due."""
        self.send(self._stock.tick(now))
        super().tick(now)

    def state(self) -> dict[str, Any]:
        """No key is here."""
        return {"client": self._client.hex(), "session": self._stock.state()}

    def standing(self, now: float) -> dict[str, Any]:
        """Of each path what is known: little."""
        return {
            "refused": self._stock.refused,
            "failed": self._sender.failed,
            "client": list(host_and_port(self._client)) if self._client else None,
            "paths": [
                {**each, "device": self._lines[each["path"]].get("device"), "host": self._lines[each["path"]]["host"]}
                for each in self._stock.told(now)
            ],
        }
