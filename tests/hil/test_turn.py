"""TURN and SIP with real coturn, engine, firewall and gate: voice gets in from where only the web is let through, and nothing else does."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus, WebSocketException

from appliance.core.errors import UnavailableError
from appliance.engine.stand_ins import ROUTES
from appliance.firewall import loopback
from appliance.firewall.bans import asking
from appliance.firewall.kernel import Kernel
from appliance.turn.addresses import ice_servers
from appliance.turn.credentials import Credentials, credentials
from appliance.turn.keys import Keys
from appliance.turn.model import TurnAddress, TurnServer
from appliance.turn.service import ask, ask_credentials
from tests.hil.agents.browser import CHROMIUM, chromium
from tests.hil.agents.process import eventually
from tests.hil.agents.sip import new_request, wire
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.turn import attempt, flood
from tests.hil.agents.webrtc import WebPhone
from tests.hil.outside_ground import PORT, TLS_ONLY, TLS_PORT, Ground, outside_ground, turn_server
from tests.hil.system import objects


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with outside_ground() as made:
        yield made


def told(ground: Ground) -> tuple[dict[str, Any], Credentials]:
    """What the API tells a browser, and the credentials in it."""
    made = ask_credentials(ground.paths, "somebody")
    server = TurnServer(id="turn", name="TURN", addresses=(TurnAddress(host=ground.public),))
    (found,) = ice_servers(server, made)
    return found, made


UDP = (f"udp dport {PORT}", f"udp sport {PORT}")


@contextmanager
def conversation(
    ground: Ground, scheme: str, *way: str, signalling: bool = True
) -> Iterator[tuple[SoftPhone, WebPhone]]:
    """A desk phone and a browser that may use these ways and the gate's port; they hear each other at the beginning and at the end.

    `signalling`: the browser's socket is there at the end.
    """
    found, _ = told(ground)
    servers = [{**found, "urls": [url for url in found["urls"] if url.startswith(scheme)]}]
    passwords, work = ground.system.passwords, ground.work / f"call-{time.monotonic_ns()}"
    url = f"wss://{ground.public}:{TLS_PORT}/ws"
    trust: dict[str, Any] = {"trust": ground.trust, "ice_trust": ground.trust}
    with (
        ground.only(*way, *TLS_ONLY),
        SoftPhone(ground.phone, work / "desk", "201-1", passwords["201-1"], ground.pbx.address, tone_hz=440) as desk,
        WebPhone(
            ground.browser, work / "web", "202-2", passwords["202-2"], url, ice_servers=servers, **trust
        ) as browser,
    ):
        desk.register()
        browser.register()
        browser.call("201")
        incoming = desk.incoming().answer()
        browser.established()
        assert browser.offered == [ground.public], "the address for phones is no affair of a browser outside"
        assert browser.listen(desk.tone_hz, 1.0).good()
        yield desk, browser
        assert browser.listen(desk.tone_hz, 1.0).good()
        assert desk.hears(browser.tone_hz).listen(browser.tone_hz, 1.0).good()
        incoming.hangup()
        if signalling:
            browser.closed()


@pytest.mark.parametrize(("scheme", "way"), [("turn:", UDP), ("turns:", ())])
def test_a_call_from_a_network_that_lets_nothing_else_through(
    ground: Ground, scheme: str, way: tuple[str, ...]
) -> None:
    """With TURN by TLS, nothing but the gate's one port."""
    before = ground.counted("turn")
    with conversation(ground, scheme, *way):
        pass
    assert (ground.counted("turn") - before > 50) == (scheme == "turn:")
    assert ground.counted("relayed-elsewhere") == 0


def test_who_guesses_passwords_by_the_gate_is_banned_and_nobody_else(ground: Ground) -> None:
    scanner = ground.net.host("scanner", "provider", 99)
    ways = {ground.public: f"{scanner.address}/32", ground.public6: "2001:db8:2::/64"}
    with ground.judge(), conversation(ground, "turns:"):
        for address, network in ways.items():
            for number in range(201, 215):
                if number > 203 and asking.told(ground.paths, network).bans:
                    break
                with contextlib.suppress(TimeoutError):
                    held = ground.socket(scanner, address)
                    assert ground.register(held, f"{number}-1", "wrong", deadline_s=3) == 401
            eventually(lambda: asking.told(ground.paths, network).bans, f"{network} is banned", 3)  # noqa: B023
            with pytest.raises(TimeoutError):
                scanner.connect(address, TLS_PORT, 1).close()
            with pytest.raises(TimeoutError):  # what was open
                ground.register(held, "201-1", "wrong", deadline_s=1)
        assert {each.network for each in asking.told(ground.paths).bans} == set(ways.values())


