"""Further kinds of calls that must complete whatever happened before, and the document that has what they need."""

from __future__ import annotations

from typing import Any

from sipmessage import Request, Response

from tests.hil.agents.peer import SipPeer
from tests.hil.agents.process import eventually
from tests.hil.agents.sip import answer
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.webrtc import WebPhone
from tests.hil.company import PBX, Company, rows, talk
from tests.hil.system import Rows


def document() -> Rows:
    """The company with a browser (205), a TLS phone (206), a phone that redirects (207), a second phone for 204, two more groups, and the lock codes."""
    tls = {"certificate": "appliance", "address": PBX}

    def device(id: str, **fields: Any) -> list[tuple[str, dict[str, Any]]]:
        common = {"id": id, "extension": f"ext-{id[:3]}", "slot": int(id[4]), "secret": id}
        return [("device", {**common, **fields}), ("secret", {"id": id})]

    group = {"site": "hq", "members": [{"extension": "ext-202"}, {"extension": "ext-203"}], "ring_seconds": 5}
    return rows(7, more=[
        ("listener", {"id": "tls", "name": "TLS", "transport": "tls", "port": 5061, **tls}),
        ("listener", {"id": "wss", "name": "Browsers", "transport": "wss", "port": 8089, "zone": "web", **tls}),
        *device("204-2"),
        *device("205-1", allowed_transports=["wss"], media_security="dtls"),
        *device("206-1", allowed_transports=["tls"], media_security="sdes"),
        ("ring_group", {"id": "one-by-one", "name": "One by one", "number": "401", "strategy": "sequential", **group}),
        ("ring_group", {"id": "in-turn", "name": "In turn", "number": "402", "strategy": "round_robin", **group}),
        ("service_code", {"id": "lock", "code": "*51", "service": "lock"}),
        ("service_code", {"id": "unlock", "code": "*52", "service": "unlock"}),
    ])  # fmt: skip


def held_with_music(company: Company) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    call = one.call("202").ringing()
    incoming = two.incoming().answer()
    call.established()
    two.hears(one.tone_hz)
    call.hold()
    two.hears_no_more(one.tone_hz)
    mark = two.mark()
    # Music has no tone of its own; silence would have none at all.
    eventually(lambda: two.since(mark, one.tone_hz).dominant_hz > 0, "music on hold")
    call.resume()
    two.hears(one.tone_hz)
    call.hangup()
    incoming.closed()


def over_the_other_trunk(company: Company) -> None:
    one, before = company.phone("201-1"), len(company.account.invites)
    company.line.does((0, "503 Service Unavailable"))
    company.account.does((0, "200 OK"))
    try:
        call = one.call("00200000999").established(20)
        assert len(company.account.invites) == before + 1
        assert one.listen(one.tone_hz, 0.5).good()
        call.hangup()
    finally:
        company.line.does((0, "180 Ringing"), (0.1, "200 OK"))


def two_devices(company: Company) -> None:
    one, four, other = company.phone("201-1"), company.phone("204-1"), company.phone("204-2")
    call = one.call("204").ringing()
    at_four, at_other = four.incoming(), other.incoming()
    at_other.answer()
    call.established()
    at_four.closed()
    call.hangup()
    at_other.closed()


def one_after_the_other(company: Company) -> None:
    one, two, three = (company.phone(f"20{n}-1") for n in (1, 2, 3))
    call = one.call("401").ringing()
    two.incoming().reject()
    at_three = three.incoming().answer()
    call.established()
    call.hangup()
    at_three.closed()


def in_turn(company: Company) -> None:
    one, members = company.phone("201-1"), [company.phone("202-1"), company.phone("203-1")]
    answered = []
    for _ in range(2):
        call = one.call("402").ringing()
        first = eventually(lambda: next((phone for phone in members if _rings(phone)), None), "a member rings")
        incoming = first.incoming().answer()
        call.established()
        call.hangup()
        incoming.closed()
        answered.append(first)
    assert answered[0] is not answered[1], "each in turn"


def _rings(phone: SoftPhone) -> bool:
    """Whether a call has come in that the test hasn't taken yet."""
    return any(event["type"] == "CALL_INCOMING" and event["id"] not in phone._taken for event in phone.control.events)


def redirected(company: Company) -> None:
    """A phone that answers with 302: its class of service decides, and the call goes there."""
    one, three, device = company.phone("201-1"), company.phone("203-1"), "207-1"

    class Redirecting(SipPeer):
        def __enter__(self) -> Redirecting:
            super().__enter__()
            self._handlers["INVITE"] = self._redirect
            return self

        def _redirect(self, request: Request) -> Response:
            return answer(request, 302, "Moved Temporarily", "<sip:203@192.0.2.99>", tag="peer")

    password = company.system.passwords[device]
    with Redirecting(company.desk, PBX) as peer:
        assert peer.ask(peer.request("REGISTER", device, Expires="300"), device, password).code == 200
        talk(one, three, one.call("207"))
        assert peer.ask(peer.request("REGISTER", device, Expires="0"), device, password).code == 200


def locked(company: Company) -> None:
    """A locked phone calls nobody outside but emergency services."""
    three = company.phone("203-1")
    three.call("*51").established().closed(20)
    assert three.call("00200000999").closed().startswith("403")
    three.call("112").established().hangup()
    three.call("*52").established().closed(20)
    three.call("00200000999").established().hangup()


def over_tls(company: Company) -> None:
    trust = company.system.paths.engine.tls / "appliance.crt"
    one, work = company.phone("201-1"), company.work / f"tls-{len(list(company.work.glob('tls-*')))}"
    password = company.system.passwords["206-1"]
    options: dict[str, Any] = {"transport": "tls", "media": "srtp", "trust": trust, "tone_hz": 1330}
    with SoftPhone(company.desk, work, "206-1", password, PBX, **options) as phone:
        phone.register()
        talk(one, phone, one.call("206"))
        talk(phone, one, phone.call("201"))


def from_a_browser(company: Company) -> None:
    trust = company.system.paths.engine.tls / "appliance.crt"
    one, work = company.phone("201-1"), company.work / f"web-{len(list(company.work.glob('web-*')))}"
    password = company.system.passwords["205-1"]
    with WebPhone(company.desk, work, "205-1", password, f"wss://{PBX}:8089/ws", trust=trust) as web:
        web.register()
        web.call("201")
        incoming = one.incoming().answer()
        web.established()
        assert web.listen(one.tone_hz).good()
        assert one.hears(web.tone_hz).listen(web.tone_hz).good()
        incoming.hangup()


MORE_CALLS = (
    held_with_music, over_the_other_trunk, two_devices, one_after_the_other, in_turn, redirected, locked, over_tls,
    from_a_browser,
)  # fmt: skip
