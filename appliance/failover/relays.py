"""The centre's relays: kept beside OpenVPN's daemons as the configuration in force wants them, and asked how each branch's lines stand.

The document says which branches there are and by which ports (:mod:`.plan`); the authority, whose keys are good. A key that is revoked is gone from what relays go
by at the next round, and a second later its branch is heard no more.

What happens when a relay or we die, or the disk is full: see :mod:`.kept`. What when…

* nobody can tell whose keys are good: those go on that were, and what is revoked meanwhile is cut off by OpenVPN's daemons alone;
* the configuration in force can't be read, or says nothing that can be understood: relays go on as they are;
* a daemon is started anew: its relay tells the branches' edges within a second, and their clients begin anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import Fault
from appliance.engine.keeping import telling
from appliance.failover.counts import Counts
from appliance.failover.kept import KeptRelay, heard_of_late, sound_paths
from appliance.failover.model import LineRole, WanLine
from appliance.failover.plan import FILE, line_of
from appliance.paths import VpnPaths

SILENT_S: Final = 8.0
"""A relay that runs and says for so long how it stands not at all isn't at work."""
DOWN_S: Final = 8.0
"""A line that is back within so long is no alarm. With what notifications wait for (30 s), one is raised within a minute of any line's death."""
TROUBLES: Final = 5
"""So many of what a relay complains of are told."""


@dataclass(frozen=True, slots=True)
class LineStanding:
    """A line of a branch, as the centre's relay sees it.

    :param up: whether anything comes by it; None: nobody can tell, the branch's tunnel isn't by a relay now.
    :param address: where it comes from, as ``host port``.
    :param loss_up: share of what the branch sent by it in the last ten seconds; ``loss_down``: of what it was sent.
    """

    number: int
    id: str
    name: str
    role: str
    up: bool | None = None
    address: str | None = None
    rtt_ms: float | None = None
    loss_up: float | None = None
    loss_down: float | None = None
    capped: bool = False


@dataclass
class _Read:
    """What a generation's file says; the same object while the file is the same."""

    stamp: tuple[str, int, int] | None = None
    plan: dict[str, Any] = field(default_factory=dict)


def _address(told: object) -> str | None:
    return f"{told[0]} {told[1]}" if isinstance(told, list) and len(told) == 2 else None


def _troubles(told: object) -> list[tuple[str, str]]:
    """A few, in words that can be shown."""
    found = list(told.items())[:TROUBLES] if isinstance(told, dict) else []
    return [(_plain(what), _plain(trouble)) for what, trouble in found]


def _plain(told: object) -> str:
    return "".join(each for each in str(told)[:200] if each.isprintable())


