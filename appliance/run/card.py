"""The card that ends a start: addresses, accounts as QR codes and as text, what to dial first, how to stop."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from appliance.access.passkeys import portal_url
from appliance.core.document import Document
from appliance.i18n import _, translated
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.media.model import Listener, MediaSecurity
from appliance.run.account import picture
from appliance.run.address import lan_address, phone_addresses
from appliance.run.demo import CALL_BACK_NUMBER, SERVICES


def show_card(
    console: Console, document: Document, passwords: Mapping[str, str], *, seconds: float, stop: str, sign_in: str = ""
) -> None:
    """Print the card, below the accounts' QR codes on a terminal.

    :param passwords: secret id → clear text.
    :param sign_in: the one-time link by which the first person signs in; empty: somebody has done so.
    """
    console.print()
    if console.is_terminal:
        console.print(_pictures(document, passwords))
        console.print()
    console.print(
        Panel(
            Group(
                _addresses(document),
                _lan(document),
                Text(),
                _portal(sign_in),
                Text(),
                _accounts(document, passwords),
                Text(),
                _first_calls(),
                Text(),
                Text(stop),
            ),
            title=_("Centralino is running (ready in {seconds:.0f} s)").format(seconds=seconds),
            title_align="left",
            border_style="green",
        )
    )


def _addresses(document: Document) -> RenderableType:
    table = Table(title=_("Where phones connect"), title_justify="left", box=None)
    for column in (_("transport"), _("address"), _("port"), _("for")):
        table.add_column(column)
    for item in sorted(document.all(Listener).values(), key=lambda item: item.name):
        table.add_row(item.transport.upper(), item.address, str(item.port), item.name)
    return table


def _lan(document: Document) -> RenderableType:
    """How to let phones of the LAN in, where only this machine can connect."""
    if not all(ipaddress.ip_address(address).is_loopback for address in phone_addresses(document)):
        return Text()
    return Text(
        _("Only this machine can connect. For phones on the LAN stop it, then: make run ADDRESS={address}").format(
            address=lan_address() or "…"
        )
    )


def _portal(sign_in: str) -> RenderableType:
    """Where the portal is, and how the first person gets in. The browser warns of the certificate: it is our own."""
    table = Table(title=_("Portal"), title_justify="left", box=None, show_header=False)
    table.add_column(overflow="fold")
    table.add_row(portal_url())
    if sign_in:
        table.add_row(_("First sign-in, once, within 24 hours:"))
        table.add_row(sign_in)
    return table


def _accounts(document: Document, passwords: Mapping[str, str]) -> RenderableType:
    table = Table(title=_("SIP accounts"), title_justify="left", box=None)
    for column in (_("number"), _("name"), _("user"), _("password"), _("transport"), _("audio")):
        table.add_column(column)
    for device in devices_by_number(document):
        extension = document.get(Extension, device.extension)
        transports = ", ".join(item.upper() for item in device.allowed_transports)
        password = passwords.get(device.secret, "?")
        table.add_row(extension.number, extension.label or "", device.id, password, transports, audio_text(device))
    return table


def audio_text(device: Device) -> str:
    """Whether and how a device's audio is encrypted."""
    if device.media_security is MediaSecurity.NONE:
        return _("open")
    return f"SRTP ({device.media_security.upper()})"


def devices_by_number(document: Document) -> Sequence[Device]:
    """All devices in the order of their extensions' numbers and slots."""
    return sorted(
        document.all(Device).values(),
        key=lambda device: (document.get(Extension, device.extension).number, device.slot),
    )


def _first_calls() -> RenderableType:
    table = Table(title=_("What to dial first"), title_justify="left", box=None, show_header=False)
    rows = {
        "*43": translated(SERVICES["*43"][1]),
        "201": _("Reception (three devices ring)"),
        "400": _("The ring group “Front desk”"),
        "0" + CALL_BACK_NUMBER.removeprefix("+39"): _("The simulated provider calls the main number back"),
        "112": _("Emergency: answered by the simulated provider, goes nowhere else"),
    }
    for number, text in rows.items():
        table.add_row(number, text)
    return table


def _pictures(document: Document, passwords: Mapping[str, str]) -> RenderableType:
    """QR codes of all accounts that a softphone can use, side by side as the terminal's width allows."""
    pictures = [
        found
        for device in devices_by_number(document)
        if device.secret in passwords and (found := picture(document, device, passwords[device.secret]))
    ]
    return Columns(pictures, padding=(0, 2))
