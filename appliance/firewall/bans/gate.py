"""Judge, kernel and keeper in one hand: what a daemon calls.

Bans go into the kernel first, then into the database. What either doesn't take is tried again at the next ``tick``, as a whole;
meanwhile the other goes on. Nothing here raises for a peer that is away: ``troubles`` says what is wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from appliance.clock import Clock, Moment
from appliance.core.errors import CentralinoError
from appliance.firewall.bans import keys
from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.keeper import Keeper
from appliance.firewall.bans.kernel import Kernel
from appliance.firewall.bans.model import Attempt, Decision, Network, Strikes
from appliance.firewall.bans.policy import Policy
from appliance.firewall.bans.sets import Doors
from appliance.firewall.bans.timeline import Timeline

_log = logging.getLogger("centralino.bans")

_WHOLE_EVERY: Final = 600_000
"""Ms after which the sets are filled again in any case: against an element that somebody removed by hand."""


class Gate:
    """For one thread, in one process. ``tick`` is to be called every few seconds, also when nothing happens."""

    def __init__(self, judge: Judge, kernel: Kernel, keeper: Keeper, clock: Clock) -> None:
        self.judge: Final = judge
        self._kernel = kernel
        self._keeper = keeper
        self._clock = clock
        self._timeline = Timeline.begun(clock())
        self._behind = {"kernel": True, "database": True}
        self._loaded = False
        self._synced = 0
        self._kept = 0
        self.troubles: dict[str, CentralinoError] = {}
        """What is wrong now: by ``kernel`` or ``database``."""

    def start(self) -> list[Decision]:
        """Take over what was kept and fill the kernel's sets. Call once, before the first attempt."""
        decisions = self._load()
        if not self._loaded:  # what the kernel still holds is better than nothing
            self._try("kernel", self._look)
        self.tick()
        return decisions

    def now(self, moment: Moment | None = None) -> int:
        """Running time: what an attempt's ``when`` is."""
        return self._timeline.at(moment or self._clock())

    def take(self, attempts: Iterable[Attempt]) -> list[Decision]:
        """Judge attempts and carry out what is decided."""
        return self._carry_out(self.judge.take(attempts))

    def lift(self, network: Network) -> list[Decision]:
        """Lift by hand, and forgive."""
        decisions = self._carry_out(self.judge.lift(network, self.now()))
        if not self._behind["database"]:
            self._try("database", lambda: self._keeper.forgive(network))
        return decisions

    def adopt(self, policy: Policy, doors: Doors) -> list[Decision]:
        """Judge by another policy, and leave other doors open."""
        decisions = self._carry_out(self.judge.adopt(policy))
        self._kernel.doors = doors
        self._sync()
        return decisions

    def tick(self) -> None:
        """See to it that kernel and database hold what they should."""
        if not self._behind["kernel"]:
            self._try("kernel", self._look)
        if self._behind["kernel"] or (self._loaded and self.now() - self._synced >= _WHOLE_EVERY):
            self._sync()
        if not self._loaded:
            self._load()
        elif self._behind["database"]:
            self._try("database", self._keep_all)
        elif self.now() - self._kept >= 60_000:
            self._try("database", lambda: self._keep([]))

    def _carry_out(self, decisions: list[Decision]) -> list[Decision]:
        if decisions:
            if not self._behind["kernel"]:
                self._try("kernel", lambda: self._kernel.apply(decisions, self.now()))
            if not self._behind["database"]:
                self._try("database", lambda: self._keep(decisions))
        return decisions

    def _load(self) -> list[Decision]:
        """Take over what was kept; what is there by now was kept in vain before, and stays. Nothing is written until it was read."""
        decisions: list[Decision] = []

        def load() -> None:
            moment = self._clock()
            kept = self._keeper.load(moment)
            if len(self.judge.standing) == 0 and self.judge.now == 0:
                self._timeline = kept.timeline
            now = self.now(moment)
            # With attempts judged already, by a time that began anew: what was kept is told by that one.
            shift = now - kept.timeline.at(moment)
            bans = [replace(ban, since=ban.since + shift, until=ban.until + shift) for ban in kept.bans]
            strikes = [(net, Strikes(one.count, one.since + shift, one.until + shift)) for net, one in kept.strikes]
            decisions.extend(self.judge.restore(bans, strikes, now))
            if kept.unreadable:
                _log.warning("%d rows of bans can't be read; they are left out", kept.unreadable)
            self._loaded = True

        self._try("database", load)
        if self._loaded:  # next: the whole is written, and put into the kernel
            self._behind = {"kernel": True, "database": True}
        return decisions

    def _look(self) -> None:
        self._behind["kernel"] = not self._kernel.intact()

    def _sync(self) -> None:
        def sync() -> None:
            self._kernel.sync(self.judge.wanted(self.now()))
            self._synced = self.now()

        self._try("kernel", sync)

    def _keep(self, decisions: list[Decision]) -> None:
        self._keeper.keep(decisions, self._clock(), self._timeline)
        self._kept = self.now()

    def _keep_all(self) -> None:
        standing = self.judge.standing
        strikes = [(keys.network(key), found) for key, found in standing.strikes.items()]
        self._keeper.keep_all(standing, strikes, self._clock(), self._timeline)
        self._kept = self.now()

    def _try(self, what: str, action: Callable[[], None]) -> None:
        """Do it; if it fails, it is behind, and said once."""
        self._behind[what] = False
        try:
            action()
        except CentralinoError as error:
            self._behind[what] = True
            if what not in self.troubles:
                _log.error("bans, %s: %s (%s)", what, error.message, error.hint)
            self.troubles[what] = error
        else:
            self.troubles.pop(what, None)
