"""The edge's half alone, before an OpenVPN server of another maker (pure).

Such a server knows nothing of lines. It answers to the address from which a packet came last that it could open first (it *floats*), drops second copies as replays, and takes control packets
from that one address only. So packets go to it by several lines, and what it does is read from where its answers come:

* what belongs to calls goes over all lines; all else over the one by which the server answers, and now and then over better ones, so that it comes back to them;
* control packets go by the line of its last answer. If it has floated of late, copies by others wait for a moment while keys are exchanged, or it would float in the middle of that;
* a client's first packet goes over all lines, from ports of its own (at those of a session that it knows the server is slow with another); the first answer decides, and a
  second one's session is nobody's;
* a line by which answers stop coming is left for half a minute, for twice as long each time that it fails again soon, and the server follows.

What happens when…

* a line dies, or what goes to the server is lost on it: the copies of calls have arrived by another, and the server has floated there with the first of them;
* only what comes from the server is lost on a line: the server can't know. Its silence is all there is to see: 0.3 s within a call, 3 s when something was asked, 25 s else;
* copies arrive first by this line, then by that one: the server floats as often, which costs it nothing but in an exchange of keys;
* somebody sends packets in the server's name: he can't open or make any of the tunnel's, but he can choose the line of control packets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from appliance.failover.relay.edge import Sent
from appliance.failover.relay.openvpn import ANSWER, DATA, OPENINGS, SESSION, opcode
from appliance.failover.relay.policy import Calling, belongs_to_calls
from appliance.failover.relay.wire import Copying, Role

EXCHANGE_S: Final = 1.5
"""After its last control packet an exchange of keys is over."""
LATER_S: Final = 0.03
"""Copies over other lines come so much later within one, at least, so that the server doesn't float."""
SETTLED_S: Final = 30.0
"""A server that hasn't floated for so long won't float in an exchange either, unless a line dies."""
FLOW: Final = 10
"""Packets from the server within a second, and to it since the last of them: more would come, if any could."""
SILENT_FLOW_S: Final = 0.3
SILENT_ASKED_S: Final = 3.0
SILENT_S: Final = 25.0
"""OpenVPN's usual ``keepalive`` has the server say something every ten seconds."""
ASKED: Final = 4
"""Packets to the server to which one at least would be answered."""
LEFT_S: Final = 30.0
LEFT_MAX_S: Final = 600.0
SOON_S: Final = 60.0
BETTER_EVERY_S: Final = 10.0
BETTER_S: Final = 1.0
"""Every ten seconds, for one of them, all else goes by better lines too."""


class _Line:
    __slots__ = ("back", "capped", "heard", "hold", "left_until", "role")

    def __init__(self, role: Role) -> None:
        self.role, self.capped = role, False
        self.heard = self.left_until = self.back = float("-inf")
        self.hold = LEFT_S
        """For how long it was left the last time, until :attr:`back`, unless it was heard before."""

    def left(self, now: float) -> bool:
        return now < self.left_until


