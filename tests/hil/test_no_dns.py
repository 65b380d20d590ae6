"""No name server and no internet: internal calls, ring groups, echo, time and emergency calls work as ever.

The namespaces have no way out anyway. What differs is what the engine is told of name servers: none (as the product
starts it), or one that never answers. A look-up of it in a call's way would hold the call for seconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest

from tests.hil.agents.pcap import PcapReader
from tests.hil.agents.process import eventually
from tests.hil.agents.tap import Tap
from tests.hil.company import MAIN, Company, open_company, rows, talk
from tests.hil.system import Rows

CALLS = 120
STALL_S = 1.0
"""A call that waits for a name server waits longer: its time-out is five seconds, tried several times."""
START_STALL_S = 10.0
"""Ten times what a start takes here. Waiting for two names takes it twenty seconds."""
SILENT_TRUNK_S = 4.0
"""After so long a trunk that says nothing is left for the next one."""


def made() -> Rows:
    """Phones, and a trunk by name before the one by address: its name can't be resolved."""
    by_name = {"id": "named", "name": "Named", "provider": "telco", "host": "sip.example.com", "caller_number": MAIN}
    site = next(row for kind, row in rows(50) if kind == "site")
    return rows(50, more=[
        ("trunk", by_name | {"auth": {"type": "register", "username": "named", "secret": "account"}}),
        ("site", site | {"trunks": ["named", "line"]}),
    ])  # fmt: skip


@pytest.fixture(scope="module", params=["none", "silent"])
def company(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    silent = request.param == "silent"
    # The engine says that it can't find the provider whose name nobody resolves.
    complaints = ["sip.example.com", "trunk-named"]
    # The applier asks an engine that is stopping.
    complaints += ["Asterisk is shutting down"]
    with open_company(
        tmp_path_factory.mktemp("no-dns"), made(), silent_name_server=silent, complaints=complaints
    ) as company:
        company.line.does((0, "180 Ringing"), (0.1, "200 OK"))
        for device in ("201-1", "202-1", "203-1"):
            company.phone(device)
        yield company


def asked(company: Company) -> list[bytes]:
    """Every question to a name server that left the engine's machine."""
    capture = (company.work / "dns.pcap").read_bytes()
    return [packet.payload for packet in PcapReader().feed(capture) if packet.target[1] == 53]


def test_a_hundred_calls_are_set_up_without_a_stall(company: Company) -> None:
    """With SIPp. Names that a call would ask for are none; the one that a trunk has is asked for, and holds nobody."""
    half = range(201, 226)
    callee = company.sipp(company.net.host("callees"), "callees")
    called = [f"{n + 25}-1" for n in half]
    callers = company.users([f"{n}-1" for n in half], [str(n + 25) for n in half])
    with (
        callee.register(company.users(called)).answering(trace=False),
        Tap(company.system.host, company.work / "dns.pcap", bpf="port 53"),
    ):
        company.reachable(called)
        run = company.sipp(company.net.host("callers"), "callers").calls(
            callers, CALLS, rate=20, talk_ms=200, trace=False
        )
        run.wait(60)
        if "names" in company.net.hosts:  # that it is asked at all is seen by the provider's name, again and again
            eventually(lambda: asked(company), "questions to the name server", 60, 0.5)
    books = run.books()
    assert [book.result for book in books] == ["answered"] * CALLS
    delays = [book.answer - book.start for book in books if book.answer is not None]
    assert max(delays) < STALL_S, (statistics.median(delays), max(delays))
    questions = asked(company)
    assert questions or "names" not in company.net.hosts
    assert all(b"example" in question for question in questions), questions


def test_group_echo_time_emergency_and_outside_calls_are_set_up_without_a_stall(company: Company) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    for number in ("*43", "*60", "112", "0112", "113", "118", "00200000999"):
        began = time.monotonic()
        call = one.call(number).established()
        # The provider with a name can't be found: as silent as a dead one, and left as soon (the next one is in reach).
        away = SILENT_TRUNK_S if number[0] in "01" and "names" in company.net.hosts else 0
        assert time.monotonic() - began < STALL_S + away, number
        call.hangup()
    invites = [invite.uri.user for invite in company.line.invites]
    assert invites[-5:-1] == ["112", "112", "113", "118"]
    began = time.monotonic()
    call = one.call("400").ringing()
    incoming = two.incoming()
    assert time.monotonic() - began < STALL_S + 1
    incoming.answer()
    call.established()
    call.hangup()
    incoming.closed()
    talk(one, two, one.call("202"))


def test_the_engine_starts_without_a_stall(company: Company) -> None:
    """Its resolver and its own host name are looked up at start: what they need stands in its hosts file."""
    assert company.system.engine is not None
    company.system.engine.stop()
    began = time.monotonic()
    company.system.start_engine()
    assert time.monotonic() - began < START_STALL_S
