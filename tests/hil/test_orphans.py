"""Calls whose ends are gone without a word: no voice for so long, and the engine ends them, all their legs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from appliance.pbx.extensions.endpoints import RTP_TIMEOUT_HOLD_S, RTP_TIMEOUT_S
from tests.hil.agents.network import Network
from tests.hil.agents.process import eventually
from tests.hil.outside_world import Exchange, Line, Phone, rows

OUTSIDE = "00200000999"
SILENT_S, HELD_S = 5, 13
UNACKNOWLEDGED_S = 32
"""After this time a call ends whose last answer nobody acknowledged (RFC 3261 §17.2.1, Timer H), whatever voice there is."""
SHORTER = {
    f"rtp_timeout={RTP_TIMEOUT_S}": f"rtp_timeout={SILENT_S}",
    f"rtp_timeout_hold={RTP_TIMEOUT_HOLD_S}": f"rtp_timeout_hold={HELD_S}",
}
Bed = tuple[Exchange, Line, Phone]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with (
        Network() as net,
        Exchange(net, tmp_path_factory.mktemp("orphans"), rows(), pjsip=SHORTER) as exchange,
        exchange.line("a") as line,
        exchange.phone() as phone,
    ):
        yield exchange, line, phone


@pytest.fixture(autouse=True)
def quiet(bed: Bed) -> Iterator[None]:
    exchange, line, phone = bed
    yield
    eventually(lambda: not exchange.channels(), "no channel is left over", 30)
    for peer in (line, phone):
        peer.received.clear()
        peer.dialogs.clear()


def ended_after(since: float, line: Line, phone: Phone) -> float:
    """Seconds until both ends were told that the call is over."""
    eventually(lambda: "BYE" in line.methods() and "BYE" in phone.methods(), "both legs are ended", 40)
    return time.monotonic() - since


def test_a_call_without_any_voice_is_ended_on_both_legs(bed: Bed) -> None:
    _, line, phone = bed
    since = time.monotonic()
    assert phone.dial(OUTSIDE).code == 200  # and neither end ever sends a packet
    assert ended_after(since, line, phone) >= SILENT_S - 1


def test_a_call_on_hold_may_be_silent_for_longer(bed: Bed) -> None:
    _, line, phone = bed
    assert phone.dial(OUTSIDE).code == 200
    hold = phone.dialogs[-1].request("INVITE")
    hold.headers.set("Contact", phone.contact)
    hold.headers.set("Content-Type", "application/sdp")
    hold.body = phone._sdp() + b"a=sendonly\r\n"
    since = time.monotonic()
    assert phone.ask(hold).code == 200  # the line hears music, and sends it back; the phone is silent
    phone.send(phone.dialogs[-1].request("ACK", cseq=hold.cseq.sequence))
    assert HELD_S - 1 <= ended_after(since, line, phone) < UNACKNOWLEDGED_S - 5
