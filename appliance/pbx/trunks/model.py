"""Providers, trunks and groups of trunks."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from appliance.core.fields import E164, AnyOrder, Host, IpNetwork, Label, ListField, ObjectId, Port, RefTo, SipToken
from appliance.core.model import Object, Part
from appliance.organisation.model import SecretRef, SiteRef
from appliance.pbx.media.model import CodecPolicyRef, ListenerRef, MediaSecurity, Transport

ProviderRef = Annotated[ObjectId, RefTo("provider")]
TrunkRef = Annotated[ObjectId, RefTo("trunk")]


class NumberForm(StrEnum):
    """How numbers are written on the wire."""

    E164_PLUS = "e164_plus"  # +390200001234
    E164 = "e164"  # 390200001234
    NATIONAL = "national"  # 0200001234; foreign numbers as 00…


class IdentityHeader(StrEnum):
    """Where the calling number is put (RFC 3261 From, RFC 3325 P-Asserted-Identity, Remote-Party-ID draft)."""

    FROM = "from"
    PAI = "pai"
    RPID = "rpid"


class Clir(StrEnum):
    """How a withheld number is asked for (RFC 3323)."""

    PRIVACY_ID = "privacy_id"  # anonymous From, Privacy: id, number in PAI for the network
    ANONYMOUS = "anonymous"  # anonymous From, nothing else


class Dtmf(StrEnum):
    """How key tones travel."""

    RFC4733 = "rfc4733"
    INBAND = "inband"
    INFO = "info"
    AUTO = "auto"


class Lookup(StrEnum):
    """How a trunk's host is looked up, when it is a name."""

    ADDRESS = "address"
    SRV = "srv"  # RFC 3263; by address all the same, if there are no such records


class IdentityProfile(Part):
    """How calling and called numbers look towards and from a provider. The two are normalised separately."""

    header: IdentityHeader = IdentityHeader.PAI
    from_user: Literal["number", "account"] = Field(
        "number", description="User part of From: calling number or account"
    )
    calling_form: NumberForm = NumberForm.E164_PLUS
    called_form: NumberForm = NumberForm.E164_PLUS
    clir: Clir = Clir.PRIVACY_ID
    screening: bool = Field(True, description="Refuse to send calling numbers that aren't DIDs of this appliance")
    trust_inbound_identity: bool = Field(True, description="Take the caller from PAI/RPID, else from From only")
    send_diversion: bool = Field(True, description="Tell on forwarded calls who forwarded (RFC 5806)")


class Provider(Object):
    """A telephone company."""

    kind: ClassVar[str] = "provider"
    name: Label
    country: str = Field("IT", pattern=r"^[A-Z]{2}$")
    identity: IdentityProfile = IdentityProfile()
    transport: Literal[Transport.UDP, Transport.TCP, Transport.TLS] = Transport.UDP
    listener: ListenerRef | None = Field(
        None, description="Where its calls leave, and how its certificate is checked; none: the first of its transport"
    )
    media_security: Literal[MediaSecurity.NONE, MediaSecurity.SDES] = MediaSecurity.NONE
    codec_policy: CodecPolicyRef | None = None
    dtmf: Dtmf = Dtmf.RFC4733
    early_media: bool = True
    prack: bool = Field(False, description="Reliable provisional responses (RFC 3262)")
    session_timers: bool = Field(True, description="Session timers (RFC 4028)")
    t38: bool = Field(True, description="Fax relay (ITU-T T.38) passed through")
    media_networks: Annotated[tuple[IpNetwork, ...], ListField, AnyOrder()] = Field(
        (),
        description="Addresses its voice comes from, if others than its signalling: the firewall opens voice to them",
    )
    probe: bool = Field(
        True, description="Ask every 30 s by OPTIONS whether a trunk is there; off if the provider ignores OPTIONS"
    )


class RegisterAuth(Part):
    """We register with the provider."""

    type: Literal["register"] = "register"
    username: SipToken
    auth_username: SipToken | None = None
    secret: SecretRef
    expires_seconds: Annotated[int, Field(ge=60, le=86400)] = 600


class AddressAuth(Part):
    """The provider knows us by our address, and we know it by its own."""

    type: Literal["address"] = "address"


class Trunk(Object):
    """One line (account or interconnection) at a provider."""

    kind: ClassVar[str] = "trunk"
    name: Label
    provider: ProviderRef
    host: Host
    port: Port = 5060
    lookup: Lookup = Field(
        Lookup.ADDRESS,
        description="Of a host that is a name: srv takes servers and ports from its SRV records (RFC 3263)",
    )
    auth: Annotated[RegisterAuth | AddressAuth, Field(discriminator="type")]
    accept_from: Annotated[tuple[IpNetwork, ...], ListField, AnyOrder()] = Field(
        (), description="Addresses its calls may come from"
    )
    site: SiteRef | None = Field(None, description="Where the line physically is, if at a branch")
    caller_number: E164 | None = Field(None, description="Main number of the line")
    max_calls: Annotated[int, Field(ge=1, le=10000)] | None = None


class TrunkGroup(Object):
    """Trunks tried one after the other."""

    kind: ClassVar[str] = "trunk_group"
    name: Label
    trunks: Annotated[tuple[TrunkRef, ...], ListField] = Field(min_length=1)
