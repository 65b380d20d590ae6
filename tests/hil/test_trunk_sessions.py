"""What a call over a trunk may turn into: fax that the phone refuses, ringing that must be acknowledged (RFC 3262), and
calls that last (RFC 4028)."""

from __future__ import annotations

import contextlib
import itertools
import re
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from sipmessage import Request, Response

from appliance.engine.ami import AmiError
from tests.hil.agents.network import Network
from tests.hil.agents.process import eventually
from tests.hil.agents.sip import Dialog, answer, wire
from tests.hil.outside_world import MAIN, Exchange, Line, Phone, rows

PBX = "198.51.100.10"
PROVIDERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-fax": {"t38": False},
    "reliable": {"prack": True},
    "timeless": {"session_timers": False},
}
"""By trunk: each has a provider of its own, at a port of its own, and an outbound prefix by which it is chosen."""
DIALLED = {name: f"006{index}0000001" for index, name in enumerate(PROVIDERS)}
SHORTEST_S = 90
"""No session may be shorter (RFC 4028 §4): the engine refreshes it after half of it, or misses a refresh after two thirds."""


class Telco(Line):
    """A provider whose responses carry further headers, by status code. One that asks for its ringing to be acknowledged
    (RSeq) answers the call once it was; one with ``min_se`` takes no shorter session."""

    def __enter__(self) -> Telco:
        self.adds: dict[int, dict[str, str]] = {}
        self.min_se = 0
        super().__enter__()
        self._handlers["PRACK"] = self._prack
        return self

    def _said(self, request: Request, status: str) -> Response | None:
        return self._with_headers(super()._said(request, status))

    def _invite(self, request: Request) -> Response | None:
        if int(request.headers.get("Session-Expires", "999999").partition(";")[0]) < self.min_se:
            response = answer(request, 422, "Session Interval Too Small", tag="provider")
            response.headers.set("Min-SE", str(self.min_se))
            return response
        response = self._with_headers(super()._invite(request))
        if response is not None and response.code == 200:  # within a call: what its voice is
            response.headers.set("Content-Type", "application/sdp")
            response.body = self._sdp()
        return response

    def _with_headers(self, response: Response | None) -> Response | None:
        if response is not None:
            for name, value in self.adds.get(response.code, {}).items():
                response.headers.set(name, value)
        return response

    def _prack(self, request: Request) -> None:
        self.send_raw(wire(answer(request, 200, "OK", self.contact)), (self.pbx, 5060))
        invite = self._pending.get(request.call_id)
        if invite is not None:
            self._say(invite, "200 OK")

    def within(self, dialog: Dialog, *methods: str) -> list[Request]:
        """The requests of a call so far, of these methods."""
        return [m for m in self.requests() if m.call_id == dialog.call_id and m.method in methods]


class Handset(Phone):
    """A phone that rings before it answers, can be talked into, and takes no fax."""

    def __enter__(self) -> Handset:
        self._voices: list[socket.socket] = []
        self._packets = itertools.count()
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for voice in self._voices:
            voice.close()

    def _invite(self, request: Request) -> Response | None:
        if b"udptl" in request.body:
            return answer(request, 488, "Not Acceptable Here", self.contact)
        if ";tag=" not in request.headers["To"]:
            self.send_raw(wire(answer(request, 180, "Ringing", self.contact, tag="provider")), self._source)
        return super()._invite(request)

    def _sdp(self) -> bytes:
        self._voices.append(self.host.socket())
        self._voices[-1].bind((self.address, 0))
        port = self._voices[-1].getsockname()[1]
        lines = ["v=0", f"o=- 1 1 IN IP4 {self.address}", "s=-", f"c=IN IP4 {self.address}", "t=0 0"]
        lines += [f"m=audio {port} RTP/AVP 8", "a=rtpmap:8 PCMA/8000", ""]
        return "\r\n".join(lines).encode()

    def reach(self, number: str) -> None:
        """Dial, and be answered."""
        response = self.dial(number)
        assert response.code == 200, response
        port = re.search(rb"^m=audio (\d+) ", response.body, re.M)
        assert port
        self._voice_to = (self.remote, int(port[1]))

    def is_heard(self) -> bool:
        """Whether what is said in the newest call comes back from the provider, which echoes it."""
        voice, said = self._voices[-1], secrets.token_bytes(160)
        for sequence in itertools.islice(self._packets, 500):
            header = struct.pack("!BBHII", 0x80, 8, sequence, sequence * 160, 4711)
            voice.sendto(header + said, self._voice_to)
            while select.select([voice], [], [], 0.02)[0]:
                if said in voice.recv(2048):
                    return True
        return False


