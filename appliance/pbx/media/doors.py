"""Doors: the listeners that the engine can't tell apart when it looks a caller up (pure).

The engine admits a request by user name *and* the domain of the transport it came in on, and it finds that transport by
address and port alone (res_pjsip_endpoint_identifier_user.c, ``find_transport_state_in_use``): UDP and TCP on one port
are one door. A device gets an endpoint for each door that it may use, named ``<device>@<door>.<token>``; at any other
door it is unknown, and answered like anybody unknown. Connections over WebSocket have no domain at all, so a device that
may use WSS gets an endpoint with its bare name, and everywhere else a *decoy* that no password opens.

Nobody but the engine knows the token (:attr:`Installation.transport_token`): a From header that names a door's domain
would open it from outside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from appliance.pbx.media.model import Listener, Transport, Zone


@dataclass(frozen=True, slots=True)
class Door:
    """One address and port: ``name`` is the id of its first listener; ``media`` the address of voice, None for any."""

    name: str
    transports: frozenset[Transport]
    media: str | None
    devices: bool
    listeners: tuple[str, ...]

    def domain(self, token: str) -> str:
        """The domain of its transports in pjsip.conf."""
        return f"{self.name}.{token}"


def doors(listeners: Iterable[Listener]) -> tuple[Door, ...]:
    """All doors: those with IPv4 voice first, then in order of name."""
    return _doors(tuple(listeners))


@lru_cache(maxsize=4)
def _doors(listeners: tuple[Listener, ...]) -> tuple[Door, ...]:
    found: dict[tuple[str, int, bool], list[Listener]] = {}
    # IPv4 first: a device with doors of both kinds is called at the first one it has.
    for listener in sorted(listeners, key=lambda item: (":" in (media_address(item) or item.address), item.id)):
        web = listener.transport is Transport.WSS
        found.setdefault((listener.address, listener.port, web), []).append(listener)
    return tuple(
        Door(
            group[0].id,
            frozenset(listener.transport for listener in group),
            media_address(group[0]),
            any(listener.zone is not Zone.TRUNKS for listener in group),
            tuple(listener.id for listener in group),
        )
        for group in found.values()
    )


def media_address(listener: Listener) -> str | None:
    """Where voice is sent from and received; None (any address) when the listener itself is bound to any."""
    address = listener.media_address or listener.address
    return None if is_any(address) else address


def is_any(address: str) -> bool:
    """Whether an address stands for all of its family."""
    return address in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)


def opens(door: Door, transports: Iterable[Transport]) -> bool:
    """Whether a device that may use these transports is let in. Doors for trunks are closed to all devices."""
    return door.devices and not door.transports.isdisjoint(transports)


SIGNALLING: Final = "/ws"
"""Path of SIP over WebSocket (RFC 7118), at the gate as at the engine's own port."""


def by_the_gate(listener: Listener) -> bool:
    """Whether browsers reach a listener by the gate, too or only."""
    return listener.transport is Transport.WSS and listener.zone is not Zone.TRUNKS
