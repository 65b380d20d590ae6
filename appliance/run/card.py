"""The card that ends a start: addresses, accounts as text and as QR codes, what to dial first, how to stop."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import segno
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from appliance.core.document import Document
from appliance.i18n import _, translated
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.media.model import Listener, Transport
from appliance.run.demo import CALL_BACK_NUMBER, SERVICES

SHOWN_AS_QR = ("202-desk", "301-desk")
"""Accounts that are worth a picture on a terminal: two phones are enough to call one another."""


def account_uri(device: Device, password: str, listener: Listener) -> str:
    """A SIP account as one line that softphones' QR readers understand: ``sip:user:password@host:port;transport=…``."""
    host = f"[{listener.address}]" if ":" in listener.address else listener.address
    return f"sip:{device.id}:{password}@{host}:{listener.port};transport={listener.transport}"


def show_card(console: Console, document: Document, passwords: Mapping[str, str], *, seconds: float, stop: str) -> None:
    """Print the card. ``passwords``: secret id → clear text."""
    console.print()
    console.print(
        Panel(
            Group(
                _addresses(document), Text(), _accounts(document, passwords), Text(), _first_calls(), Text(), Text(stop)
            ),
            title=_("Centralino is running (ready in {seconds:.0f} s)").format(seconds=seconds),
            title_align="left",
            border_style="green",
        )
    )
    if console.is_terminal:
        console.print(_pictures(document, passwords))


def _addresses(document: Document) -> RenderableType:
    table = Table(title=_("Where phones connect"), title_justify="left", box=None)
    for column in (_("transport"), _("address"), _("port"), _("for")):
        table.add_column(column)
    for item in sorted(document.all(Listener).values(), key=lambda item: item.name):
        table.add_row(item.transport.upper(), item.address, str(item.port), item.name)
    return table


def _accounts(document: Document, passwords: Mapping[str, str]) -> RenderableType:
    table = Table(title=_("SIP accounts"), title_justify="left", box=None)
    for column in (_("number"), _("name"), _("user"), _("password"), _("transport")):
        table.add_column(column)
    for device in devices_by_number(document):
        extension = document.get(Extension, device.extension)
        transports = ", ".join(item.upper() for item in device.allowed_transports)
        table.add_row(extension.number, extension.label or "", device.id, passwords.get(device.secret, "?"), transports)
    return table


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
    udp = next((item for item in document.all(Listener).values() if item.transport is Transport.UDP), None)
    if udp is None:
        return Text()
    pictures = []
    for device in devices_by_number(document):
        if device.id in SHOWN_AS_QR and device.secret in passwords:
            text = io.StringIO()
            segno.make(account_uri(device, passwords[device.secret], udp), error="l").terminal(
                text, compact=True, border=2
            )
            pictures.append(Group(Text(device.id), Text.from_ansi(text.getvalue())))
    return Columns(pictures, padding=(0, 4))
