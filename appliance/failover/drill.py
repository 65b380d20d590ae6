"""What each line of a branch would have done if it had been the only one, month by month.

Nobody hears that a line dies, so nobody knows what the others would be worth. Every two seconds each line is judged by what relays measure of it anyway: how a call over it alone would have
been liked (:mod:`.quality`). A month is a file of its own, written once a minute; fourteen are kept.

What happens when…

* this process ends or dies: at most a minute isn't counted, and what is not watched is no line's fault: it isn't counted at all;
* the disk is full: it is counted on, and written when it can be; said meanwhile. At the turn of a month, what couldn't be written of the one before is lost;
* a month's file is garbage: it is put aside as ``….broken``, said once, and the month is counted from now on;
* the clock jumps: how long something lasted isn't told by it, only which month it belongs to;
* a line gets another name: it is the same line; another id: another line.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from appliance.core.errors import CorruptError, Fault, InvalidError
from appliance.failover.quality import BUFFER_MS, FAIR_MOS, GOOD_MOS, mos
from appliance.vpn.files import put

if TYPE_CHECKING:
    from appliance.failover.relays import LineStanding

LOOK_S: Final = 2.0
WRITE_S: Final = 60.0
MISSED_S: Final = 15.0
"""Longer ago than that, nobody has watched meanwhile."""
MONTHS: Final = 14
MONTH: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")
ENOUGH: Final = 0.99
"""A line that would have carried calls well for a smaller share of the time isn't one to rely on."""
Standings = Mapping[str, Iterable["LineStanding"]]


@dataclass(slots=True)
class Line:
    """A line's month, in seconds that it was watched: ``good`` (MOS of 4.03 and more), ``fair`` (3.6), ``poor``, ``down``.

    :param alone: of these, up while every other line of its branch was down: what it has really carried.
    :param outages: how often it went down; ``longest``: seconds of the longest.
    """

    name: str = ""
    role: str = ""
    good: float = 0.0
    fair: float = 0.0
    poor: float = 0.0
    down: float = 0.0
    alone: float = 0.0
    outages: int = 0
    longest: float = 0.0
    lasts: float = 0.0  # of the outage that goes on, 0: it is up

    @property
    def watched(self) -> float:
        """Seconds."""
        return self.good + self.fair + self.poor + self.down

    def share(self) -> float | None:
        """Of the time that it was watched, in which it would have carried calls well; None: it never was."""
        return self.good / self.watched if self.watched else None


@dataclass(frozen=True, slots=True)
class Row:
    """A line in a month's report. See :class:`Line`; ``share`` as :meth:`Line.share`."""

    site: str
    line: str
    name: str
    role: str
    share: float | None
    watched_s: float
    fair_s: float
    poor_s: float
    down_s: float
    alone_s: float
    outages: int
    longest_s: float

    @property
    def enough(self) -> bool:
        """Whether calls can rely on it."""
        return self.share is not None and self.share >= ENOUGH


def judged(standing: LineStanding) -> str | None:
    """How a call by that line alone would be now: ``good``, ``fair``, ``poor`` or ``down``; None: nobody can tell."""
    if standing.up is None:
        return None
    if not standing.up:
        return "down"
    lost = max(standing.loss_up or 0.0, standing.loss_down or 0.0)
    value = mos(BUFFER_MS + (standing.rtt_ms or 0.0) / 2, min(1.0, lost))
    return "good" if value >= GOOD_MOS else "fair" if value >= FAIR_MOS else "poor"


