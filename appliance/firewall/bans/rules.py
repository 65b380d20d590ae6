"""How much an attempt weighs, when it is enough, and how long a ban lasts.

What is tried counts once for each account, and much; the same account again counts little. So whoever mistypes five times on
one account has 23 points of 100, and who tries one password on each of many extensions has them all at the tenth.

============================== ====== ==================================================================================
attempt                        points
============================== ====== ==================================================================================
an account, first time             11 the tenth account is enough, within three quarters of an hour
one that doesn't exist             21 the fifth is enough
the same again                      3 a phone with a wrong password may try every 32 s for ever: 81 points, no more
dropped, first time at a port      11 ten ports
dropped, the same port again      0.5 the kernel has dropped it already; a phone that is led astray repeats itself a lot
a method that nobody here uses     25 besides
a tool for attacks                100 besides: there is nothing to wait for
============================== ====== ==================================================================================

Repeats are halved every 10 minutes, accounts every 6 hours: who is patient enough to stay below the limit tries one account an
hour. What a stranger sends whose address is not proven weighs as much: to invent a sender ten times is no harder than once. It is
banned briefly instead, so that whoever invents *your* address keeps you out for as long as he goes on, and little longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.clock import DAY, HOUR, MINUTE


@dataclass(frozen=True, slots=True)
class Rules:
    """All numbers of the judge. Times in ms."""

    limit: float = 100
    account: float = 11
    unknown_account: float = 21
    again: float = 3
    dropped: float = 11
    dropped_again: float = 0.5
    foreign_method: float = 25
    attack_tool: float = 100
    repeats_halve: int = 10 * MINUTE
    accounts_halve: int = 6 * HOUR

    ladder: tuple[int, ...] = (10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY)
    """How long the first ban lasts, the second, … and every one after."""
    brief: tuple[int, ...] = (2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR)
    """The same for those who may not be who they seem."""
    forget: int = 30 * DAY
    """So long after the end of its last ban a network begins anew."""
    forget_brief: int = DAY

    protects: int = MINUTE
    """So long after somebody authenticated well an address isn't banned."""
    protects_up_to: float = 3
    """…unless it has so many times the limit"""
    good_lately: int = DAY
    """…and what nobody can prove bans it for no longer than the first time, so long after."""
    many: int = 5
    """…or tried so many accounts, none of which it got into."""

    wide_from: int = 3
    """So many banned addresses make their whole /24 banned, or so many /64 their /56…"""
    wide_within: int = DAY
    """…when they were banned within this time…"""
    wide_good: int = 7 * DAY
    """…and nobody of it authenticated well within this."""

    sources: int = 200_000
    """Sources that are remembered at the same time, at most: half of them for those that proved themselves."""
    bans: int = 40_000
    """Bans at the same time, at most; one more lifts the one that ends first."""
    brief_bans: int = 10_000
    """Brief ones, besides; one more isn't imposed. Whoever invents senders fills this and nothing else."""
    evidence: int = 8
    """Attempts that a ban shows."""
    evidence_sources: int = 10_000
    """Sources on the way to a ban whose last attempts are kept word by word."""
    tell_again: int = HOUR
    """A protected network that goes on is told of so often."""

    @property
    def longest(self) -> int:
        """No ban lasts longer."""
        return max(*self.ladder, *self.brief)
