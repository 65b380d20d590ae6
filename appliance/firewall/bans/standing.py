"""Bans that stand, and strikes: how often a network was banned, which the length of its next ban depends on."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from appliance.firewall.bans import keys
from appliance.firewall.bans.model import Ban, Network, Strikes
from appliance.firewall.bans.rules import Rules
from appliance.firewall.bans.sources import Recent

STRIKES_MAX: Final = 100_000


class Standing:
    """All that stands, by number of network (:mod:`~appliance.firewall.bans.keys`)."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._bans: dict[int, Ban] = {}
        self._ends: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
        self._brief = 0
        self.strikes: Final[Recent[Strikes]] = Recent(STRIKES_MAX)
        self._brief_strikes: Final[Recent[Strikes]] = Recent(STRIKES_MAX)

    def __len__(self) -> int:
        return len(self._bans)

    def __iter__(self) -> Iterator[Ban]:
        return iter(tuple(self._bans.values()))

    def restore(self, bans: Iterable[Ban], strikes: Iterable[tuple[Network, Strikes]], now: int) -> None:
        """Take over what was kept, beside what is there. Nothing of it lasts longer than the longest ban, or began after now."""
        for network, kept in strikes:
            key, until = keys.of(network), min(kept.until, now + self._rules.longest)
            if self.strikes.get(key) is None:
                self.strikes.put(key, Strikes(max(1, kept.count), min(kept.since, now), until))
        for ban in bans:
            until = min(ban.until, now + self._rules.longest)
            if until > now and self.get(keys.of(ban.network)) is None:
                self.put(replace(ban, since=min(ban.since, now), until=until))

    def banned(self, key: int) -> bool:
        """Whether it stands, by itself or as part of a wider one."""
        if not self._bans:
            return False
        if key in self._bans:
            return True
        wider = keys.wide(key)
        return wider is not None and wider in self._bans

    def get(self, key: int) -> Ban | None:
        """The ban of exactly this network."""
        return self._bans.get(key)

    def full(self, *, brief: bool) -> bool:
        """Whether there is no room for one more."""
        if brief:
            return self._brief >= self._rules.brief_bans
        return len(self._bans) - self._brief >= self._rules.bans

    def put(self, ban: Ban) -> None:
        """Impose; it replaces one of the same network."""
        key = keys.of(ban.network)
        self.remove(key)
        self._bans[key] = ban
        self._brief += ban.brief
        ends = self._ends[ban.brief]
        heapq.heappush(ends, (ban.until, key))
        if len(ends) > 2 * len(self._bans) + 1000:  # most of it was lifted or replaced
            ends[:] = [(one.until, number) for number, one in self._bans.items() if one.brief is ban.brief]
            heapq.heapify(ends)

    def remove(self, key: int) -> Ban | None:
        """Lift; the ban, if there was one."""
        ban = self._bans.pop(key, None)
        if ban is not None:
            self._brief -= ban.brief
        return ban

    def first_to_end(self) -> Ban | None:
        """The lasting ban that ends first."""
        ends = self._ends[False]
        while ends:
            until, key = ends[0]
            ban = self._bans.get(key)
            if ban is not None and ban.until == until and not ban.brief:
                return ban
            heapq.heappop(ends)
        return None

    def expire(self, now: int) -> None:
        """Forget those that have ended; the kernel does by itself."""
        for ends in self._ends.values():
            while ends and ends[0][0] <= now:
                until, key = heapq.heappop(ends)
                ban = self._bans.get(key)
                if ban is not None and ban.until == until:
                    self.remove(key)

    def touching(self, network: Network) -> list[Ban]:
        """Bans that have an address in common with a network."""
        return [ban for key, ban in self._bans.items() if keys.touch(key, network)]

    def strike(self, key: int, now: int, *, brief: bool, first: bool = False) -> Strikes:
        """One more ban of a network: its strikes, and how long it lasts.

        :param first: as if it were the first.
        """
        rules = self._rules
        ladder, forget = (rules.brief, rules.forget_brief) if brief else (rules.ladder, rules.forget)
        table = self._brief_strikes if brief else self.strikes
        before = table.get(key)
        count = 1 if before is None or first or now - before.until > forget else before.count + 1
        strikes = Strikes(count, now, now + ladder[min(count, len(ladder)) - 1])
        table.put(key, strikes)
        return strikes

    def lately(self, wider: int, now: int) -> list[int]:
        """Numbers of a wide network whose own lasting bans began lately."""
        found = []
        for key in keys.members(wider):
            strikes = self.strikes.get(key)
            if strikes is not None and now - strikes.since <= self._rules.wide_within:
                found.append(key)
        return found

    def forgive(self, network: Network) -> None:
        """Forget the strikes of a network, of all in it and of the one around it."""
        for table in (self.strikes, self._brief_strikes):
            table.pop_touching(network)
