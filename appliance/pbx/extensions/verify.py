"""What must hold between the objects of this feature and others, beyond what each model checks of itself."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.pbx.extensions.model import Device
from appliance.pbx.media.model import Listener, MediaSecurity, Transport, Zone


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
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
