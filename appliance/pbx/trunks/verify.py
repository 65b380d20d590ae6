"""What must hold between trunks and the rest."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.names.answers import Resolved
from appliance.pbx.media.model import Listener, MediaSecurity, Transport
from appliance.pbx.trunks.endpoint import by_address, is_address, matches
from appliance.pbx.trunks.listeners import listener_for
from appliance.pbx.trunks.model import Provider, Trunk, TrunkGroup
from appliance.pbx.trunks.names import resolved

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Source = tuple[Network, int | None]
"""Where calls come from: a network, and a port or any."""
_NAMES_OF_OURS: Final = {"localhost": "127.0.0.1", "ip6-localhost": "::1"}


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    listeners = document.all(Listener).values()
    for trunk in document.all(Trunk).values():
        yield from _itself(trunk, listeners)
        if trunk.caller_number is None:
            yield Fault(
                trunk.path("caller_number"),
                "is not set: calls without a number of their own leave without any",
                "enter the line's main number",
                "trunk_without_number",
                "warning",
            )
        provider = document.find(Provider, trunk.provider)
        if provider is None or (provider.listener is not None and document.find(Listener, provider.listener) is None):
            continue
        if listeners and listener_for(document, trunk, provider) is None:
            yield Fault(
                trunk.path("host"),
                f"no listener can reach it: there is none for {provider.transport} of its address family",
                f"add a listener with transport {provider.transport}, or change {provider.path('transport')}"
                if provider.listener is None
                else f"change {provider.path('listener')} or {provider.path('transport')}",
                "no_listener",
            )
    for provider in document.all(Provider).values():
        if provider.media_security is MediaSecurity.SDES and provider.transport is not Transport.TLS:
            yield Fault(
                provider.path("media_security"),
                f"is sdes, but over {provider.transport} the keys travel in clear: whoever listens can decrypt the voice",
                "choose transport tls, if the provider has it",
                "keys_in_clear",
                "warning",
            )
    yield from _one_id(document)
    yield from _ambiguous(document)


def _itself(trunk: Trunk, listeners: Iterable[Listener]) -> Iterator[Fault]:
    """A trunk whose calls would come back: at every address of this machine that the document knows of."""
    host = _NAMES_OF_OURS.get(trunk.host.lower(), trunk.host)
    if not is_address(host):
        return
    address = _plain(host)
    ours = {_plain(text) for item in listeners for text in (item.address, item.media_address) if text is not None}
    if address not in ours and not address.is_loopback and not address.is_unspecified:
        return
    for listener in listeners:
        at = _plain(listener.address)
        covers = at == address or (
            at.version == address.version and (at.is_unspecified or address.is_unspecified)
        )  # calling 0.0.0.0 reaches oneself
        if covers and listener.port == trunk.port:
            yield Fault(
                trunk.path("host"),
                f"is this appliance itself: {listener.path()} answers at that address and port",
                "enter the provider's address",
                "trunk_dials_itself",
            )
            return


def _plain(text: str) -> Address:
    """An address; an IPv4 one that is written as IPv6 (``::ffff:192.0.2.1``) is what it means."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _one_id(document: Document) -> Iterator[Fault]:
    """Routes and sites name trunks and groups alike: an id must tell which."""
    trunks = document.all(Trunk)
    for group in document.all(TrunkGroup).values():
        if group.id in trunks:
            yield Fault(
                group.path("id"),
                f"is the id of {trunks[group.id].path()} too: routes and sites that name it mean the trunk",
                "give the group an id of its own",
                "trunk_and_group",
            )


def ambiguous_by_name(document: Document, names: Mapping[str, Resolved]) -> Iterator[Fault]:
    """The same of trunks whose names have the same address now: a warning, for nobody can mend what names mean."""
    known = {fault.path for fault in _ambiguous(document)}
    for fault in _ambiguous(document, names):
        if fault.path not in known:
            yield replace(fault, severity="warning")


def _ambiguous(document: Document, names: Mapping[str, Resolved] = MappingProxyType({})) -> Iterator[Fault]:
    """Trunks whose calls can't be told apart, because they come from the same place.

    Two registered ones may: each knows its calls by a mark in its contact. One that is known by its address alone may
    share that with nobody.
    """
    found: list[tuple[Source, Trunk]] = []
    for trunk in document.all(Trunk).values():
        provider = document.find(Provider, trunk.provider)
        if provider is not None:
            found += [(_source(match), trunk) for match in matches(trunk, provider, resolved(trunk, provider, names))]
    # Networks nest or are disjoint: sorted, each must only be compared with those that are still open.
    found.sort(key=lambda item: (item[0][0].version, int(item[0][0].network_address), item[0][0].prefixlen))
    around: list[tuple[Source, Trunk]] = []
    told: set[frozenset[str]] = set()
    for source, trunk in found:
        while around and not _within(source[0], around[-1][0][0]):
            around.pop()
        for outer, other in around:
            pair = frozenset((trunk.id, other.id))
            if other is trunk or pair in told or not (by_address(trunk) or by_address(other)):
                continue
            if source[1] is None or outer[1] is None or source[1] == outer[1]:
                told.add(pair)
                first, second = (trunk, other) if by_address(trunk) else (other, trunk)
                yield _same_place(first, second)
        around.append((source, trunk))


def _source(match: str) -> Source:
    """What an ``identify`` matches: ``192.0.2.0/24``, ``192.0.2.1:5060``, ``[2001:db8::1]:5060``."""
    host, colon, port = match.rpartition(":")
    if colon and (match.startswith("[") or "." in match):
        return ipaddress.ip_network(host.strip("[]")), int(port)
    return ipaddress.ip_network(match.strip("[]")), None


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.network_address in outer and inner.broadcast_address in outer


def _same_place(trunk: Trunk, other: Trunk) -> Fault:
    return Fault(
        trunk.path("accept_from" if trunk.accept_from else "host"),
        f"its calls couldn't be told from those of {other.path()}, which come from the same addresses",
        "make them one trunk, or give each the addresses of its own",
        "same_source",
    )
