"""What the judge goes by: the document in force, what its names mean, and addresses that tunnels come from now.

What happens when…

* the document can't be read: what was read last holds; before it was read once, nobody is judged, and the kernel keeps what it has;
* the voice VPN's process doesn't answer: addresses that tunnels came from stay protected for a day.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.document import Document
from appliance.core.errors import CentralinoError
from appliance.engine.unix import connect
from appliance.firewall.bans import plan
from appliance.firewall.bans.policy import Policy
from appliance.firewall.bans.sets import Doors
from appliance.firewall.machine import this_machine
from appliance.names.keeper import sources_in
from appliance.paths import Paths
from appliance.pbx.emergency.dialled import emergency_forms
from appliance.store import Store

OUTER_EVERY_S: Final = 5.0
OUTER_KEPT_S: Final = 86_400.0
OUTER_MAX: Final = 10_000
ASK_S: Final = 2.0
ANSWER_MAX: Final = 8 * 1024 * 1024
_NONSENSE: Final = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
RESOLVERS: Final = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Situation:
    """What holds from now on."""

    policy: Policy
    doors: Doors


class Followed:
    """Not for several threads at once. ``resolvers``: the file that names this machine's servers for names."""

    def __init__(self, paths: Paths, resolvers: Path = RESOLVERS) -> None:
        self._paths, self._resolvers = paths, resolvers
        self._store: Store | None = None
        self._known: tuple[int, tuple[str, ...], dict[str, tuple[str, ...]]] | None = None
        self._names: dict[str, tuple[str, ...]] = {}
        self._read: tuple[int, dict[str, tuple[str, ...]], Policy, Doors] | None = None
        self._outer: dict[str, float] = {}
        self._outer_at = 0.0

    def changed(self) -> Situation | None:
        """What holds, if it isn't what it was at the last call. :raises CentralinoError: it can't be read."""
        if self._store is None:
            self._store = Store.default(self._paths)
        try:
            revision = self._store.head().number
            spared = self._spared()
            if (revision, spared, self._names) == self._known:
                return None
            if self._read is None or self._read[:2] != (revision, self._names):
                self._read = revision, self._names, *_said(self._store.document(), self._names)
        except CentralinoError:
            self.close()
            raise
        *_, policy, doors = self._read
        self._known = revision, spared, self._names
        return Situation(plan.sparing(policy, spared), doors)

    def close(self) -> None:
        """Close the store; it is opened again when it is needed."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _spared(self) -> tuple[str, ...]:
        now = time.monotonic()
        if now >= self._outer_at:
            self._outer_at = now + OUTER_EVERY_S
            self._names = sources_in(self._paths.names)
            self._outer = {address: at for address, at in self._outer.items() if now - at < OUTER_KEPT_S}
            self._outer |= dict.fromkeys(outer_addresses(self._paths.vpn_socket), now)
            while len(self._outer) > OUTER_MAX:
                del self._outer[min(self._outer, key=self._outer.__getitem__)]
        return tuple(sorted({*self._outer, *resolvers(self._resolvers)}))


def _said(document: Document, names: Mapping[str, tuple[str, ...]]) -> tuple[Policy, Doors]:
    machine = this_machine(names)
    emergency = [form for forms in emergency_forms(document).values() for form in forms]
    return plan.policy(document, machine), plan.doors(document, machine, emergency)


def outer_addresses(vpn_socket: Path) -> list[str]:
    """Addresses that connected branches come from; none when the voice VPN's process doesn't say."""
    said = bytearray()
    with contextlib.suppress(*_NONSENSE), socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ASK_S)
        connect(asking, vpn_socket)
        while (chunk := asking.recv(1 << 16)) and len(said) <= ANSWER_MAX:
            said += chunk
        return list(_plain(branch.get("address") for branch in json.loads(said)["branches"] if branch.get("connected")))
    return []


def resolvers(file: Path) -> list[str]:
    """Servers that this machine asks for names (resolv.conf(5)): late answers of theirs must not look like knocking."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        lines = (line.split() for line in file.read_text().splitlines())
        return list(_plain(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"))
    return []


def _plain(texts: Iterable[Any]) -> Iterable[str]:
    """Addresses, without ports or zones: ``198.51.100.7:1194``, ``[2001:db8::7]:1194``, ``fe80::1%eth0`` are understood."""
    for text in texts:
        said = str(text or "").partition("%")[0]
        if said.startswith("["):
            said = said[1:].partition("]")[0]
        elif said.count(":") == 1:
            said = said.partition(":")[0]
        with contextlib.suppress(ValueError):
            yield str(ipaddress.ip_address(said))
