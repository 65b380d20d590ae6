"""Feeds of the judge: what the engine says, what is reported, what was dropped."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.ami_messages import Parser
from appliance.engine.ami_stream import Place
from appliance.engine.nflog import Logged
from appliance.engine.unix import bind
from appliance.firewall.bans.feeds import dropped, engine, reports
from appliance.firewall.bans.feeds.dropped import Dropped
from appliance.firewall.bans.feeds.engine import EngineEvents
from appliance.firewall.bans.feeds.reports import Reports
from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.model import Action, Attempt, Outcome, Reason, Service, Sign
from appliance.firewall.bans.reporting import Reporter, unknown
from appliance.firewall.rules import CLOSED, LOOKED_AT
from appliance.paths import Paths
from tests.hil.agents.ami_replay import AmiReplay
from tests.unit.firewall.attempts import STRANGER, attempt, bans
from tests.unit.hub.loops import run, until

MEDIA = (10000, 19999)


class Collected:
    """A desk that keeps what it is given."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.now = 1000

    def times(self) -> tuple[int, int]:
        return self.now, 2000

    def take(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)


# -- the engine --------------------------------------------------------------------------------------------------------


def event(name: str, account: str, remote: str, service: str = "PJSIP") -> list[tuple[str, str]]:
    """As Asterisk 22 says it."""
    return [
        ("Event", name), ("Privilege", "security,all"), ("Timestamp", "1795782384.013436"), ("SystemName", "centralino"),
        ("EventTV", "2026-11-27T12:26:24.013+0000"), ("Severity", "Error"), ("Service", service), ("EventVersion", "1"),
        ("AccountID", account), ("SessionID", "c70ca730586b1ff64dcb706c"), ("LocalAddress", "IPV4/UDP/192.0.2.10/5060"),
        ("RemoteAddress", remote),
    ]  # fmt: skip


def heard(name: str, account: str, remote: str, service: str = "PJSIP") -> Attempt | None:
    text = "".join(f"{key}: {value}\r\n" for key, value in event(name, account, remote, service)) + "\r\n"
    [message] = Parser().feed(text.encode())
    return engine.attempt(message, 1, 2)


def test_events_of_the_engine_become_attempts() -> None:
    wrong = heard("ChallengeResponseFailed", "204-1@tcp.0123456789abcdef01", "IPV4/UDP/192.0.2.11/52843")
    assert wrong is not None
    assert (str(wrong.source), wrong.account, wrong.outcome) == ("192.0.2.11", "204-1", Outcome.FAILED)
    assert (wrong.proven, wrong.signs, wrong.service) == (False, Sign.NONE, Service.SIP)
    nobody = heard("InvalidAccountID", "404", "IPV4/UDP/192.0.2.11/52843")
    assert nobody is not None
    assert (nobody.account, nobody.signs, nobody.proven) == ("404", Sign.UNKNOWN_ACCOUNT, False)
    right = heard("SuccessfulAuth", "204-1", "IPV6/UDP/2001:db8:1::11/5060")
    assert right is not None
    assert (str(right.source), right.outcome, right.proven) == ("2001:db8:1::11", Outcome.SUCCEEDED, True)


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("IPV6/WS/8000::ffff:c633:6407/41268", "198.51.100.7"),
        ("IPV6/WS/[a001:db8:1::7]/51702", "2001:db8:1::7"),
        ("IPV6/WS/7d00:1::7/40344", "fd00:1::7"),
        ("IPV6/WS/::1/40344", "::1"),
    ],
)
def test_who_comes_by_the_gate_is_himself(remote: str, source: str) -> None:
    found = heard("ChallengeResponseFailed", "204-1", remote)
    assert found is not None
    assert (str(found.source), found.proven) == (source, True)


@pytest.mark.parametrize("transport", ["TCP", "TLS", "WS", "WSS"])
def test_what_came_by_a_connection_is_proven(transport: str) -> None:
    found = heard("ChallengeResponseFailed", "<unknown>", f"IPV4/{transport}/192.0.2.11/4000")
    assert found is not None
    assert (found.proven, found.account) == (True, "")


@pytest.mark.parametrize(
    ("name", "remote", "service"),
    [
        ("SuccessfulAuth", "IPV4/TCP/127.0.0.1/47262", "AMI"),  # our own
        ("ChallengeSent", "IPV4/UDP/192.0.2.11/5060", "PJSIP"),  # every phone begins so
        ("InvalidAccountID", "IPV4/UDP/nonsense/5060", "PJSIP"),
        ("InvalidAccountID", "", "PJSIP"),
    ],
)
def test_what_says_nothing_is_left_out(name: str, remote: str, service: str) -> None:
    assert heard(name, "201", remote, service) is None


