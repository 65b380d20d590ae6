"""Ring groups and services as dialplan."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.asterisk import ConfFile
from appliance.core.document import Document, parse
from appliance.core.errors import InvalidError
from appliance.kinds import KINDS
from appliance.pbx.context import Installation
from appliance.pbx.extensions.links import linked_sites, links
from appliance.pbx.groups.model import AT_ONCE_MAX, MEMBERS_MAX
from appliance.pbx.groups.plan import contribute
from appliance.pbx.groups.verify import verify
from appliance.pbx.numbers.model import Service
from appliance.pbx.services import plan as services

INSTALLATION = Installation("token")
Row = tuple[str, dict[str, Any]]


def document(*more: Row) -> Document:
    rows: list[Row] = [
        ("company", {"id": "c", "name": "C"}),
        ("site", {"id": "hq", "name": "HQ", "company": "c"}),
        *(("extension", {"id": f"e{n}", "number": str(n), "site": "hq"}) for n in (201, 202, 203)),
    ]
    found = {(kind, data["id"]): parse(KINDS, kind, data) for kind, data in (*rows, *more)}
    return Document.of(found.values())


def group(strategy: str, **more: Any) -> Row:
    members = [{"extension": "e201", "delay_seconds": 0}, {"extension": "e202", "delay_seconds": 5}]
    return "ring_group", {"id": "g", "name": "Sales; x", "number": "400", "site": "hq", "strategy": strategy,
                          "members": members, "ring_seconds": 20, **more}  # fmt: skip


def steps(made: Document, context: str = "group.g") -> list[str]:
    """Applications of a context, in order."""
    sections = {section.name: section for section in contribute(made, INSTALLATION).dialplan}
    return [value.split(",", 1)[1].removeprefix("1,") for _, value in sections[context].options]


def test_all_members_are_added_with_their_delays_and_rung_once() -> None:
    course = steps(document(group("all")))
    assert [step for step in course if "group-member" in step] == [
        "Gosub(group-member,201,1(0))",
        "Gosub(group-member,202,1(5))",
    ]
    assert course.count("Gosub(group-ring,s,1)") == 1
    assert course[-1] == "Goto(unanswered,${DIALSTATUS},1)"


@pytest.mark.parametrize(("strategy", "numbers"), [("sequential", "201-202"), ("round_robin", "201-202-201-202")])
def test_members_in_turn(strategy: str, numbers: str) -> None:
    course = steps(document(group(strategy)))
    assert f"Set(GROUP_NUMBERS={numbers})" in course
    assert "GotoIf($[${GROUP_TURN} <= 2]?next)" in course
    assert any("DB(round-robin/g)" in step for step in course) == (strategy == "round_robin")


def test_nobody_answers_goes_to_the_destination() -> None:
    made = document(group("all", no_answer={"type": "extension", "extension": "e203"}))
    assert steps(made)[-1] == "Goto(internal,203,1)"


def test_a_groups_number_counts_a_hop() -> None:
    course = steps(document(group("all")), "groups")
    assert course[0] == "Set(__HOPS=$[0${HOPS} + 1])"
    assert course[-1] == "Goto(group.g,s,1)"


def test_a_groups_name_stands_in_the_table_only() -> None:
    found = contribute(document(group("all")), INSTALLATION)
    assert not any("Sales" in section.text() for section in found.dialplan)
    assert any("Sales" in section.text() for file in found.files for section in file.sections)


def links_of(*sites: dict[str, Any]) -> tuple[ConfFile, frozenset[str]]:
    rows: list[Row] = [("site", {"name": "S", "company": "c", **site}) for site in sites]
    rows.append(("codec_policy", {"id": "thin", "name": "T", "codecs": ["opus", "ulaw"]}))
    made = document(*rows)
    return links(made), linked_sites(made)


def test_a_link_holds_both_ways_and_the_lower_number_of_calls_counts() -> None:
    table, linked = links_of(
        {"id": "hq", "links": [{"to": "branch", "max_calls": 5}]},
        {"id": "branch", "links": [{"to": "hq", "max_calls": 3, "codec_policy": "thin"}]},
        {"id": "alone"},
    )
    found = {section.name: section.options for section in table.sections}
    row = "branch.hq,3,!all:opus:ulaw"
    assert found == {"branch": (("hq", row),), "hq": (("branch", row),)}
    assert linked == {"hq", "branch"}


def test_codes_lead_to_services_and_take_a_number_where_one_is_needed() -> None:
    codes = [("service_code", {"id": "f", "code": "*72", "service": "forward_set"}),
             ("service_code", {"id": "e", "code": "*43", "service": "echo"})]  # fmt: skip
    section = services.contribute(document(*codes), INSTALLATION).dialplan[0]
    assert section.name == "services"
    assert [value for _, value in section.options] == [
        "*43,1,Goto(service-echo,s,1)",
        "*72,1,Goto(service-forward_set,s,1)",
        "_*72X.,1,Answer()",
        "n,Goto(service-forward_set,${FILTER(+*#0-9,${EXTEN:3})},1)",
    ]


def test_every_service_has_its_context() -> None:
    names = {section.name for section in services.contribute(document(), INSTALLATION).dialplan}
    assert names == {"services", *(f"service-{service}" for service in Service)}


def test_members_that_would_ring_twice_or_never() -> None:
    members = [{"extension": "e201"}, {"extension": "e202", "delay_seconds": 20}, {"extension": "e201"}]
    found = [(fault.path, fault.error_id) for fault in verify(document(group("all", members=members)))]
    assert found == [
        ("ring_group/g/members[1].delay_seconds", "delay_too_long"),
        ("ring_group/g/members[2].extension", "member_twice"),
    ]
    assert [fault.error_id for fault in verify(document(group("sequential", members=members)))] == ["member_twice"]
    assert list(verify(document(group("all")))) == []


def test_more_members_than_can_ring_at_once() -> None:
    numbers = range(1000, 1001 + AT_ONCE_MAX)
    extensions: list[Row] = [("extension", {"id": f"e{n}", "number": str(n), "site": "hq"}) for n in numbers]
    members = [{"extension": f"e{n}"} for n in numbers]

    def found(strategy: str, members: list[dict[str, str]]) -> list[tuple[str, str]]:
        made = document(*extensions, group(strategy, members=members))
        return [(fault.path, fault.error_id) for fault in verify(made)]

    assert found("all", members) == [("ring_group/g/members", "too_many_at_once")]
    assert found("all", members[1:]) == []
    assert found("sequential", members) == []


@pytest.mark.parametrize("strategy", ["sequential", "round_robin", "all"])
def test_the_largest_group_can_be_written(strategy: str) -> None:
    numbers = [str(2_000_000_000 + n) for n in range(MEMBERS_MAX)]
    extensions: list[Row] = [("extension", {"id": f"e{n}", "number": n, "site": "hq"}) for n in numbers]
    members = [{"extension": f"e{n}"} for n in numbers]
    made = document(*extensions, group(strategy, members=members))
    assert all(section.text() for section in contribute(made, INSTALLATION).dialplan)
    with pytest.raises(InvalidError, match="members"):
        document(*extensions, group(strategy, members=[*members, {"extension": "e201"}]))