class Bed(NamedTuple):
    exchange: Exchange
    telcos: dict[str, Telco]
    phone: Handset


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    trunks, more = {}, []
    for index, (name, fields) in enumerate(PROVIDERS.items()):
        prefix = f"+39{DIALLED[name][1:4]}"
        trunks[name] = {
            "host": "198.51.100.21", "port": 5060 + 2 * index, "provider": name, "auth": {"type": "address"},
            "caller_number": MAIN,
        }  # fmt: skip
        more += [
            ("provider", {"id": name, "name": name, "probe": False, **fields}),
            ("outbound_route", {"id": name, "name": name, "order": 1, "prefixes": [prefix], "trunks": [name]}),
        ]
    with ExitStack() as stack:
        net = stack.enter_context(Network())
        host = net.host("providers", "provider", 21)
        telcos = {name: stack.enter_context(Telco(host, PBX, port=trunks[name]["port"])) for name in PROVIDERS}
        world = rows(trunks={**trunks, "a": {"host": "198.51.100.29"}}, more=more)
        exchange = stack.enter_context(Exchange(net, tmp_path_factory.mktemp("sessions"), world))
        phone = stack.enter_context(Handset(net.host("phone"), "192.0.2.10", "201-1"))
        phone.register()
        yield Bed(exchange, telcos, phone)


@pytest.fixture(autouse=True)
def quiet(bed: Bed) -> Iterator[None]:
    peers = (*bed.telcos.values(), bed.phone)
    for telco in bed.telcos.values():
        telco.does(*Line.script)
        telco.adds, telco.min_se = {}, 0
    yield
    with bed.exchange.ami() as ami:
        for channel in bed.exchange.channels():
            with contextlib.suppress(AmiError):  # the other leg takes it along
                ami.hangup(channel)
    eventually(lambda: not bed.exchange.channels(), "no channel is left over")
    for peer in peers:
        peer.begin_anew()


def called(telco: Telco, **headers: str) -> Request:
    """A call from a provider to the phone, without its answer."""
    telco.remote, telco.remote_port = PBX, 5060
    request = telco.request("INVITE", "+390200000777", MAIN, Content_Type="application/sdp", **headers)
    request.body = telco._sdp()
    return request


def taken(telco: Telco, **headers: str) -> Response:
    """The final answer to a call from a provider, which acknowledges it."""
    request = called(telco, **headers)
    response = telco.ask(request)
    if response.code == 200:
        telco.send(Dialog.from_response(response, telco.contact, transport="UDP", via=telco._via).request(
            "ACK", cseq=response.cseq.sequence
        ))  # fmt: skip
    return response


# --- fax (T.38) ---


@pytest.mark.parametrize(
    ("name", "asked"), [("plain", True), ("no-fax", False)], ids=["by the phone", "by the profile"]
)
def test_a_fax_that_is_refused_leaves_the_voice(bed: Bed, name: str, asked: bool) -> None:
    telco, phone = bed.telcos[name], bed.phone
    phone.reach(DIALLED[name])
    eventually(lambda: "ACK" in telco.methods(), "the call is answered")
    assert phone.is_heard()
    offer = telco.dialogs[-1].request("INVITE")
    offer.headers.set("Content-Type", "application/sdp")
    lines = ["v=0", "o=- 1 2 IN IP4 198.51.100.21", "s=-", "c=IN IP4 198.51.100.21", "t=0 0"]
    offer.body = "\r\n".join([*lines, "m=image 40000 udptl t38", "a=T38FaxVersion:0", ""]).encode()
    assert telco.ask(offer).code == 488
    assert any(b"udptl" in m.body for m in phone.invites_so_far()) is asked
    assert phone.is_heard()
    assert "BYE" not in telco.methods() + phone.methods()


# --- reliable provisional responses (RFC 3262) ---


def test_ringing_that_must_be_acknowledged_is(bed: Bed) -> None:
    telco, phone = bed.telcos["reliable"], bed.phone
    telco.adds[183] = {"Require": "100rel", "RSeq": "4711"}
    telco.does((0, "183 Session Progress"))  # and the answer after the PRACK alone
    phone.reach(DIALLED["reliable"])
    prack = telco.receive(lambda m: isinstance(m, Request) and m.method == "PRACK", "PRACK")
    assert isinstance(prack, Request)
    assert "100rel" in telco.first.headers["Supported"]
    assert prack.headers["RAck"].split() == ["4711", str(telco.first.cseq.sequence), "INVITE"]
    assert prack.call_id == telco.first.call_id
    assert ";tag=provider" in prack.headers["To"]
    assert phone.is_heard()


def test_a_provider_that_doesnt_know_reliable_ringing_isnt_refused(bed: Bed) -> None:
    telco, phone = bed.telcos["reliable"], bed.phone
    telco.does((0, "183 Session Progress"), (0.1, "200 OK"))
    phone.reach(DIALLED["reliable"])
    assert "100rel" not in telco.first.headers.get("Require", "")
    assert "PRACK" not in telco.methods()
    since = len(telco.received)
    assert taken(telco).code == 200
    assert not [m for m in telco.received[since:] if isinstance(m, Response) and m.headers.get("RSeq")]


