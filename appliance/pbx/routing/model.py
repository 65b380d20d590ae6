"""DIDs, inbound and outbound routes, and the destinations that they lead to."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from appliance.core.fields import E164, AnyOrder, E164Prefix, Label, ListField, ObjectId, RefTo
from appliance.core.model import Object, Part
from appliance.organisation.model import CompanyRef, SiteRef
from appliance.pbx.extensions.model import ExtensionRef
from appliance.pbx.numbers.model import Service
from appliance.pbx.trunks.model import TrunkRef


class Onward(Part):
    """One way on for a call, an option of :data:`Destination`; ``type`` names it.

    One that leads to an object has a reference of its type's name (``ring_group`` in the type *ring_group*); any other is
    where calls leave or end. The call flow (:mod:`appliance.pbx.flow`) needs to know no more of an option, nor of the kinds
    whose fields hold one.
    """

    type: str


class ToExtension(Onward):
    """Ring an extension."""

    type: Literal["extension"] = "extension"
    extension: ExtensionRef


class ToRingGroup(Onward):
    """Ring a group."""

    type: Literal["ring_group"] = "ring_group"
    ring_group: Annotated[ObjectId, RefTo("ring_group")]


class ToNumber(Onward):
    """Call an outside number, by the outbound routes of a site."""

    type: Literal["number"] = "number"
    number: E164
    site: SiteRef


class ToService(Onward):
    """Play a service: echo test, date and time…"""

    type: Literal["service"] = "service"
    service: Literal[Service.ECHO, Service.WHICH_NUMBER, Service.DATE_TIME, Service.HOLD_MUSIC]


class ToHangup(Onward):
    """Refuse the call."""

    type: Literal["hangup"] = "hangup"
    reason: Literal["busy", "unavailable", "rejected"] = "unavailable"


Destination = Annotated[ToExtension | ToRingGroup | ToNumber | ToService | ToHangup, Field(discriminator="type")]
"""Where a call goes next."""


class Did(Object):
    """A public number of ours and where its calls go."""

    kind: ClassVar[str] = "did"
    number: E164
    company: CompanyRef
    label: Label | None = None
    destination: Destination


class InboundRoute(Object):
    """A rule for calls from outside, looked at before the public number's own destination; lowest order first."""

    kind: ClassVar[str] = "inbound_route"
    name: Label
    order: Annotated[int, Field(ge=0, le=10000)]
    trunks: Annotated[tuple[TrunkRef, ...], ListField, AnyOrder()] = Field(
        (), description="Only calls from these; none: from any"
    )
    called: E164Prefix = "+"
    caller: E164Prefix | None = Field(None, description="Only callers whose number starts so; none: also unknown ones")
    destination: Destination


class OutboundRoute(Object):
    """Which trunks carry calls to which numbers; lowest order first. Calls that no route names take the site's trunks."""

    kind: ClassVar[str] = "outbound_route"
    name: Label
    order: Annotated[int, Field(ge=0, le=10000)]
    prefixes: Annotated[tuple[E164Prefix, ...], ListField, AnyOrder()] = Field(min_length=1)
    sites: Annotated[tuple[SiteRef, ...], ListField, AnyOrder()] = Field(
        (), description="Only callers at these sites; none: at any"
    )
    trunks: Annotated[tuple[Annotated[ObjectId, RefTo("trunk", "trunk_group")], ...], ListField] = Field(min_length=1)
