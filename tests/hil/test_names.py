"""Providers by name: firewall and engine follow what a name server says, survive that it falls silent, and believe no lies."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.hil.agents.names import NameServer
from tests.hil.agents.process import eventually
from tests.hil.company import ACCOUNT, ECHO, LINE, MAIN, PBX, PBX_OUTSIDE, Company, open_company, rows
from tests.hil.outside_world import Line
from tests.hil.system import Rows

NAME: Final = "sip.example.com"
DEAD, REGISTRAR = "198.51.100.29", "198.51.100.22"
OTHER, BY_SERVICE = "198.51.100.23", "198.51.100.24"
OUTSIDE: Final = "00200000999"
ROME: Final = "00600000001"
STALL_S: Final = 1.0
LIES: Final = ("127.0.0.1", PBX, "10.1.2.3", "192.0.2.77")
"""Ourselves, twice; a private address; one of the phones' network."""
RECORDS: Final = (
    f"{NAME}. 60 IN A {LINE}",
    f"register.example.com. 60 IN A {REGISTRAR}",
    "_sip._udp.example.net. 60 IN SRV 10 1 5070 dead.example.net.",
    "_sip._udp.example.net. 60 IN SRV 20 1 5070 one.example.net.",
    f"dead.example.net. 60 IN A {DEAD}",
    f"one.example.net. 60 IN A {BY_SERVICE}",
)


def made() -> Rows:
    """Trunk ``line`` by name, trunk ``service`` by SRV; phones sit in the voice LAN."""
    line = {"id": "line", "name": "Line", "provider": "telco", "auth": {"type": "address"}, "caller_number": MAIN}
    register = {"type": "register", "username": ACCOUNT, "secret": ACCOUNT}
    return rows(3, more=[
        ("trunk", line | {"host": NAME}),
        ("trunk", line | {"id": "account", "host": "register.example.com", "auth": register}),
        ("provider", {"id": "probed", "name": "Probed"}),
        ("trunk", line | {"id": "service", "provider": "probed", "host": "example.net", "lookup": "srv"}),
        ("outbound_route", {"id": "rome", "name": "Rome", "order": 1, "prefixes": ["+3906"], "trunks": ["service"]}),
        ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": ["192.0.2.0/24"]}),
        ("network", {"id": "office", "name": "Office", "zone": "management", "networks": ["203.0.113.0/24"]}),
    ])  # fmt: skip


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CENTRALINO_FIREWALL", "on")
        with open_company(tmp_path_factory.mktemp("names"), made(), name_server=RECORDS) as company:
            for number, (address, port) in enumerate({OTHER: 5060, BY_SERVICE: 5070}.items(), 23):
                line = Line(company.net.host(f"line-{number}", "provider", number), PBX_OUTSIDE, port=port)
                company.others[address] = company.stack.enter_context(line)
            eventually(lambda: allowed(company) == {LINE}, "the name is looked up and in force", 20)
            yield company


@pytest.fixture
def names(company: Company) -> Iterator[NameServer]:
    assert company.names is not None
    yield company.names
    company.names.silent = False
    company.names.says(*RECORDS)


def allowed(company: Company) -> set[str]:
    """Addresses of providers that the firewall has opened a port to, as the kernel says; not those of other trunks."""
    done = company.system.host.run(["nft", "-j", "list", "table", "inet", "centralino"], check=False)
    listed = json.loads(done.stdout)["nftables"] if done.returncode == 0 else []
    sets = [item["set"] for item in listed if "set" in item and item["set"]["name"].startswith("trunk-")]
    found = {str(address) for each in sets for element in each.get("elem", []) for address in _addresses(element)}
    return found - {REGISTRAR, BY_SERVICE, DEAD}


def _addresses(element: Any) -> Iterator[ipaddress.IPv4Address]:
    """Of an element: an address, a prefix or a range."""
    if isinstance(element, dict) and "prefix" in element:
        yield from ipaddress.IPv4Network((element["prefix"]["addr"], element["prefix"]["len"]))
        return
    first, last = element["range"] if isinstance(element, dict) else (element, element)
    for number in range(int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last)) + 1):
        yield ipaddress.IPv4Address(number)


