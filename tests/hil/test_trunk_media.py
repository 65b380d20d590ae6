"""What goes through trunks besides plain voice over IPv4: key tones, in every way providers have them, and IPv6."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.engine.ami import AmiClient
from tests.hil.agents.keys import Voice
from tests.hil.agents.network import Host, Network
from tests.hil.agents.process import AgentError, eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.outside_world import MAIN, PASSWORD, Exchange, Line, rows

PBX, PBX6 = "198.51.100.10", "2001:db8:2::10"
TELCO6 = "2001:db8:2::32"
ECHO = "+390200000143"
CALLER = "+390600000777"
# Line → the provider's setting, the payload type by which it takes events, how keys come to it.
KEY_LINES = {
    "events": ("rfc4733", 101, "events"),
    "tones": ("inband", None, "tones"),
    "messages": ("info", None, "messages"),
    "auto-events": ("auto", 101, "events"),
    "auto-tones": ("auto", None, "tones"),
}
LINES6: dict[str, dict[str, Any]] = {
    "address6": {"auth": {"type": "address"}},
    "number6": {"auth": {"type": "register", "username": "number", "secret": "trunk"}},
    "account6": {"auth": {"type": "register", "username": "account", "secret": "trunk"}},
}
"""A trunk by address, and two that register: with the calling number in From, and with the account."""


def prefix(line: str) -> str:
    """The number that is called over a line begins so."""
    return f"02{[*KEY_LINES, *LINES6].index(line) + 11}"


def world() -> list[tuple[str, dict[str, Any]]]:
    more: list[tuple[str, dict[str, Any]]] = [
        ("listener", {"id": "wan6", "name": "Trunks over IPv6", "transport": "udp", "address": PBX6, "zone": "trunks"}),
        ("secret", {"id": "trunk"}),
        ("did", {"id": "echo", "number": ECHO, "company": "demo", "destination": {"type": "service", "service": "echo"}}),
    ]  # fmt: skip
    trunks: dict[str, dict[str, Any]] = {}
    for at, (id, (setting, _, _)) in enumerate(KEY_LINES.items()):
        more.append(("provider", {"id": id, "name": id, "probe": False, "dtmf": setting, "listener": "wan"}))
        trunks[id] = {"host": "198.51.100.31", "port": 5060 + 2 * at, "provider": id, "caller_number": MAIN}
    for at, (id, auth) in enumerate(LINES6.items()):
        identity = {"from_user": "account" if id == "account6" else "number", "called_form": "national"}
        more.append(("provider", {"id": id, "name": id, "listener": "wan6", "identity": identity}))
        trunks[id] = {"host": TELCO6, "port": 5060 + 2 * at, "provider": id, "caller_number": MAIN, **auth}
    more.append(("provider", {"id": "network6", "name": "Several addresses", "listener": "wan6", "probe": False}))
    several = {"host": "2001:db8:2::40", "accept_from": ["2001:db8:2::40/124"], "provider": "network6"}
    trunks["network6"] = {**trunks["address6"], **several}
    for order, id in enumerate([*KEY_LINES, *LINES6], 1):
        route = {"id": id, "name": id, "order": order, "prefixes": [f"+39{prefix(id)}"], "trunks": [id]}
        more.append(("outbound_route", route))
    return rows(trunks=trunks, more=more)


class KeyLine(Line):
    """A line on which the test presses keys and hears them."""

    def __init__(self, host: Host, port: int, event_type: int | None) -> None:
        super().__init__(host, PBX, port=port)
        self.event_type = event_type
        self.voices: list[Voice] = []

    def _sdp(self) -> bytes:
        sock = self.host.socket(socket.AF_INET)
        sock.bind((self.address, 0))
        voice = Voice(sock, self.event_type)
        self.voices.append(voice)
        lines = ["v=0", f"o=- 1 1 IN IP4 {self.address}", "s=-", f"c=IN IP4 {self.address}", "t=0 0"]
        types = "8" if self.event_type is None else f"8 {self.event_type}"
        lines += [f"m=audio {voice.port} RTP/AVP {types}", "a=rtpmap:8 PCMA/8000"]
        if self.event_type is not None:
            lines += [f"a=rtpmap:{self.event_type} telephone-event/8000", f"a=fmtp:{self.event_type} 0-15"]
        return "\r\n".join([*lines, ""]).encode()

    def talks(self) -> None:
        """Speak in the call that is up, and wait until something is heard."""
        sdp = [message.body for message in self.received if b"m=audio" in message.body]
        self.voices[-1].to(sdp[-1])
        eventually(lambda: len(self.voices[-1].heard) > 10, "voice at the provider")

    def press(self, keys: str, way: str) -> None:
        """Press keys in the call that is up."""
        if way != "messages":
            self.voices[-1].press(keys, events=way == "events")
            return
        for key in keys:
            request = self.dialogs[-1].request("INFO")
            request.headers.set("Content-Type", "application/dtmf-relay")
            request.body = f"Signal={key}\r\nDuration=100\r\n".encode()
            assert self.ask(request).code == 200

    def keys(self) -> dict[str, str]:
        """The keys that came in the call that is up, by the way they came."""
        call = self.dialogs[-1].call_id
        infos = [m.body.decode() for m in self.requests() if m.method == "INFO" and m.call_id == call]
        found = [re.search(r"^Signal=\s*(\S)", text, re.M) for text in infos]
        voice = self.voices[-1]
        messages = "".join(match[1] for match in found if match)
        return {"events": voice.events(), "tones": voice.tones(), "messages": messages}

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        for voice in self.voices:
            voice.close()


class Line6(Line):
    """A line over IPv6, that sends back what it hears."""

    def __init__(self, host: Host, port: int = 5060) -> None:
        super().__init__(host, PBX6, {"number": PASSWORD, "account": PASSWORD}, port=port)


Bed = tuple[Exchange, dict[str, Any], SoftPhone]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    work = tmp_path_factory.mktemp("media")
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Network())
        keys, telco = net.host("keys", "provider", 31), net.host("telco", "provider", 32)
        lines: dict[str, Any] = {
            id: KeyLine(keys, 5060 + 2 * at, event_type)
            for at, (id, (_, event_type, _)) in enumerate(KEY_LINES.items())
        }
        lines |= {id: Line6(telco, 5060 + 2 * at) for at, id in enumerate(LINES6)}
        for line in lines.values():
            stack.enter_context(line)
        exchange = stack.enter_context(Exchange(net, work / "engine", world()))
        made = SoftPhone(net.host("desk"), work / "phone", "201-1", PASSWORD, "192.0.2.10", auto_answer=True)
        phone = stack.enter_context(made).register()
        yield exchange, lines, phone
        assert exchange.log() == []


@pytest.fixture(autouse=True)
def quiet(bed: Bed) -> Iterator[None]:
    exchange, lines, _ = bed
    for line in lines.values():
        line.begin_anew()
    yield
    for line in lines.values():
        while line.dialogs:
            line.hangup(line.dialogs.pop())
    eventually(lambda: not exchange.channels(), "no channel is left over")


def only(way: str, keys: str) -> dict[str, str]:
    """What ``KeyLine.keys()`` is when keys came one way."""
    return {"events": "", "tones": "", "messages": ""} | {way: keys}


@pytest.mark.parametrize("id", KEY_LINES)
def test_keys_in_a_call_to_outside(bed: Bed, id: str) -> None:
    """What the phone sends as events comes as the provider wants it, and the other way round."""
    _, lines, phone = bed
    line: KeyLine = lines[id]
    setting, _, way = KEY_LINES[id]
    before = phone.digits()
    call = phone.call(f"0{prefix(id)}00001").established()
    assert (b"telephone-event" in line.first.body) is (setting in ("rfc4733", "auto"))
    line.talks()
    call.dtmf("15#")
    line.press("299*", way)
    eventually(lambda: phone.digits().removeprefix(before) == "299*", "the phone gets the provider's keys")
    eventually(lambda: line.keys()[way] == "15#", f"the provider gets the phone's keys as {way}")
    call.hangup()
    eventually(lambda: "BYE" in line.methods(), "the call ended at the provider")
    assert line.keys() == only(way, "15#")
    line.dialogs.clear()


def understood(events: AmiClient, count: int, deadline_s: float = 15) -> str:
    """So many keys that the engine took, as services get them."""
    keys, end = "", time.monotonic() + deadline_s
    while len(keys) < count and time.monotonic() < end:
        event = events.next_event(0.5)
        if event is not None and event["Event"] == "DTMFEnd" and event["Direction"] == "Received":
            keys += event["Digit"]
    return keys


@pytest.mark.parametrize("id", KEY_LINES)
def test_keys_at_a_service(bed: Bed, id: str) -> None:
    """A service understands them; the echo test gives them back the way they came."""
    exchange, lines, _ = bed
    line: KeyLine = lines[id]
    _, _, way = KEY_LINES[id]
    line.call(ECHO, CALLER, PBX)
    line.talks()
    launcher = exchange.launcher
    with AmiClient.connect(
        launcher.read_ami_secret(), port=launcher.ami_port, events="dtmf", network_namespace=launcher.network_namespace
    ) as events:
        line.press("0588", way)
        assert understood(events, 4) == "0588"
    eventually(lambda: line.keys()[way] == "0588", "the keys come back")


def test_events_of_another_number_on_the_other_side(bed: Bed) -> None:
    """Whose offer says 97 gets and sends 97, whatever the phone's number is."""
    _, lines, phone = bed
    line: KeyLine = lines["events"]
    line.event_type = 97
    try:
        before = phone.digits()
        line.call(MAIN, CALLER, PBX)
        call = phone.incoming()
        line.talks()
        call.dtmf("73")
        line.press("46", "events")
        eventually(lambda: phone.digits().removeprefix(before) == "46", "the phone gets the provider's keys")
        eventually(lambda: line.keys() == only("events", "73"), "the provider gets the phone's keys")
    finally:
        line.event_type = 101


