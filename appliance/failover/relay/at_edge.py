"""What relays at a branch have in common: OpenVPN's client on the loopback, and a socket on each line.

What happens when…

* a line's device isn't there (modem unplugged): it is looked for once a second;
* a line has carried its month's volume: whoever chooses lines is told (:mod:`.carried`);
* a line was chosen by hand: the others count as lines that have carried their volume: they are used where it doesn't work;
* a line is cut on purpose, so that somebody sees what happens: nothing goes out or comes in by it, as if it were unplugged, for a minute at most. No line is cut, or stays so, while none
  of the others works.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from appliance.failover.relay.batch import Came, Goes, sockaddr
from appliance.failover.relay.carried import Carried
from appliance.failover.relay.edge import Sent
from appliance.failover.relay.process import Process
from appliance.failover.relay.sockets import outside, within

CLIENT: Final = "client"
DEVICE_S: Final = 1.0
CUT_MAX_S: Final = 60.0
"""For so long a line may be cut."""


class AtEdge(Process):
    """See this module. Lines are told apart by the numbers of their paths."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._lines: dict[int, dict[str, Any]] = {}
        self._line_of: dict[int, int] = {}
        self._far: dict[int, bytes] = {}
        self._client = b""
        self._device_at = self._cut_until = float("-inf")
        self._cut: frozenset[int] = frozenset()
        self._chosen: int | None = None
        self._carried = Carried(directory / "carried.json")

    @abstractmethod
    def capped(self, paths: frozenset[int], now: float) -> None:
        """Lines of these paths have carried what they may, in this month; no others have."""

    @abstractmethod
    def by_line(self, path: int, datagram: bytes, now: float) -> bytes | None:
        """A datagram of the far end's, by a path: what OpenVPN's client is to get of it."""

    @abstractmethod
    def by_client(self, datagram: bytes, tos: int, now: float) -> Iterable[Sent]:
        """A datagram of OpenVPN's client: what goes out."""

    @abstractmethod
    def refuse(self) -> None:
        """A datagram came by a line from somebody else than its far end."""

    def works(self, path: int, now: float) -> bool:  # noqa: ARG002 (asked for by name)
        """Whether the far end is heard by that path. Who can't tell lets no line be cut."""
        return False

    def open_client(self, listen: Iterable[Any]) -> None:
        """Where OpenVPN's client finds us. :raises OSError: it can't be had."""
        if CLIENT not in self._sockets:
            self.add(CLIENT, self.taken(CLIENT) or within(*listen))

    def lines_are(self, lines: dict[int, dict[str, Any]], month: str | None, now: float) -> None:
        """From now on. :param lines: by path ``role``, ``device``, ``host``, ``port``, perhaps ``line`` and ``cap``."""
        far = {path: sockaddr(line["host"], int(line["port"])) for path, line in lines.items()}
        for path in self._lines:
            if _told_apart(self._lines[path]) != _told_apart(lines.get(path, {})):
                self.drop(_name(path))
        self._lines, self._far = lines, far
        self._line_of = {path: int(line.get("line", path)) for path, line in lines.items()}
        self._carried.month(month)
        self._cap(now)
        self._open_lines(now)

    def chosen_is(self, line: int | None, now: float) -> None:
        """From now on that line alone is used, as long as it works; None: as they are judged."""
        if line != self._chosen:
            self._chosen = line
            self._cap(now)

    def cut_is(self, cut: dict[str, Any] | None, now: float) -> None:
        """From now on. ``{"line": number, "until": seconds of the clock that doesn't go back}``; None: no line is cut.

        A time that is too far ahead is of a machine that was started anew since.
        """
        until = float(cut["until"]) if cut is not None else float("-inf")
        paths = {path for path, line in self._line_of.items() if cut is not None and line == int(cut["line"])}
        self._cut_until = until if until - now <= CUT_MAX_S else float("-inf")
        self._cut = frozenset(paths)
        self._end_cut(now)

    def _end_cut(self, now: float) -> None:
        """Its time is over, or it would be heard."""
        others = self._lines.keys() - self._cut
        if now >= self._cut_until or not any(self.works(path, now) for path in others):
            self._cut = frozenset()

    def other_ports(self, now: float) -> None:
        """Go on from other ports on all lines."""
        for path in self._lines:
            self.drop(_name(path))
        self._open_lines(now)

    def _open_lines(self, now: float) -> None:
        self._device_at = now
        for path, line in self._lines.items():
            name = _name(path)
            if name in self._sockets:
                continue
            anywhere = "::" if ":" in line["host"] else "0.0.0.0"  # noqa: S104 (its one device is what it is bound to)
            try:
                made = self.taken(name) or outside(anywhere, 0, line.get("device") or "")
            except OSError as error:
                self.troubles[name] = f"{line.get('device')}: {error.strerror}"
            else:
                self.troubles.pop(name, None)
                self.add(name, made)

    def _cap(self, now: float) -> None:
        """Which lines have carried what they may, or are not the one that was chosen."""
        full = {
            path
            for path, line in self._lines.items()
            if "cap" in line and self._carried.of(self._line_of[path]) >= int(line["cap"])
        }
        if self._chosen in self._line_of.values():
            full |= {path for path, line in self._line_of.items() if line != self._chosen}
        self.capped(frozenset(full), now)

    def came(self, name: str, datagrams: list[Came], now: float) -> None:
        """From the client, or from a line."""
        if name == CLIENT:
            for each in datagrams:
                self._client = each.address
                self.send(self.by_client(each.data, each.tos, now))
            return
        path = int(name.rpartition("-")[2])
        if path in self._cut:
            return
        self._carried.add(self._line_of[path], datagrams)
        far = self._far.get(path)
        for each in datagrams:
            if each.address != far:
                self.refuse()
                continue
            payload = self.by_line(path, each.data, now)
            if payload is not None and self._client:
                self.go(CLIENT, Goes(payload, self._client, b"", each.tos))

    def send(self, sent: Iterable[Sent]) -> None:
        """By the lines."""
        for path, datagram, tos in sent:
            far = self._far.get(path)
            if far is not None and path not in self._cut:
                goes = Goes(datagram, far, b"", tos)
                self._carried.add(self._line_of[path], (goes,))
                self.go(_name(path), goes)

    def tick(self, now: float) -> None:
        """What is due of the lines."""
        if self._cut:
            self._end_cut(now)
        if now - self._device_at >= DEVICE_S:
            self._open_lines(now)
            self._cap(now)
            self._carried.keep(now)


def _told_apart(line: dict[str, Any]) -> tuple[Any, ...]:
    return line.get("device"), ":" in line.get("host", "")


def _name(path: int) -> str:
    return f"line-{path}"