def told(company: Company) -> dict[str, Any]:
    """What the applier says of the name."""
    return next(each for each in company.system.client.state()["names"] if each["name"] == NAME)


def in_force(company: Company) -> bool:
    """Whether the engine has read what is configured: nothing is under way."""
    state = company.system.client.state()
    return bool(state["verified"] and not state["busy"])


def called(company: Company, number: str, line: Line) -> Any:
    """Call out; the INVITE that arrives at that provider's end."""
    line.begin_anew()
    company.phone("201-1").call(number).established().hangup()
    return line.invites[-1]


def call_in(line: Line) -> None:
    """A call from outside that the echo answers."""
    line.hangup(line.call(ECHO, "+390600000001", PBX_OUTSIDE))


def test_a_provider_reads_its_name_and_calls_come_in_from_its_address(company: Company) -> None:
    invite = called(company, OUTSIDE, company.line)
    assert invite.uri.host == NAME
    assert invite.headers.get("Route") is None
    call_in(company.line)


def test_registrations_and_emergency_calls_go_there_too(company: Company) -> None:
    assert company.account.contact_of(ACCOUNT)
    assert called(company, "112", company.line).uri.host == NAME


def test_servers_come_from_srv_records_and_one_that_is_silent_gives_way_to_the_next(company: Company) -> None:
    """By priority the dead one comes first. The engine finds out by OPTIONS; here it is asked to look at once, else it does so every
    30 s."""
    proxy = "outbound_proxy=sip:{}:5070;lr;hide".replace(";", "\\;")
    configured = company.system.paths.engine.current / "pjsip.conf"
    with company.system.ami() as ami:
        ami.action("PJSIPQualify", {"Endpoint": "trunk-service"})
    eventually(lambda: proxy.format(BY_SERVICE) in configured.read_text(), "the next server is configured", 20)
    eventually(lambda: in_force(company), "it is in force", 10)
    invite = called(company, ROME, company.others[BY_SERVICE])
    assert (invite.uri.host, invite.uri.port) == ("example.net", None)
    call_in(company.others[BY_SERVICE])


def test_firewall_and_engine_follow_a_provider_that_moves(company: Company, names: NameServer) -> None:
    """Both, and the addresses that it had stay let in."""
    state = company.system.client.state()
    names.says(f"{NAME}. 60 IN A {OTHER}", *RECORDS[1:])
    company.system.client.look_up()
    eventually(lambda: allowed(company) == {LINE, OTHER}, "the firewall follows", 10)
    eventually(lambda: company.system.client.state()["generation"] > state["generation"], "it is in force", 10)
    assert called(company, OUTSIDE, company.others[OTHER]).uri.host == NAME
    call_in(company.others[OTHER])
    call_in(company.line)
    after = company.system.client.state()
    assert (after["revision"], after["verified"]) == (state["revision"], True)
    assert company.system.client.check() == []


@pytest.mark.parametrize("how", ["lies", "silent"])
def test_what_was_known_outlives_bad_answers(company: Company, names: NameServer, how: str) -> None:
    """Also a start of the applier without a name server. Of an answer that can't be, nothing is believed."""
    before = allowed(company)
    assert before >= {LINE}
    names.silent = how == "silent"
    names.says(*((f"{NAME}. 60 IN A {each}" for each in LIES) if how == "lies" else ()))
    asked = len(names.asked)
    if how == "silent":
        company.system.applier.stop()
        company.system.start_applier()
    company.system.client.look_up()
    ends = [company.line, company.others[OTHER]]
    for end in ends:
        end.begin_anew()
    began = time.monotonic()
    company.phone("201-1").call(OUTSIDE).established().hangup()  # while name servers are being asked
    assert time.monotonic() - began < STALL_S
    assert sum(len(end.invites) for end in ends) == 1
    call_in(company.line)
    if how == "lies":  # silence is told after some seconds of it
        eventually(lambda: "none of its addresses" in told(company)["error"], "it is told", 20)
        assert told(company)["refused"] == sorted(LIES)
    eventually(lambda: len(names.asked) > asked, "it was asked")
    assert allowed(company) == before
