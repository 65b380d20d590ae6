"""What must hold of a branch's lines, and between them and the centre (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_interface

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.failover.model import LINES, StaticAccess, WanLine
from appliance.failover.plan import ADDRESSES, lines, protected
from appliance.vpn.addresses import branches, concentrator, ours, third_party
from appliance.vpn.model import DAEMONS, PORT_MAX, THIRD, Branch, Concentrator


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    for one in sorted(document.all(Concentrator).values(), key=lambda item: item.id):
        yield from _ports(one)
    yield from _twice(document)
    for line in sorted(document.all(WanLine).values(), key=lambda item: item.id):
        if isinstance(line.access, StaticAccess):
            yield from access_faults(line.access, lambda field, line=line: line.path(f"access.{field}"))  # type: ignore[misc]
    yield from _unused(document)
    yield from _shut_out(document)


def _ports(one: Concentrator) -> Iterator[Fault]:
    """Daemons and relays have sixteen and fifteen ports in a row, here and at the router before us."""
    fields = [("relay_port", one.relay_port, one.port)]
    fields += [(f"addresses[{at}].relay_port", each.relay_port, each.port) for at, each in enumerate(one.addresses)]
    for field, relays, daemons in fields:
        if relays + DAEMONS - 1 > PORT_MAX:
            yield Fault(
                one.path(field),
                f"leaves no room for {DAEMONS} relays, each with the next port",
                f"choose {PORT_MAX - DAEMONS + 1} or lower",
                "no_relay_ports_left",
            )
        elif relays < daemons + THIRD + 1 and daemons < relays + DAEMONS:
            yield Fault(
                one.path(field),
                f"{relays} to {relays + DAEMONS - 1} are needed for relays, and {daemons} to {daemons + THIRD} for daemons",
                f"choose {daemons - DAEMONS} or lower, or {daemons + THIRD + 1} or higher",
                "relay_ports_taken",
            )


def _twice(document: Document) -> Iterator[Fault]:
    """At one site, a number or an interface is one line's."""
    numbers: dict[tuple[str, int], WanLine] = {}
    devices: dict[tuple[str, str], WanLine] = {}
    for line in sorted(document.all(WanLine).values(), key=lambda item: item.id):
        other = numbers.setdefault((line.site, line.number), line)
        if other is not line:
            yield Fault(
                line.path("number"),
                f"is line {other.id!r}'s already at this site",
                f"choose another one, of 1 to {LINES}",
                "line_number_taken",
            )
        other = devices.setdefault((line.site, line.device), line)
        if other is not line:
            yield Fault(
                line.path("device"),
                f"is where line {other.id!r} is already",
                "enter the interface that this line is at",
                "line_device_taken",
            )


def access_faults(access: StaticAccess, path_of: Callable[[str], str]) -> Iterator[Fault]:
    """The router is a neighbour, one of each version, and somebody else. ``path_of``: where a field of it stands."""
    own = [ip_interface(each) for each in access.addresses]
    seen: set[int] = set()
    for at, text in enumerate(access.gateways):
        gateway = ip_address(text)
        path = path_of(f"gateways[{at}]")
        if gateway.version in seen:
            yield Fault(
                path, f"is the second one of IPv{gateway.version}", "enter one of IPv4, and one of IPv6 if there is any",
                "gateway_twice",
            )  # fmt: skip
        seen.add(gateway.version)
        if any(gateway == each.ip for each in own):
            yield Fault(
                path, "is the edge's own address", "enter the address of the provider's router", "gateway_is_us"
            )
        elif not (gateway.version == 6 and gateway.is_link_local) and not any(gateway in each.network for each in own):
            yield Fault(
                path, "is in none of the line's networks, so the edge can't reach it",
                "enter the address of the provider's router, or mend the length of the network", "gateway_elsewhere",
            )  # fmt: skip


def _unused(document: Document) -> Iterator[Fault]:
    """Lines that nothing goes over."""
    in_use, others = branches(document), third_party(document)
    for site, own in lines(document).items():
        if site in others:
            yield Fault(
                own[0].path("site"),
                "has a router of another maker, which uses lines as it likes",
                "remove the line, or give the site an edge of ours",
                "line_of_other_maker",
                "warning",
            )
        elif site not in in_use:
            yield Fault(
                own[0].path("site"),
                "doesn't come in by the voice VPN, so nothing goes over this line",
                f"add a {Branch.kind} for the site, or put the one there is in use",
                "line_without_branch",
                "warning",
            )
    one = concentrator(document)
    if one is not None and len(one.addresses) > ADDRESSES and protected(document):
        yield Fault(
            one.path(f"addresses[{ADDRESSES}]"),
            f"isn't used by branches with WAN lines: they use the first {ADDRESSES} addresses",
            f"put the {ADDRESSES} best addresses first",
            "addresses_beyond_paths",
            "warning",
        )


def _shut_out(document: Document) -> Iterator[Fault]:
    one = concentrator(document)
    if one is None or one.direct:
        return
    safe = protected(document)
    for site, branch in ours(document).items():
        if site not in safe:
            yield Fault(
                branch.path("site"),
                f"has no WAN lines, and {one.path()} lets in nobody without a relay",
                f"add a {WanLine.kind} for the site, or set direct at {one.path()}",
                "branch_without_relay",
            )
