"""Which trunks a number takes, and where a call to a number of ours goes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from appliance.core.document import Document, parse
from appliance.kinds import KINDS
from appliance.pbx.context import Installation
from appliance.pbx.routing.destinations import HOPS_MAX, steps
from appliance.pbx.routing.model import ToExtension, ToHangup, ToNumber, ToRingGroup, ToService
from appliance.pbx.routing.plan import contribute
from appliance.pbx.routing.verify import verify

Rows = tuple[str, dict[str, Any]]


def document(*more: Rows) -> Document:
    trunk = {"name": "T", "provider": "telco", "auth": {"type": "address"}}
    rows: list[Rows] = [
        ("company", {"id": "demo", "name": "Demo Srl"}),
        ("site", {"id": "hq", "name": "HQ", "company": "demo", "trunks": ["a", "b"]}),
        ("site", {"id": "branch", "name": "Branch", "company": "demo", "trunks": ["b"]}),
        ("provider", {"id": "telco", "name": "Telco"}),
        *(("trunk", {"id": id, "host": f"198.51.100.{number}", **trunk}) for number, id in enumerate("abcd", 1)),
        ("extension", {"id": "desk", "number": "201", "site": "hq"}),
        ("did", {"id": "main", "number": "+390200000100", "company": "demo", "destination": {"type": "extension", "extension": "desk"}}),
        *more,
    ]  # fmt: skip
    return Document.of(parse(KINDS, kind, fields) for kind, fields in rows)


def route(id: str, order: int, prefixes: list[str], trunks: str, sites: list[str] | None = None) -> Rows:
    fields = {"id": id, "name": id, "order": order, "prefixes": prefixes, "trunks": list(trunks), "sites": sites or []}
    return "outbound_route", fields


def context(document: Document, name: str) -> list[tuple[str, list[str]]]:
    """(pattern, steps) of a context."""
    made = contribute(document, Installation("token")).dialplan
    section = next(section for section in made if section.name == name)
    found: list[tuple[str, list[str]]] = []
    for key, value in section.options:
        if key == "exten":
            pattern, _, step = value.split(",", 2)
            found.append((pattern, [step]))
        else:
            found[-1][1].append(value.split(",", 1)[1])
    return found


def trunks_for(document: Document, site: str, number: str) -> str:
    """The trunks that a number takes: the longest pattern wins, as in the engine."""
    fitting = []
    for pattern, course in context(document, f"route.{site}"):
        body = pattern[1:-1]
        any_number = body == "[+0-9]"
        if any_number or number.startswith(body):
            fitting.append((0 if any_number else len(body), course))
    course = max(fitting, key=lambda item: item[0])[1]
    return "".join(re.findall(r"carry\.(\w+)", " ".join(course)))


def test_without_routes_calls_take_the_sites_trunks_in_order() -> None:
    made = document()
    assert trunks_for(made, "hq", "+390600000001") == "ab"
    assert trunks_for(made, "branch", "187") == "b"


def test_the_first_route_in_order_wins_also_over_a_longer_prefix() -> None:
    made = document(
        route("long", 2, ["+3906123"], "d"), route("short", 1, ["+3906"], "c"), route("world", 3, ["+44"], "d")
    )
    assert trunks_for(made, "hq", "+390612300000") == "c"
    assert trunks_for(made, "hq", "+390699900000") == "c"
    assert trunks_for(made, "hq", "+442079460999") == "d"
    assert trunks_for(made, "hq", "+390200000999") == "ab"
    turned = document(route("long", 1, ["+3906123"], "d"), route("short", 2, ["+3906"], "c"))
    assert trunks_for(turned, "hq", "+390612300000") == "d"
    assert trunks_for(turned, "hq", "+390699900000") == "c"


def test_a_route_for_any_number_comes_in_its_order() -> None:
    made = document(route("any", 1, ["+"], "c"), route("rome", 2, ["+3906"], "d"))
    assert trunks_for(made, "hq", "+390600000001") == "c"
    made = document(route("any", 2, ["+"], "c"), route("rome", 1, ["+3906"], "d"))
    assert trunks_for(made, "hq", "+390600000001") == "d"
    assert trunks_for(made, "hq", "187") == "c"


def test_routes_may_be_for_some_sites_only() -> None:
    made = document(route("rome", 1, ["+3906"], "d", ["branch"]))
    assert trunks_for(made, "hq", "+390600000001") == "ab"
    assert trunks_for(made, "branch", "+390600000001") == "d"


def test_unchanged_sites_keep_their_sections() -> None:
    before = document()
    after = before.with_changes([parse(KINDS, "site", {"id": "hq", "name": "HQ", "company": "demo", "trunks": ["c"]})])
    one, other = (
        {section.name: section for section in contribute(item, Installation("token")).dialplan}
        for item in (before, after)
    )
    assert one["route.branch"] is other["route.branch"]
    assert one["route.hq"] != other["route.hq"]


def test_inbound_routes_are_looked_at_in_order_one_step_per_trunk() -> None:
    fields = {"name": "R", "destination": {"type": "hangup"}}
    made = document(
        ("inbound_route", {"id": "second", "order": 2, **fields}),
        (
            "inbound_route",
            {"id": "first", "order": 1, "trunks": ["a", "b"], "called": "+3902", "caller": "+39300", **fields},
        ),
    )
    ((_, course),) = context(made, "dids")
    conditions = [step for step in course if "inbound." in step]
    assert conditions == [
        'GotoIf($["${FROM_TRUNK}" = "a" & "${EXTEN:0:5}" = "+3902" & "${CALLER:0:6}" = "+39300"]?inbound.first,s,1)',
        'GotoIf($["${FROM_TRUNK}" = "b" & "${EXTEN:0:5}" = "+3902" & "${CALLER:0:6}" = "+39300"]?inbound.first,s,1)',
        "GotoIf($[1]?inbound.second,s,1)",
    ]
    assert course[-1] == "Hangup(1)"


@pytest.mark.parametrize(
    ("destination", "last"),
    [
        (ToExtension(extension="desk"), "Goto(internal,201,1)"),
        (ToRingGroup(ring_group="sales"), "Goto(group.sales,s,1)"),
        (ToService(service="echo"), "Goto(service-echo,s,1)"),
        (ToHangup(reason="busy"), "Hangup(17)"),
        (ToHangup(), "Hangup(20)"),
        (ToNumber(number="+390600000001", site="hq"), "Goto(route.hq,+390600000001,1)"),
        (ToNumber(number="+390200000100", site="hq"), "Goto(dids,+390200000100,1)"),
    ],
)
def test_every_destination_has_its_steps(destination: Any, last: str) -> None:
    assert steps(destination, document())[-1] == last


def test_whatever_sends_a_call_on_counts_a_hop() -> None:
    course = steps(ToNumber(number="+390600000001", site="hq"), document())
    assert course[0] == "Set(__HOPS=$[0${HOPS} + 1])"
    assert f"${{HOPS}} > {HOPS_MAX}" in course[1]
    assert not any("HOPS" in step for step in steps(ToExtension(extension="desk"), document()))


def never_used(*more: Rows) -> list[tuple[str, str]]:
    return [(fault.path, fault.severity) for fault in verify(document(*more))]


def test_outbound_routes_that_no_call_takes() -> None:
    first = route("first", 1, ["+39", "+44"], "a")
    assert never_used(first, route("same", 2, ["+44"], "b")) == [("outbound_route/same/prefixes[0]", "error")]
    assert never_used(first, route("narrower", 2, ["+1", "+3902"], "b")) == [
        ("outbound_route/narrower/prefixes[1]", "warning")
    ]
    assert never_used(first, route("at-hq", 2, ["+39"], "b", ["hq"])) == [
        ("outbound_route/at-hq/prefixes[0]", "warning")
    ]
    assert never_used(route("at-hq", 1, ["+39"], "b", ["hq"]), route("later", 2, ["+39"], "a")) == []
    assert never_used(route("one", 1, ["+3902"], "b"), route("other", 2, ["+39"], "a")) == []
    assert never_used(route("twice", 1, ["+39", "+39"], "b")) == [("outbound_route/twice/prefixes[1]", "error")]


def inbound(id: str, order: int, **fields: Any) -> Rows:
    return "inbound_route", {"id": id, "name": id, "order": order, "destination": {"type": "hangup"}, **fields}


def test_inbound_routes_that_no_call_takes() -> None:
    first = inbound("first", 1, caller="+3902", trunks=["a", "b"])
    assert never_used(first, inbound("same", 2, caller="+3902", trunks=["b", "a"])) == [
        ("inbound_route/same/order", "error")
    ]
    assert never_used(first, inbound("narrower", 2, caller="+39021", called="+390", trunks=["a"])) == [
        ("inbound_route/narrower/order", "warning")
    ]
    assert never_used(first, inbound("other-trunk", 2, caller="+3902", trunks=["c"])) == []
    assert never_used(first, inbound("any-trunk", 2, caller="+3902")) == []
    assert never_used(first, inbound("anybody", 2, trunks=["a"])) == []
    assert never_used(inbound("anybody", 1), inbound("known", 2, caller="+39")) == [
        ("inbound_route/known/order", "warning")
    ]


def test_caller_numbers_that_are_nobody_s() -> None:
    strange = ("extension", {"id": "other", "number": "202", "site": "hq", "caller_number": "+390200000999"})
    own = ("extension", {"id": "third", "number": "203", "site": "hq", "caller_number": "+390200000100"})
    assert never_used(strange, own) == [("extension/other/caller_number", "warning")]
