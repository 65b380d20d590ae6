"""How much of a confirm window is left, over restarts of the daemon and of the machine, and over clock jumps (pure).

While the machine is up, its boot-time clock counts: no one can set it. After a reboot only the wall clock knows how
long the machine was off; it is believed, but never to give more than was left when it was last looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

LONGEST_S = 7 * 24 * 3600.0
"""Longest confirm window, in seconds."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by both clocks: seconds since boot (suspend counted), which boot, seconds since the epoch."""

    boot_s: float
    boot_id: str
    wall_s: float


@dataclass(frozen=True, slots=True)
class Pending:
    """A committed revision that goes back to ``previous`` unless it is confirmed; ``left_s`` as of ``seen``.

    ``restore``: the proposal that goes back, once it was made: it is tried until it is taken.
    """

    revision: int
    previous: int
    left_s: float
    seen: Moment
    restore: int | None = None

    def left(self, now: Moment) -> float:
        """Seconds left: 0 when the time is up, never more than were left at ``seen``."""
        same_boot = now.boot_id == self.seen.boot_id
        passed = now.boot_s - self.seen.boot_s if same_boot else now.wall_s - self.seen.wall_s
        return max(0.0, self.left_s - max(0.0, passed))

    def at(self, now: Moment) -> Pending:
        """The same window, looked at now."""
        return replace(self, left_s=self.left(now), seen=now)
