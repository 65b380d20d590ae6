"""An edge's relay, by which OpenVPN's client reaches the centre over all lines at once (:mod:`appliance.failover.relay`).

It runs while the slice in force has paths. The agent gives it what it goes by; without the agent it goes on.

What happens when…

* a state with other lines is in force: paths that stay notice nothing; with another key all begin anew, as OpenVPN does;
* the name of the centre can't be looked up: it goes where the centre was last; a wrong answer moves no line while any works;
* a line is cut on purpose (:meth:`EdgeRelay.cut`): the relay itself joins it again, also when we are dead, and at once when no other line works;
* a line has carried what it may in this month: it is used only where no other works. Months are the centre's, or none: a clock that isn't sure begins none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from appliance.core.errors import NotFoundError, RefusedError
from appliance.edge.chosen import Choice, Chosen
from appliance.edge.lookups import Lookups
from appliance.edge.paths import EdgePaths
from appliance.edge.states import State
from appliance.edge.unit import narrowed
from appliance.failover.counts import Counts
from appliance.failover.kept import KeptRelay, heard_of_late
from appliance.failover.model import LineRole
from appliance.failover.plan import line_of
from appliance.failover.quality import heard
from appliance.failover.relay.at_edge import CUT_MAX_S
from appliance.vpn.pki.tls_crypt import relay_key
from appliance.vpn.slices import Path, Remote, Slice

HERE: Final = ("127.0.0.1", 1195)
"""Where OpenVPN's client finds it."""
GB: Final = 10**9


