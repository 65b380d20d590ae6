"""The organisation that the appliance serves, and the opaque secrets that other objects refer to."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints

from appliance.core.fields import (
    E164,
    AnyOrder,
    Email,
    Host,
    IpNetwork,
    Label,
    Language,
    ListField,
    ObjectId,
    PemCertificates,
    Port,
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
    max_calls: Annotated[int, Field(ge=0, le=10000)] | None = Field(None, description="None: no limit")


class Site(Object):
    """A place with phones: a head office, a branch, a shop."""

    kind: ClassVar[str] = "site"
    name: Label
    company: CompanyRef
    time_zone: TimeZone = "Europe/Rome"
    address: Address | None = None
    networks: Annotated[tuple[IpNetwork, ...], ListField, AnyOrder()] = Field(
        (), description="Where its phones are; a branch brings all of them in by the voice VPN"
    )
    language: Language | None = None
    class_of_service: Annotated[ObjectId, RefTo("class_of_service")] | None = None
    caller_number: E164 | None = None
    emergency_number: E164 | None = Field(
        None, description="Calling number of emergency calls: a public number answered here"
    )
    trunks: Annotated[tuple[Annotated[ObjectId, RefTo("trunk", "trunk_group")], ...], ListField] = Field(
        (), description="First choice first"
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


DistinguishedName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+ *=[^\x00-\x1f\x7f]*[^\x00-\x20\x7f]$", max_length=1000)
]
"""A name in a directory (RFC 4514), such as ``ou=people,dc=example,dc=com``."""

AttributeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,62}$")]
"""An attribute or object class of a directory (RFC 4512 ``descr``)."""


class DirectorySecurity(StrEnum):
    """How the connection to a directory is protected. Without, passwords would travel in clear: that can't be chosen."""

    LDAPS = "ldaps"  # TLS from the first byte, port 636
    STARTTLS = "starttls"  # port 389, TLS before anything else (RFC 4511 section 4.14)


class PersonBy(StrEnum):
    """What in the document tells who somebody from elsewhere is."""

    ID = "id"
    EMAIL = "email"


class LocalPasswords(StrEnum):
    """Whose passwords kept here open the door beside a directory's."""

    EVERYBODY = "everybody"
    ADMINISTRATORS = "administrators"


class DirectoryServer(Part):
    """One server of a directory."""

    host: Host
    port: Port | None = Field(None, description="636, or 389 with STARTTLS")


class DirectoryGroup(Part):
    """The role that members of a group of the directory have besides their own."""

    group: DistinguishedName
    role: RoleRef


class DirectoryService(Object):
    """A directory (LDAP, Active Directory) whose passwords open the portal. People must be in the document."""

    kind: ClassVar[str] = "directory_service"
    name: Label
    enabled: bool = True
    servers: Annotated[tuple[DirectoryServer, ...], ListField] = Field(
        min_length=1, max_length=8, description="Asked in this order until one answers"
    )
    security: DirectorySecurity = DirectorySecurity.LDAPS
    authority: PemCertificates | None = Field(
        None, description="PEM text of the authority that signed the servers' certificates"
    )
    bind_dn: DistinguishedName = Field(description="The account that looks people up; it needs to read, nothing else")
    secret: SecretRef = Field(description="Password of that account")
    base: DistinguishedName = Field(description="People are looked for below it")
    user_class: AttributeName = Field("person", description="person or inetOrgPerson; Active Directory: user")
    login_attributes: Annotated[tuple[AttributeName, ...], ListField, AnyOrder()] = Field(
        ("uid", "mail"),
        min_length=1,
        max_length=5,
        description="What people may type as their name. Active Directory: sAMAccountName, userPrincipalName, mail",
    )
    person_by: PersonBy = Field(PersonBy.EMAIL, description="What the attribute below is compared with")
    person_attribute: AttributeName = Field(
        "mail", description="Tells which person it is. Nobody may be able to change it on their own"
    )
    required_group: DistinguishedName | None = Field(None, description="Only members of this group get in")
    groups: Annotated[tuple[DirectoryGroup, ...], ListField, AnyOrder()] = Field(
        (), max_length=50, description="Members get a role besides their own, until they sign out"
    )
    nested_groups: bool = Field(False, description="Also members of groups in groups (Active Directory only)")
    local_passwords: LocalPasswords = Field(
        LocalPasswords.EVERYBODY, description="Whose passwords kept here are good besides. Administrators' always are"
    )


class ProviderGroup(Part):
    """The role that members of a group of the provider have besides their own."""

    group: Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,198}[!-~])?$")]
    role: RoleRef


class IdentityProvider(Object):
    """A provider of single sign-on (OpenID Connect) that opens the portal. People must be in the document."""

    kind: ClassVar[str] = "identity_provider"
    name: Label = Field(description="Stands on the button of the sign-in page")
    enabled: bool = True
    issuer: Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9.:\[\]-]+(/[^\s?#]*)?$", max_length=500)] = (
        Field(description="As the provider writes it, to the letter")
    )
    client_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")] = Field(
        description="What the provider knows us by. It leads back to …/sign-in/with/ID/callback of this portal"
    )
    secret: SecretRef = Field(description="Client secret that the provider gave")
    authority: PemCertificates | None = Field(
        None, description="PEM text of the authority that signed the provider's certificate"
    )
    scopes: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[!#-\[\]-~]{1,100}$")], ...], ListField, AnyOrder()
    ] = Field(("email", "profile"), max_length=20, description="What is asked for besides openid")
    person_by: PersonBy = Field(PersonBy.EMAIL, description="What the claim below is compared with")
    claim: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,200}$")] = Field(
        "email", description="Tells which person it is. Nobody may be able to change it on their own"
    )
    unverified_email: bool = Field(
        False, description="Trust addresses of which the provider doesn't say that it has verified them"
    )
    groups_claim: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,200}$")] = Field(
        "groups", description="Claim that lists somebody's groups, if the provider sends any"
    )
    groups: Annotated[tuple[ProviderGroup, ...], ListField, AnyOrder()] = Field(
        (), max_length=50, description="Members get a role besides their own, until they sign out"
    )
    second_factor: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")], ...], ListField, AnyOrder()
    ] = Field(
        (), max_length=20, description="Values of acr or amr that stand for a second factor: then ours isn't asked for"
    )


class Secret(Object):
    """Something only its user may know. In the document it is always sealed (``sealed:…``), never in the clear.

    ``None`` stands for a secret whose value has not been given yet (after an import without secrets, say).
    """

    kind: ClassVar[str] = "secret"
    value: Annotated[str, StringConstraints(pattern=r"^sealed:v1:[A-Za-z0-9_-]+$", max_length=10000)] | None = Field(
        None, repr=False
    )
