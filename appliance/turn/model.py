"""The TURN server: where browsers find it from outside, whom it is open to, and how much it carries."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from appliance.core.fields import AnyOrder, Host, IpAddress, Label, ListField, Port
from appliance.core.model import Object, Part

PORT: Final = 3478
"""TURN over UDP (RFC 8656 section 5)."""
TLS_PORT: Final = 443
"""Where TLS is let out of any network."""


class OpenTo(StrEnum):
    """Who may reach the TURN server. Either way it serves only who was given credentials."""

    CLIENTS = "clients"
    ANYBODY = "anybody"


class TurnAddress(Part):
    """Where browsers find the TURN server from outside: at this machine, or at the router before it."""

    host: Host = Field(description="Name or address. By TLS it works only if the portal's certificate names it")
    port: Port = Field(PORT, description="UDP; a router before this machine passes it on to the port here")
    tls_port: Port = Field(
        TLS_PORT, description="TCP, with TLS; a router before this machine passes it on to the portal's"
    )


class TurnServer(Object):
    """Relays voice between browsers in any network and the engine. There is one."""

    kind: ClassVar[str] = "turn_server"
    name: Label
    enabled: bool = True
    addresses: Annotated[tuple[TurnAddress, ...], ListField] = Field(
        min_length=1, max_length=4, description="All of them are told to browsers, which take what works"
    )
    listen: Annotated[tuple[IpAddress, ...], ListField, AnyOrder()] = Field(
        (), max_length=4, description="Addresses of this machine for UDP; none: that of the browsers' listener"
    )
    port: Port = Field(PORT, description="UDP port here; TLS comes in at the portal's port")
    open_to: OpenTo = Field(
        OpenTo.CLIENTS,
        description="anybody: the firewall opens the portal's port to everybody too, since TLS comes in there",
    )
    relay_first: Port = Field(30000, description="First UDP port of relays, on this machine's loopback")
    relay_last: Port = Field(31999, description="Last UDP port of relays; each relay has one")
    relays: Annotated[int, Field(ge=1, le=20_000)] = Field(1000, description="At once, of all people together")
    user_relays: Annotated[int, Field(ge=1, le=1000)] = Field(
        24, description="At once, of one person; one call takes one to six until the best way is found"
    )
    kilobits: Annotated[int, Field(ge=32, le=100_000)] = Field(
        512, description="Of one relay, each way; a G.711 call takes 90"
    )