@pytest.mark.parametrize("id", LINES6)
def test_a_call_out_over_ipv6(bed: Bed, id: str) -> None:
    _, lines, phone = bed
    line: Line6 = lines[id]
    if id != "address6":
        assert re.match(rf"sip:trunk-{id}@\[{PBX6}\]:5060;", line.contact_of(id.removesuffix("6")))
    call = phone.call(f"0{prefix(id)}00001").established()
    assert phone.listen(phone.tone_hz, 1).good()
    invite = line.first
    assert f"IN IP6 {PBX6}\r\n".encode() in invite.body
    assert invite.uri.user == f"{prefix(id)}00001"
    assert invite.uri.host == f"[{TELCO6}]"
    asserted = invite.headers["P-Asserted-Identity"]
    assert f"sip:{MAIN}@" in asserted
    by = "account" if id == "account6" else MAIN
    host = PBX6 if id == "address6" else TELCO6
    assert str(invite.from_address.uri) == f"sip:{by}@[{host}]"
    call.hangup()
    eventually(lambda: "BYE" in line.methods(), "the call ended at the provider")
    line.dialogs.clear()


@pytest.mark.parametrize(
    ("id", "caller"), [("address6", "0600000777"), ("number6", "+390600000777"), ("account6", "00390600000777")]
)
def test_a_call_in_over_ipv6(bed: Bed, id: str, caller: str) -> None:
    """Known by its address or its contact; the numbers are read as they are over IPv4."""
    _, lines, phone = bed
    line: Line6 = lines[id]
    line.call("0200000100", caller, PBX6)
    call = phone.incoming()
    assert call.invite().from_address.uri.user == "00600000777"
    assert phone.listen(phone.tone_hz, 1).good()


@pytest.mark.parametrize(("number", "taken"), [(41, True), (50, False)])
def test_over_ipv6_addresses_of_the_providers_are_known_and_no_others(bed: Bed, number: int, taken: bool) -> None:
    exchange, _, phone = bed
    with Line6(exchange.net.host(f"other-{number}", "provider", number)) as other:
        if not taken:
            with pytest.raises(AgentError, match="refused: 401"):
                other.call("0200000100", CALLER, PBX6)
            return
        other.call("0200000100", CALLER, PBX6)
        phone.incoming()
        other.hangup()