class Drill:
    """See this module. ``folder``: where months are kept. ``now``: seconds since 1970."""

    def __init__(
        self, folder: Path, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._now, self._monotonic = folder, now, monotonic
        self._lock = threading.Lock()
        self._month = ""
        self._lines: dict[str, dict[str, Line]] = {}
        self._looked: float | None = None
        self._said: tuple[str, tuple[Fault, ...]] = "", ()
        self._written = 0.0

    def look(self, standings: Callable[[], Standings]) -> None:
        """As often as one likes; does something every two seconds. ``standings``: all lines of each site now.

        :raises OSError: what was counted can't be written; it is counted on. :raises CorruptError: see this module.
        """
        with self._lock:
            self._look(standings)

    def _look(self, standings: Callable[[], Standings]) -> None:
        now = self._monotonic()
        if self._looked is not None and now - self._looked < LOOK_S:
            return
        took = now - self._looked if self._looked is not None else MISSED_S + 1
        self._looked = now
        try:
            self._turn(datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m"))
        finally:
            if took <= MISSED_S:
                for site, lines in standings().items():
                    self._count(self._lines.setdefault(site, {}), list(lines), took)
        if now - self._written >= WRITE_S:
            self._written = now
            self._write()

    def _count(self, known: dict[str, Line], lines: list[LineStanding], took: float) -> None:
        ups = [each.id for each in lines if each.up]
        for each in lines:
            how = judged(each)
            if how is None:
                continue
            line = known.setdefault(each.id, Line())
            line.name, line.role = each.name, each.role
            setattr(line, how, getattr(line, how) + took)
            if ups == [each.id] and len(lines) > 1:
                line.alone += took
            if how == "down":
                line.outages += not line.lasts
                line.lasts += took
                line.longest = max(line.longest, line.lasts)
            else:
                line.lasts = 0.0

    def _turn(self, month: str) -> None:
        """Another month: what was counted of the one before is written, and an outage that goes on is one of both."""
        if month == self._month:
            return
        try:
            if self._month:
                self._write()
        finally:
            self._month, self._lines = month, {}
        for file in sorted(self._folder.glob("*.json"))[: -(MONTHS - 1)]:
            file.unlink(missing_ok=True)
        self._lines = _read(self._file(month)) or {}

    def _write(self) -> None:
        if not self._lines:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(self._file(self._month), json.dumps(_plain(self._lines)).encode())

    def _file(self, month: str) -> Path:
        return self._folder / f"{month}.json"

    def months(self) -> list[str]:
        """Those of which anything is known, newest first."""
        kept = {each.stem for each in self._folder.glob("*.json") if MONTH.fullmatch(each.stem)}
        with self._lock:
            return sorted(kept | ({self._month} if self._lines else set()), reverse=True)

    def report(self, month: str) -> list[Row]:
        """What each line would have done in a month, worst first; nothing: nothing is known of it. :raises CorruptError:"""
        with self._lock:
            return self._rows(self._lines if month == self._month else _read(self._file(month)) or {})

    def told(self, month: str) -> dict[str, Any]:
        """For whoever asks. ``month``: such as 2026-11; empty: the newest.

        :raises InvalidError: ``month``. :raises CorruptError: ``drill_broken``.
        """
        months = self.months()
        if month and not MONTH.fullmatch(month):
            raise InvalidError([Fault("month", "is no month", "write it as 2026-11", "month")])
        wanted = month or (months[0] if months else "")
        return {
            "month": wanted,
            "months": months,
            "lines": [asdict(each) for each in self.report(wanted)] if wanted else [],
        }

    def alarms(self) -> tuple[Fault, ...]:
        """On the first day of a month: what the one before has shown. So whoever gets alarms is told once a month."""
        today = datetime.fromtimestamp(self._now(), UTC)
        if today.day != 1:
            return ()
        month = (today - timedelta(days=1)).strftime("%Y-%m")
        if self._said[0] != month:
            self._said = month, self._sum(month)
        return self._said[1]

    def _sum(self, month: str) -> tuple[Fault, ...]:
        try:
            rows = [row for row in self.report(month) if row.share is not None]
        except (CorruptError, OSError):
            return ()
        if not rows:
            return ()
        hint, worst = f"centralino vpn drill {month} tells of each", rows[0]
        if worst.enough:
            message = f"report of {month}: each of {len(rows)} lines would have carried calls by itself"
        else:
            weak = sum(not row.enough for row in rows)
            percent = f"{100 * (worst.share or 0.0):.1f}"
            message = f"report of {month}: {weak} of {len(rows)} lines wouldn't have carried calls by themselves, least of all {worst.name} of {worst.site}: well for {percent} % of the time"
        return (Fault("wan_line", message, hint, "line_report", "warning"),)

    def _rows(self, lines: Mapping[str, Mapping[str, Line]]) -> list[Row]:
        rows = [
            Row(
                site, id, line.name, line.role, line.share(), line.watched, line.fair, line.poor, line.down, line.alone, line.outages, line.longest,
            )
            for site, found in lines.items() for id, line in found.items()
        ]  # fmt: skip
        return sorted(rows, key=lambda row: (1.0 if row.share is None else row.share, row.site, row.line))


def _plain(lines: Mapping[str, Mapping[str, Line]]) -> dict[str, Any]:
    return {site: {id: asdict(line) for id, line in found.items()} for site, found in lines.items()}


def _read(file: Path) -> dict[str, dict[str, Line]] | None:
    """None: there is none. :raises CorruptError: it was put aside."""
    try:
        found = json.loads(file.read_bytes())
        return {site: {id: _line(line) for id, line in lines.items()} for site, lines in found.items()}
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        file.replace(file.with_suffix(".broken"))
        message = f"what was counted of lines in {file.stem} can't be read"
        raise CorruptError(
            message, f"it was put aside as {file.stem}.broken; the month is counted anew", error_id="drill_broken"
        ) from error


def _line(found: Mapping[str, Any]) -> Line:
    kinds = {"name": str, "role": str, "outages": int}
    return Line(**{each.name: kinds.get(each.name, float)(found[each.name]) for each in fields(Line)})


def lasted(seconds: float) -> str:
    """How long something lasted, as people write it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
