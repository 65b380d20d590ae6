"""Whoever is kept out at the centre is kept out at the edge: a table of nftables like the centre's own, whose bans end by themselves.

What happens when…

* the centre is away, or this process is dead: bans stand in the kernel until their time is over;
* the list is garbage, or of another release: it is told, and what was there stays;
* the kernel takes nothing, or nft is missing: it is told, and tried again with the next list;
* the clock isn't sure yet: nothing is taken, for bans end at a time of day;
* the centre bans what would cut this edge or its site off: it is left out here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable
from typing import Final

from appliance.core.errors import CorruptError
from appliance.firewall.bans.asking import SHARED_FORMAT, SHARED_MAX
from appliance.firewall.bans.judge import Wanted
from appliance.firewall.bans.kernel import Kernel
from appliance.firewall.bans.model import Ban, Network, Reason
from appliance.firewall.bans.policy import NEVER
from appliance.firewall.bans.rules import Rules
from appliance.firewall.bans.sets import set_of
from appliance.vpn.slices import Slice

LOCAL: Final[tuple[Network, ...]] = (
    *NEVER,
    *map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    ),
)
"""Addresses that mean somebody else at each place (RFC 1918, RFC 6598, RFC 4193), and those that no stranger can have."""
LONGEST_S: Final = Rules().longest // 1000 + 60


class EdgeBans:
    """The bans of one edge. Needs CAP_NET_ADMIN."""

    def __init__(self, kernel: Kernel | None = None) -> None:
        self._kernel = kernel or Kernel()
        self.etag = ""
        """Of the list that is in force."""
        self.count = 0

    def put(self, content: bytes, slice: Slice, wall: int) -> None:
        """Put a list in force, in the place of the former. ``wall``: ms since the epoch.

        :raises CorruptError: ``bans_garbled``; :raises ApplyError: ``bans_refused``; :raises UnavailableError: nft can't be asked.
        """
        bans = read(content, spared(slice), wall // 1000)
        self._kernel.sync(Wanted(0, bans))
        self.etag, self.count = hashlib.sha256(content).hexdigest()[:32], len(bans)


def spared(slice: Slice) -> tuple[Network, ...]:
    """What an edge never bans: its site's networks, and the centre."""
    found = [*LOCAL, *(ipaddress.ip_network(each) for each in slice.networks)]
    for remote in slice.remotes:
        try:
            found.append(ipaddress.ip_network(remote.host))
        except ValueError:
            continue  # a name: whatever it means, the centre doesn't ban itself
    return tuple(found)


def read(content: bytes, spare: Iterable[Network], now: int) -> tuple[Ban, ...]:
    """The bans of a list that have time left. ``now``: s since the epoch. :raises CorruptError: ``bans_garbled``."""
    try:
        plain = json.loads(content)
        if plain["format"] != SHARED_FORMAT or not isinstance(plain["bans"], list) or len(plain["bans"]) > SHARED_MAX:
            raise ValueError
        rows = [(ipaddress.ip_network(row["network"]), int(row["until"])) for row in plain["bans"]]
        never = tuple(spare)
        bans = (_ban(network, until - now) for network, until in rows if until > now and not _any(network, never))
        return tuple(bans)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CorruptError(
            "the centre's list of bans can't be read", "centre and edges may be two releases apart: update the older one",
            error_id="bans_garbled",
        ) from error  # fmt: skip


def _ban(network: Network, seconds: int) -> Ban:
    """:raises KeyError: no ban is like that."""
    ban = Ban(network, 0, 1000 * min(seconds, LONGEST_S), 0, Reason.MANY_ACCOUNTS, "")
    set_of(ban)
    return ban


def _any(network: Network, others: Iterable[Network]) -> bool:
    return any(network.version == other.version and network.overlaps(other) for other in others)
