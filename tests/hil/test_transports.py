"""Every transport that phones use, and what a device may not use."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from sipmessage import Response

from tests.hil.agents.bare_engine import trusting
from tests.hil.agents.peer import SipPeer
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.tap import Tap
from tests.hil.agents.webrtc import WebPhone
from tests.hil.office import Office, Row, open_office, talk

TLS: dict[str, Any] = {"certificate": "appliance", "port": 5061}


def listener(id: str, transport: str, **more: Any) -> Row:
    return "listener", {"id": id, "name": id, "transport": transport, "address": "192.0.2.10", **more}


def device(number: str, transport: str, security: str = "none", what: str = "1") -> Row:
    fields = {"media_security": security, "allowed_transports": [transport], "extension": f"ext-{number}"}
    return "device", {"id": f"{number}-{what}", "secret": f"{number}-{what}", **fields}


MORE: list[Row] = [
    listener("udp", "udp"),
    listener("tcp", "tcp", port=5070),
    listener("tls", "tls", **TLS),
    listener("wss", "wss", **{**TLS, "port": 8089, "zone": "web"}),
    listener("six", "udp", address="2001:db8:1::10"),
    device("203", "tcp"),
    device("204", "tls", "sdes"),
    device("205", "wss", "dtls"),
    device("206", "udp", "dtls"),
]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("transports"), MORE) as office:
        yield office


@pytest.fixture
def trust(office: Office) -> ssl.SSLContext:
    return trusting(office.system.paths.engine.tls / "appliance.crt")


@pytest.fixture
def udp(office: Office) -> SoftPhone:
    return office.phone("201-1")


def test_tcp(office: Office, udp: SoftPhone) -> None:
    phone = office.phone("203-1", transport="tcp", port=5070)
    talk(udp, phone, udp.call("203"))
    talk(phone, udp, phone.call("201"))


def test_tls_with_sdes_is_encrypted_on_the_wire(office: Office, udp: SoftPhone) -> None:
    trusted = office.system.paths.engine.tls / "appliance.crt"
    with Tap(office.desk, office.work / "tls.pcap") as tap:
        phone = office.phone("204-1", transport="tls", media="srtp", trust=trusted)
        call = phone.call("201").ringing()
        incoming = udp.incoming().answer()
        call.established()
        heard = phone.hears(udp.tone_hz).listen(udp.tone_hz), udp.hears(phone.tone_hz).listen(phone.tone_hz)
        assert all(report.good() for report in heard), heard
        call.hangup()
        incoming.closed()
        tap.read()
        assert tap.tls_records(5061) > 0
        assert tap.clear_text(b"sip:204-1@") == 0
    assert any(b"a=crypto:" in message.body for message in phone.messages(call.id))
    talk(udp, phone, udp.call("204"))


def test_dtls_srtp(office: Office, udp: SoftPhone) -> None:
    phone = office.phone("206-1", media="dtls_srtp")
    talk(udp, phone, udp.call("206"))
    talk(phone, udp, phone.call("201"))


def test_a_browser_over_wss(office: Office, udp: SoftPhone) -> None:
    trusted = office.system.paths.engine.tls / "appliance.crt"
    url = f"wss://{office.address}:8089/ws"
    with WebPhone(office.desk, office.work / "web", "205-1", office.password("205-1"), url, trust=trusted) as web:
        web.register()
        web.call("201")
        incoming = udp.incoming().answer()
        web.established()
        assert web.listen(udp.tone_hz).good()
        assert udp.hears(web.tone_hz).listen(web.tone_hz).good()
        incoming.hangup()


def test_ipv6(office: Office, udp: SoftPhone) -> None:
    phone = office.phone("202-1", registrar="2001:db8:1::10")
    talk(phone, udp, phone.call("201"))


def seen(response: Response) -> tuple[int, str, list[str]]:
    """What an answer tells: code, phrase, and the challenge without what is random in it."""
    challenge = response.headers["WWW-Authenticate"]
    fields = [part.strip() for part in challenge.split(",") if not part.strip().startswith(("nonce", "opaque"))]
    return response.code, response.phrase, [field.split(' nonce="')[0] for field in fields]


# Where each device may not come in, with its right password.
REFUSED = [("203-1", "udp"), ("204-1", "udp"), ("204-1", "tcp"), ("205-1", "udp"), ("205-1", "tls"), ("201-1", "tls"), ("201-1", "tcp")]  # fmt: skip


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
@pytest.mark.parametrize(("user", "transport"), REFUSED)
def test_a_device_is_nobody_where_it_may_not_come_in(
    office: Office, trust: ssl.SSLContext, user: str, transport: str, method: str
) -> None:
    port = {"udp": 5060, "tcp": 5070, "tls": 5061}[transport]
    tls = {"trust": trust} if transport == "tls" else {}
    target = "201" if method == "INVITE" else None
    with SipPeer(office.desk, office.address, transport=transport, remote_port=port, **tls) as peer:  # type: ignore[arg-type]
        stranger = peer.ask(peer.request(method, "nobody-1", target), "nobody-1", "wrong")
        first = peer.ask(peer.request(method, user, target))
        second = peer.ask(peer.request(method, user, target), user, office.password(user))
        hidden = peer.request(method, user, target)
        hidden.headers.set("From", "<sip:anonymous@anonymous.invalid>;tag=x")
        third = peer.ask(hidden, user, office.password(user))
    assert seen(stranger) == seen(first) == seen(second) == seen(third)
    assert stranger.code == 401


@pytest.mark.parametrize("domain", ["tls", "wss", "udp", "tls.centralino", "2001:db8:1::10"])
def test_no_domain_in_from_opens_a_door(office: Office, domain: str) -> None:
    with SipPeer(office.desk, office.address) as peer:
        request = peer.request("REGISTER", "204-1")
        host = f"[{domain}]" if ":" in domain else domain
        request.headers.set("From", f"<sip:204-1@{host}>;tag=x")
        assert peer.ask(request, "204-1", office.password("204-1")).code == 401


@pytest.mark.parametrize("user", ["201-1", "nobody-1", "205-1"])
def test_who_hides_in_from_needs_the_right_password_like_anybody(office: Office, user: str) -> None:
    with SipPeer(office.desk, office.address) as peer:
        request = peer.request("INVITE", user, "201")
        request.headers.set("From", "<sip:anonymous@anonymous.invalid>;tag=x")
        first = peer.ask(request)
        request.headers.set("Call-ID", "hidden-" + user)
        second = peer.ask(request, user, "wrong")
        stranger = peer.ask(peer.request("INVITE", "nobody-1", "201"), "nobody-1", "wrong")
    assert seen(first) == seen(second) == seen(stranger)


def test_tls_1_2_is_spoken(office: Office, trust: ssl.SSLContext) -> None:
    with (
        office.desk.connect(office.address, 5061) as plain,
        trust.wrap_socket(plain, server_hostname=office.address) as made,
    ):
        assert made.version() == "TLSv1.2"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused(office: Office, trust: ssl.SSLContext) -> None:
    trust.set_ciphers("ALL:@SECLEVEL=0")
    trust.minimum_version = trust.maximum_version = ssl.TLSVersion.TLSv1_1
    with office.desk.connect(office.address, 5061) as plain, pytest.raises(OSError):
        trust.wrap_socket(plain, server_hostname=office.address)
