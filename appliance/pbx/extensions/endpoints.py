"""Devices as objects of the engine: endpoint, authentication, address of record (pure).

All devices' sections are kept from one revision to the next while nothing that they are made of has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from appliance.core.asterisk import Section
from appliance.core.document import Document
from appliance.core.model import Object
from appliance.organisation.model import Company, Person, Site
from appliance.pbx import carried
from appliance.pbx.context import Installation
from appliance.pbx.extensions.links import thin_codecs
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.extensions.resolve import Identity, identity
from appliance.pbx.media.codecs import STANDARD, allow
from appliance.pbx.media.doors import Door, doors, opens
from appliance.pbx.media.model import CodecPolicy, Listener, MediaSecurity, Transport
from appliance.pbx.numbers.model import ClassOfService

RTP_TIMEOUT_S: Final = 120
"""A call without any voice packet for so long is ended: its phone is gone. The longest failover promised, a branch
changing over from a dead line to mobile with a new VPN session, takes 60 s: calls must outlive it, twice over."""
RTP_TIMEOUT_HOLD_S: Final = 900
"""The same for a call on hold, whose phone may rightly be silent."""
QUALIFY_S: Final = 60
"""Seconds between OPTIONS to each registered device: 170 a second for 10,000 devices, and keeps NAT bindings of TCP."""
REFUSED: Final = "nobody.at.all"
"""Name of the authentication that no password passes. Ids of devices have no dots, so it is nobody's."""


@dataclass(frozen=True, slots=True)
class _Ground:
    """What all devices stand on: when it changes, all sections are made anew."""

    token: str = field(repr=False)
    realm: str
    doors: tuple[Door, ...]

    def domains(self, device: Device) -> tuple[Door, ...]:
        return tuple(door for door in self.doors if opens(door, device.allowed_transports))


def endpoint_names(device: Device, found: tuple[Door, ...], token: str) -> tuple[str, ...]:
    """The endpoints of a device that may call and be called; the first is dialled, unless `voice_differs`."""
    if Transport.WSS in device.allowed_transports:
        return (device.id,)
    names = [f"{device.id}@{door.domain(token)}" for door in found if opens(door, device.allowed_transports)]
    return tuple(names)


def voice_differs(device: Device, found: tuple[Door, ...]) -> bool:
    """Whether it matters by which of its endpoints a device is dialled: its doors have different addresses of voice, and
    only the one where it is registered has one that it reaches."""
    if Transport.WSS in device.allowed_transports:
        return False
    return len({door.media for door in found if opens(door, device.allowed_transports)}) > 1


_memo: dict[str, tuple[tuple[object, ...], tuple[Section, ...]]] = {}


def sections(document: Document, installation: Installation) -> Iterator[Section]:
    """Sections of every device, in order of id."""
    listeners = tuple(document.all(Listener).values())
    ground = _Ground(installation.transport_token, installation.realm, doors(listeners))
    devices = document.all(Device)
    for gone in _memo.keys() - devices.keys():
        _memo.pop(gone, None)
    yield _refused(ground)
    for id in sorted(devices):
        device = devices[id]
        made_of = (ground, installation.secrets.get(device.secret), *_sources(document, device))
        known = _memo.get(id)
        if known is None or not _same(known[0], made_of):
            known = _memo[id] = (made_of, tuple(_device(document, device, ground, installation)))
        yield from known[1]


def _sources(document: Document, device: Device) -> tuple[object, ...]:
    """Every object that a device's sections are made of: kept in step with `identity` and `allow`."""
    extension = document.get(Extension, device.extension)
    site = document.get(Site, device.site or extension.site)
    class_of_service = device.class_of_service or extension.class_of_service or site.class_of_service
    person = document.find(Person, extension.person)
    return (
        device,
        extension,
        site,
        document.get(Company, site.company),
        document.find(ClassOfService, class_of_service),
        document.find(CodecPolicy, device.codec_policy) or document.find(CodecPolicy, STANDARD),
        None if person is None or person.language is None else person,
        thin_codecs(document, site),
    )


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return all(a is b or (not isinstance(a, Object) and a == b) for a, b in zip(one, other, strict=True))


