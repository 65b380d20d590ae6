"""What providers get to see of the caller, and what they and we agree on besides: profiles, registration, probes, fax."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sipmessage import Request, Response

from tests.hil.agents.network import Network
from tests.hil.agents.process import eventually
from tests.hil.outside_world import MAIN, PASSWORD, Exchange, Line, Phone, rows

ABROAD = "000442079460999"
"""Dialled: a number in Great Britain."""
PROVIDERS = {
    "plain": {"header": "from", "calling_form": "e164", "called_form": "e164"},
    "national": {"header": "rpid", "calling_form": "national", "called_form": "national"},
    "quiet": {"header": "pai", "clir": "anonymous"},
    "account": {"header": "pai", "from_user": "account"},
    "open": {"header": "from", "screening": False, "send_diversion": False},
}
"""By trunk: each has a provider of its own, and an outbound prefix by which it is chosen."""
PREFIXES = {"plain": "+4420", "national": "+3906", "quiet": "+3907", "account": "+3908", "open": "+3909"}
DIALLED = {
    "plain": ABROAD,
    "national": "00600000001",
    "quiet": "00750000001",
    "account": "00800000001",
    "open": "00900000001",
}
AWAY = {"open": "+390200000155", "quiet": "+390200000156"}
"""Numbers of ours whose calls leave again, by the trunk they take."""
Bed = tuple[Exchange, Line, Phone]


def world() -> list[tuple[str, dict[str, object]]]:
    host = {"host": "198.51.100.21"}
    register = {"type": "register", "username": "account-7", "auth_username": "login-7", "secret": "trunk"}
    auth: dict[str, dict[str, object]] = {name: {"type": "address"} for name in PROVIDERS}
    auth["account"] = register
    more: list[tuple[str, dict[str, object]]] = [("secret", {"id": "trunk"})]
    for name, identity in PROVIDERS.items():
        more += [
            (
                "provider",
                {
                    "id": name,
                    "name": name,
                    "probe": False,
                    "identity": identity,
                    "prack": name == "quiet",
                    "early_media": name != "national",
                },
            ),
            ("outbound_route", {"id": name, "name": name, "order": 1, "prefixes": [PREFIXES[name]], "trunks": [name]}),
        ]
    more.append(
        (
            "class_of_service",
            {"id": "all", "name": "All", "allow": ["internal"], "allow_prefixes": ["+"], "may_transfer_outside": True},
        )
    )
    for name, did in AWAY.items():
        target = {"type": "number", "number": f"+39{DIALLED[name][1:]}", "site": "hq"}
        more.append(("did", {"id": f"away-{name}", "number": did, "company": "demo", "destination": target}))
    trunks = {
        name: {**host, "port": 5060 + 2 * index, "provider": name, "auth": auth[name], "caller_number": MAIN}
        for index, name in enumerate(PROVIDERS)
    }
    made = rows(trunks={**trunks, "a": {"host": "198.51.100.29"}}, more=more)
    return [(kind, {**fields, "class_of_service": "all"} if kind == "device" else fields) for kind, fields in made]


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with Network() as net:
        yield net


@pytest.fixture(scope="module")
def lines(net: Network) -> Iterator[dict[str, Line]]:
    """One peer per provider, on ports of their own: the provider's accounts are there before the engine is."""
    host = net.host("providers", "provider", 21)
    made = {}
    for index, name in enumerate(PROVIDERS):
        made[name] = Line(host, "198.51.100.10", {"account-7": PASSWORD}, port=5060 + 2 * index)
    for line in made.values():
        line.__enter__()
    yield made
    for line in made.values():
        line.__exit__(None, None, None)