class EdgeRelay:
    """See this module."""

    def __init__(self, paths: EdgePaths, servers: Callable[[], Sequence[tuple[str, str]]] = tuple) -> None:
        self._kept = KeptRelay(
            "edge",
            paths.relay,
            paths.run / "relay",
            paths.log / "relay.log",
            name="edge.relay",
            client=paths.run / "openvpn.pid",
            inside=narrowed(),
        )
        self._lookups = Lookups(paths.names, servers)
        self._chosen = Chosen(paths.run / "chosen.json")
        self._counts = Counts()
        self._month: str | None = None
        self._given: dict[int, tuple[str, str]] = {}  # host and address that each path was last sent to
        self._cut: dict[str, Any] | None = None

    def tend(self, state: State) -> None:
        """One round. :raises OSError: what it is to go by can't be written; it goes on with what it has."""
        if state.slice.paths:
            self._kept.tend(self._config(state))
        elif self._kept.pid is not None:
            self.stop()

    def choose(self, line: int | None, seconds: float = 0) -> None:
        """From the next round on that line alone is used, as long as it works, for so long; None: as they are judged.

        :raises NotFoundError: ``line``. :raises InvalidError: ``seconds``. :raises OSError: it can't be kept.
        """
        if line is None:
            self._chosen.end()
            return
        self._check_line(line)
        self._chosen.choose(line, seconds)

    @property
    def chosen(self) -> Choice | None:
        """By hand; None: none is."""
        return self._chosen.now

    def cut(self, line: int, seconds: float) -> None:
        """From the next round on nothing goes or comes by that line, as if it were unplugged, for so long. 0: join it again.

        :raises NotFoundError: and :raises RefusedError: see :meth:`check_cut`.
        """
        if seconds:
            self.check_cut(line)
        self._cut = {"line": line, "until": time.monotonic() + min(seconds, CUT_MAX_S)} if seconds else None

    def check_cut(self, line: int) -> None:
        """Whether a line may be cut.

        :raises NotFoundError: ``line``: there is none of that number. :raises RefusedError: ``only_line``: no other works.
        """
        ups = self._check_line(line)
        if not any(up for other, up in ups.items() if other != line):
            raise RefusedError(
                f"line {line} isn't cut: no other line works", "mend another line first: centralino edge status", error_id="only_line"
            )  # fmt: skip

    def _check_line(self, line: int) -> dict[int, bool]:
        """All lines, and whether they work. :raises NotFoundError: ``line``: there is none of that number."""
        ups: dict[int, bool] = {}
        for each in self.told():
            ups[each["line"]] = ups.get(each["line"], False) or each["up"]
        if line not in ups:
            raise NotFoundError(
                f"there is no line {line} here",
                f"one of {', '.join(map(str, sorted(ups))) or 'none'}: centralino edge status",
                error_id="line",
            )
        return ups

    def stop(self) -> None:
        """End it."""
        self._kept.stop()

    def now_is(self, wall_ms: int) -> None:
        """What the time of day is, for sure."""
        self._month = datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m")

    def way(self, slice: Slice) -> Remote | None:
        """By which of the centre's addresses it is reached now, first lines first; None: by none, or nobody can tell."""
        bound = {int(each["path"]) for each in self._kept.paths() if each.get("bound") is True}
        return next((Remote(host=each.host, port=each.port) for each in slice.paths if each.number in bound), None)

    def told(self) -> list[dict[str, Any]]:
        """How each path stands, for whoever asks the edge. ``best``: what isn't copied goes by it. ``to_centre``, ``from_centre``: its quality over the last seconds, loss as a share."""
        best = self._kept.standing().get("best")
        return [
            {
                "line": line_of(int(each["path"])), "role": each["role"], "device": str(each.get("device")),
                "centre": str(each.get("host")), "up": _up(each), "cut": each.get("cut") is True, "best": each["path"] == best,
                "rtt_ms": each["rtt_ms"], "capped": each["capped"],
                "to_centre": _voice(each["rtt_ms"], each["out"], (each["out"] or {}).get("loss")),
                "from_centre": _voice(each["rtt_ms"], each["in"], self._counts.loss(int(each["path"]))),
            }
            for each in self._kept.paths()
        ]  # fmt: skip

    def changes(self) -> list[dict[str, Any]]:
        """When another line was taken, by what was measured of both (loss a share, times in ms), the last one first. Lines by their numbers; None: there was none before.
        ``id``: no other has it."""
        process = self._kept.standing().get("pid")
        return [
            {
                "id": f"{process}-{each['number']}", "ago_s": each["ago_s"], "left": None if each["left"] is None else line_of(each["left"]), "taken": line_of(each["taken"]),
                "why": each["why"], "hold_s": each["held_s"],
                "seen": [
                    {"line": line_of(way["path"]), **{key: way[key] for key in ("loss", "late_ms", "rtt_ms", "mos")}} for way in each["seen"]
                ],
            }
            for each in self._kept.decisions()
        ]  # fmt: skip

    def _config(self, state: State) -> dict[str, Any]:
        working, chosen = self._working(), self._chosen.now
        if self._cut is not None and time.monotonic() >= self._cut["until"]:
            self._cut = None
        return {
            "key": relay_key(state.material.tunnel_key).hex(), "listen": list(HERE), "copying": state.slice.copies.value,
            "lines": [line for each in state.slice.paths if (line := self._line(each, working)) is not None],
            **({"month": self._month} if self._month is not None else {}),
            **({"cut": self._cut} if self._cut is not None else {}),
            **({"chosen": chosen.line} if chosen is not None else {}),
        }  # fmt: skip

    def _working(self) -> set[str]:
        """Addresses at which the centre is reached now; who is there has proven it."""
        known, now = self._kept.paths(), time.monotonic()
        for each in known:
            self._counts.note(int(each["path"]), each, now)
        self._counts.keep({int(each["path"]) for each in known})
        paths = [each for each in known if _up(each)]
        for each in paths:
            host, address = self._given.get(int(each["path"]), ("", ""))
            if host and address == each.get("host"):
                self._lookups.prove(host, address)
        return {str(each.get("host")) for each in paths}

    def _line(self, path: Path, working: set[str]) -> dict[str, Any] | None:
        host = self._lookups.address(path.host, working)
        if host is None:
            return None  # it begins when its name is known
        self._given[path.number] = (path.host, host)
        return {
            "path": path.number, "line": line_of(path.number), "role": path.role.value, "device": path.device, "host": host,
            "port": path.port, **({"cap": path.monthly_gb * GB} if path.monthly_gb is not None else {}),
        }  # fmt: skip


def _voice(rtt_ms: float | None, way: Mapping[str, Any] | None, loss: float | None) -> dict[str, Any] | None:
    """One way of a line as voice would be heard by it; None: nobody can tell."""
    if rtt_ms is None or way is None:
        return None
    late = float(way["late_ms"])
    return {
        "loss": loss,
        "late_ms": late,
        "jitter_ms": float(way["jitter_ms"]),
        "mos": round(heard(rtt_ms, late, loss or 0.0), 2),
    }


def _up(path: Mapping[str, Any]) -> bool:
    return path.get("bound") is True and heard_of_late(path, metered=path["role"] == LineRole.METERED)
