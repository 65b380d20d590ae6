"""The torture messages of RFC 4475 at the running engine, from strangers, over each transport, and from the provider's own
address; and damaged copies of them. The engine lives, and a call that is up isn't disturbed."""

from __future__ import annotations

import contextlib
import random
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from appliance.engine.processes import started
from tests.hil.agents.bare_engine import trusting
from tests.hil.agents.peer import SipPeer, torture_message, torture_names
from tests.hil.agents.process import eventually
from tests.hil.agents.threaded_tls import for_two_threads
from tests.hil.company import PBX, PBX_OUTSIDE, Company, open_company, rows, talk
from tests.hil.system import Rows

ROUNDS = 3
DAMAGED = 1000
COMPLAINTS = (
    "sip_transport.c Dropping ",  # no SIP message
    "sip_parser.c ",
    "sip_endpoint.c Error processing packet",  # a header is missing
    "sip_multipart.c Failed to find end-delimiter",
    "Error parsing/validating SDP body",
    "not found for endpoint 'trunk-line'",  # the provider has nothing to register
    "pjsip_options.c: Unable to send response",  # to where the message said
    "Failed to issue security event",  # of a user without a name
    "Could not create dialog with endpoint trunk-line",
)
"""What the engine says of messages like these. Anything else in its log is a fault of its own."""
PACE_S = 0.002
"""Between two messages: it is their content that tries the engine, not a flood."""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    tls = {"address": PBX, "certificate": "appliance"}
    more: Rows = [
        ("listener", {"id": "tls", "name": "TLS", "transport": "tls", "port": 5061, **tls}),
        ("listener", {"id": "wss", "name": "WSS", "transport": "wss", "port": 8089, "zone": "web", **tls}),
    ]
    made = rows(transports=("udp", "tcp"), more=more)
    with open_company(tmp_path_factory.mktemp("torture"), made, complaints=COMPLAINTS) as company:
        yield company


def messages() -> list[bytes]:
    assert len(torture_names()) == 49
    return [torture_message(name) for name in torture_names()]


def damaged() -> list[bytes]:
    """Copies with bytes changed, cut out or repeated; the same ones in each run."""
    dice = random.Random(4475)
    found = []
    for _ in range(DAMAGED):
        data = bytearray(dice.choice(messages()))
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(data))
            match dice.randrange(3):
                case 0:
                    data[at] = dice.randrange(256)
                case 1:
                    del data[at : at + dice.randint(1, 20)]
                case _:
                    data[at:at] = data[at : at + 20] * dice.randint(1, 10)
            data = data or bytearray(b"\r\n")
        found.append(bytes(data))
    return found


def over(company: Company, transport: Literal["udp", "tcp", "tls"], sent: list[bytes]) -> None:
    """From a stranger. Over TCP and TLS each on a connection of its own, for the engine may rightly close it."""
    if transport != "udp":
        options: dict[str, Any] = {"trust": trust_of(company), "remote_port": 5061} if transport == "tls" else {}
        for data in sent:
            with SipPeer(company.desk, PBX, transport=transport, **options) as peer, contextlib.suppress(OSError):
                peer.send_raw(data)
        return
    with SipPeer(company.desk, PBX) as peer:
        for data in sent:
            peer.send_raw(data[:60000])
            time.sleep(PACE_S)
        eventually(lambda: peer.raw, "answers to some of them")


def over_wss(company: Company, sent: list[bytes]) -> None:
    """A frame each, as text and as binary; a connection that the engine closes is opened again."""
    answers, left = 0, list(enumerate(sent))
    while left:
        with contextlib.suppress(OSError, WebSocketException), browser(company) as web:
            while left:
                number, data = left.pop()
                web.send(data if number % 2 else data.decode(errors="replace"))
                with contextlib.suppress(TimeoutError):
                    answers += bool(web.recv(0.02))
    assert answers, "answers to some of them"


def browser(company: Company) -> ClientConnection:
    raw = company.desk.connect(PBX, 8089)
    protocols, trust = [Subprotocol("sip")], for_two_threads(trust_of(company))
    return connect(f"wss://{PBX}:8089/ws", sock=raw, ssl=trust, subprotocols=protocols, close_timeout=0.1)


def trust_of(company: Company) -> ssl.SSLContext:
    return trusting(company.system.paths.engine.tls / "appliance.crt")


def from_the_provider(company: Company, sent: list[bytes]) -> None:
    """From the address that calls are accepted from."""
    before = len(company.line.raw)
    for data in sent:
        company.line.send_raw(data[:60000], (PBX_OUTSIDE, 5060))
        time.sleep(PACE_S)
    eventually(lambda: len(company.line.raw) > before, "answers to some of them")


WAYS: dict[str, Callable[[Company], None]] = {
    "udp": lambda company: over(company, "udp", messages() * ROUNDS),
    "tcp": lambda company: over(company, "tcp", messages()),
    "tls": lambda company: over(company, "tls", messages()),
    "wss": lambda company: over_wss(company, messages()),
    "provider": lambda company: from_the_provider(company, messages() * ROUNDS),
    "damaged-tls": lambda company: over(company, "tls", damaged()[:200]),
    "damaged-wss": lambda company: over_wss(company, damaged()[:200]),
    "damaged": lambda company: over(company, "udp", damaged()),
    "damaged-provider": lambda company: from_the_provider(company, damaged()),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_the_engine_lives_and_a_call_goes_on(company: Company, way: str) -> None:
    one, two, engine = company.phone("201-1"), company.phone("202-1"), company.system.engine
    assert engine is not None
    pid = engine.pid
    assert pid is not None
    born = started(pid)
    assert born
    call = one.call("202")
    incoming = two.incoming().answer()
    call.established()
    one.hears(two.tone_hz)
    marks = two.hears(one.tone_hz).mark(), one.mark()
    WAYS[way](company)
    with SipPeer(company.desk, PBX) as peer:  # it has come to the end of them
        answer = peer.ask(peer.request("REGISTER", "204-1", Expires="60"), "204-1", company.system.passwords["204-1"])
    reports = two.since(marks[0], one.tone_hz), one.since(marks[1], two.tone_hz)
    call.hangup()
    incoming.closed()
    assert answer.code == 200
    assert all(report.longest_gap_ms <= 60 for report in reports), reports
    assert engine.running
    assert (engine.pid, started(pid)) == (pid, born), "the same process all the while"


def test_afterwards_phones_register_and_call_as_ever(company: Company) -> None:
    one, three = company.phone("201-1"), company.phone("203-1")
    eventually(lambda: _quiet(company), "what the messages began has ended", 60, 0.5)
    talk(one, three, one.call("203"))
    company.line.does((0, "200 OK"))
    call = one.call("00200000999").established()
    call.hangup()
    assert company.system.client.check() == []


def _quiet(company: Company) -> bool:
    with company.system.ami() as ami:
        return not ami.channels()