def test_the_engine_is_listened_to_again_after_it_was_away() -> None:
    async def within() -> None:
        desk = Collected()
        async with AmiReplay("secret") as replay:
            feed = EngineEvents(desk, Place(lambda: "secret", port=replay.port))
            running = asyncio.create_task(feed.run())
            try:
                for count in (1, 2):
                    await heard_by(replay, desk, count)
                    await replay.die()
                    await until(lambda: feed.trouble is not None, "it is told that nothing is seen")
                    await replay.listen()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    run(within())


async def heard_by(replay: AmiReplay, desk: Collected, count: int) -> None:
    def sent() -> bool:
        replay.send(event("InvalidAccountID", str(count), "IPV4/UDP/203.0.113.7/5060"))
        return any(each.account == str(count) for each in desk.attempts)

    await until(sent, "it is heard")


# -- reports -----------------------------------------------------------------------------------------------------------


def test_what_is_reported_arrives(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "a-directory-of-which-the-name-is-longer-than-any-socket-may-be" / ("d" * 60), tmp_path)
    paths.run.mkdir(parents=True)
    report, desk = Reporter(paths.attempts_socket), Collected()
    report("portal", "203.0.113.7", "failed", "nobody listens")

    async def within() -> None:
        for _ in range(2):  # the second one is another process, which the reporter finds by itself
            before = len(desk.attempts)
            running = asyncio.create_task(Reports(desk, paths).run())
            await until(paths.attempts_socket.exists, "it listens")
            report("portal", "203.0.113.7", "failed", "ada", "wrong password")
            report("api", "2001:db8::7%eth0", "failed", f"key {before}")
            report("provisioning", "198.51.100.9", "failed", "00:00:5e:00:53:01", "no such phone")
            report("vpn", "", "failed")
            report("portal", "no address", "failed", "ada")
            await until(lambda known=before: len(desk.attempts) == known + 3, "three arrive")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(within(), 30))
    report.close()
    first, second, third, *_ = desk.attempts
    assert (str(first.source), first.service, first.account) == ("203.0.113.7", Service.PORTAL, "ada")
    assert (first.outcome, first.proven, first.detail) == (Outcome.FAILED, True, "wrong password")
    assert (str(second.source), second.service) == ("2001:db8::7", Service.API)
    assert (str(third.source), third.service, third.account) == (
        "198.51.100.9",
        Service.PROVISIONING,
        "00:00:5e:00:53:01",
    )
    assert not paths.attempts_socket.exists()