@pytest.fixture(scope="module")
def phone(net: Network, lines: dict[str, Line], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    with Exchange(net, tmp_path_factory.mktemp("identity"), world()) as exchange, exchange.phone() as phone:
        phone.exchange = exchange  # type: ignore[attr-defined]
        yield phone


@pytest.fixture(autouse=True)
def quiet(phone: Phone, lines: dict[str, Line]) -> Iterator[None]:
    for line in lines.values():
        line.received.clear()
    yield
    while phone.dialogs:
        phone.hangup(phone.dialogs.pop())


def sent(phone: Phone, line: Line, name: str, **headers: str) -> Request:
    """The INVITE that a call by a trunk leads to."""
    assert phone.dial(DIALLED[name], **headers).code == 200
    return line.invites[-1]


def test_number_in_from_alone(phone: Phone, lines: dict[str, Line]) -> None:
    invite = sent(phone, lines["plain"], "plain")
    assert invite.uri.user == "442079460999"
    assert invite.from_address.uri.user == MAIN[1:]
    assert invite.headers.get("P-Asserted-Identity") is None
    assert invite.headers.get("Remote-Party-ID") is None
    hidden = sent(phone, lines["plain"], "plain", Privacy="id")
    assert str(hidden.from_address.uri) == "sip:anonymous@anonymous.invalid"
    assert f"sip:{MAIN[1:]}@" in hidden.headers["P-Asserted-Identity"]  # for the network, which needs it
    assert hidden.headers["Privacy"] == "id"


def test_national_numbers_and_remote_party_id(phone: Phone, lines: dict[str, Line]) -> None:
    invite = sent(phone, lines["national"], "national")
    assert invite.uri.user == "0600000001"
    assert invite.from_address.uri.user == "0" + MAIN[4:]
    assert re.search(rf"sip:0{MAIN[4:]}@.*party=calling;privacy=off;screen=yes", invite.headers["Remote-Party-ID"])
    hidden = sent(phone, lines["national"], "national", Privacy="id")
    assert str(hidden.from_address.uri) == "sip:anonymous@anonymous.invalid"
    assert "privacy=full" in hidden.headers["Remote-Party-ID"]


def test_a_withheld_number_isnt_told_where_the_profile_says_so(phone: Phone, lines: dict[str, Line]) -> None:
    hidden = sent(phone, lines["quiet"], "quiet", Privacy="id")
    assert MAIN[4:] not in str(hidden)
    assert str(hidden.from_address.uri) == "sip:anonymous@anonymous.invalid"


@pytest.mark.parametrize("hidden", ["sip:anonymous@anonymous.invalid", "sip:anonymous@192.0.2.10"])
def test_a_phone_that_hides_in_from_calls_without_its_number(phone: Phone, lines: dict[str, Line], hidden: str) -> None:
    invite = sent(phone, lines["quiet"], "quiet", From=f'"Anonymous" <{hidden}>;tag=hidden')
    assert MAIN[4:] not in str(invite)
    assert str(invite.from_address.uri) == "sip:anonymous@anonymous.invalid"
    # The next call of the same phone is shown again.
    assert f"sip:{MAIN}@" in sent(phone, lines["quiet"], "quiet").headers["P-Asserted-Identity"]


def test_who_transferred_a_call_isnt_told(phone: Phone, lines: dict[str, Line]) -> None:
    exchange: Exchange = phone.exchange  # type: ignore[attr-defined]
    with exchange.phone("301-1") as other:
        other.register()
        assert phone.dial("301").code == 200
        with exchange.ami() as ami:  # a REFER that comes before would lead nowhere
            eventually(lambda: sum(bool(c.get("BridgeId")) for c in ami.channels()) == 2, "the two talk")
        refer = phone.dialogs[-1].request("REFER")
        refer.headers.set("Refer-To", f"<sip:{DIALLED['plain']}@192.0.2.10>")
        refer.headers.set("Referred-By", '"Desk 201" <sip:201@192.0.2.10>')
        assert phone.ask(refer).code == 202
        invite = lines["plain"].first
        assert invite.uri.user == "442079460999"
        assert invite.headers.get("Referred-By") is None
        assert "Desk 201" not in str(invite)
        phone.dialogs.clear()  # the engine has ended it
        eventually(lambda: "ACK" in lines["plain"].methods(), "the transferred call is answered")
        other.hangup()
    eventually(lambda: not exchange.channels(), "no channel is left over")


def test_reliable_provisional_responses_are_asked_for_where_the_profile_says_so(
    phone: Phone, lines: dict[str, Line]
) -> None:
    assert "100rel" in sent(phone, lines["quiet"], "quiet").headers["Supported"] + sent(
        phone, lines["quiet"], "quiet"
    ).headers.get("Require", "")
    assert "100rel" not in sent(phone, lines["plain"], "plain").headers["Supported"]


def test_session_timers_are_offered(phone: Phone, lines: dict[str, Line]) -> None:
    invite = sent(phone, lines["plain"], "plain")
    assert "timer" in invite.headers["Supported"]
    assert invite.headers["Session-Expires"].startswith("1800")


def test_the_account_in_from_and_its_authentication(phone: Phone, lines: dict[str, Line]) -> None:
    line = lines["account"]
    contact = line.contact_of("account-7")
    assert re.match(r"sip:trunk-account@198\.51\.100\.10:5060;.*line=\w+", contact)
    invite = sent(phone, line, "account")
    assert str(invite.from_address.uri) == "sip:account-7@198.51.100.21"
    assert f"sip:{MAIN}@" in invite.headers["P-Asserted-Identity"]


@pytest.mark.parametrize(
    ("name", "shown", "diverted"), [("open", "+390211112222", False), ("quiet", AWAY["quiet"], True)]
)
def test_what_is_told_of_calls_that_leave_again(
    phone: Phone, lines: dict[str, Line], name: str, shown: str, diverted: bool
) -> None:
    """Who screens gets a number of ours and who diverted; who doesn't may have the caller's own, and no Diversion."""
    del phone  # the engine runs
    before = len(lines[name].invites)
    lines["plain"].call(AWAY[name][1:], caller="390211112222", to="198.51.100.10")
    (invite,) = lines[name].invites[before:]
    assert invite.from_address.uri.user == shown
    assert (AWAY[name] in (invite.headers.get("Diversion") or "")) is diverted
    lines["plain"].hangup()


@pytest.mark.parametrize(("name", "passed"), [("plain", True), ("national", False)])
def test_early_media_is_passed_or_rung_over(phone: Phone, lines: dict[str, Line], name: str, passed: bool) -> None:
    line, since = lines[name], len(phone.received)
    line.does((0, "183 Session Progress"), (1, "200 OK"))
    try:
        sent(phone, line, name)
    finally:
        line.does(*Line.script)
    codes = [m.code for m in phone.received[since:] if isinstance(m, Response) and m.cseq.method == "INVITE"]
    assert (183 in codes) is passed
    assert (180 in codes) is not passed


def test_fax_relay_is_passed_through(phone: Phone, lines: dict[str, Line]) -> None:
    line = lines["plain"]
    sent(phone, line, "plain")
    call = line.dialogs[-1]
    offer = call.request("INVITE")
    offer.headers.set("Contact", line.contact)
    offer.headers.set("Content-Type", "application/sdp")
    text = [
        "v=0",
        "o=- 1 2 IN IP4 198.51.100.21",
        "s=-",
        "c=IN IP4 198.51.100.21",
        "t=0 0",
        "m=image 40000 udptl t38",
        "a=T38FaxVersion:0",
        "",
    ]
    offer.body = "\r\n".join(text).encode()
    phone.takes_fax = True

    answer = line.ask(offer)
    assert answer.code == 200
    assert b"udptl" in answer.body
    assert any(b"udptl" in m.body for m in phone.invites_so_far())
    port = re.search(rb"^m=image (\d+) ", answer.body, re.M)
    assert port
    bound = phone.exchange.host.run(["ss", "-Hlun"]).stdout  # type: ignore[attr-defined]
    assert f"198.51.100.10:{int(port[1])} " in bound, "fax goes out where voice does"
    assert re.search(r"192\.0\.2\.10:4\d\d\d ", bound)
    assert "BYE" not in line.methods()


def test_nothing_was_logged_that_nobody_expects(phone: Phone) -> None:
    # A fax that ends: whether there is voice left to be counted can't be asked beforehand without a race.
    told = ("has no audio media/RTP session", "'rtcp,all'")
    log = phone.exchange.log()  # type: ignore[attr-defined]
    assert [line for line in log if not any(text in line for text in told)] == []
