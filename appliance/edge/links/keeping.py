"""Lines whose interfaces the edge sets up, kept as the slice wants them: what somebody else changed is put right, and told.

When the kernel says that something changed, when something else is wanted, and every five minutes, all of it is compared.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final

from appliance.clock import SECOND, Clock, system_clock
from appliance.core.errors import CentralinoError, UnavailableError
from appliance.edge.links.changes import changes
from appliance.edge.links.kernel import Kernel, Watch
from appliance.edge.links.leases import Leases
from appliance.edge.links.things import PRIORITIES, TABLES, Address, Change, Failed, Found, Lease, Route, Rule, Wanted
from appliance.edge.links.wanted import wanted
from appliance.edge.paths import EdgePaths
from appliance.failover.model import LINES, DhcpAccess
from appliance.vpn.slices.model import Link

_log = logging.getLogger("centralino.edge")

EVERY: Final = 300 * SECOND
SOON: Final = 30 * SECOND
"""After something failed, of which the kernel may say nothing more."""
AGAIN: Final = 2 * SECOND
"""After the kernel said nothing at all."""
ANSWERED: Final = 10 * SECOND
"""By then a DHCP server has answered, or isn't there."""
PASSES: Final = 4
"""The kernel takes routes away with an address, and other addresses with the first of their network: then they are made again."""
STRICT: Final = Path("/proc/sys/net/ipv4/conf")


@dataclass
class _Told:
    """Of one line."""

    trouble: str = ""
    put_back: int = 0
    """How often something was that somebody else had changed."""
    last: str = ""
    """What it was, the last time."""
    addresses: list[str] = field(default_factory=list)


