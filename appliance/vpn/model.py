"""The voice VPN: where branches find the centre, and which sites come in by it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from appliance.core.fields import AnyOrder, Host, IpNetwork, Label, ListField, Port
from appliance.core.model import Object, Part
from appliance.failover.model import Copies
from appliance.organisation.model import SiteRef

DAEMONS: Final = 15
"""Daemons at most for our own edges. The pool is cut into as many parts and one more, used or not, so that more of them move no
address."""
THIRD: Final = DAEMONS
"""The daemon for routers of other makers: the last part of the pool, and the last port, are its own."""
PORTS: Final = 1194
RELAY_PORTS: Final = 1170
PORT_MAX: Final = 65535
BRANCHES: Final = 4000
"""Numbers that a branch may have."""


class PublicAddress(Part):
    """Where branches reach the centre from outside: of this machine, or of the router before it."""

    host: Host
    port: Port = Field(
        PORTS, description="Of the first daemon; the router before it passes on as many as there are daemons"
    )
    relay_port: Port = Field(
        RELAY_PORTS, description="Of the first relay, for branches with WAN lines; passed on like the other"
    )


class Concentrator(Object):
    """The centre's end of the voice VPN. There is one."""

    kind: ClassVar[str] = "concentrator"
    name: Label
    enabled: bool = True
    addresses: Annotated[tuple[PublicAddress, ...], ListField] = Field(
        min_length=1, max_length=8, description="Tried in this order"
    )
    port: Port = Field(PORTS, description="UDP port of the first daemon here; each further one has the next")
    relay_port: Port = Field(RELAY_PORTS, description="UDP port of the first relay here; each further one has the next")
    direct: bool = Field(
        True, description="Lets branches in without a relay. Without it, who has no WAN lines can't come in"
    )
    pool: IpNetwork = Field(
        "172.29.0.0/16", description="Addresses within the tunnels (IPv4, /16 at least); no site may have them"
    )
    pool6: IpNetwork | None = Field(
        None, description="The same for IPv6 (/104 at least): needed when sites have IPv6 networks"
    )
    third_party: bool = Field(
        False, description="Lets in OpenVPN routers of other makers, by a daemon of their own at the 16th port"
    )
    packets_per_second: Annotated[int, Field(ge=50, le=100_000)] = Field(
        5000, description="Of the busiest branch, each way; one call has 50"
    )


class Router(StrEnum):
    """Who made a branch's router."""

    OURS = "ours"
    THIRD_PARTY = "third_party"  # any with OpenVPN: by a bundle that holds its private key


class Branch(Object):
    """A site that comes in by the voice VPN, with all networks that the site has."""

    kind: ClassVar[str] = "branch"
    site: SiteRef
    number: Annotated[int, Field(ge=1, le=BRANCHES)] = Field(description="Gives its address within the tunnel")
    enabled: bool = True
    router: Router = Field(
        Router.OURS,
        description="One of another maker needs OpenVPN, and the concentrator must let such routers in",
    )
    copies: Copies = Field(Copies.ALWAYS, description="What goes over all of its WAN lines at once")
    reaches: Annotated[tuple[SiteRef, ...], ListField, AnyOrder()] = Field(
        (), max_length=500, description="Sites that it reaches through the centre, and they it"
    )
