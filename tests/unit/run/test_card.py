"""The card that a newcomer reads: accounts in words and as QR codes that hold the same."""

from __future__ import annotations

import io
import itertools
import re

import pytest
import segno
from rich.console import Console

from appliance.core.document import Document
from appliance.pbx.extensions.model import Device
from appliance.pbx.media.model import Listener
from appliance.run import card
from appliance.run.account import account_uri, listener_of
from appliance.run.card import devices_by_number, show_card
from appliance.run.demo import Demo, demo

HALVES = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


@pytest.fixture
def company() -> Demo:
    counter = itertools.count(1)
    return demo("127.0.0.1", lambda: f"password-{next(counter):07}")


def shown(company: Demo, width: int, *, terminal: bool, address: str = "127.0.0.1") -> str:
    document = Document.of(company.objects)
    moved = [
        item.model_copy(update={"address": address}) for item in document.all(Listener).values() if item.id != "trunks"
    ]
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system=None, highlight=False)
    show_card(console, document.with_changes(moved), company.secrets, seconds=3, stop="Ctrl-C stops everything")
    return out.getvalue()


def matrix_of(lines: list[str]) -> list[list[bool]]:
    """Dark or light, from half blocks: segno draws the light ones."""
    rows: list[list[bool]] = []
    for line in lines:
        halves = [HALVES[character] for character in line]
        rows += [[not upper for upper, _ in halves], [not lower for _, lower in halves]]
    return rows


@pytest.mark.parametrize("width", [80, 200])
def test_every_account_that_a_softphone_can_use_is_drawn_above_the_text(company: Demo, width: int) -> None:
    document = Document.of(company.objects)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown(company, width, terminal=True)).splitlines()
    assert max(map(len, lines)) <= width
    text_begins = next(number for number, line in enumerate(lines) if "Centralino is running" in line)
    drawn = 0
    for device in devices_by_number(document):
        listener = listener_of(document, device)
        if listener is None:
            assert device.id == "201-web"
            continue
        drawn += 1
        top = next(number for number, line in enumerate(lines) if re.search(rf"(^| ){device.id}( |$)", line))
        assert top < text_begins
        left = re.search(rf"(?:^| )({device.id})(?: |$)", lines[top]).start(1)  # type: ignore[union-attr]
        uri = account_uri(device, company.secrets[device.secret], listener)
        expected = [[bool(module) for module in row] for row in segno.make(uri, error="l", micro=False).matrix]
        size = len(expected) + 4  # with the quiet zone
        found = matrix_of([line[left : left + size].ljust(size) for line in lines[top + 1 : top + 1 + (size + 1) // 2]])
        inner = [row[2:-2] for row in found[2 : 2 + len(expected)]]
        assert inner == expected, device.id
    assert drawn == 13


def test_the_line_that_a_reader_gets(company: Demo) -> None:
    document = Document.of(company.objects)
    device = document.get(Device, "201-tls")
    listener = listener_of(document, device)
    assert listener is not None
    uri = account_uri(device, company.secrets["201-tls"], listener)
    found = re.fullmatch(r"sip:([^:]+):([^@]+)@([^:]+):(\d+);transport=(\w+)", uri)
    assert found is not None
    assert found.groups() == ("201-tls", company.secrets["201-tls"], "127.0.0.1", "5061", "tls")
    six = listener.model_copy(update={"address": "2001:db8::1"})
    assert "@[2001:db8::1]:5061;" in account_uri(device, "x", six)


def test_the_text_tells_all_of_an_account_and_the_way_to_the_lan(
    company: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "lan_address", lambda: "192.0.2.7")
    said = shown(company, 120, terminal=False)
    assert "█" not in said, "no pictures in a log"
    assert re.search(rf"202 +Sales +202-desk +{company.secrets['202-desk']} +UDP +open", said)
    assert re.search(r"201-tls +\S+ +TLS +SRTP \(SDES\)", said)
    assert re.search(r"201-web +\S+ +WSS +SRTP \(DTLS\)", said)
    assert "make run ADDRESS=192.0.2.7" in said
    assert "ADDRESS=" not in shown(company, 120, terminal=False, address="192.0.2.7")
