"""Whether the clock can be believed, before anything is signed with its time.

A certificate issued by a clock that is years behind has expired when the clock is mended; one issued years ahead isn't valid
for years. So the authority remembers the last time it saw: a clock that shows much less, or absurdly more, is refused until
somebody sets it right or says that it is right.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from appliance.applier.files import replace
from appliance.clock import Clock
from appliance.core.errors import RefusedError
from appliance.vpn.pki.lifetimes import BACKDATED, DAY, YEAR, moment

RELEASED: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""No release of this software is older. Moved on with each."""

BEHIND: Final = BACKDATED / 2
"""A clock may have been put back by this much: what is issued then is still valid at once, everywhere."""
AHEAD: Final = 2 * YEAR
"""A machine may have stood in a cupboard for this long."""
AHEAD_AT_FIRST: Final = 10 * YEAR
"""The same for a release that is installed for the first time."""
NOTED_EVERY: Final = timedelta(hours=1)

_HINT: Final = "set the clock (timedatectl set-time, or name a time server); if it is right: centralino vpn trust-clock. Until then nothing is issued"


class Timekeeper:
    """The clock, and what is known of time. ``file`` survives restarts; ``made``: when the authority was made, if it was."""

    def __init__(self, file: Path, clock: Clock, made: datetime | None = None) -> None:
        self._file, self._clock, self._made = file, clock, made

    def now(self) -> datetime:
        """The time. :raises RefusedError: ``clock_wrong``: it can't be right."""
        now, floor = self.shown(), self.floor()
        if now < floor - BEHIND:
            raise RefusedError(
                f"the clock says {now:%Y-%m-%d %H:%M}, but it was {floor:%Y-%m-%d %H:%M} before", _HINT,
                error_id="clock_wrong",
            )  # fmt: skip
        if now > self._ceiling(floor):
            raise RefusedError(
                f"the clock says {now:%Y-%m-%d}, but the last time seen was {floor:%Y-%m-%d}", _HINT,
                error_id="clock_wrong",
            )  # fmt: skip
        return now

    def shown(self) -> datetime:
        """What the clock says, right or wrong. Lists of revoked certificates go by it: OpenVPN, beside us, judges them by it too."""
        return moment(self._clock().wall)

    def best(self) -> datetime:
        """The time if it can be right, else the last that was seen."""
        try:
            return self.now()
        except RefusedError:
            return self.floor()

    def floor(self) -> datetime:
        """It isn't earlier than this."""
        seen = self._seen()
        return max(RELEASED, seen if seen is not None else self._made or RELEASED)

    def note(self) -> None:
        """Remember the time, if it can be right. A full disk is no hindrance: the floor is a little lower then."""
        now = self.best()
        if now - (self._seen() or RELEASED) >= NOTED_EVERY:
            with contextlib.suppress(OSError):
                self._write(now)

    def trust(self) -> datetime:
        """Somebody says that the clock is right, whatever was seen before.

        :raises RefusedError: ``clock_wrong``: it can't be; :raises OSError: it can't be noted.
        """
        now = self.shown()
        if not RELEASED - DAY <= now <= RELEASED + 3 * AHEAD_AT_FIRST:
            raise RefusedError(
                f"the clock says {now:%Y-%m-%d}, and this software is of {RELEASED:%Y-%m-%d}",
                "set the clock: timedatectl set-time, or name a time server", error_id="clock_wrong",
            )  # fmt: skip
        self._write(now)
        return now

    def _ceiling(self, floor: datetime) -> datetime:
        known = self._seen() is not None or self._made is not None
        return floor + (AHEAD if known else AHEAD_AT_FIRST)

    def _seen(self) -> datetime | None:
        try:
            return datetime.fromtimestamp(int(json.loads(self._file.read_bytes())["seen"]), UTC)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def _write(self, now: datetime) -> None:
        replace(self._file, json.dumps({"seen": int(now.timestamp())}).encode())
