"""Calls from providers: who they are from, where they go, and whose aren't taken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hil.agents.network import Network
from tests.hil.agents.peer import SipPeer
from tests.hil.agents.process import eventually
from tests.hil.agents.sip import Dialog
from tests.hil.outside_world import MAIN, PASSWORD, Exchange, Line, Phone, rows

PBX = "198.51.100.10"
CALLER = "+390200000777"
FORWARDED, ROUTED, GUEST = "+390200000150", "+390200000160", "+390200000170"
ELSEWHERE = "+390200000888"


def world() -> list[tuple[str, dict[str, object]]]:
    register = {"type": "register", "username": "account-c", "secret": "trunk-c"}
    to_number = {"type": "number", "number": ELSEWHERE, "site": "hq"}
    busy, echo = {"type": "hangup", "reason": "busy"}, {"type": "service", "service": "echo"}
    return rows(
        trunks={
            "c": {"host": "198.51.100.23", "auth": register, "caller_number": GUEST},
            "d": {"host": "198.51.100.23", "auth": register | {"username": "account-d"}, "caller_number": MAIN},
            "n": {"host": "198.51.100.24", "provider": "national", "accept_from": ["198.51.100.24/32"]},
        },
        more=[
            ("secret", {"id": "trunk-c"}),
            ("provider", {"id": "national", "name": "National", "probe": False, "identity": {"called_form": "national", "calling_form": "national", "header": "rpid"}}),
            ("did", {"id": "forwarded", "number": FORWARDED, "company": "demo", "destination": to_number}),
            ("did", {"id": "routed", "number": ROUTED, "company": "demo", "destination": {"type": "extension", "extension": "ext-201"}}),
            ("did", {"id": "guest", "number": GUEST, "company": "demo", "destination": busy}),
            ("inbound_route", {"id": "pest", "name": "Pest", "order": 1, "called": ROUTED, "caller": "+3902000006", "destination": {"type": "hangup", "reason": "rejected"}}),
            ("inbound_route", {"id": "fax", "name": "Fax line", "order": 2, "trunks": ["b"], "called": ROUTED, "destination": echo}),
        ],
    )  # fmt: skip


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Exchange, Line, Line, Line, Phone]]:
    with (
        Network() as net,
        exchange_lines(net) as both,
        Exchange(net, tmp_path_factory.mktemp("inbound"), world()) as exchange,
        exchange.line("a") as a,
        exchange.line("b") as b,
        exchange.phone() as phone,
    ):
        phone.register()
        yield exchange, a, b, both, phone


def exchange_lines(net: Network) -> Line:
    """The registrar of trunks c and d, there before the engine starts."""
    return Line(net.host("line-c", "provider", 23), PBX, {"account-c": PASSWORD, "account-d": PASSWORD})


Bed = tuple[Exchange, Line, Line, Line, Phone]


@pytest.fixture(autouse=True)
def quiet(bed: Bed) -> Iterator[None]:
    exchange, *peers = bed
    for peer in peers:
        peer.received.clear()
    yield
    for peer in peers[:3]:
        while peer.dialogs:
            peer.hangup(peer.dialogs.pop())
    peers[3].dialogs.clear()
    eventually(lambda: not exchange.channels(), "no channel is left over")


def ask(line: SipPeer, called: str, caller: str = CALLER, **headers: str) -> int:
    """The final answer to a call that is refused."""
    line.remote, line.remote_port = PBX, 5060
    request = line.request("INVITE", caller, called, Content_Type="application/sdp", **headers)
    request.body = line._sdp() if isinstance(line, Line) else b"v=0\r\n"
    return line.ask(request).code


@pytest.mark.parametrize(
    "called", [MAIN, MAIN[1:], "0200000100", "00390200000100"], ids=["plus", "bare", "national", "international"]
)
def test_a_did_rings_its_extension_however_it_is_written(bed: Bed, called: str) -> None:
    _, a, _, _, phone = bed
    a.call(called, CALLER, PBX)
    assert phone.invited().from_address.uri.user == "00200000777"  # as the phone would call back


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("0200000777", "00200000777"),
        ("+442079460999", "000442079460999"),
        ("00442079460999", "000442079460999"),
        ("+393000000001", "03000000001"),
    ],
)
def test_the_caller_is_shown_as_he_would_be_called_back(bed: Bed, sent: str, shown: str) -> None:
    _, a, _, _, phone = bed
    a.call(MAIN, sent, PBX)
    assert phone.invited().from_address.uri.user == shown


def test_the_asserted_identity_counts_and_a_withheld_number_stays_withheld(bed: Bed) -> None:
    _, a, _, _, phone = bed
    a.call(MAIN, "account", PBX, P_Asserted_Identity=f"<sip:{CALLER}@provider.example.com>")
    assert phone.invited().from_address.uri.user == "00200000777"
    a.call(MAIN, "anonymous", PBX, P_Asserted_Identity=f"<sip:{CALLER}@provider.example.com>", Privacy="id")
    assert "0200000777" not in str(phone.invited())


def test_calls_of_registered_trunks_are_told_apart_at_one_address(bed: Bed) -> None:
    _, _, _, registrar, phone = bed
    contacts = {user: registrar.contact_of(user) for user in ("account-c", "account-d")}
    assert contacts["account-c"] != contacts["account-d"]
    for user, expected in (("account-c", 486), ("account-d", 200)):
        # To names the account, not a number: the line's own main number is meant.
        request = registrar.request("INVITE", CALLER, user, Content_Type="application/sdp")
        request.uri = type(request.uri).parse(contacts[user])
        request.body = registrar._sdp()
        response = registrar.ask(request)
        assert response.code == expected, user
        if response.code == 200:
            _acknowledge(registrar, response)
    assert phone.invited()


def test_the_called_number_of_a_registered_trunk_may_stand_in_to(bed: Bed) -> None:
    _, _, _, registrar, phone = bed
    request = registrar.request("INVITE", CALLER, "0200000100", Content_Type="application/sdp")
    request.uri = type(request.uri).parse(registrar.contact_of("account-c"))
    request.body = registrar._sdp()
    response = registrar.ask(request)
    assert response.code == 200
    _acknowledge(registrar, response)
    assert phone.invited()


def test_inbound_routes_come_before_the_did_in_their_order(bed: Bed) -> None:
    _, a, b, _, phone = bed
    assert ask(a, ROUTED, "+390200000666") == 403
    assert ask(b, ROUTED, "+390200000666") == 403
    assert not phone.invites_so_far()
    b.call(ROUTED, CALLER, PBX)  # echo
    assert not phone.invites_so_far()
    a.call(ROUTED, CALLER, PBX)
    assert phone.invited()


@pytest.mark.parametrize(("called", "code"), [("+390200000998", 404), (GUEST, 486), ("hello", 404), ("0", 404)])
def test_what_isnt_ours_is_404_and_a_refusal_is_what_it_says(bed: Bed, called: str, code: int) -> None:
    assert ask(bed[1], called) == code


def test_a_call_that_is_sent_on_to_the_outside_says_who_diverted_it(bed: Bed) -> None:
    _, a, b, _, _ = bed
    a.does((0, "503 Service Unavailable"))
    b.does((0, "200 OK"))
    a.call(FORWARDED, CALLER, PBX)
    sent = b.first
    assert sent.uri.user == ELSEWHERE
    assert sent.from_address.uri.user == FORWARDED  # screening: a number of ours
    assert f"sip:{FORWARDED}@" in sent.headers["Diversion"]


def test_our_own_numbers_are_called_inside(bed: Bed) -> None:
    _, a, b, _, phone = bed
    assert phone.dial("00200000170").code == 486
    assert not a.invites
    assert not b.invites


@pytest.mark.parametrize("user", ["trunk-a", "201-1", "nobody", CALLER])
def test_strangers_get_one_answer_whoever_they_say_they_are(bed: Bed, user: str) -> None:
    exchange = bed[0]
    name = f"stranger-{len(exchange.net.hosts)}"
    with SipPeer(exchange.net.host(name, "provider"), PBX) as stranger:
        response = stranger.ask(stranger.request("INVITE", user, MAIN, Content_Type="application/sdp"))
        assert (response.code, response.phrase) == (401, "Unauthorized")
        assert 'realm="centralino"' in response.headers["WWW-Authenticate"]
    assert not bed[4].invites_so_far()


def _acknowledge(line: Line, response: object) -> None:
    dialog = Dialog.from_response(response, line.contact, transport="UDP", via=line._via)  # type: ignore[arg-type]
    line.send(dialog.request("ACK", cseq=response.cseq.sequence))  # type: ignore[attr-defined]
    line.dialogs.append(dialog)


def test_nothing_was_logged_that_nobody_expects(bed: Bed) -> None:
    assert bed[0].log() == []
