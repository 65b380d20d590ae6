"""``centralino firewall`` and what the doctor says of names, with a real applier and without a kernel's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from appliance.applier.service import Service
from appliance.commands.findings import Grade
from appliance.commands.firewall import check_names
from appliance.core.document import parse
from appliance.kinds import KINDS
from appliance.names.answers import Answer, Question, Target
from appliance.names.keeper import Names
from appliance.names.wanted import wanted
from appliance.paths import Paths
from appliance.run.status import system_status
from appliance.store import Store
from tests.unit.commands.conftest import Command

NAME = "sip.example.com"
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("company", {"id": "demo", "name": "Demo Srl"}),
    ("listener", {"id": "lan", "name": "LAN", "transport": "udp", "address": "192.0.2.10"}),
    ("provider", {"id": "telco", "name": "Telco"}),
    ("trunk", {"id": "line", "name": "Main line", "provider": "telco", "host": NAME, "auth": {"type": "address"}}),
    ("network", {"id": "phones", "name": "Desk phones", "zone": "voice", "networks": [f"10.1.{n}.0/24" for n in range(5)]}),
    ("network", {"id": "it", "name": "Administrators", "zone": "management", "networks": ["192.0.2.0/28"]}),
    ("address_list", {"id": "bad", "name": "Bad", "action": "block", "networks": ["203.0.113.0/24"]}),
]  # fmt: skip


class Looked:
    """The names of the applier; ``says``: what name servers answer."""

    def __init__(self, paths: Paths, service: Service) -> None:
        self.says = Answer(ttl=60, targets=(Target(address="198.51.100.7", port=5060),))
        self.service = service
        self.names = service.desired.names = Names(paths.names, self.ask)

    def ask(self, questions: Sequence[Question]) -> Mapping[str, Answer]:
        return {each.key: self.says for each in questions}

    def look(self, says: Answer | None = None) -> None:
        """Look the names up, which are told this."""
        self.says = says or self.says
        self.names.follow(wanted(self.service.current.document))
        self.names.again()
        self.names.work()


@pytest.fixture
def looked(run: Command, store: Store, service: Service, paths: Paths) -> Looked:
    store.stage("tester", tuple(parse(KINDS, kind, fields) for kind, fields in ROWS))
    run("commit", "--offline")
    return Looked(paths, service)


def test_show_says_who_may_reach_what(run: Command, looked: Looked) -> None:
    looked.look()
    text = " ".join(run("firewall", "show").split())
    assert "Desk phones 10.1.0.0/24, 10.1.1.0/24, 10.1.2.0/24 and 2 more Telephone (SIP) UDP 5060 192.0.2.10" in text
    assert "Administrators 192.0.2.0/28 SSH TCP 22" in text
    assert "provider of Main line 198.51.100.7/32 Telephone (SIP) UDP 5060" in text
    assert "voice of the provider of Main line 198.51.100.7/32 Voice packets UDP 10000–19999" in text
    assert "Blocked, but at the tunnel's port: 203.0.113.0/24" in text
    openings = run.json("firewall", "show")["openings"]
    assert {each["service"] for each in openings} == {"sip", "media", "portal", "ssh"}


def test_names_are_shown_and_looked_up_at_once_when_asked_to(run: Command, looked: Looked) -> None:
    looked.look()
    assert f"{NAME} 198.51.100.7 known" in " ".join(run("firewall", "names").split())
    looked.says = Answer(error="no name server answers")
    (found,) = run.json("firewall", "names", "--again")
    assert found["name"] == NAME
    assert looked.names.due_in() == 0
    looked.names.work()
    assert "198.51.100.7 no name server answers" in " ".join(run("firewall", "names").split())


def test_the_doctor_and_status_tell_of_names_that_are_not_well(paths: Paths, looked: Looked) -> None:
    def found() -> list[tuple[Grade, str]]:
        return [(each.grade, each.message) for each in check_names(paths)]

    silent = Answer(error="no name server answers")
    looked.look(silent)
    assert found() == [(Grade.FAULT, f"{NAME} can't be looked up, and nobody calls by it: no name server answers")]
    assert f"{NAME} can't be looked up: no name server answers" in system_status(paths)["faults"]
    looked.look(
        Answer(ttl=60, targets=(Target(address="198.51.100.7", port=5060), Target(address="10.1.2.3", port=5060)))
    )
    assert found() == [(Grade.WARNING, f"{NAME} means addresses that no provider can have: 10.1.2.3")]
    looked.look(silent)
    ((grade, message),) = found()
    assert (grade, message.endswith("its last addresses are kept: 198.51.100.7")) == (Grade.WARNING, True)
    looked.look(Answer(ttl=60, targets=(Target(address="198.51.100.7", port=5060),)))
    assert found() == [(Grade.OK, "1 names are known")]


@pytest.mark.parametrize("verb", ["load", "status"])
def test_where_the_firewall_is_not_ours_nothing_is_touched(
    run: Command, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.delenv("CENTRALINO_FIREWALL", raising=False)
    assert "isn't the appliance's" in run.refused("firewall", verb)
