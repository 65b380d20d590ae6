"""The loopback takes the addresses that stand for the gate's clients (:mod:`appliance.engine.stand_ins`). Needs CAP_NET_ADMIN.

Without these routes the engine's answers to them would leave by the default route, so nobody would get in by the gate; nothing
else would be the worse for it.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

from appliance.engine.netns import inside
from appliance.engine.runner import run
from appliance.engine.stand_ins import ROUTES
from appliance.firewall.sysctl import Differing

_TABLE: Final = Path("/proc/thread-self/net/ipv6_route")
"""The kernel's routes of this thread's namespace: destination and its length in hexadecimal first, the interface last."""
_WANTED: Final = "local, dev lo"
TIMEOUT_S: Final = 10.0


def lacking(namespace: str | None = None) -> tuple[Differing, ...]:
    """Routes that aren't there. :raises UnavailableError: there is no such namespace."""

    def there() -> set[str]:
        try:
            lines = _TABLE.read_text().splitlines()
        except OSError:  # a kernel without IPv6
            return set()
        found = (line.split() for line in lines if line.endswith(" lo"))
        return {str(ipaddress.IPv6Network((int(words[0], 16), int(words[1], 16)))) for words in found}

    known = inside(namespace, there)
    return tuple(Differing(f"route {each}", _WANTED, None) for each in ROUTES if each not in known)


def put(namespace: str | None = None) -> tuple[Differing, ...]:
    """Make those that aren't there; those that couldn't be made. Idempotent. :raises UnavailableError: as :func:`lacking`."""
    missing = lacking(namespace)
    if not missing:
        return ()
    where = ["ip", *(["-n", namespace] if namespace else []), "-6", "route", "replace", "local"]
    for each in missing:
        run([*where, each.key.removeprefix("route "), "dev", "lo"], timeout_s=TIMEOUT_S, check=False)
    return lacking(namespace)
