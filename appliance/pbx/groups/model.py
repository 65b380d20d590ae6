"""Ring groups."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from appliance.core.fields import ExtensionNumber, Label, ListField
from appliance.core.model import Object, Part
from appliance.organisation.model import SiteRef
from appliance.pbx.extensions.model import ExtensionRef
from appliance.pbx.routing.model import Destination

MEMBERS_MAX: Final = 300
"""Numbers of all members stand in one line of the engine's, twice for *round robin*."""
AT_ONCE_MAX: Final = 120
"""Members who ring at once stand in one argument of the engine's: see :mod:`appliance.pbx.groups.plan`."""


class Strategy(StrEnum):
    """In which order members ring."""

    ALL = "all"
    SEQUENTIAL = "sequential"
    ROUND_ROBIN = "round_robin"


class GroupMember(Part):
    """An extension in a group; with strategy *all* it may start to ring later than the others."""

    extension: ExtensionRef
    delay_seconds: Annotated[int, Field(ge=0, le=120)] = 0


class RingGroup(Object):
    """A number that rings several extensions."""

    kind: ClassVar[str] = "ring_group"
    name: Label
    number: ExtensionNumber | None = None
    site: SiteRef
    strategy: Strategy = Strategy.ALL
    members: Annotated[tuple[GroupMember, ...], ListField] = Field(min_length=1, max_length=MEMBERS_MAX)
    ring_seconds: Annotated[int, Field(ge=5, le=600)] = Field(
        30, description="How long the group rings; each member, if they ring one after the other"
    )
    no_answer: Destination | None = Field(None, description="Where unanswered calls go; none: they end as unanswered")
