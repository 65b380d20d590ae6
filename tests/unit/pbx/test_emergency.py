"""Emergency calls: what is dialled, which way they go, and what verify says is missing."""

from __future__ import annotations

import re
from typing import Any

from appliance import verify as whole
from appliance.core.document import Document, parse
from appliance.kinds import KINDS
from appliance.pbx.context import Installation
from appliance.pbx.emergency.plan import contribute
from appliance.pbx.emergency.verify import verify

Rows = tuple[str, dict[str, Any]]
NUMBER = "+390200000100"


def document(*more: Rows, trunks: tuple[str, ...] = ("a", "b"), **site: Any) -> Document:
    fields = {"name": "T", "provider": "telco", "auth": {"type": "address"}}
    rows: list[Rows] = [
        ("company", {"id": "demo", "name": "Demo Srl"}),
        ("site", {"id": "hq", "name": "HQ", "company": "demo", "trunks": list(trunks[:1]), "emergency_number": NUMBER, **site}),
        ("site", {"id": "empty", "name": "Empty", "company": "demo"}),
        ("number_plan", {"id": "plan", "name": "Plan", "ranges": [{"first": "200", "last": "299"}]}),
        ("provider", {"id": "telco", "name": "Telco"}),
        *(("trunk", {"id": id, "host": f"198.51.100.{number}", **fields}) for number, id in enumerate(trunks, 1)),
        ("extension", {"id": "desk", "number": "201", "site": "hq"}),
        ("secret", {"id": "desk"}),
        ("device", {"id": "desk", "extension": "desk", "secret": "desk"}),
        ("did", {"id": "main", "number": NUMBER, "company": "demo", "destination": {"type": "extension", "extension": "desk"}}),
        *more,
    ]  # fmt: skip
    return Document.of(parse(KINDS, kind, item) for kind, item in rows)


def text(document: Document, name: str) -> str:
    made = contribute(document, Installation("token")).dialplan
    return next(section.text() for section in made if section.name == name)


def faults(document: Document) -> list[tuple[str, str, str]]:
    return [(fault.path, fault.error_id, fault.severity) for fault in verify(document)]


def test_every_form_of_every_number_is_known() -> None:
    plan: Rows = ("emergency_plan", {"id": "p", "name": "P", "numbers": ["112", "999"]})
    forms = re.findall(r"exten => ([^,]+),1,Goto\(emergency-call,(\d+),1\)", text(document(plan), "emergency"))
    assert sorted(form for form, number in forms if number == "112") == ["+39112", "0+39112", "0112", "112"]
    assert {number for _, number in forms} == {"112", "999"}


def test_without_a_plan_the_countrys_numbers_hold() -> None:
    assert set(re.findall(r"emergency-call,(\d+),", text(document(), "emergency"))) == {"112", "113", "115", "118"}


def test_the_sites_own_trunks_come_first_then_all_then_all_again() -> None:
    def attempts(name: str) -> list[tuple[str, str]]:
        return re.findall(r"sos\.(\w+),\$\{EXTEN\},1\((\d)\)", text(document(), name))

    assert attempts("emergency.hq") == [("a", "1")]
    assert attempts("emergency-rest") == [("a", "1"), ("b", "1"), ("a", "2"), ("b", "2")]


def test_a_site_with_all_it_needs_is_not_spoken_of() -> None:
    assert faults(document()) == []


def test_what_is_missing_is_a_warning_and_holds_nothing_up() -> None:
    made = document(trunks=(), emergency_number=None)
    assert faults(made) == [
        ("site/hq/trunks", "no_emergency_way_out", "warning"),
        ("site/hq/emergency_number", "no_emergency_number", "warning"),
    ]
    assert not [fault for fault in whole.verify(made) if fault.error_id.startswith("no_emergency")]
    assert len([fault for fault in whole.check(made) if fault.error_id.startswith("no_emergency")]) == 2
    assert faults(document(trunks=("a",))) == []


def test_a_number_that_cant_be_called_back_is_an_error() -> None:
    assert faults(document(emergency_number="+390200000101")) == [
        ("site/hq/emergency_number", "emergency_number_not_ours", "error")
    ]


def test_the_place_of_the_device_counts_and_nomads_are_named() -> None:
    made = document(
        ("secret", {"id": "s2"}),
        ("device", {"id": "away", "extension": "desk", "slot": 2, "site": "empty", "nomadic": True, "secret": "s2"}),
    )
    assert faults(made) == [
        ("device/away/nomadic", "nomadic_emergency", "warning"),
        ("site/empty/trunks", "no_emergency_way_out", "warning"),
        ("site/empty/emergency_number", "no_emergency_number", "warning"),
    ]
