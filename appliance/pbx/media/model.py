"""Listeners (where the engine answers SIP) and codec policies."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from appliance.core.fields import IpAddress, Label, ListField, ObjectId, Port, RefTo
from appliance.core.model import Object


class Transport(StrEnum):
    """How SIP travels (RFC 3261, RFC 7118)."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WSS = "wss"


class MediaSecurity(StrEnum):
    """How voice is protected: not at all, SDES (RFC 4568) or DTLS-SRTP (RFC 5763)."""

    NONE = "none"
    SDES = "sdes"
    DTLS = "dtls"


class Zone(StrEnum):
    """Who is expected behind a listener: the firewall opens it to them alone.

    A listener for browsers (WSS) is always reached through the portal's port as well, at ``/ws``; with ``gate``, only there.
    """

    PHONES = "phones"
    TRUNKS = "trunks"
    WEB = "web"
    GATE = "gate"


class Codec(StrEnum):
    """Codecs that the engine can decode. Names as in SDP, in small letters."""

    OPUS = "opus"
    G722 = "g722"
    ALAW = "alaw"
    ULAW = "ulaw"


FileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
"""Name of a certificate or authority, as its files are called."""


class Listener(Object):
    """One address and port at which the engine answers SIP."""

    kind: ClassVar[str] = "listener"
    name: Label
    transport: Transport
    address: IpAddress
    port: Port = 5060
    zone: Zone = Field(
        Zone.PHONES,
        description="Who may reach it. Browsers (WSS) come in by the portal's port as well, at /ws",
    )
    media_address: IpAddress | None = Field(None, description="Address of voice packets; none: the listener's own")
    certificate: FileName | None = Field(
        None, description="Name of an issued certificate; needed for TLS and WebSocket"
    )
    verify_providers: bool = Field(
        True, description="TLS: call providers from here only if their certificate is valid and names their host"
    )
    authority: FileName | None = Field(
        None, description="TLS: name of the CA certificates that sign providers'; none: the public ones"
    )


class CodecPolicy(Object):
    """Which codecs may be used, best first.

    No bit rate for Opus: the engine's encoder takes it from what the phone asks for (``maxaveragebitrate``, RFC 7587) and
    has no setting of its own.
    """

    kind: ClassVar[str] = "codec_policy"
    name: Label
    codecs: Annotated[tuple[Codec, ...], ListField] = Field(min_length=1, max_length=len(Codec))


ListenerRef = Annotated[ObjectId, RefTo("listener")]
CodecPolicyRef = Annotated[ObjectId, RefTo("codec_policy")]