class Links:
    """See this module and its package."""

    def __init__(self, paths: EdgePaths, clock: Clock = system_clock) -> None:
        self._clock, self._kernel = clock, Kernel()
        self._leases = Leases(paths.run / "leases", paths.log, clock)
        self._marker = paths.run / "links"
        """There while anything of ours may be in the kernel."""
        self._watch: Watch | None = None
        self._links: tuple[Link, ...] = ()
        self._wanted: Wanted | None = None
        """What was wanted when all was as it should be."""
        self._found = Found()
        self._carriers: dict[str, bool] = {}
        self._held: dict[str, Lease | None] = {}
        self._told: dict[int, _Told] = {}
        self._asking: dict[str, int] = {}
        """Since when a line has no lease."""
        self._trouble: CentralinoError | None = None
        self._due = 0

    def tend(self, links: tuple[Link, ...]) -> None:
        """One round. :raises CentralinoError: something isn't as it should be; all else is. :raises OSError: the same."""
        if not links and self._watch is None and not self._marker.exists():
            return
        if self._watch is None:
            self._marker.parent.mkdir(mode=0o710, parents=True, exist_ok=True)
            self._marker.touch()
            self._watch = Watch()
        another = links != self._links
        if another:
            self._links, self._wanted = links, None
            self._told = {each.number: self._told.get(each.number, _Told()) for each in links}
            asking = {each.device for each in links if isinstance(each.access, DhcpAccess)}
            self._asking = {device: since for device, since in self._asking.items() if device in asking}
        held, trouble = self._lease_all()
        now = self._clock().uptime
        if self._watch.anything() or another or held != self._held or now >= self._due:
            self._held, self._due = held, now + AGAIN
            failed = self._settle(held)
            self._trouble = self._judge(failed)
            self._due = now + (SOON if self._trouble is not None else ANSWERED if self._asking else EVERY)
            if not links and not failed:
                self.close()
                self._marker.unlink(missing_ok=True)
        trouble = trouble or self._trouble
        if trouble is not None:
            raise trouble

    def name_servers(self) -> list[tuple[str, str]]:
        """Who is to be asked for names, and by which interface: of all lines, in their order."""
        found: list[tuple[str, str]] = []
        for link in sorted(self._links, key=lambda each: each.number):
            lease = self._held.get(link.device)
            told = lease.name_servers if lease is not None else ()
            servers = told if isinstance(link.access, DhcpAccess) else link.access.name_servers
            found += [(str(each), link.device) for each in servers]
        return found

    def close(self) -> None:
        """We end, and all that we have made stays."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def told(self) -> list[dict[str, Any]]:
        """How each line's interface stands."""
        return [self._one(each, self._told.get(each.number, _Told())) for each in self._links]

    def _one(self, link: Link, told: _Told) -> dict[str, Any]:
        device, lease = self._found.devices.get(link.device), self._held.get(link.device)
        return {
            "line": link.number, "device": link.device, "access": link.access.type,
            "there": device is not None, "carrier": device is not None and device.carrier,
            "addresses": told.addresses, "gateways": self._gateways(link.number),
            "server": None if lease is None or lease.server is None else str(lease.server),
            "name_servers": [server for server, device in self.name_servers() if device == link.device],
            "put_back": told.put_back, "last": told.last, "trouble": told.trouble,
        }  # fmt: skip

    def _gateways(self, line: int) -> list[str]:
        routes = self._found.routes
        return sorted(str(each.gateway) for each in routes if each.table == TABLES + line and each.gateway is not None)

    def _lease_all(self) -> tuple[dict[str, Lease | None], CentralinoError | OSError | None]:
        devices = frozenset(each.device for each in self._links if isinstance(each.access, DhcpAccess))
        trouble: CentralinoError | OSError | None = None
        try:
            self._leases.tend(devices, frozenset(name for name, each in self._found.devices.items() if each.up))
        except (CentralinoError, OSError) as error:
            trouble = error
        held: dict[str, Lease | None] = {}
        for device in devices:
            try:
                found = self._leases.lease(device)
            except CentralinoError as error:
                found, trouble = None, error
            # The time that is left is another each time, and no reason to look at the kernel.
            held[device] = None if found is None else replace(found, ends_in_s=None)
            if found is not None:
                self._asking.pop(device, None)
            else:
                self._asking.setdefault(device, self._clock().uptime)
        return held, trouble

    def _settle(self, held: Mapping[str, Lease | None]) -> tuple[Failed, ...]:
        """Until nothing is left to be done."""
        failed: tuple[Failed, ...] = ()
        devices = {each.device for each in self._links}
        for turn in range(PASSES):
            if self._watch is not None:  # what is said after this is looked at again
                self._watch.anything()
            self._found = self._kernel.read(devices)
            want = wanted(self._links, held, self._found.advertised)
            todo = changes(self._found, want)
            if turn == 0:
                self._put_back(todo, want)
            self._wanted = want
            if not todo or failed:
                break
            failed = self._kernel.change(todo, self._found.devices)
        self._cables()
        self._addresses()
        return failed

    def _put_back(self, todo: tuple[Change, ...], want: Wanted) -> None:
        """What isn't as it was, though the same is wanted as then: somebody else's work."""
        if self._wanted is None or want != self._wanted:
            return
        for each in todo:
            line = self._line_of(each.what)
            told = self._told.get(line)
            if told is not None:
                told.put_back += 1
                told.last = in_short(each.what)
                _log.warning("line %d: put back: %s", line, told.last)

    def _line_of(self, what: str | Address | Route | Rule) -> int:
        match what:
            case str(device) | Address(device):
                return next((each.number for each in self._links if each.device == device), 0)
            case Route():
                found = what.table if what.table > TABLES else what.metric
                return found - TABLES if 0 < found - TABLES <= LINES else 0
            case Rule():
                return max(1, (what.priority - PRIORITIES) // 10)

    def _cables(self) -> None:
        """Who has a cable again asks its DHCP server again: it may be another one."""
        for name, device in self._found.devices.items():
            if device.carrier and self._carriers.get(name) is False:
                self._leases.again(name)
            self._carriers[name] = device.carrier

    def _addresses(self) -> None:
        for link in self._links:
            of_link = [each.interface for each in self._found.addresses if each.device == link.device]
            shown = sorted(
                str(each) for each in of_link if not (isinstance(each.ip, IPv6Address) and each.ip.is_link_local)
            )
            self._told[link.number].addresses = shown

    def _judge(self, failed: tuple[Failed, ...]) -> CentralinoError | None:
        """What is wrong with each line; the first of it is said."""
        first = None
        for link in self._links:
            trouble = self._trouble_of(link, failed)
            self._told[link.number].trouble = "" if trouble is None else trouble.message
            first = first or trouble
        others = [each for each in failed if self._line_of(each.change.what) not in self._told]
        if first is None and others:
            first = UnavailableError(
                f"the kernel refuses {in_short(others[0].change.what)}: {others[0].why}", error_id="link_refused"
            )
        return first

    def _trouble_of(self, link: Link, failed: tuple[Failed, ...]) -> CentralinoError | None:
        if link.device not in self._found.devices:
            return UnavailableError(
                f"line {link.number}: there is no interface {link.device}", "plug it in, or correct the line's interface",
                error_id="no_device",
            )  # fmt: skip
        for each in failed:
            if self._line_of(each.change.what) == link.number:
                return UnavailableError(
                    f"line {link.number}: the kernel refuses {in_short(each.change.what)}: {each.why}",
                    error_id="link_refused",
                )
        if not self._found.devices[link.device].carrier:
            return UnavailableError(
                f"line {link.number}: no cable at {link.device}", "plug it in, and look at the device at its other end",
                error_id="no_carrier",
            )  # fmt: skip
        asking = self._asking.get(link.device)
        if asking is not None and self._clock().uptime - asking >= ANSWERED:
            return UnavailableError(
                f"line {link.number}: no DHCP server answers at {link.device}", "look at the provider's router",
                error_id="no_lease",
            )  # fmt: skip
        if _strict(link.device):
            return UnavailableError(
                f"line {link.number}: the kernel drops what doesn't come the way that its answer goes (rp_filter)",
                f"sysctl net.ipv4.conf.{link.device}.rp_filter=2", error_id="strict_filter",
            )  # fmt: skip
        return None


def in_short(what: str | Address | Route | Rule) -> str:
    """As ``ip`` would say it."""
    match what:
        case str(device):
            return f"{device} up"
        case Address(device, interface):
            return f"{interface} at {device}"
        case Route():
            to = "default" if what.to.prefixlen == 0 else str(what.to)
            way = "unreachable" if what.device is None else " ".join(
                [*([] if what.gateway is None else ["via", str(what.gateway)]), "dev", what.device]
            )  # fmt: skip
            return f"{to} {way} table {what.table}"
        case Rule():
            of = (
                f"from {what.source}"
                if what.source
                else f"oif {what.device}"
                if what.device
                else "fwmark"
                if what.mark
                else "from all"
            )
            return f"rule {what.priority} {of} table {what.table}"


def _strict(device: str) -> bool:
    """Whether ``rp_filter`` is strict there: the larger one of the interface's and of all (ip-sysctl.rst)."""
    values = []
    for name in ("all", device):
        with contextlib.suppress(OSError, ValueError):
            values.append(int((STRICT / name / "rp_filter").read_text()))
    return max(values, default=0) == 1
