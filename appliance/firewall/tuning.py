"""Document → settings of the kernel that the firewall relies on (pure): how many flows it remembers, and what it never does.

As a file in the form of sysctl.d(5), in the generation beside the rules: forward and back with them, and the same at boot. A ``*``
stands for every interface, those to come included. Where the firewall isn't ours, nothing is set; nothing is put back either:
what the kernel does by default lets more in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from appliance.core.document import Document
from appliance.firewall.promise import Machine, Promise
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.trunks.model import Trunk

DEVICE_FLOWS: Final = 2
"""SIP of a phone over TCP; provisioning. Voice and SIP over UDP aren't tracked (:mod:`appliance.firewall.rules`)."""
EXTENSION_FLOWS: Final = 8
"""A browser and a mobile: portal, live view, SIP over WSS, and what they left behind by reloading."""
TRUNK_FLOWS: Final = 16
OTHER_FLOWS: Final = 4096
SPARE: Final = 4
"""After a failure of power all phones are back at once, while the flows of before still stand."""
FLOW_BYTES: Final = 336
"""Of one flow in the kernel's memory: struct nf_conn and its place in the table (x86-64, Linux 6)."""
MEMORY_SHARE: Final = 32
"""One part in so many of the memory is for flows at most."""
LEAST: Final = 32_768
USUAL: Final = 262_144
"""What the kernel takes by itself on a machine with 4 GB."""
MOST: Final = 4_194_304
IDLE_TCP_S: Final = 7440
"""A TCP connection that says nothing for so long is forgotten (RFC 5382 REQ-5 asks for 2 h 4 min; the kernel keeps it five days)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """``key`` as in sysctl(8), ``*`` for every interface. ``instead_of``: set only where the kernel has this value."""

    key: str
    value: str
    instead_of: str | None = None


def flows(document: Document) -> int:
    """How many flows a busy day has, with room to spare."""
    phones = DEVICE_FLOWS * len(document.all(Device)) + EXTENSION_FLOWS * len(document.all(Extension))
    return SPARE * (OTHER_FLOWS + phones + TRUNK_FLOWS * len(document.all(Trunk)))


def remembered(document: Document, memory: int) -> int:
    """How many flows the kernel is told to remember: a power of two, as many as the document needs, as the memory (bytes) allows."""
    wanted = max(USUAL, 1 << (flows(document) - 1).bit_length())
    allowed = 1 << max(0, (memory // MEMORY_SHARE // FLOW_BYTES).bit_length() - 1)
    return min(MOST, max(LEAST, min(wanted, allowed)))


def settings(document: Document, promise: Promise, machine: Machine) -> tuple[Setting, ...]:
    """All settings, in the order in which they are to be made: what is forwarded first, for it puts others back."""
    return tuple(_settings(document, promise, machine))


def _settings(document: Document, promise: Promise, machine: Machine) -> Iterator[Setting]:
    six = any(":" in network for group in promise.groups if group.name == "vpn" for network in group.networks)
    yield Setting("net.ipv4.ip_forward", str(int(bool(promise.tunnels))))
    if six and promise.tunnels:
        # A router listens to no other router, unless it is told to (accept_ra = 2): it would lose its own way out.
        yield Setting("net.ipv6.conf.*.accept_ra", "2", instead_of="1")
    yield Setting("net.ipv6.conf.all.forwarding", str(int(six and bool(promise.tunnels))))
    for each in ("accept_redirects", "secure_redirects", "send_redirects", "accept_source_route"):
        yield Setting(f"net.ipv4.conf.*.{each}", "0")
    for each in ("accept_redirects", "accept_source_route"):
        yield Setting(f"net.ipv6.conf.*.{each}", "0")
    # Loose: a strict check would drop branches that come in by two providers; the rules check our own networks strictly.
    yield Setting("net.ipv4.conf.*.rp_filter", "2")
    yield Setting("net.ipv4.tcp_syncookies", "1")
    yield Setting("net.ipv4.icmp_echo_ignore_broadcasts", "1")
    yield Setting("net.ipv4.icmp_ignore_bogus_error_responses", "1")
    number = remembered(document, machine.memory)
    yield Setting("net.netfilter.nf_conntrack_buckets", str(number))
    yield Setting("net.netfilter.nf_conntrack_max", str(number))
    yield Setting("net.netfilter.nf_conntrack_tcp_timeout_established", str(IDLE_TCP_S))


def text(made: tuple[Setting, ...]) -> str:
    """The file. A line that is set only in the place of another value says so behind it."""
    lines = (f"{each.key} = {each.value}{f' ; if {each.instead_of}' if each.instead_of else ''}\n" for each in made)
    return "".join(lines)


def parsed(text: str) -> tuple[Setting, ...]:
    """The settings of such a file; lines that are none are passed over."""
    found = []
    for line in text.splitlines():
        key, equals, rest = line.partition("=")
        value, _, condition = rest.partition(";")
        if equals and not line.startswith("#"):
            instead = condition.strip().removeprefix("if ") or None
            found.append(Setting(key.strip(), value.strip(), instead))
    return tuple(found)
