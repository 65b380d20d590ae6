"""What is made of a name server's answers, over real DNS on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import dns.asyncresolver
import pytest

from appliance.names import asking
from appliance.names.answers import Answer, Question
from tests.hil.agents.names import NameServer

A, B, C = "198.51.100.1", "198.51.100.2", "2001:db8::3"
RECORDS = (
    f"plain.example. 300 IN A {A}",
    f"plain.example. 200 IN AAAA {C}",
    f"only4.example. 300 IN A {A}",
    "alias.example. 50 IN CNAME plain.example.",
    "_sip._udp.served.example. 600 IN SRV 20 0 5060 only4.example.",
    "_sip._udp.served.example. 600 IN SRV 10 5 5070 two.example.",
    f"two.example. 90 IN A {B}",
    "_sip._udp.none.example. 600 IN SRV 0 0 0 .",
    f"none.example. 600 IN A {A}",
    "_sip._udp.empty.example. 600 IN SRV 0 0 5060 gone.example.",
    "text.example. 600 IN TXT nothing",
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    monkeypatch.setattr(asking, "LIFETIME_S", 0.5)
    with NameServer(None, *RECORDS) as made:
        yield made


def ask(server: NameServer, name: str, service: str = "", port: int = 5060) -> Answer:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.timeout = [server.address], server.port, 0.3
    question = Question.model_validate({"name": name, "service": service, "port": port})
    return asyncio.run(asking.ask_all([question], resolver))[question.key]


def places(answer: Answer) -> list[tuple[str, int]]:
    return [(each.address, each.port) for each in answer.targets]


def test_both_families_are_asked_for_and_the_shorter_time_holds(server: NameServer) -> None:
    found = ask(server, "plain.example", port=5080)
    assert (places(found), found.ttl) == ([(A, 5080), (C, 5080)], 200)
    assert places(ask(server, "only4.example")) == [(A, 5060)]


def test_an_alias_is_followed_and_its_time_counts(server: NameServer) -> None:
    found = ask(server, "alias.example")
    assert (places(found), found.ttl) == ([(A, 5060), (C, 5060)], 50)


def test_servers_of_srv_records_with_their_ports_and_priorities(server: NameServer) -> None:
    found = ask(server, "served.example", "_sip._udp")
    assert [(each.address, each.port, each.priority) for each in found.targets] == [(B, 5070, 10), (A, 5060, 20)]
    assert found.ttl == 90


def test_without_srv_records_the_name_itself_is_the_server(server: NameServer) -> None:
    assert places(ask(server, "only4.example", "_sip._tcp")) == [(A, 5060)]


@pytest.mark.parametrize(
    ("name", "service", "error"),
    [
        ("gone.example", "", "there is no such name"),
        ("text.example", "", "the name has no address"),
        ("none.example", "_sip._udp", "the provider says that it has no such service"),
        ("empty.example", "_sip._udp", "its servers have no address"),
    ],
)
def test_why_there_is_no_answer(server: NameServer, name: str, service: str, error: str) -> None:
    assert ask(server, name, service) == Answer(error=error)


def test_what_is_silent_fails_or_is_garbled_is_an_error_and_no_exception(server: NameServer) -> None:
    server.silent = True
    assert ask(server, "plain.example").error == "no name server answers"
    server.silent, server.garbled = False, True
    assert ask(server, "plain.example").error
    server.garbled, server.failing = False, "A"
    half = ask(server, "plain.example")
    assert (places(half), half.partial) == ([(C, 5060)], True)
    assert not ask(server, "text.example").partial
    assert ask(server, "only4.example").error == "the name servers refuse, or fail"  # not: it has no address
    server.failing = "SRV"
    assert ask(server, "served.example", "_sip._udp").error == "the name servers refuse, or fail"


def test_a_name_server_that_the_engine_is_told_of_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    assert asking.configuration([file]) == asking.SYSTEM
    file.write_text("# nameserver 192.0.2.1\n")
    assert asking.configuration([file]) == asking.SYSTEM
    file.write_text("nameserver 192.0.2.1\n")
    assert asking.configuration([file]) == file
