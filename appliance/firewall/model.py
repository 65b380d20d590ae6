"""Networks that have a part to play, and lists of addresses that are always or never let in."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from appliance.core.fields import AnyOrder, IpNetwork, Label, ListField
from appliance.core.model import Object


class NetworkZone(StrEnum):
    """What the hosts of a network are to us. Whoever is in none of them is outside, and reaches the tunnel's port only."""

    VOICE = "voice"
    CLIENTS = "clients"
    MANAGEMENT = "management"


class ListAction(StrEnum):
    """What happens to the addresses of a list."""

    ALLOW = "allow"  # never banned; they reach what their networks may reach, no more
    BLOCK = "block"  # nothing of theirs is taken, but at the tunnel's port


InterfaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,14}$")]
"""Name of a network interface (at most 15 characters, IFNAMSIZ)."""

Networks = Annotated[tuple[IpNetwork, ...], ListField, AnyOrder()]


class Network(Object):
    """A network whose hosts may reach more than anybody outside."""

    kind: ClassVar[str] = "network"
    name: Label
    zone: NetworkZone = Field(description="What its hosts may reach here")
    networks: Networks = Field(min_length=1, max_length=500)
    interface: InterfaceName | None = Field(
        None, description="Its packets come in here only; none: wherever the way back leads"
    )


class AddressList(Object):
    """Addresses that are always kept out, or never banned."""

    kind: ClassVar[str] = "address_list"
    name: Label
    action: ListAction
    networks: Networks = Field(min_length=1, max_length=10_000)
