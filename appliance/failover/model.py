"""The lines of a branch, over which its tunnel is kept up."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from appliance.core.fields import AnyOrder, IpAddress, IpInterface, Label, ListField
from appliance.core.model import Object, Part
from appliance.organisation.model import SiteRef

LINES: Final = 4
"""Lines of a site at most."""

DeviceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,14}$")]
"""As Linux takes it (``dev_valid_name()``: 15 octets, no space, no slash, no colon), and no line of a configuration file mistakes."""


class LineRole(StrEnum):
    """What a line is there for. Also the order in which lines are liked."""

    PRIMARY = "primary"
    BACKUP = "backup"
    METERED = "metered"  # paid for by what it carries: measured rarely while nobody calls


class Copies(StrEnum):
    """When a branch's packets go over all of its lines at once."""

    ALWAYS = "always"
    CALLS = "calls"  # voice and signalling; what else there is goes by one line
    DEGRADED = "degraded"  # voice and signalling, from when the best line weakens
    NEVER = "never"  # one line carries everything; another takes over when it fails or weakens


class DhcpAccess(Part):
    """The provider's router gives the line its address (RFC 2131); of IPv6 by router advertisements (RFC 4861)."""

    type: Literal["dhcp"] = "dhcp"


class StaticAccess(Part):
    """The addresses that the provider has told."""

    type: Literal["static"] = "static"
    addresses: Annotated[tuple[IpInterface, ...], Field(min_length=1, max_length=8), ListField] = Field(
        description="Of the edge on this line, with the length of their networks, such as 198.51.100.2/30"
    )
    gateways: Annotated[tuple[IpAddress, ...], Field(min_length=1, max_length=2), ListField, AnyOrder()] = Field(
        description="The provider's router, within these networks: one of IPv4, one of IPv6"
    )
    name_servers: Annotated[tuple[IpAddress, ...], Field(max_length=3), ListField] = Field(
        (), description="The provider's name servers, asked by this line"
    )


Access = Annotated[DhcpAccess | StaticAccess, Field(discriminator="type")]
"""How a line gets its addresses."""


class WanLine(Object):
    """A line by which a branch reaches the centre. Once it has any, its edge uses these and no others."""

    kind: ClassVar[str] = "wan_line"
    name: Label
    site: SiteRef
    number: Annotated[int, Field(ge=1, le=LINES)] = Field(description="By which both ends know it")
    role: LineRole = LineRole.PRIMARY
    device: DeviceName = Field(description="Network interface of the edge that the line is at, such as wan")
    monthly_gb: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="What it may carry in a month, both ways; beyond that it is used only where no other line works",
    )
    access: Access | None = Field(
        None,
        description="How the edge gets the line's addresses; without it, whoever set the edge's system up sees to that",
    )
    enabled: bool = True
