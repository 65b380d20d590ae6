"""The relay of an edge: between OpenVPN's client on the loopback and the lines.

What happens when…

* a line's device isn't there, or has carried its month's volume: see :mod:`.at_edge`; such a line is used only where no other works;
* it is killed: the next one goes on with its sockets, keys and numbers; what came meanwhile waited;
* OpenVPN's server is another: whoever holds our sockets tells OpenVPN's client to begin anew, at once;
* OpenVPN's server says nothing for ten seconds: so, too. OpenVPN could do that by itself (``ping-restart``), but by a clock that jumps: set ahead, it would
  leave a tunnel that is well;
* OpenVPN's client opened another session, and goes on sending in the former: so, too, after two seconds (:class:`.openvpn.Apart`);
* the configuration is another: paths that are still there go on, others begin or end; with another key all begin anew;
* a path is to lead to another address: it works when the centre has shown itself there; what was heard at the former one proves nothing;
* what it goes by can't be read: what was good before goes on, and it is told.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from appliance.failover.relay.at_edge import AtEdge
from appliance.failover.relay.batch import host_and_port
from appliance.failover.relay.edge import Edge, Sent
from appliance.failover.relay.keys import SiteKeys
from appliance.failover.relay.openvpn import Apart
from appliance.failover.relay.wire import Copying, Role

ANEW_S: Final = 10.0
"""Its pings come every three seconds (:data:`appliance.vpn.plan.PING_S`)."""


class EdgeProcess(AtEdge):
    """See this module."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._epochs = directory / "epoch"
        """The number of the last session: larger than any before, so it outlives the machine."""
        self._edge: Edge | None = None
        self._generation = 0
        """Of the server that OpenVPN's client has begun with."""
        self._server_at = float("-inf")
        """When anything of the server's came, or the client was told to begin anew."""
        self._apart = Apart()
        self._key = b""
        self._former_far: dict[int, list[Any]] = {}
        """Where the paths of the process before led to."""

    def configure(self, config: dict[str, Any], now: float) -> None:
        """``{"key": hex, "listen": [host, port], "copying": …, "lines": [{"path", "role", "device", "host", "port", "line", "cap"}, …], "month": …, "cut": …, "chosen": …}``"""
        key = bytes.fromhex(config["key"])
        lines = {int(line["path"]): line for line in config["lines"]}
        roles = {path: Role[line["role"].upper()] for path, line in lines.items()}
        copying = Copying[config["copying"].upper()]
        self.open_client(config["listen"])
        if self._edge is None or key != self._key:
            self._edge = self._begun(key, roles, copying, now)
        else:
            self._edge.go_by(roles, copying)
        for path in self._moved(lines):
            self._edge.move(path)
        self._generation = self._generation or self._edge.generation or 0
        self._key = key
        self.lines_are(lines, config.get("month"), now)
        self.cut_is(config.get("cut"), now)
        self.chosen_is(config.get("chosen"), now)

    def _moved(self, lines: dict[int, dict[str, Any]]) -> Iterable[int]:
        """Paths that lead to another address than before: whether anybody is there is not known."""
        before = {path: _far(line) for path, line in self._lines.items()} or self._former_far
        return [path for path, far in before.items() if path in lines and _far(lines[path]) != far]

    def _begun(self, key: bytes, roles: dict[int, Role], copying: Copying, now: float) -> Edge:
        """Go on with the session that an earlier process had, or begin one."""
        former = self.former()
        if former.get("key_name") == _key_name(key):
            try:
                edge = Edge(key, former["epoch"], roles, copying)
                edge.resume(former["session"], now, self.spare)
                self._client = bytes.fromhex(former["client"])
                self._former_far = {int(path): far for path, far in former["far"].items()}
            except (KeyError, TypeError, ValueError, AttributeError):
                pass  # of another release, or garbled: another session costs a second
            else:
                return edge
        return Edge(key, self._next_epoch(), roles, copying)

    def _next_epoch(self) -> int:
        """Larger than any before, also if the clock has been set back or the file is lost."""
        try:
            last = int(self._epochs.read_text())
        except (OSError, ValueError):
            last = 0
        epoch = max(last + 1, int(time.time()))
        try:
            fresh = self._epochs.with_name(f".{self._epochs.name}.new")
            fresh.write_text(f"{epoch}\n")
            fresh.replace(self._epochs)
        except OSError as error:
            self.troubles["epoch"] = f"{self._epochs}: {error.strerror}"
        return epoch

    # Datagrams

    def by_client(self, datagram: bytes, tos: int, now: float) -> Iterable[Sent]:
        """See :meth:`.AtEdge.by_client`."""
        self._apart.sent(datagram)
        return self._edge.client(datagram, tos, now) if self._edge is not None else ()

    def by_line(self, path: int, datagram: bytes, now: float) -> bytes | None:
        """See :meth:`.AtEdge.by_line`."""
        if self._edge is None:
            return None
        payload, sent = self._edge.heard(path, datagram, now)
        self.send(sent)
        if payload is not None:
            self._server_at = now
            if self._apart.heard(payload, now):
                self._kept.client_anew()
        return payload

    def works(self, path: int, now: float) -> bool:
        """See :meth:`.AtEdge.works`."""
        return self._edge is not None and self._edge.works(path, now)

    def refuse(self) -> None:
        """Counted."""
        if self._edge is not None:
            self._edge.refused += 1

    def capped(self, paths: frozenset[int], now: float) -> None:
        """The centre is told too."""
        if self._edge is not None:
            self.send(self._edge.cap(paths, now))

    def tick(self, now: float) -> None:
        """What is due."""
        if self._edge is not None:
            self.send(self._edge.tick(now))
            self._follow_server(self._edge.generation or 0)
            self._miss_server(now)
            if self._edge.changed:
                self._edge.changed = False
                self.write_state()
                self.tell()
        super().tick(now)

    def _miss_server(self, now: float) -> None:
        """Nothing of it: the client begins anew, again and again, as it would by itself."""
        if not self._client or self._server_at == float("-inf"):
            self._server_at = now
        elif now - self._server_at >= ANEW_S:
            self._server_at = now
            self._kept.client_anew()

    def _follow_server(self, generation: int) -> None:
        """Another server than the one that OpenVPN's client knows: it would find out by a time-out."""
        if generation in (0, self._generation):
            return
        if self._generation:
            self._kept.client_anew()
        self._generation = generation
        self.write_state()

    # What is told

    def state(self) -> dict[str, Any]:
        """The session, without the key."""
        if self._edge is None:
            return {}
        return {
            "key_name": _key_name(self._key), "epoch": self._edge.epoch, "client": self._client.hex(),
            "session": self._edge.state(), "far": {path: _far(line) for path, line in self._lines.items()},
        }  # fmt: skip

    def standing(self, now: float) -> dict[str, Any]:
        """Of each path, both directions."""
        edge = self._edge
        if edge is None:
            return {}
        best = edge.best
        return {
            "generation": edge.generation,
            "best": None if best.way is None else best.way.path,
            "decisions": [each.told(now) for each in best.decisions],
            "refused": edge.refused,
            "failed": self._sender.failed,
            "client": list(host_and_port(self._client)) if self._client else None,
            "paths": [
                {"path": path, "bound": path in edge.bound, "cut": path in self._cut, "device": self._lines[path].get("device"),
                 "host": self._lines[path]["host"], **way.told(now)}
                for path, way in edge.ways.items()
            ],
        }  # fmt: skip


def _far(line: dict[str, Any]) -> list[Any]:
    return [line["host"], line["port"]]


def _key_name(key: bytes) -> str:
    return SiteKeys.of(key).name.hex()
