"""The organisation that the appliance serves, and the opaque secrets that other objects refer to."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from appliance.core.fields import (
    E164,
    AnyOrder,
    Email,
    IpNetwork,
    Label,
    Language,
    ListField,
    ObjectId,
    RefTo,
    TimeZone,
)
from appliance.core.model import Object, Part

BUILT_IN_ROLES: Final = frozenset(
    {"administrator", "it-manager", "hr-manager", "site-manager", "operator", "user", "auditor"}
)
"""Ids of roles that need not be in the document: :mod:`appliance.access.roles` says what they allow."""

CompanyRef = Annotated[ObjectId, RefTo("company")]
SiteRef = Annotated[ObjectId, RefTo("site")]
PersonRef = Annotated[ObjectId, RefTo("person")]
RoleRef = Annotated[ObjectId, RefTo("role", built_in=BUILT_IN_ROLES)]
SecretRef = Annotated[ObjectId, RefTo("secret")]


class Company(Object):
    """One company of the group that owns the appliance."""

    kind: ClassVar[str] = "company"
    name: Label
    caller_number: E164 | None = Field(None, description="Shown to called parties when nothing nearer says otherwise")
    language: Language = "it"


class Address(Part):
    """Where emergency services must go (civic address)."""

    street: Label
    city: Label
    postal_code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 -]{2,12}$")]
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = "IT"


class SiteLink(Part):
    """What may pass between this site and another whose line is thin."""

    to: SiteRef
    codec_policy: Annotated[ObjectId, RefTo("codec_policy")] | None = None
    max_calls: Annotated[int, Field(ge=0, le=10000)] | None = Field(None, description="Calls at once; none: no limit")


class Site(Object):
    """A place with phones: a head office, a branch, a shop."""

    kind: ClassVar[str] = "site"
    name: Label
    company: CompanyRef
    time_zone: TimeZone = "Europe/Rome"
    address: Address | None = None
    networks: Annotated[tuple[IpNetwork, ...], ListField, AnyOrder()] = ()
    language: Language | None = None
    class_of_service: Annotated[ObjectId, RefTo("class_of_service")] | None = None
    caller_number: E164 | None = None
    emergency_number: E164 | None = Field(None, description="Calling number of emergency calls: a DID answered here")
    trunks: Annotated[tuple[Annotated[ObjectId, RefTo("trunk", "trunk_group")], ...], ListField] = Field(
        (), description="Ways out, first choice first"
    )
    links: Annotated[tuple[SiteLink, ...], ListField, AnyOrder()] = ()


class Person(Object):
    """Somebody who uses or runs the telephone system."""

    kind: ClassVar[str] = "person"
    name: Label
    email: Email | None = None
    language: Language | None = None
    roles: Annotated[tuple[RoleRef, ...], ListField, AnyOrder()] = Field(
        (), description="Built in: administrator, it-manager, hr-manager, site-manager, operator, user, auditor"
    )
    sites: Annotated[tuple[SiteRef, ...], ListField, AnyOrder()] = Field(
        (), description="What the roles reach: these sites only; none: all"
    )


class Role(Object):
    """A set of permissions, granted to people: kinds, fields or areas that may be viewed or edited."""

    kind: ClassVar[str] = "role"
    name: Label
    permissions: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^([a-z_]+|\*)(\.[a-z_]+)?:(view|edit)$")], ...],
        ListField,
        AnyOrder(),
    ] = Field((), description="Such as extension:view, person.name:edit, history:view or *:edit")
    sites: Annotated[tuple[SiteRef, ...], ListField, AnyOrder()] = Field(
        (), description="Reaches these sites only; none: those of the person who has it"
    )
    own_only: bool = Field(False, description="Reaches only what is the person's own")


class EmailEndpoint(Part):
    """Notifications by e-mail."""

    type: Literal["email"] = "email"
    address: Email


class WebhookEndpoint(Part):
    """Notifications by HTTPS POST, signed with a secret."""

    type: Literal["webhook"] = "webhook"
    url: Annotated[str, StringConstraints(pattern=r"^https://[^\s@]+$", max_length=2000)]
    secret: SecretRef


class NotificationEndpoint(Object):
    """Where alarms and notices go."""

    kind: ClassVar[str] = "notification_endpoint"
    name: Label
    target: Annotated[EmailEndpoint | WebhookEndpoint, Field(discriminator="type")]


class Secret(Object):
    """Something only its user may know. In the document it is always sealed (``sealed:…``), never in the clear.

    ``None`` stands for a secret whose value has not been given yet (after an import without secrets, say).
    """

    kind: ClassVar[str] = "secret"
    value: Annotated[str, StringConstraints(pattern=r"^sealed:v1:[A-Za-z0-9_-]+$", max_length=10000)] | None = Field(
        None, repr=False
    )
