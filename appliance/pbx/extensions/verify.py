"""What must hold between the objects of this feature and others, beyond what each model checks of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.pbx.context import TOKEN_LENGTH
from appliance.pbx.extensions.endpoints import endpoint_names
from appliance.pbx.extensions.model import Device
from appliance.pbx.media.doors import doors
from appliance.pbx.media.model import Listener, MediaSecurity, Transport, Zone

HINT_BYTES: Final = 4095
"""Bytes that the engine takes of a value read from a table (``VAR_BUF_SIZE`` of its pbx_private.h, and the end mark)."""
DEVICES_MAX: Final = 9
"""Devices of an extension: there are so many slots."""
NAME_BYTES: Final = len("PJSIP/@.&") + 40 + 40 + TOKEN_LENGTH
"""Bytes of the longest name of a device at a door: ids have up to 40 characters."""


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    yield from _devices(document)
    yield from _hints(document)


def _hints(document: Document) -> Iterator[Fault]:
    """What a lamp follows is one line with every device's name at every door."""
    reachable = doors(tuple(document.all(Listener).values()))
    if len(reachable) * DEVICES_MAX * NAME_BYTES <= HINT_BYTES:
        return
    of_extension: dict[str, list[Device]] = {}
    for device in document.all(Device).values():
        of_extension.setdefault(device.extension, []).append(device)
    for extension, devices in of_extension.items():
        names = (name for device in devices for name in endpoint_names(device, reachable, "x" * TOKEN_LENGTH))
        length = sum(len(f"PJSIP/{name}&") for name in names)
        if length > HINT_BYTES:
            yield Fault(
                max(devices, key=lambda device: device.slot).path("allowed_transports"),
                f"the names of {extension}'s devices at all their listeners take {length} bytes, and the engine's lamps"
                f" follow {HINT_BYTES}",
                "allow them fewer transports, or give listeners and devices shorter ids",
                "too_many_names",
            )


def _devices(document: Document) -> Iterator[Fault]:
    offered = {item.transport for item in document.all(Listener).values() if item.zone is not Zone.TRUNKS}
    for device in document.all(Device).values():
        if device.id.startswith("trunk-"):
            yield Fault(
                device.path("id"),
                "begins with `trunk-`",
                "trunks have names like that: choose another id",
                "reserved_id",
            )
        allowed = set(device.allowed_transports)
        if not allowed & offered:
            yield Fault(
                device.path("allowed_transports"),
                f"no listener for phones speaks {' or '.join(sorted(allowed))}",
                "add a listener, or allow the device another transport",
                "no_listener",
            )
        clear = sorted(allowed & {Transport.UDP, Transport.TCP})
        if device.media_security is MediaSecurity.SDES and clear:
            yield Fault(
                device.path("media_security"),
                f"is sdes, but over {'/'.join(clear)} the keys travel in clear: whoever listens can decrypt the voice",
                "allow it tls only",
                "keys_in_clear",
                "warning",
            )
        if Transport.WSS in allowed and len(allowed) > 1:
            yield Fault(
                device.path("allowed_transports"),
                "wss can't be mixed with other transports: a browser's media differ from a phone's",
                "make one device for the browser and another for the phone",
                "wss_alone",
            )
        if Transport.WSS in allowed and device.media_security is not MediaSecurity.DTLS:
            yield Fault(
                device.path("media_security"),
                f"is {device.media_security}, but browsers speak DTLS-SRTP only",
                "choose dtls",
                "wss_needs_dtls",
            )