def _device(document: Document, device: Device, ground: _Ground, installation: Installation) -> Iterator[Section]:
    caller = identity(document, document.get(Extension, device.extension), device)
    secret = installation.secrets.get(device.secret)
    # Without a password of its own yet, a device gets one that nobody knows: never an endpoint without authentication.
    digest = _digest(device.id, ground.realm, secret or f"none yet: {ground.token}")
    yield Section(
        device.id,
        (("auth_type", "digest"), ("username", device.id), ("password_digest", f"MD5:{digest}")),
        type="auth",
    )
    yield Section(
        device.id,
        (
            ("max_contacts", "1"),
            ("remove_existing", "yes"),
            ("qualify_frequency", str(QUALIFY_S)),
            ("minimum_expiration", "60"),
            ("maximum_expiration", "7200"),
            ("default_expiration", "3600"),
        ),
        type="aor",
    )
    common = tuple(_options(document, device, caller))
    if Transport.WSS in device.allowed_transports:
        web = next((door for door in ground.doors if Transport.WSS in door.transports), None)
        yield Section(device.id, common + _media_bound(web), type="endpoint")
        for door in ground.doors:
            if Transport.WSS not in door.transports:
                name = f"{device.id}@{door.domain(ground.token)}"
                yield Section(name, (("context", "refused"), ("auth", REFUSED)), type="endpoint")
        return
    for door in ground.domains(device):
        name = f"{device.id}@{door.domain(ground.token)}"
        yield Section(name, common + _media_bound(door, fax=True), type="endpoint")


def _media_bound(door: Door | None, *, fax: bool = False) -> tuple[tuple[str, str], ...]:
    """Voice and fax leave from the address that the phone talks to: on a host with several, any other may go one way
    only."""
    if door is None or door.media is None:
        return ()
    bound = (("media_address", door.media), ("bind_rtp_to_media_address", "yes"))
    return (*bound, ("t38_bind_udptl_to_media_address", "yes")) if fax else bound


def _options(document: Document, device: Device, caller: Identity) -> Iterator[tuple[str, str]]:
    yield "context", "from-device" if caller.inside else "from-device-outside-only"
    if not caller.inside:
        yield "subscribe_context", "from-device"  # lamps
    yield "auth", device.id
    yield "identify_by", "username,auth_username"
    yield "aors", device.id
    thin = thin_codecs(document, document.get(Site, caller.site))
    yield "allow", allow(document, device.codec_policy, thin)
    if thin:
        # Its own calls are answered when they come in, before anybody knows where they go: the link's codecs come first
        # in the answer, whatever the phone likes better, and phones speak the first one.
        yield "codec_prefs_incoming_answer", "prefer: configured, operation: intersect, keep: all, transcode: allow"
    yield "callerid", f"<{caller.number}>"
    yield "language", caller.language
    # Voice always passes through the engine: it knows when a leg is dead, and phones at two sites need no route.
    yield "direct_media", "no"
    yield "rewrite_contact", "yes"
    yield "rtp_symmetric", "yes"
    yield "send_pai", "yes"
    yield "tos_audio", "ef"
    yield "cos_audio", "5"
    if Transport.WSS not in device.allowed_transports:
        yield "t38_udptl", "yes"  # a fax machine behind a gateway; a phone refuses by itself, and the call goes on
    yield "rtp_timeout", str(RTP_TIMEOUT_S)
    yield "rtp_timeout_hold", str(RTP_TIMEOUT_HOLD_S)
    yield from _security(device)
    variables = {
        carried.FROM: carried.packed(
            device.id,
            caller.number,
            caller.extension,
            caller.site,
            caller.class_of_service,
            caller.caller_number,
            caller.emergency_number,
        ),
        # The globals say "inside".
        "TRANSFER_CONTEXT": f"transfer-{caller.transfer}" if caller.transfer != "inside" else "",
        "FORWARD_CONTEXT": f"forwarded-{caller.forward}" if caller.forward != "inside" else "",
        "GROUP(extension)": caller.extension,
        "CHANNEL(hangup_handler_push)": "leg-ended,s,1",
    }
    for name, value in variables.items():
        if value:
            yield "set_var", f"{name}={value}"


def _security(device: Device) -> Iterator[tuple[str, str]]:
    if Transport.WSS in device.allowed_transports:
        yield "webrtc", "yes"
        yield "dtls_auto_generate_cert", "yes"
    elif device.media_security is MediaSecurity.SDES:
        yield "media_encryption", "sdes"
    elif device.media_security is MediaSecurity.DTLS:
        yield "media_encryption", "dtls"
        # Who speaks DTLS-SRTP offers UDP/TLS/RTP/SAVPF (RFC 8827): the engine refuses a profile that it wasn't told of.
        yield "use_avpf", "yes"
        yield "rtcp_mux", "yes"
        yield "dtls_auto_generate_cert", "yes"
        yield "dtls_verify", "fingerprint"
        yield "dtls_setup", "actpass"


def _refused(ground: _Ground) -> Section:
    digest = _digest(REFUSED, ground.realm, f"refused: {ground.token}")
    options = (("auth_type", "digest"), ("username", REFUSED), ("password_digest", f"MD5:{digest}"))
    return Section(REFUSED, options, type="auth")


def _digest(username: str, realm: str, password: str) -> str:
    """H(A1) of RFC 2617: MD5, as all phones know it. One algorithm for all, so that no challenge tells who exists."""
    return hashlib.md5(f"{username}:{realm}:{password}".encode(), usedforsecurity=False).hexdigest()
