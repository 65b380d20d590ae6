"""Bans as sets of nftables: what they are called, and the commands that fill them.

Every ban has one of six lengths of prefix, so there is one *hash* set for each, and a rule looks up the masked address in it. No
interval sets: they refuse an element that overlaps another; with ``auto-merge`` nft 1.0.6 gives the merged range the time-out of one
of its parts (192.0.2.0/24 for 20 minutes and 192.0.3.0/24 for two seconds became 192.0.2.0/23 for two seconds); and it reads a whole
interval set before it adds to it (0.3 s beside 50,000 elements, where a hash set takes 5 ms). The black list is an interval
set, without time-outs and already merged; it should be short, for nft 1.0.6 reads all interval sets before it adds to any set.

Each set holds one address more, from which no packet can come: while it is there, nobody has emptied the set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.firewall.bans.judge import Wanted
from appliance.firewall.bans.model import Action, Ban, Decision, Network

FAMILY: Final = "inet"
TABLE: Final = "centralino"
_AT_ONCE: Final = 500
"""Elements in one command: nft answers an error with the whole command."""
_SHORTEST_MS: Final = 100
"""The kernel counts in jiffies of up to 10 ms, and a time-out of none means for ever: better not to come near it."""


@dataclass(frozen=True, slots=True)
class BanSet:
    """One set.

    :param match: what a rule says: ``ip saddr @banned4``.
    :param mark: the address in it that tells that it wasn't emptied.
    """

    name: str
    version: int
    length: int
    match: str
    mark: str
    quarantine: bool = False
    black: bool = False

    @property
    def declaration(self) -> str:
        """How it stands in a rule set."""
        kind = "ipv4_addr" if self.version == 4 else "ipv6_addr"
        flags = "interval" if self.black else "timeout"
        return f"set {self.name} {{ type {kind}; flags {flags}; }}"


SETS: Final = (
    BanSet("banned4", 4, 32, "ip saddr @banned4", "255.255.255.255"),
    BanSet("banned4_wide", 4, 24, "ip saddr & 255.255.255.0 @banned4_wide", "255.255.255.0"),
    BanSet("banned6", 6, 64, "ip6 saddr & ffff:ffff:ffff:ffff:: @banned6", "ff00::"),
    BanSet("banned6_wide", 6, 56, "ip6 saddr & ffff:ffff:ffff:ff00:: @banned6_wide", "ff00::"),
    BanSet("quarantined4", 4, 32, "ip saddr @quarantined4", "255.255.255.255", quarantine=True),
    BanSet("quarantined6", 6, 128, "ip6 saddr @quarantined6", "ff00::", quarantine=True),
    BanSet("black4", 4, 0, "ip saddr @black4", "255.255.255.255", black=True),
    BanSet("black6", 6, 0, "ip6 saddr @black6", "ff00::", black=True),
)
BANNED: Final = tuple(one for one in SETS if not one.quarantine)
QUARANTINED: Final = tuple(one for one in SETS if one.quarantine)
_BY_LENGTH: Final = {(one.version, one.length, one.quarantine): one for one in SETS if not one.black}


def set_of(ban: Ban) -> BanSet:
    """The set that a ban stands in."""
    return _BY_LENGTH[ban.network.version, ban.network.prefixlen, ban.quarantine]


def declarations() -> str:
    """All sets, empty, one a line, for the table of a rule set."""
    return "\n".join(one.declaration for one in SETS)


def filled(wanted: Wanted, table: str = TABLE) -> str:
    """Commands that make the sets hold exactly what is wanted. One transaction: no packet finds them empty."""
    lines = [f"flush set {FAMILY} {table} {one.name}" for one in SETS]
    lines += marks(table)
    elements: dict[str, list[str]] = {}
    for ban in wanted.bans:
        if ban.until > wanted.now:
            elements.setdefault(set_of(ban).name, []).append(_element(ban, wanted.now))
    for network in wanted.black:
        elements.setdefault(f"black{network.version}", []).append(str(network))
    for name, found in elements.items():
        lines += _commands("add", table, name, found)
    return _script(lines)


def changed(decisions: Iterable[Decision], now: int, table: str = TABLE) -> str:
    """Commands that carry out decisions: all or none. Empty if there is nothing to do.

    What is added is deleted before, for kernels before 6.13 leave an element's time-out as it is when it is added again; and
    added before that, for one that isn't there can't be deleted.
    """
    last: dict[tuple[str, Network], Decision] = {}
    for decision in decisions:
        if decision.action is not Action.SPARE:
            last[set_of(decision.ban).name, decision.ban.network] = decision
    adds: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    for (name, network), decision in last.items():
        places.setdefault(name, []).append(str(network.network_address))
        if decision.action is not Action.LIFT and decision.ban.until > now:
            adds.setdefault(name, []).append(_element(decision.ban, now))
    lines: list[str] = []
    for name, addresses in places.items():
        lines += _commands("add", table, name, [f"{address} timeout 1h" for address in addresses])
        lines += _commands("delete", table, name, addresses)
        lines += _commands("add", table, name, adds.get(name, []))
    return _script(lines)


def marks(table: str = TABLE, verb: str = "add") -> list[str]:
    """Commands that put the marks in. With ``create`` each is refused while its mark is there."""
    return [f"{verb} element {FAMILY} {table} {one.name} {{ {one.mark} }}" for one in SETS]


def _element(ban: Ban, now: int) -> str:
    seconds, ms = divmod(max(_SHORTEST_MS, ban.until - now), 1000)
    return f"{ban.network.network_address} timeout {seconds}s{ms}ms"  # nft takes no number of more than eight digits


def _commands(verb: str, table: str, name: str, elements: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(elements), _AT_ONCE):
        yield f"{verb} element {FAMILY} {table} {name} {{ {', '.join(elements[start : start + _AT_ONCE])} }}"


def _script(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
