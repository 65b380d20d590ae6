"""Extensions and their devices. One number rings all devices of its extension; busy logic is the extension's.

Language, class of service, caller number and emergency location resolve device → extension → site → company.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from appliance.core.fields import E164, AnyOrder, ExtensionNumber, Label, Language, ListField, ObjectId, RefTo
from appliance.core.model import Object
from appliance.organisation.model import PersonRef, SecretRef, SiteRef
from appliance.pbx.media.model import CodecPolicyRef, MediaSecurity, Transport

ExtensionRef = Annotated[ObjectId, RefTo("extension")]
ClassOfServiceRef = Annotated[ObjectId, RefTo("class_of_service")]


class BusyPolicy(StrEnum):
    """What a second call meets while the extension is on the phone."""

    CALL_WAITING = "call_waiting"
    BUSY = "busy"


class Extension(Object):
    """An internal number."""

    kind: ClassVar[str] = "extension"
    number: ExtensionNumber
    label: Label | None = Field(None, description="Shown when no person is assigned: Reception, Warehouse…")
    site: SiteRef
    person: PersonRef | None = None
    class_of_service: ClassOfServiceRef | None = None
    caller_number: E164 | None = None
    busy_policy: BusyPolicy = BusyPolicy.CALL_WAITING
    language: Language | None = None
    ring_seconds: Annotated[int, Field(ge=5, le=600)] = 60


class Device(Object):
    """Something that registers with its own credentials: a desk phone, a DECT handset, a browser. Its id is its SIP user name."""

    kind: ClassVar[str] = "device"
    extension: ExtensionRef
    slot: Annotated[int, Field(ge=1, le=9)] = Field(1, description="Position among the extension's devices, unique")
    label: Label | None = None
    site: SiteRef | None = Field(
        None, description="Where it stands, if not at its extension's site; counts for emergencies"
    )
    allowed_transports: Annotated[tuple[Transport, ...], ListField, AnyOrder()] = Field((Transport.UDP,), min_length=1)
    media_security: MediaSecurity = MediaSecurity.NONE
    nomadic: bool = Field(False, description="Emergency services are not told its place")
    codec_policy: CodecPolicyRef | None = None
    class_of_service: ClassOfServiceRef | None = None
    caller_number: E164 | None = None
    language: Language | None = None
    secret: SecretRef = Field(description="Holds its password; a device that is added without gets a new one")
