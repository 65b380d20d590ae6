"""An edge's clock, which may have no battery: never before a time that has surely been, set once per start by whoever is surely right.

At start it is the latest of: what the clock says, the last time that was sure (kept in a file), the release of this software, and when
the edge's own certificate began. The centre's certificates begin with the root, long before all of these
(:mod:`appliance.vpn.pki.lifetimes`), so an edge at this floor can always connect. A clock that says a time after the end of the edge's own
certificate is wrong or it doesn't matter, for then nobody lets it in: it begins at the floor.

Connected, the centre tells the time, signed, with a number in it that was made for this question. Then the clock may step, once per
start of the machine, and never below the floor; what is left to mend after that is a time server's affair. Only such a time is kept, and what
has passed since by the machine's uptime: what a garbled clock once said is never anybody's floor.

What happens when the file is lost or garbage: the floor is the certificate's. When the disk is full: it is a little lower after the next
start. When we may not set the clock: it is told, and all else goes on.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from appliance.clock import HOUR, SECOND, Clock, Moment, system_clock
from appliance.core.errors import RefusedError, UnavailableError
from appliance.vpn.files import put
from appliance.vpn.pki.timekeeping import RELEASED

_log = logging.getLogger("centralino.edge")

STEP: Final = 5 * SECOND
"""What differs by less is left to a time server."""
BEHIND: Final = 5 * 60 * SECOND
"""The centre may be behind what this edge has seen by so much: clocks differ."""
KEPT_EVERY: Final = HOUR
LATEST: Final = 7_258_118_400_000
"""The year 2200: no floor is later."""


def set_system_clock(wall: int) -> None:
    """:raises OSError: we may not (CAP_SYS_TIME)."""
    time.clock_settime(time.CLOCK_REALTIME, wall / 1000)


def keep_system_clock(_wall: int) -> None:
    """Somebody else sets it."""


@dataclass
class EdgeClock:
    """``file``: what is kept. ``step``: sets the machine's clock, ms since 1970."""

    file: Path
    step: Callable[[int], None] = set_system_clock
    clock: Clock = system_clock
    sure: bool = False
    """Whether the centre has told the time since the machine started."""
    _told: tuple[int, int] | None = field(default=None, repr=False)
    """What the centre said, and the uptime then, since the machine started."""
    _saved: int = field(default=0, repr=False)
    _unkept: str = field(default="", repr=False)
    """Why the time couldn't be kept, as it was told last."""

    def start(self, begins: datetime | None, ends: datetime | None) -> None:
        """Before anything else: set it to what it can be. ``begins``, ``ends``: of the edge's own certificate, if it has one."""
        now = self.clock()
        kept = self._read()
        self.sure = kept.get("sure") == now.boot
        self._told = _told_in(kept, now)
        floor = max(self.floor(), _ms(begins) if begins is not None else 0)
        if now.wall < floor or (ends is not None and now.wall > _ms(ends) and not self.sure):
            _log.warning("the clock says %s: it begins at %s", _shown(now.wall), _shown(floor))
            self._set(floor)

    def floor(self) -> int:
        """It isn't earlier than this, ms since 1970."""
        kept = self._read().get("floor")
        return max(_ms(RELEASED), kept if isinstance(kept, int) and 0 < kept < LATEST else 0)

    def told(self, wall: int, asked: int, answered: int) -> None:
        """What the centre says, and the uptimes (ms) at which it was asked and had answered.

        :raises RefusedError: ``time_refused``: it is before what has surely been, or the clock was set already.
        """
        now = self.clock()
        centre = wall + (now.uptime - answered) + (answered - asked) // 2
        floor = self.floor()
        if centre < floor - BEHIND:
            raise RefusedError(
                f"the centre says it is {_shown(centre)}, but it was {_shown(floor)} before",
                "set the centre's clock", error_id="time_refused",
            )  # fmt: skip
        if abs(centre - now.wall) >= STEP:
            if self._read().get("stepped") == now.boot:
                raise RefusedError(
                    f"the centre says it is {_shown(centre)}, and the clock was set already since the machine started",
                    "is a time server wrong? Restart the edge to set its clock again", error_id="time_refused",
                )  # fmt: skip
            _log.warning("the clock is set from %s to %s", _shown(now.wall), _shown(centre))
            self._step(max(floor, centre), now.boot)
        self.sure, self._told = True, (centre, now.uptime)
        self._keep(max(floor, centre), now.boot)

    def save(self, *, often: bool = False) -> None:
        """Keep the time, if it is sure. ``often``: only if the last one is an hour old. A full disk is no hindrance."""
        if not self.sure or self._told is None:
            return
        now, (told, at) = self.clock(), self._told
        sure = told + now.uptime - at  # whatever the machine's clock says meanwhile
        if not often or sure - self._saved >= KEPT_EVERY:
            self._keep(max(self.floor(), sure), now.boot)

    def _keep(self, floor: int, boot: str) -> None:
        self._write(floor, sure=boot, stepped=self._read().get("stepped"), told=self._told)

    def _step(self, wall: int, boot: str) -> None:
        """Noted first: it steps once, also when it is killed in between. What we weren't let do isn't done."""
        self._write(wall, sure=boot, stepped=boot)
        try:
            self._set(wall)
        except UnavailableError:
            self._write(wall)
            raise

    def _set(self, wall: int) -> None:
        try:
            self.step(wall)
        except OSError as error:
            raise UnavailableError(
                f"the clock can't be set: {error.strerror}", "the edge needs CAP_SYS_TIME: run it by its unit",
                error_id="clock_denied",
            ) from error  # fmt: skip

    def _read(self) -> dict[str, Any]:
        try:
            plain = json.loads(self.file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return plain if isinstance(plain, dict) else {}

    def _write(self, floor: int, **more: object) -> None:
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            put(self.file, json.dumps({"floor": floor, **more}).encode())
            self._saved = floor
            self._unkept = ""
        except OSError as error:
            if self._unkept != str(error.strerror):
                self._unkept = str(error.strerror)
                _log.warning("the time can't be kept: %s", error.strerror)


def _told_in(kept: dict[str, Any], now: Moment) -> tuple[int, int] | None:
    """What the centre said, and the uptime then; none, if it hasn't since the machine started."""
    match kept:
        case {"sure": now.boot, "told": [int(told), int(at)]} if at <= now.uptime:
            return told, at
    return None


def _ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def _shown(wall: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(wall / 1000))
