"""What may be dialled and what it means."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints

from appliance.core.fields import AnyOrder, DialledDigits, E164Prefix, ExtensionNumber, Label, ListField
from appliance.core.model import Object, Part
from appliance.organisation.model import SiteRef


class NumberRange(Part):
    """Internal numbers ``first`` to ``last``, same length."""

    first: ExtensionNumber
    last: ExtensionNumber


class SitePrefix(Part):
    """Digits dialled before an extension of a site; inside the site they may be left out."""

    site: SiteRef
    prefix: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}$")]


class NumberPlan(Object):
    """The internal numbering of the appliance."""

    kind: ClassVar[str] = "number_plan"
    name: Label
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = Field(
        "IT", description="Country whose rules national numbers follow"
    )
    ranges: Annotated[tuple[NumberRange, ...], ListField, AnyOrder()] = Field(min_length=1)
    site_prefixes: Annotated[tuple[SitePrefix, ...], ListField, AnyOrder()] = ()
    outside_prefix: Annotated[str, StringConstraints(pattern=r"^[0-9]{0,3}$")] = "0"


class Service(StrEnum):
    """What a service code does."""

    ECHO = "echo"
    WHICH_NUMBER = "which_number"
    DATE_TIME = "date_time"
    HOLD_MUSIC = "hold_music"
    DND_ON = "dnd_on"
    DND_OFF = "dnd_off"
    FORWARD_SET = "forward_set"
    FORWARD_OFF = "forward_off"
    LOCK = "lock"
    UNLOCK = "unlock"


class ServiceCode(Object):
    """A star code."""

    kind: ClassVar[str] = "service_code"
    code: DialledDigits
    service: Service


class NumberCategory(StrEnum):
    """What sort of number a call goes to, after phonenumbers (libphonenumber) types."""

    INTERNAL = "internal"
    FIXED = "fixed"
    MOBILE = "mobile"
    TOLL_FREE = "toll_free"
    SHARED_COST = "shared_cost"
    PREMIUM = "premium"
    VOIP = "voip"
    PERSONAL = "personal"
    UAN = "uan"
    SERVICE = "service"
    INTERNATIONAL = "international"
    OTHER = "other"


class ClassOfService(Object):
    """Who may dial what. What isn't allowed is denied; emergency numbers always pass."""

    kind: ClassVar[str] = "class_of_service"
    name: Label
    allow: Annotated[tuple[NumberCategory, ...], ListField, AnyOrder()] = Field(
        (NumberCategory.INTERNAL, NumberCategory.FIXED, NumberCategory.MOBILE, NumberCategory.TOLL_FREE),
        max_length=len(NumberCategory),
    )
    allow_prefixes: Annotated[tuple[E164Prefix, ...], ListField, AnyOrder()] = Field(
        (), description="Allowed beyond the categories"
    )
    deny_prefixes: Annotated[tuple[E164Prefix, ...], ListField, AnyOrder()] = Field(
        (), description="Denied in spite of all else"
    )
    may_forward_outside: bool = False
    may_transfer_outside: bool = False


DEFAULT_CLASS: Final = ClassOfService(id="default", name="default")
"""What holds for who has no class."""


class EmergencyPlan(Object):
    """Numbers that always pass, from every device, also locked, with and without the outside prefix."""

    kind: ClassVar[str] = "emergency_plan"
    name: Label
    numbers: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[0-9]{2,6}$")], ...], ListField, AnyOrder()
    ] = Field(("112", "113", "115", "118"), min_length=1)
