"""Running time: milliseconds that the appliance has run, over all its starts.

A ban lasts a time, not until a date: a clock that is set forwards by ten years would lift every ban, one that is set back would
make them eternal. Uptime can't be set, but begins anew with the machine; so what was counted is kept (once a minute, and with every
change) and counting goes on from there. The time that the machine was off counts for nothing: nobody can say how long it was without
trusting the clock, and a ban that lasts that much longer harms less than one that a wrong clock lifts.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.clock import Moment


@dataclass(frozen=True, slots=True)
class Timeline:
    """``running`` ms had passed when the uptime of that ``boot`` was ``uptime`` ms."""

    boot: str
    uptime: int
    running: int

    @classmethod
    def begun(cls, moment: Moment, running: int = 0) -> Timeline:
        """One that counts from ``running`` on, now."""
        return cls(moment.boot, moment.uptime, running)

    def at(self, moment: Moment) -> int:
        """The running time then. Never less than what was kept: also not in a machine that was started again."""
        if moment.boot != self.boot:
            return self.running + max(0, moment.uptime)
        return self.running + max(0, moment.uptime - self.uptime)
