"""The harness against a bare Asterisk: each agent must work, and must notice what is broken, before it judges the product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from sipmessage import Request

from tests.hil.agents.bare_engine import MUSIC_HZ, PASSWORD, BareEngine, find_root, trusting
from tests.hil.agents.network import Host, Network
from tests.hil.agents.peer import Provider, SipPeer, torture_message, torture_names
from tests.hil.agents.process import AgentError, eventually
from tests.hil.agents.sipp import Sipp, User
from tests.hil.agents.softphone import SoftPhone, converse
from tests.hil.agents.tap import Tap
from tests.hil.agents.webrtc import WebPhone

PhoneMaker = Callable[..., SoftPhone]


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with Network() as network:
        network.host("pbx").join("provider")
        network.host("phones")
        network.host("provider", lan="provider")
        yield network


@pytest.fixture(scope="module")
def pbx(net: Network) -> Host:
    return net.hosts["pbx"]


@pytest.fixture(scope="module")
def provider(net: Network) -> Host:
    return net.hosts["provider"]


@pytest.fixture(scope="module")
def engine(pbx: Host, provider: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareEngine]:
    root = find_root()
    if root is None:
        pytest.skip("no engine root: make engine, or set CENTRALINO_TEST_ENGINE_ROOT")
    with BareEngine(pbx, root, tmp_path_factory.mktemp("bare") / "engine", provider.address) as running:
        yield running


@pytest.fixture
def phone(net: Network, engine: BareEngine, tmp_path: Path) -> Iterator[PhoneMaker]:
    """Makes started phones on the host `phones`; they end with the test."""
    made: list[SoftPhone] = []

    def make(user: str, **options: object) -> SoftPhone:
        options = {"password": PASSWORD, "registrar": engine.host.address, "trust": engine.certificate, **options}
        made.append(SoftPhone(net.hosts["phones"], tmp_path / f"{user}-{len(made)}", user, **options))  # type: ignore[arg-type]
        return made[-1].start()

    yield make
    for one in made:
        one.stop()


# --- soft phones ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "callee", "options"),
    [
        ("101", "102", {}),
        ("103", "104", {"transport": "tcp"}),
        ("131", "132", {"transport": "tls", "media": "srtp"}),
        ("141", "142", {"codecs": ["G722"]}),
        ("151", "152", {"codecs": ["opus"]}),
        ("161", "162", {"transport": "tls", "media": "dtls_srtp"}),
    ],
    ids=["udp-pcma", "tcp-pcma", "tls-sdes", "g722", "opus", "tls-dtls"],
)
def test_two_phones_hear_each_other(phone: PhoneMaker, caller: str, callee: str, options: dict[str, str]) -> None:
    one, other = phone(caller, tone_hz=440, **options).register(), phone(callee, tone_hz=620, **options).register()
    call = one.call(callee)
    answered = other.incoming()
    call.ringing()
    answered.answer()
    call.established()
    at_one, at_other = converse(one, other)
    assert at_one.good(), at_one
    assert at_other.good(), at_other
    call.hangup()
    assert "peer" in answered.closed()


def test_two_phones_hear_each_other_over_ipv6(phone: PhoneMaker, pbx: Host) -> None:
    one, other = (
        phone(user, registrar=pbx.address6, tone_hz=hz).register() for user, hz in (("101", 440), ("102", 620))
    )
    call = one.call("102")
    other.incoming().answer()
    call.established()
    assert all(report.good() for report in converse(one, other, 1))


def test_a_wrong_password_is_told(phone: PhoneMaker) -> None:
    assert phone("101", password="not it").try_register() == "401 Unauthorized"
    with pytest.raises(AgentError, match="phone 101: registration refused"):
        phone("101", password="not it").register()


def test_a_busy_phone_refuses_with_486(phone: PhoneMaker) -> None:
    one, other = phone("101").register(), phone("102").register()
    call = one.call("102")
    other.incoming().reject()
    assert call.closed().startswith("486")


def test_a_call_that_fails_is_not_established(phone: PhoneMaker) -> None:
    one = phone("101").register()
    with pytest.raises(AgentError, match=r"call ended instead of CALL_ESTABLISHED: 404"):
        one.call("999").established()


def test_hold_and_resume(phone: PhoneMaker) -> None:
    one, other = phone("101", tone_hz=440).register(), phone("102", tone_hz=620).register()
    call = one.call("102")
    other.incoming().answer()
    call.established()
    converse(one, other, 0.5)
    call.hold()
    other.hears_no_more(440)
    with pytest.raises(AgentError, match="doesn't hear 440 Hz"):
        other.hears(440, deadline_s=1)
    assert other.listen(MUSIC_HZ, 1).good()
    one.hears_no_more(620)
    call.resume()
    assert all(report.good() for report in converse(one, other, 1))


def test_dtmf(phone: PhoneMaker) -> None:
    one, other = phone("101").register(), phone("102").register()
    call = one.call("102")
    other.incoming().answer()
    call.established()
    one.hears(440)
    call.dtmf("147*")
    assert eventually(lambda: other.digits() == "147*", "four digits")


def test_blind_transfer(phone: PhoneMaker) -> None:
    one, two, three = (phone(u, tone_hz=hz).register() for u, hz in (("101", 440), ("102", 620), ("103", 900)))
    call = one.call("102")
    second = two.incoming().answer()
    call.established()
    converse(one, two, 0.3)
    second.transfer("103")
    three.incoming().answer()
    second.closed()
    assert all(report.good() for report in converse(one, three, 1))


def test_attended_transfer(phone: PhoneMaker) -> None:
    one, two, three = (phone(u, tone_hz=hz).register() for u, hz in (("101", 440), ("102", 620), ("103", 900)))
    call = one.call("102")
    first = two.incoming().answer()
    call.established()
    first.hold()
    consultation = two.call("103")
    three.incoming().answer()
    consultation.established()
    two.hears(900)
    first.transfer_to(consultation)
    first.closed()
    assert all(report.good() for report in converse(one, three, 1))


def test_a_callee_reads_headers_and_a_pulled_plug_is_no_hangup(phone: PhoneMaker) -> None:
    one, other = phone("101", name="Somebody").register(), phone("102").register()
    one.call("102")
    incoming = other.incoming()
    assert incoming.invite().from_address.name == "Phone 101"
    assert incoming.peer.startswith("sip:101@")
    incoming.answer()
    other.kill()
    assert [m.method for m in other.messages() if hasattr(m, "method")].count("BYE") == 0


def test_a_dozen_phones_at_once(phone: PhoneMaker) -> None:
    phones = [phone(str(101 + n), tone_hz=400 + 110 * n) for n in range(12)]
    for one in phones:
        one.register()
    pairs = list(zip(phones[::2], phones[1::2], strict=True))
    calls = [caller.call(callee.user) for caller, callee in pairs]
    for _, callee in pairs:
        callee.incoming().answer()
    for call in calls:
        call.established()
    for caller, callee in pairs:
        for report in converse(caller, callee, 0.5):
            assert report.good(), report


# --- SIPp -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sipp(net: Network, engine: BareEngine, tmp_path: Path) -> Iterator[Callable[..., Sipp]]:
    made: list[Sipp] = []

    def make(*users: str) -> Sipp:
        made.append(Sipp(net.hosts["phones"], tmp_path / f"sipp{len(made)}", engine.host.address))
        if users:
            made[-1].register([User(user, PASSWORD) for user in users])
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_sipp_calls_agree_with_the_callees_books(sipp: Callable[..., Sipp]) -> None:
    callee = sipp("102").answering(ring_ms=50)
    caller = sipp().calls([User("101", PASSWORD, "102"), User("103", PASSWORD, "102")], 60, rate=30, talk_ms=200).wait()
    books = caller.books()
    assert [entry.result for entry in books] == ["answered"] * 60
    assert {entry.caller for entry in books} == {"101", "103"}
    assert all(entry.start <= (entry.answer or 0) <= (entry.end or 0) for entry in books)
    assert len({entry.call_id for entry in books}) == 60
    assert caller.statistics()["successful"] == 60
    assert eventually(lambda: [e.result for e in callee.books()] == ["answered"] * 60, "the callee's books")
    assert {invite.from_address.name for invite in callee.invites()} == {"Phone 101", "Phone 103"}


@pytest.mark.parametrize("status", ["486 Busy Here", "503 Service Unavailable"])
def test_sipp_refuses(sipp: Callable[..., Sipp], status: str) -> None:
    callee = sipp("102").refusing(status)
    caller = sipp().calls([User("101", PASSWORD, "102")])
    caller.finish()
    assert [entry.result for entry in caller.books()] == [f"refused {status[:3]}"]
    assert [entry.result for entry in callee.books()] == [f"refused {status[:3]}"]


def test_sipp_with_a_wrong_password_fails(sipp: Callable[..., Sipp]) -> None:
    caller = sipp().calls([User("101", "wrong", "102")])
    with pytest.raises(AgentError, match="401 Unauthorized"):
        caller.wait()
    assert [entry.result for entry in caller.books()] == ["failed"]


def test_sipp_plays_a_tone_before_and_after_the_answer(sipp: Callable[..., Sipp], phone: PhoneMaker) -> None:
    callee = sipp("102").answering(tone_hz=600, early=True, ring_ms=2000)
    call = phone("101", tone_hz=440).register().call("102")
    call.ringing()
    call.phone.hears(600)
    assert not call.up
    call.established()
    assert call.phone.listen(600, 1).good()
    call.hangup()
    assert eventually(lambda: [e.result for e in callee.books()] == ["answered"], "the callee's books")


def test_sipp_rings_until_the_caller_gives_up(sipp: Callable[..., Sipp], phone: PhoneMaker) -> None:
    callee = sipp("102").ringing()
    call = phone("101").register().call("102")
    call.ringing().hangup()
    assert eventually(lambda: [e.result for e in callee.books()] == ["cancelled"], "CANCEL comes through")


def test_sipp_redirects(sipp: Callable[..., Sipp], phone: PhoneMaker) -> None:
    sipp("102").redirecting("104")
    target, caller = phone("104").register(), phone("101").register()
    call = caller.call("102")
    target.incoming().answer()
    call.established()


def test_sipp_transfers_with_refer(sipp: Callable[..., Sipp], phone: PhoneMaker) -> None:
    first, second = phone("103", tone_hz=440).register(), phone("104", tone_hz=620).register()
    caller = sipp().calls([User("101", PASSWORD, "103")], refer_to="104")
    first.incoming().answer()
    second.incoming().answer()
    caller.wait()
    assert [(entry.result, entry.referred) for entry in caller.books()] == [("answered", True)]
    assert all(report.good() for report in converse(first, second, 0.5))


# --- what goes over the wire ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [False, True], ids=["udp-rtp", "tls-srtp"])
def test_the_tap_tells_clear_from_encrypted(phone: PhoneMaker, net: Network, tmp_path: Path, hidden: bool) -> None:
    options = {"transport": "tls", "media": "srtp"} if hidden else {}
    users = ("131", "132") if hidden else ("101", "102")
    with Tap(net.hosts["phones"], tmp_path / "tap.pcap") as tap:
        one, other = (phone(user, tone_hz=hz, **options).register() for user, hz in zip(users, (440, 620), strict=True))
        call = one.call(users[1])
        other.incoming().answer()
        call.established()
        assert all(report.good() for report in converse(one, other, 1))
        call.hangup()
    streams = tap.streams(to=net.hosts["phones"].address, codec=8)
    assert len(streams) == 2
    assert all(stream.looks_encrypted is hidden for stream in streams)
    assert all(stream.count > 40 and stream.lost == 0 and stream.max_gap_ms() < 60 for stream in streams)
    assert (tap.clear_text(b"INVITE sip:") == 0) is hidden
    assert (tap.tls_records(5061) > 10) is hidden
    assert tap.dropped() == 0


def test_a_hole_in_the_stream_is_heard(phone: PhoneMaker, net: Network, engine: BareEngine) -> None:
    one = phone("101").register()
    one.call("602").established()  # plays 1,000 Hz with holes of 100 and 60 ms
    report = one.listen(1000, 3)
    assert not report.good(longest_gap_ms=80)
    assert any(90 <= gap <= 130 for gap in report.gaps_ms), report
    steady = phone("102").register()
    steady.call("601").established()
    mark = steady.hears(1000).mark()
    with net.blackhole(engine.host, net.hosts["phones"]):
        steady.hears_no_more(1000)
    steady.hears(1000)
    assert steady.since(mark, 1000).longest_gap_ms > 400


# --- browsers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(net: Network, engine: BareEngine, tmp_path: Path) -> Iterator[Callable[..., WebPhone]]:
    made: list[WebPhone] = []

    def make(user: str, password: str = PASSWORD, tone_hz: int = 500) -> WebPhone:
        url = f"wss://{engine.host.address}:8089/ws"
        work = tmp_path / f"web{len(made)}"
        made.append(WebPhone(net.hosts["phones"], work, user, password, url, trust=engine.certificate, tone_hz=tone_hz))
        return made[-1].start()

    yield make
    for one in made:
        one.stop()


def test_a_browser_and_a_phone_hear_each_other(web: Callable[..., WebPhone], phone: PhoneMaker) -> None:
    browser, desk = web("172").register(), phone("101", tone_hz=700).register()
    browser.call("101")
    desk.incoming().answer()
    browser.established()
    assert browser.listen(700).good()
    assert desk.listen(500).good()
    browser.hangup()


def test_a_phone_calls_a_browser(web: Callable[..., WebPhone], phone: PhoneMaker) -> None:
    browser, desk = web("171").register(), phone("151", tone_hz=700, codecs=["opus"]).register()
    call = desk.call("171")
    browser.incoming().answer()
    call.established()
    assert browser.listen(700).good()
    assert desk.listen(500).good()
    call.hangup()
    assert browser.closed() == "bye"


def test_a_browser_with_a_wrong_password_is_told(web: Callable[..., WebPhone]) -> None:
    assert web("171", password="not it").try_register() == 401


# --- scripted peers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_scripted_peer_registers(net: Network, engine: BareEngine, transport: Literal["udp", "tcp", "tls"]) -> None:
    trust = trusting(engine.certificate) if transport == "tls" else None
    with SipPeer(net.hosts["phones"], engine.host.address, transport=transport, trust=trust) as peer:
        challenge = peer.ask(peer.request("REGISTER", "119"))
        assert challenge.code == 401
        assert 'realm="asterisk"' in challenge.headers["WWW-Authenticate"]
        assert peer.ask(peer.request("REGISTER", "119", Expires="60"), "119", "wrong").code == 401
        assert peer.ask(peer.request("REGISTER", "119", Expires="60"), "119", PASSWORD).code == 200
        assert peer.ask(peer.request("REGISTER", "119", Expires="0"), "119", PASSWORD).code == 200


def test_a_subscriber_sees_a_phone_ring(net: Network, engine: BareEngine, phone: PhoneMaker) -> None:
    one, other = phone("101").register(), phone("102").register()
    with SipPeer(net.hosts["phones"], engine.host.address) as peer:
        lamp, presence = (peer.subscribe("118", PASSWORD, "102", event) for event in ("dialog", "presence"))
        assert "<state>terminated</state>" in lamp.until("dialog-info").body.decode()
        assert "<presence" in presence.next().body.decode()
        one.call("102")
        ringing = other.incoming()
        lamp.until("<state>early</state>")
        ringing.answer()
        lamp.until("<state>confirmed</state>")
        ringing.hangup()
        lamp.until("<state>terminated</state>")


def test_torture_messages_leave_a_call_alone(net: Network, engine: BareEngine, phone: PhoneMaker) -> None:
    assert len(torture_names()) == 49
    one, other = phone("101", tone_hz=440).register(), phone("102", tone_hz=620).register()
    one.call("102")
    other.incoming().answer()
    mark = one.hears(620).mark()
    with SipPeer(net.hosts["phones"], engine.host.address) as peer:
        for name in torture_names():
            peer.send_raw(torture_message(name))
        assert peer.ask(peer.request("OPTIONS", "118", "118"), "118", PASSWORD).code in (200, 404)
    assert one.since(mark, 620).longest_gap_ms <= 60
    assert other.listen(440, 0.5).good()


def test_a_provider_registers_and_answers_the_trunk(net: Network, engine: BareEngine, phone: PhoneMaker) -> None:
    with Provider(net.hosts["provider"], {"trunk": PASSWORD}) as provider:
        engine.cli("pjsip send register *all")
        assert provider.registered("trunk").startswith("sip:")
        caller = phone("101", tone_hz=440).register()
        call = caller.call("0390200000001")
        invite = provider.invited()
        assert invite.uri.user == "390200000001"
        assert "101" in invite.headers["P-Asserted-Identity"]
        call.established()
        assert caller.listen(440).good()  # the provider echoes
        provider.hangup()
        call.closed()


def test_a_provider_calls_in(net: Network, engine: BareEngine, phone: PhoneMaker) -> None:
    callee = phone("101", tone_hz=440, auto_answer=True).register()
    with Provider(net.hosts["provider"], {"trunk": PASSWORD}) as provider:
        provider.call("390200000002", "393000000001", engine.host.address_on("provider"))
        incoming = callee.incoming()
        assert "393000000001" in incoming.peer
        assert incoming.invite().from_address.uri.user == "393000000001"
        assert callee.listen(440).good()
        provider.hangup()
        incoming.closed()


@pytest.mark.parametrize("status", ["486 Busy Here", "503 Service Unavailable", "180 Ringing", None])
def test_a_provider_that_does_not_answer(
    net: Network, engine: BareEngine, phone: PhoneMaker, status: str | None
) -> None:
    with Provider(net.hosts["provider"], {"trunk": PASSWORD}) as provider:
        provider.answers(status)
        call = phone("101").register().call("0390200000001")
        provider.invited()
        if status == "180 Ringing":
            call.ringing().hangup()
        elif status:
            assert call.closed().split()[0] in (status.split()[0], "503")
        else:
            call.hangup()


def test_a_provider_refuses_a_wrong_password(net: Network, engine: BareEngine) -> None:
    with Provider(net.hosts["provider"], {"trunk": "another"}) as provider:
        engine.cli("pjsip send register *all")
        provider.receive(
            lambda m: isinstance(m, Request) and m.method == "REGISTER" and m.authorization is not None, "REGISTER"
        )
        assert provider.contacts == {}