class Stock:
    """See this module. ``lines``: what each is, by path."""

    def __init__(self, lines: Mapping[int, Role], copying: Copying) -> None:
        self._lines = {path: _Line(role) for path, role in lines.items()}
        self._copying = copying
        self._calling = Calling()
        self._opening = True
        self.followed: int | None = None
        """Path by which the server answers; None: it hasn't yet."""
        self._exchange_at = self._floated_at = self._heard_at = self._second_at = float("-inf")
        self._second = self._before = self._asked = self._tries = 0
        self._later: list[tuple[float, Sent]] = []
        self._session = b""
        self.anew = False
        """The client has begun another session since whoever has our sockets has set this back: it is to begin from other ports."""
        self.refused = 0
        """Datagrams that nobody waited for."""

    def go_by(self, lines: Mapping[int, Role], copying: Copying) -> None:
        """Other lines, or another way of copying; those that stay go on."""
        self._copying = copying
        kept = {path: self._lines.get(path) for path in lines}
        self._lines = {path: kept[path] or _Line(role) for path, role in lines.items()}
        for path, role in lines.items():
            self._lines[path].role = role
        if self.followed not in self._lines:
            self.followed = None

    def cap(self, paths: frozenset[int]) -> None:
        """Lines of these paths have carried what they may: they are used when there is no other."""
        for path, line in self._lines.items():
            line.capped = path in paths

    # From OpenVPN's client

    def client(self, payload: bytes, tos: int, now: float) -> list[Sent]:
        """A packet of the client's."""
        kind = opcode(payload)
        if kind in OPENINGS:
            self._opening = True
            if payload[SESSION] != self._session:
                self._session, self.anew = payload[SESSION], True
        elif kind not in DATA:
            self._exchange_at = now
        else:
            self._asked += 1
        paths = self._ways(kind, payload, tos, now)
        if kind in DATA and len(paths) > 1 and self._may_float(now):
            self._later += [(now + LATER_S, Sent(path, payload, tos)) for path in paths if path != self.followed]
            paths = [path for path in paths if path == self.followed]
        return [Sent(path, payload, tos) for path in paths]

    def _may_float(self, now: float) -> bool:
        """Whether the server would go astray if a copy came before that of the line by which it answers."""
        return now - self._exchange_at < EXCHANGE_S and now - self._floated_at < SETTLED_S and not self._opening

    def _ways(self, kind: int, payload: bytes, tos: int, now: float) -> list[int]:
        if self._opening or self.followed is None:
            return [path for path, line in self._lines.items() if not line.capped] or list(self._lines)
        if kind not in DATA:
            return [self.followed]
        if belongs_to_calls(tos, payload):
            self._calling.heard(now)
            return self._copied(now)
        return self._copied(now) if self._copying is Copying.ALWAYS else self._rest(now)

    def _free(self, now: float) -> list[int]:
        """Lines that may be used: neither left nor full, unless there are no others."""
        free = [path for path, line in self._lines.items() if not line.capped]
        return [path for path in free if not self._lines[path].left(now)] or free or list(self._lines)

    def _copied(self, now: float) -> list[int]:
        idle = self._calling.idle(now)
        return [
            path
            for path in self._free(now)
            if path == self.followed or not (idle and self._lines[path].role is Role.METERED)
        ] or self._free(now)

    def _rest(self, now: float) -> list[int]:
        free = self._free(now)
        ours = self.followed if self.followed in free else min(free, key=self._order)
        if now % BETTER_EVERY_S >= BETTER_S:
            return [ours]
        return [ours, *(path for path in free if self._order(path) < self._order(ours))]

    def _order(self, path: int) -> tuple[bool, Role, int]:
        line = self._lines[path]
        return line.capped, line.role, path

    # From a line

    def heard(self, path: int, payload: bytes, now: float) -> bytes | None:
        """A packet of the server's that came by a path: what the client is to get."""
        line = self._lines.get(path)
        kind = opcode(payload)
        if line is None or not payload:
            self.refused += 1
            return None
        if kind == ANSWER and self._opening:
            self._opening = False
            self.followed = path  # the session is the one that this answer began
        elif kind not in DATA:
            if self._opening or (path != self.followed and kind == ANSWER):
                self.refused += 1
                return None
            self._exchange_at = now
        self._count(now)
        line.heard, line.left_until, self._heard_at = now, float("-inf"), now
        self._asked = self._tries = 0
        if path != self.followed:
            self.followed, self._floated_at = path, now
        return payload

    def _count(self, now: float) -> None:
        if now - self._second_at >= 1.0:
            self._before = self._second if now - self._second_at < 2.0 else 0
            self._second_at, self._second = now, 0
        self._second += 1

    # By time

    def tick(self, now: float) -> list[Sent]:
        """Copies that have waited; and leave a line by which nothing comes any more. To be called twenty times a second."""
        self._look(now)
        due = [sent for at, sent in self._later if at <= now]
        self._later = [(at, sent) for at, sent in self._later if at > now]
        return due

    def _look(self, now: float) -> None:
        path = self.followed
        if path is None or self._opening or now - self._heard_at < self._patience():
            return
        line, others = self._lines[path], [other for other in self._free(now) if other != path]
        self._tries += 1
        self._heard_at = now  # the next one gets its time too
        self._asked = 0
        if not others:  # all have been left: any may be the one that works again
            for each in self._lines.values():
                each.left_until = float("-inf")
            return
        line.hold = min(LEFT_MAX_S, 2 * line.hold) if now - line.back < SOON_S else LEFT_S
        line.left_until = line.back = now + line.hold
        self.followed = min(others, key=self._order)

    def _patience(self) -> float:
        if self._tries == 0 and min(self._asked, max(self._second, self._before)) >= FLOW:
            return SILENT_FLOW_S
        if self._asked >= ASKED:
            return float(min(SILENT_S, SILENT_ASKED_S * 2 ** max(0, self._tries - 1)))
        return SILENT_S

    # For the next process, and for whoever shows it

    def state(self) -> dict[str, Any]:
        """What the next process goes on with."""
        return {"followed": self.followed, "opening": self._opening}

    def resume(self, state: dict[str, Any], now: float) -> None:
        """Go on after a restart. :raises KeyError: it is no such state."""
        self._opening = bool(state["opening"])
        self.followed = state["followed"] if state["followed"] in self._lines else None
        self._heard_at = now

    def told(self, now: float) -> list[dict[str, Any]]:
        """Of each path: whether the server answers by it, seconds since it last did (None: never), seconds until it is used again (0: it is)."""
        return [
            {
                "path": path, "role": line.role.name.lower(), "followed": path == self.followed, "capped": line.capped,
                "heard_s": round(now - line.heard, 1) if line.heard > float("-inf") else None,
                "left_s": max(0, round(line.left_until - now)) if line.left(now) else 0,
            }
            for path, line in self._lines.items()
        ]  # fmt: skip
