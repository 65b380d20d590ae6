"""Every transport that phones use, and what a device may not use."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from sipmessage import Response

from tests.hil.agents.bare_engine import trusting
from tests.hil.agents.pcap import Stream
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
    ("device", {**device("205", "wss", "dtls")[1], "codec_policy": "thin"}),  # G.711: by it encryption shows
    device("206", "udp", "dtls"),
    *(
        row
        for number in ("211", "212")
        for row in (
            ("extension", {"id": f"ext-{number}", "number": number, "label": number, "site": "hq"}),
            device(number, "udp"),
            ("secret", {"id": f"{number}-1"}),
        )
    ),
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


def voice(tap: Tap, ports: range) -> list[Stream]:
    """The streams from and to a phone's ports; a handful of packets is no voice."""
    found = [s for s in tap.streams() if s.source[1] in ports or s.target[1] in ports]
    return [stream for stream in found if len(stream.packets) > 50]


def hidden_voice(office: Office, udp: SoftPhone, phone: SoftPhone, number: str) -> None:
    """A call between a plain phone and a secured one: on the wire, one's voice is plain and the other's isn't."""
    with Tap(office.desk, office.work / f"{phone.user}.pcap") as tap:
        talk(udp, phone, udp.call(number))
        secured, plain = voice(tap, phone.voice_ports), voice(tap, udp.voice_ports)
    assert (len(secured), len(plain)) == (2, 2)
    assert all(stream.looks_encrypted for stream in secured)
    assert not any(stream.looks_encrypted for stream in plain)


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
    hidden_voice(office, udp, phone, "204")


def test_a_device_that_must_encrypt_is_refused_in_clear(office: Office) -> None:
    trusted = office.system.paths.engine.tls / "appliance.crt"
    clear = SoftPhone(
        office.desk,
        office.work / "clear",
        "204-1",
        office.password("204-1"),
        office.address,
        transport="tls",
        trust=trusted,
    )
    with clear:
        assert "488" in clear.unregistered().call("201").closed(20)


def test_dtls_srtp(office: Office, udp: SoftPhone) -> None:
    phone = office.phone("206-1", media="dtls_srtp")
    hidden_voice(office, udp, phone, "206")
    talk(phone, udp, phone.call("201"))


def test_a_browser_over_wss(office: Office, udp: SoftPhone) -> None:
    trusted = office.system.paths.engine.tls / "appliance.crt"
    url = f"wss://{office.address}:8089/ws"
    with WebPhone(office.desk, office.work / "web", "205-1", office.password("205-1"), url, trust=trusted) as web:
        web.register()
        with Tap(office.desk, office.work / "web.pcap") as tap:
            web.call("201")
            incoming = udp.incoming().answer()
            web.established()
            assert web.listen(udp.tone_hz).good()
            assert udp.hears(web.tone_hz).listen(web.tone_hz).good()
            plain = voice(tap, udp.voice_ports)
            secured = [stream for stream in voice(tap, range(1, 65536)) if stream not in plain]
        assert (len(secured), len(plain)) == (2, 2)
        assert all(stream.looks_encrypted for stream in secured)
        incoming.hangup()
        web.closed()
        call = udp.call("205").ringing()
        web.incoming().answer()
        call.established()
        assert web.listen(udp.tone_hz).good()
        assert udp.hears(web.tone_hz).listen(web.tone_hz).good()
        call.hangup()


@pytest.mark.parametrize(("codec", "name"), [("G722", b"G722/8000"), ("opus", b"opus/48000/2")])
def test_wideband_from_phone_to_phone(office: Office, codec: str, name: bytes) -> None:
    def phone(number: str, tone_hz: int) -> SoftPhone:
        work = office.work / f"{codec}-{number}"
        user = f"{number}-1"
        return SoftPhone(
            office.desk, work, user, office.password(user), office.address, codecs=[codec], tone_hz=tone_hz
        )

    with phone("211", 500) as one, phone("212", 700) as other:
        one.register()
        other.register()
        call = one.call("212")
        talk(one, other, call)
        answer = next(m for m in one.messages(call.id) if isinstance(m, Response) and m.code == 200 and m.body)
        assert name in answer.body


def test_ipv6(office: Office, udp: SoftPhone) -> None:
    phone = office.phone("202-1", registrar="2001:db8:1::10")
    talk(phone, udp, phone.call("201"))


@pytest.mark.parametrize(
    ("user", "transport", "port"), [("201-1", "udp", 5060), ("203-1", "tcp", 5070), ("204-1", "tls", 5061)]
)
@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_a_wrong_password_is_refused_where_the_device_may_come_in(
    office: Office, trust: ssl.SSLContext, user: str, transport: str, port: int, method: str
) -> None:
    tls = {"trust": trust} if transport == "tls" else {}
    with SipPeer(office.desk, office.address, transport=transport, remote_port=port, **tls) as peer:  # type: ignore[arg-type]
        target = "211" if method == "INVITE" else None
        assert peer.ask(peer.request(method, user, target), user, "wrong").code == 401
        assert peer.ask(peer.request("REGISTER", user), user, office.password(user)).code == 200


def test_a_browser_with_a_wrong_password_is_refused(office: Office) -> None:
    trusted = office.system.paths.engine.tls / "appliance.crt"
    url = f"wss://{office.address}:8089/ws"
    with WebPhone(office.desk, office.work / "stranger", "205-1", "wrong", url, trust=trusted) as web:
        assert web.try_register() == 401


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