class Relays:
    """See this module.

    :param configuration: the generation in force, or the link to it.
    :param keys: those that are good now, and whose. :param namespace: where the lines are; None: ours.
    """

    def __init__(
        self,
        paths: VpnPaths,
        configuration: Path,
        keys: Callable[[], Mapping[bytes, str]],
        namespace: str | None = None,
    ) -> None:
        self._paths, self._configuration, self._keys = paths, configuration, keys
        self._inside = ("ip", "netns", "exec", namespace) if namespace else ()
        self._read = _Read()
        self._good: dict[bytes, str] | None = None
        """Keys that were good when somebody could tell; None: nobody could yet."""
        self._kept: dict[str, KeptRelay] = {}
        self._silent_since: dict[str, float] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._down_since: dict[tuple[str, int], float] = {}
        self._counts = Counts()

    @property
    def protected(self) -> Iterable[str]:
        """Sites that have lines."""
        sites: Mapping[str, Any] = self._read.plan.get("lines", {})
        return sites.keys()

    def tend(self, server: Callable[[str], Path], found: list[str]) -> None:
        """One round. What fails is added to ``found``, in words, and holds nothing else up.

        :param server: PID file of a daemon, by its index.
        """
        with telling(found):
            self._look()
        plan = self._read.plan
        wanted: dict[str, int] = plan.get("relays", {})
        for index in sorted((self._kept.keys() | self._left()) - wanted.keys()):
            self._of(index).stop()
            self._kept.pop(index)
        if wanted:
            with telling(found):
                self._good = {key: site for key, site in self._keys().items() if site in plan["sites"]}
        if self._good is not None:  # else what runs goes on by the keys that it has
            for index, port in wanted.items():
                with telling(found):
                    self._tend(index, port, self._good, server)
        self._told = {index: kept.standing() for index, kept in self._kept.items()}
        self._count(time.monotonic())
        down = {(site, each.number) for site in self.protected for each in self.lines(site) if each.up is False}
        self._down_since = {key: self._down_since.get(key, time.monotonic()) for key in down}
        for index in wanted:
            found.extend(self._faults(index))

    def stop(self) -> None:
        """End all of them: the appliance is being stopped."""
        for index in sorted(self._kept.keys() | self._left()):
            self._of(index).stop()
        self._kept.clear()

    def lines(self, site: str) -> tuple[LineStanding, ...]:
        """All lines of a branch; none: it isn't protected."""
        found: Mapping[str, Any] = self._read.plan.get("lines", {}).get(site, {})
        paths: dict[int, list[dict[str, Any]]] = {}
        for each in self._paths_of(site):
            paths.setdefault(line_of(int(each["path"])), []).append(each)
        heard = bool(paths)
        return tuple(
            self._line(site, int(number), line, paths.get(int(number), []), heard)
            for number, line in sorted(found.items())
        )

    def address(self, site: str) -> str | None:
        """Where a branch really is: of the line that its best packets come by; None: nobody can tell."""
        return next((each.address for each in self.lines(site) if each.up and each.address), None)

    def alarms(self) -> tuple[Fault, ...]:
        """Lines that are down while their branch is in: nobody there hears it, so nobody would know."""
        now = time.monotonic()
        return tuple(
            Fault(
                f"{WanLine.kind}/{each.id}",
                f"{each.name} of {site} is down: calls go on by other lines, and whatever dies next is heard",
                "have the line looked after: its provider, its cables, its SIM; centralino vpn status shows all lines",
                "line_down",
                "warning",
            )
            for site in self.protected
            for each in self.lines(site)
            if now - self._down_since.get((site, each.number), now) >= DOWN_S
        )

    # What is in force

    def _look(self) -> None:
        file = self._configuration.resolve() / FILE
        try:
            told = file.stat()
        except FileNotFoundError:
            if self._configuration.resolve().is_dir():
                self._read = _Read()  # no relay is wanted
            return
        stamp = (str(file), told.st_ino, told.st_mtime_ns)
        if stamp != self._read.stamp:
            self._read = _Read(stamp, json.loads(file.read_bytes()))

    def _tend(self, index: str, port: int, keys: Mapping[bytes, str], server: Callable[[str], Path]) -> None:
        plan, kept = self._read.plan, self._of(index)
        kept.tend(
            {
                "listen": [["0.0.0.0", port], ["::", port]],  # noqa: S104 (the firewall says who may; OpenVPN's daemons do the same)
                "servers": {
                    name: {"at": ["127.0.0.1", at], "pid": f"server-{name}.pid"} for name, at in plan["servers"].items()
                },
                "sites": [
                    {"site": site, "key": key.hex(), **plan["sites"][site]} for key, site in sorted(keys.items())
                ],
            }
        )
        for name in plan["servers"]:
            try:
                content = server(name).read_bytes()
            except FileNotFoundError:
                continue  # it is being started: what the relay knows of stays, until there is another
            kept.give(f"server-{name}.pid", content)

    def _of(self, index: str) -> KeptRelay:
        kept = self._kept.get(index)
        if kept is None:
            kept = self._kept[index] = KeptRelay(
                "centre", self._paths.relays / index, self._paths.run / "relays" / index, self._paths.log / f"relay-{index}.log",
                name=f"relay-{index}", inside=self._inside,
            )  # fmt: skip
        return kept

    def _left(self) -> set[str]:
        """Relays that somebody before us started."""
        top = self._paths.run / "relays"
        return {each.name for each in top.iterdir() if (each / "holder.pid").exists()} if top.is_dir() else set()

    # How they stand

    def _faults(self, index: str) -> Iterator[str]:
        told, now = self._told.get(index) or {}, time.monotonic()
        if told:
            self._silent_since.pop(index, None)
            for what, trouble in _troubles(told.get("troubles")):
                message = f"the relay of branches with WAN lines has trouble with {what}: {trouble}"
                hint = "it goes on with what it has, and tries again"
                yield f"{message} ({hint})"
        elif now - self._silent_since.setdefault(index, now) > SILENT_S:
            log = self._paths.log / f"relay-{index}.log"
            message = "the relay of branches with WAN lines isn't at work"
            hint = f"see the end of {log}; it is started again"
            yield f"{message} ({hint})"

    def _paths_of(self, site: str) -> list[dict[str, Any]]:
        """Of the relay by which it comes in now: of its own daemon, or for a while of a former one."""
        home = self._read.plan.get("sites", {}).get(site, {}).get("server")
        for index in sorted(self._told, key=lambda each: each != home):
            found = sound_paths(self._told[index], site)
            if found:
                return found
        return []

    def _line(
        self, site: str, number: int, line: Mapping[str, Any], paths: list[dict[str, Any]], heard: bool
    ) -> LineStanding:
        known = LineStanding(number, str(line["id"]), str(line["name"]), str(line["role"]))
        if not paths:
            return LineStanding(number, known.id, known.name, known.role, up=False if heard else None)
        best = min(paths, key=lambda each: int(each["in"]["silent_ms"]))
        out = best["out"] or {}
        return LineStanding(
            number, known.id, known.name, known.role,
            up=heard_of_late(best, metered=line["role"] == LineRole.METERED), address=_address(best.get("address")),
            rtt_ms=best["rtt_ms"], loss_up=self._counts.loss((site, int(best["path"]))), loss_down=out.get("loss"),
            capped=bool(best["capped"]),
        )  # fmt: skip

    def _count(self, now: float) -> None:
        """What came of all that was sent to us, by path."""
        found = {(site, int(each["path"])): each for site in self.protected for each in self._paths_of(site)}
        for key, each in found.items():
            self._counts.note(key, each, now)
        self._counts.keep(found)
