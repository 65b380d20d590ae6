"""A SIP account for people to type or scan: as one line, and as a QR code on the terminal."""

from __future__ import annotations

import io
from typing import Final

import segno
from rich.console import Group
from rich.text import Text

from appliance.core.document import Document
from appliance.pbx.extensions.model import Device
from appliance.pbx.media.model import Listener, Transport, Zone

FOR_SOFTPHONES: Final = (Transport.UDP, Transport.TCP, Transport.TLS)
"""Transports that a softphone has; WSS is a browser's."""


def listener_of(document: Document, device: Device) -> Listener | None:
    """Where a softphone with this account connects; None: only browsers may use it, or nothing listens for it."""
    listeners = sorted(document.all(Listener).values(), key=lambda item: item.id)
    return next(
        (
            listener
            for transport in FOR_SOFTPHONES
            if transport in device.allowed_transports
            for listener in listeners
            if listener.transport is transport and listener.zone is Zone.PHONES
        ),
        None,
    )


def account_uri(device: Device, password: str, listener: Listener) -> str:
    """A SIP account as one line that softphones' QR readers understand: ``sip:user:password@host:port;transport=…``."""
    host = f"[{listener.address}]" if ":" in listener.address else listener.address
    return f"sip:{device.id}:{password}@{host}:{listener.port};transport={listener.transport}"


def qr_code(uri: str) -> Text:
    """The line as a QR code, two rows of it in each line of text."""
    drawn = io.StringIO()
    segno.make(uri, error="l", micro=False).terminal(drawn, compact=True, border=2)
    return Text.from_ansi(drawn.getvalue().rstrip("\n"))


def picture(document: Document, device: Device, password: str) -> Group | None:
    """A device's QR code under its name; None: see :func:`listener_of`."""
    listener = listener_of(document, device)
    return None if listener is None else Group(Text(device.id), qr_code(account_uri(device, password, listener)))