def test_a_provider_that_requires_reliable_ringing_gets_it(bed: Bed) -> None:
    telco = bed.telcos["reliable"]
    invite = called(telco, Require="100rel", Supported="100rel")
    telco.send(invite)

    def said(reliable: bool) -> Callable[[Request | Response], bool]:
        return lambda m: (
            isinstance(m, Response)
            and m.cseq.method == "INVITE"
            and m.call_id == invite.call_id
            and (m.headers.get("RSeq") is not None if reliable else m.code == 200)
        )

    ringing = telco.receive(said(reliable=True), "reliable ringing")
    assert isinstance(ringing, Response)
    dialog = Dialog.from_response(ringing, telco.contact, transport="UDP", via=telco._via)
    prack = dialog.request("PRACK")
    prack.headers.set("RAck", f"{ringing.headers['RSeq']} {invite.cseq.sequence} INVITE")
    assert telco.ask(prack).code == 200
    assert telco.receive(said(reliable=False), "answer")
    telco.send(dialog.request("ACK", cseq=invite.cseq.sequence))


# --- session timers (RFC 4028) ---


def test_without_session_timers_none_are_spoken_of(bed: Bed) -> None:
    telco = bed.telcos["timeless"]
    bed.phone.reach(DIALLED["timeless"])
    response = taken(telco, Supported="timer", Session_Expires=f"{SHORTEST_S};refresher=uas")
    assert response.code == 200
    for message in (telco.first, response):
        assert message.headers.get("Session-Expires") is None
        assert "timer" not in message.headers.get("Supported", "")


def test_a_session_that_is_too_short_for_the_provider_is_offered_longer(bed: Bed) -> None:
    telco = bed.telcos["plain"]
    telco.min_se = 3600
    bed.phone.reach(DIALLED["plain"])
    offers = [m for m in telco.requests() if m.method == "INVITE"]
    assert [offers[n].headers["Session-Expires"].partition(";")[0] for n in (0, -1)] == ["1800", "3600"]
    assert offers[-1].headers["Min-SE"] == "3600"


def test_a_session_that_is_too_short_for_us_is_refused_with_what_is_long_enough(bed: Bed) -> None:
    telco = bed.telcos["plain"]
    short = taken(telco, Supported="timer", Session_Expires=str(SHORTEST_S - 1))
    assert short.code == 422
    assert short.headers["Min-SE"] == str(SHORTEST_S)
    response = taken(telco, Supported="timer", Session_Expires=f"{SHORTEST_S};refresher=uas")
    assert response.code == 200
    assert response.headers["Session-Expires"].replace(" ", "") == f"{SHORTEST_S};refresher=uas"


@pytest.mark.slow
def test_calls_are_refreshed_and_end_when_a_provider_refreshes_no_more(bed: Bed) -> None:
    """All at once, as it takes a minute: no session may be shorter."""
    telco, phone = bed.telcos["plain"], bed.phone

    def call(refresher: str, **more: str) -> Dialog:
        session = {"Session-Expires": f"{SHORTEST_S};refresher={refresher}", "Require": "timer", "Supported": "timer"}
        telco.adds[200] = {**session, **more}
        phone.reach(DIALLED["plain"])
        return telco.dialogs[-1]

    since = time.monotonic()
    kept, dropped = call("uas"), call("uas")  # refreshed by the provider, and not
    updated, invited = (
        call("uac", Allow="INVITE, ACK, BYE, CANCEL, UPDATE"),
        call("uac", Allow="INVITE, ACK, BYE, CANCEL"),
    )

    update = eventually(lambda: telco.within(updated, "UPDATE"), "UPDATE", SHORTEST_S)[0]
    again = eventually(lambda: [m for m in telco.within(invited, "INVITE") if ";tag=" in m.headers["To"]], "INVITE")[0]
    for request in (update, again):
        assert request.headers["Session-Expires"].replace(" ", "") == f"{SHORTEST_S};refresher=uac"
    assert SHORTEST_S / 2 - 2 < time.monotonic() - since < SHORTEST_S
    refresh = kept.request("UPDATE")
    refresh.headers.set("Supported", "timer")
    refresh.headers.set("Session-Expires", f"{SHORTEST_S};refresher=uac")
    assert telco.ask(refresh).code == 200

    eventually(lambda: telco.within(dropped, "BYE"), "BYE", SHORTEST_S)
    assert SHORTEST_S / 2 < time.monotonic() - since < SHORTEST_S
    eventually(lambda: "BYE" in phone.methods(), "the phone is told")
    assert len({m.call_id for m in phone.requests() if m.method == "BYE"}) == 1
    assert not [m for dialog in (kept, updated, invited) for m in telco.within(dialog, "BYE")]


def test_nothing_was_logged_that_nobody_expects(bed: Bed) -> None:
    assert bed.exchange.log() == []