def test_calls_outlive_the_gate_and_commits_that_move_the_listener(ground: Ground) -> None:
    own = {"address": ground.public, "port": 8089, "certificate": "appliance"}
    with conversation(ground, "turn:", *UDP, signalling=False) as (_, browser):
        ground.commit_listener(zone="web", **own)
        ground.commit_listener(zone="web", **{**own, "port": 8090})
        ground.commit_listener(zone="gate")
        ground.door.stop()
        ground.start_gate()
        assert browser.listen(440, 1.0).good()
        again = ground.socket(ground.browser)
        assert ground.register(again, "202-2", ground.system.passwords["202-2"]) == 200


def test_garbage_harms_nobody_and_is_not_listened_to_for_ever(ground: Ground) -> None:
    stubborn = ground.net.host("stubborn", "provider", 98)
    for options in ({"protocol": "echo"}, {"protocol": "mqtt"}, {"path": "/ws/"}, {"path": "/ari/events"}):
        with pytest.raises(InvalidStatus) as refused:
            ground.socket(ground.browser, **options)
        assert refused.value.response.status_code == 503  # the portal's, which doesn't run here
    waiting = [ground.socket(stubborn) for _ in range(20)]
    dice = random.Random(1)
    for number, one in enumerate(waiting):
        with contextlib.suppress(OSError, WebSocketException):
            one.send(dice.randbytes(2000) if number % 2 else b"\x81\xfe".decode("latin-1") * 900)
            one.socket.sendall(dice.randbytes(50))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            unfinished = stack.enter_context(ground.tls(stubborn))
            unfinished.sendall(b"GET /ws HTTP/1.1\r\nHost: pbx\r\nUpgrade: websocket\r\n")
        codes = [ground.asked(stubborn, version=1)[0] for _ in range(60)]
        assert (codes[0] // 100, codes[-1]) == (4, 429), "who sends nothing else isn't listened to any more"
        assert ground.register(ground.socket(ground.browser), "202-2", ground.system.passwords["202-2"]) == 200


def test_chromium_signs_in_by_the_connection_that_its_page_came_by(ground: Ground, tmp_path: Path) -> None:
    """HTTP/2 (RFC 8441)."""
    there = tmp_path / "chromium"
    there.write_text(f'#!/bin/sh\nexec {" ".join(ground.browser.argv([CHROMIUM]))} "$@"\n')
    there.chmod(0o755)
    with chromium(str(there)) as browser:
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.goto(f"https://{ground.public}/")
        assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        before = ground.connections()
        me = f"<sip:202-2@{ground.public}>"
        request = new_request(
            "REGISTER", f"sip:{ground.public}", me, me, "<sip:a@a.invalid;transport=ws>", transport="WSS"
        )
        answer = page.evaluate(ASK, [f"wss://{ground.public}/ws", wire(request).decode()])
        assert answer.startswith("SIP/2.0 401 ")
        assert ground.connections() == before, "by the same connection"


ASK = """([url, text]) => new Promise((answered, failed) => {
    const socket = new WebSocket(url, 'sip')
    socket.onopen = () => socket.send(text)
    socket.onmessage = message => answered(message.data)
    socket.onerror = () => failed('refused')
})"""


def test_the_loopbacks_routes_are_made_again_and_missed_while_they_are_gone(ground: Ground) -> None:
    kernel = Kernel(ground.pbx.namespace)
    assert loopback.lacking(ground.pbx.namespace) == ()
    for route in ROUTES[:2]:
        ground.pbx.run(["ip", "-6", "route", "del", "local", route, "dev", "lo"])
    assert [each.key for each in kernel.untuned("")] == [f"route {route}" for route in ROUTES[:2]]
    assert kernel.tune("") == ()
    assert ground.register(ground.socket(ground.browser), "202-2", ground.system.passwords["202-2"]) == 200


def test_without_an_engine_it_says_so(ground: Ground) -> None:
    assert ground.system.engine is not None
    ground.system.engine.stop()
    try:
        status, text = ground.asked(ground.browser)
        assert status == 503
        assert json.loads(text)["error_id"] == "signalling_down"
    finally:
        ground.system.start_engine()
    assert ground.register(ground.socket(ground.browser), "202-2", ground.system.passwords["202-2"]) == 200


def test_who_has_no_credentials_is_refused_and_who_has_them_reaches_the_engines_voice_only(ground: Ground) -> None:
    made = ask_credentials(ground.paths, "somebody")
    secret = Keys(ground.paths.turn.database).newest()
    old = credentials(secret, "somebody", time.time() - 10, lifetime_s=5)
    other = credentials("another secret", "somebody", time.time())
    for trust, server in ((None, ground.server), (ground.trust, (ground.public, TLS_PORT))):
        refused = [
            (None, None),
            (made.username, "wrong"),
            (old.username, old.password),
            (other.username, other.password),
        ]
        for username, password in refused:
            assert attempt(ground.browser, server, username, password, trust=trust).code == 401
        relayed = attempt(
            ground.browser, server, made.username, made.password, trust=trust,
            peers=[
                (ground.public, 12000),  # the voice of browsers
                (ground.pbx.address, 5060), (ground.phone.address, 5060), ("127.0.0.1", 5038), ("127.0.0.1", 3479),
                ("0.0.0.0", 53), ("224.0.0.251", 5353), ("255.255.255.255", 67),  # noqa: S104
            ],
        )  # fmt: skip
        assert relayed.relayed[0] == "127.0.0.1"
        assert relayed.mapped[0] == ground.browser.address, "also behind the gate"
        assert relayed.peers == [0] + 7 * [403]
    # At the engine's address itself, the firewall lets relays reach voice alone.
    before = ground.counted("relayed-elsewhere")
    with ground.pbx.socket() as bystander, ground.pbx.socket() as voice:
        for sock, port in ((bystander, 5999), (voice, 19999)):
            sock.bind((ground.public, port))
            sock.settimeout(5)
        to = [(ground.public, 19999), (ground.public, 5999)]
        assert attempt(ground.browser, ground.server, made.username, made.password, peers=to, send=b"hello").peers == [
            0,
            0,
        ]
        assert voice.recv(100) == b"hello"
        bystander.settimeout(0)
        with pytest.raises(BlockingIOError):
            bystander.recv(100)
    assert ground.counted("relayed-elsewhere") > before


def test_a_flood_of_garbage_harms_nobody(ground: Ground) -> None:
    pid, dice = ground.pid(), random.Random(1)
    cookie = bytes.fromhex("2112a442")
    with ground.browser.socket() as sock:
        sock.connect(ground.server)
        for number in range(20_000):
            body = dice.randbytes(dice.randrange(60))
            # Every second one looks like a request for a relay.
            sock.send(bytes((0, 3, 0, len(body) & 0xFC)) + cookie + dice.randbytes(12) + body if number % 2 else body)
    for body in (cookie * 64, bytes(4) + cookie + dice.randbytes(4000), b""):
        with ground.browser.connect(ground.public, TLS_PORT) as plain:  # not even TLS
            plain.sendall(body or b"GET / HTTP/1.0\r\n\r\n")
    assert ground.works()
    assert ground.pid() == pid


def test_requests_of_those_without_a_relay_are_limited_and_who_has_one_does_not_notice(ground: Ground) -> None:
    made = ask_credentials(ground.paths, "somebody")
    dropped = []
    with ground.pbx.socket() as voice:
        voice.bind((ground.public, 19999))
        voice.settimeout(5)

        def before(index: int) -> None:
            if index == 0:
                dropped.append(ground.counted("turn-flood"))
                flood(ground.browser, ground.server, 1500)  # the browser's own address, and others that are invented
                dropped.append(ground.counted("turn-flood"))
                for number in range(60):
                    flood(ground.browser, ground.server, 100, f"198.51.100.{100 + number}")
                dropped.append(ground.counted("turn-flood"))
            elif index == 100:  # as when rules are loaded anew: an answer to voice is enough to be known again
                ground.pbx.run(["nft", "flush", "set", "inet", "centralino", "turn-known-4"])
                voice.sendto(b"voice", voice.recvfrom(100)[1])
                eventually(lambda: ground.browser.address in known(ground), "it is known again")
                flood(ground.browser, ground.server, 1500)

        to = 200 * [(ground.public, 19999)]
        relayed = attempt(
            ground.browser, ground.server, made.username, made.password, peers=to, send=b"voice", before=before
        )
        assert relayed.peers == 200 * [0]
        for _ in range(199):  # one was taken above
            assert voice.recv(100) == b"voice"
    assert dropped[1] - dropped[0] > 500, "of one source"
    assert dropped[2] - dropped[1] > 1000, "of many, each of which asks little"
    eventually(ground.works, "others are served again", 10)


def known(ground: Ground) -> str:
    """Whom the firewall knows to have a relay."""
    return ground.pbx.run(["nft", "list", "set", "inet", "centralino", "turn-known-4"]).stdout


def test_it_comes_back_when_it_is_killed_and_goes_on_when_its_keeper_is(ground: Ground) -> None:
    first = ground.pid()
    assert first is not None
    assert status(first, "Uid").split()[0] == "45062"
    assert {status(first, field) for field in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {16 * "0"}
    made, secret = ask_credentials(ground.paths, "somebody"), Keys(ground.paths.turn.database).newest()
    for place in (
        Path(f"/proc/{first}/cmdline"),
        ground.paths.turn.config,
        ground.paths.turn.log,
        ground.work / "turn.log",
    ):
        assert secret not in place.read_text()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: ground.pid() not in (None, first) and ground.works(), "it is back", 10)
    second = ground.pid()
    ground.keeper.signal(signal.SIGKILL)
    ground.keeper.wait(5)
    assert attempt(ground.browser, ground.server, made.username, made.password).code == 0  # the secret is the same
    ground.start_keeper()
    eventually(lambda: ground.pid() is not None, "the next keeper tells", 10)
    assert ground.pid() == second
    # A new secret disturbs nobody, and who has credentials by the former one is served.
    # It is aged, and no clock put forward: by its own the keeper would soon make one more, and the first would be gone.
    with contextlib.closing(sqlite3.connect(ground.paths.turn.database, isolation_level=None)) as database:
        database.execute("UPDATE made SET at = at - 90000")
    assert Keys(ground.paths.turn.database, 45062).tend(time.time()) is False
    newer = ask_credentials(ground.paths, "somebody")
    assert Keys(ground.paths.turn.database).newest() != secret
    for each in (made, newer):
        assert attempt(ground.browser, ground.server, each.username, each.password).code == 0
    assert ground.pid() == second
    # Garbage instead of secrets: others are made, and coturn is started anew to see them.
    ground.paths.turn.database.write_bytes(b"garbage" * 1000)
    ground.keeper.signal(signal.SIGKILL)
    ground.keeper.wait(5)
    ground.start_keeper()
    eventually(lambda: ground.pid() not in (None, second) and ground.works(), "it works again", 10)


def test_it_follows_the_document(ground: Ground) -> None:
    first = ground.pid()
    plan = ground.system.commit(
        *objects([turn_server(ground.public, port=443, user_relays=1)]), allow=["drops_connections"]
    )
    assert plan["effect"] == "drops_connections"
    eventually(lambda: ground.pid() not in (None, first), "it is started anew", 10)
    second = ground.pid()
    assert second is not None
    assert status(second, "CapEff") == "0000000000000400", "a port below 1024 takes one right (CAP_NET_BIND_SERVICE)"
    made = ask_credentials(ground.paths, "somebody")
    server = (ground.public, 443)

    def answers() -> bool:
        return attempt(ground.browser, server, made.username, made.password).code == 0

    eventually(answers, "it answers at the other port", 10)
    ground.system.commit(*objects([turn_server(ground.public, enabled=False)]), allow=["drops_connections"])
    eventually(lambda: ask(ground.paths, "status")["pid"] is None, "it has ended", 10)
    assert ask(ground.paths, "status") == {"wanted": False, "pid": None, "faults": []}
    with pytest.raises(UnavailableError) as refused:
        ask_credentials(ground.paths, "somebody")
    assert refused.value.error_id == "turn_off"


def status(pid: int, field: str) -> str:
    """A field of a process's status, as the kernel tells it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:"))