def test_whoever_reports_never_waits(tmp_path: Path) -> None:
    """Somebody listens, and reads nothing."""
    report = Reporter(tmp_path / "attempts.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        bind(deaf, tmp_path / "attempts.sock")
        for number in range(2000):
            report("portal", "203.0.113.7", "failed", f"{number}" + "é" * 1000, "\U0001f600" * 1000)
        report.close()
        assert len(deaf.recv(5000)) <= 1024


def test_what_is_told_all_the_time_is_told_now_and_then(tmp_path: Path) -> None:
    report = Reporter(tmp_path / "attempts.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        bind(inbox, tmp_path / "attempts.sock")
        inbox.setblocking(False)
        for _ in range(5):
            report("portal", "203.0.113.7", "succeeded", "ada")
            report("api", "203.0.113.7", "failed", "key abc")  # a script whose key has expired
        report("portal", "203.0.113.8", "succeeded", "ada")
        for _ in range(2):
            report("portal", "203.0.113.7", "failed", "ada")
        report.close()
        found = []
        while len(found) < 5:
            found.append(inbox.recv(5000))
        with pytest.raises(BlockingIOError):
            inbox.recv(5000)


def test_nobody_s_account_is_told_by_no_name() -> None:
    assert unknown("hunter2") == unknown("hunter2") != unknown("hunter3")
    assert "hunter" not in unknown("hunter2")


@given(st.binary(max_size=100))
def test_a_report_that_cannot_be_read_is_left_out(said: bytes) -> None:
    assert reports.attempt(said, 1, 2) is None


@pytest.mark.parametrize(
    "said",
    [
        b'["sip","203.0.113.7","failed","",""]',  # not theirs to tell
        b'["portal","203.0.113.7","won","",""]',
        b'["portal",7,"failed","",""]',
        b'["portal","203.0.113.7","failed",""]',
        b'[["portal"],"203.0.113.7","failed","",""]',
        b"[" * 3000,
    ],
)
def test_a_report_of_another_kind_is_left_out(said: bytes) -> None:
    assert reports.attempt(said, 1, 2) is None


# -- packets -----------------------------------------------------------------------------------------------------------

SCAN = (
    b'OPTIONS sip:100@198.51.100.10 SIP/2.0\r\nFrom: "x"<sip:100@1.1.1.1>;tag=1\r\nUser-Agent: friendly-scanner\r\n\r\n'
)
PHONE = b"REGISTER sip:192.0.2.10 SIP/2.0\r\nFrom: <sip:204-1@192.0.2.10>;tag=1\r\nUser-Agent: Desk phone\r\n\r\n"


def datagram(payload: bytes, port: int, source_port: int = 4000, target: str = "198.51.100.10") -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 17, 0)
    ends = ipaddress.ip_address(STRANGER).packed + ipaddress.ip_address(target).packed
    return head + ends + struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload


def seen(prefix: str, packet: bytes, *, to_group: bool = False) -> Attempt | None:
    return dropped.attempt(Logged(prefix, packet, to_group), 1, 2, MEDIA)


def test_a_scanner_is_known_by_its_first_packet() -> None:
    for prefix, service in ((CLOSED, Service.DROPPED), (LOOKED_AT, Service.SIP)):
        found = seen(prefix, datagram(SCAN, 5060))
        assert found is not None
        assert (found.service, found.signs, found.proven) == (service, Sign.ATTACK_TOOL, False)
        [decision] = Judge().take([found])
        assert (decision.action, decision.ban.brief, decision.ban.reason) == (Action.BAN, True, "attack_tool")


def test_a_phone_that_is_let_in_says_nothing_and_one_that_knocks_outside_little() -> None:
    assert seen(LOOKED_AT, datagram(PHONE, 5060)) is None
    judge, desk = Judge(), Collected()
    feed = Dropped(desk)
    for began in range(0, 6 * 3_600_000, 32_000):  # six hours without a pause
        for sent in (0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500):
            desk.now = began + sent
            feed.take(Logged(CLOSED, datagram(PHONE, 5060)))
    assert 1000 < len(desk.attempts) < 3000
    assert judge.take(desk.attempts) == []


@pytest.mark.parametrize(
    ("packet", "to_group", "why"),
    [
        (datagram(b"x", 40000, 53), False, "a late answer of a server for names"),
        (datagram(b"x", 10002), False, "voice, after the call or before it"),
        (datagram(b"x", 137), True, "everybody on the link is asked"),
        (datagram(b"x", 5353, target="224.0.0.251"), False, "a group is asked"),
        (datagram(b"x", 67, target="255.255.255.255"), False, "everybody is asked"),
        (b"\x45", False, "cut off"),
    ],
)
def test_what_nobody_means_says_nothing(packet: bytes, to_group: bool, why: str) -> None:
    assert seen(CLOSED, packet, to_group=to_group) is None, why


def test_ten_doors_that_are_none_are_enough() -> None:
    found = [seen(CLOSED, datagram(b"", port)) for port in range(1, 11)]
    decisions = Judge().take([each for each in found if each is not None])
    assert [ban.reason for ban in bans(decisions)] == ["probing"]


# -- the voice VPN -----------------------------------------------------------------------------------------------------


def test_who_asks_for_the_configuration_of_many_phones_is_banned() -> None:
    """Nothing answers phones' provisioning yet; the judge is ready to hear of it."""
    said = [
        json.dumps(["provisioning", "203.0.113.7", "failed", f"00:00:5e:00:53:{n:02x}", "no such phone"]).encode()
        for n in range(10)
    ]
    attempts = [
        found for number, each in enumerate(said) if (found := reports.attempt(each, number, number)) is not None
    ]
    [decision] = Judge().take(attempts)
    assert (decision.action, decision.ban.reason, decision.ban.brief) == (Action.BAN, Reason.MANY_ACCOUNTS, False)


def test_what_the_vpn_refuses_bans_nobody_but_is_evidence() -> None:
    judge = Judge()
    refused = [attempt(n, account=f"branch-{n}", service=Service.VPN) for n in range(1000)]
    assert judge.take(refused) == []
    decisions = judge.take([attempt(2000 + n, account=str(n)) for n in range(5)])
    assert judge.take([attempt(2100, account="branch-1", service=Service.VPN, detail="revoked")]) == decisions == []
    [ban] = bans(judge.take([attempt(2200 + n, account=f"more{n}") for n in range(6)]))
    assert "revoked" in [each.detail for each in ban.evidence]
