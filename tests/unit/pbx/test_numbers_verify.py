"""Clashes of numbers: each is found, at its path, and what is fine is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.document import Document, parse
from appliance.core.errors import Fault
from appliance.kinds import KINDS
from appliance.pbx.numbers.intervals import Interval, Intervals, overlaps
from appliance.pbx.numbers.verify import verify

Row = tuple[str, dict[str, Any]]

BASE: dict[str, dict[str, Any]] = {
    "company/demo": {"name": "Demo Srl"},
    "site/hq": {"name": "HQ", "company": "demo", "class_of_service": "standard"},
    "site/shop": {"name": "Shop", "company": "demo", "class_of_service": "standard"},
    "class_of_service/standard": {"name": "Standard"},
    "number_plan/plan": {
        "name": "Plan",
        "ranges": [{"first": "200", "last": "299"}, {"first": "400", "last": "499"}],
        "site_prefixes": [{"site": "shop", "prefix": "7"}],
    },
    "emergency_plan/italy": {"name": "Italy"},
    "service_code/echo": {"code": "*43", "service": "echo"},
    "extension/e1": {"number": "201", "site": "hq"},
    "extension/e2": {"number": "202", "site": "shop"},
    "device/d1": {"extension": "e1", "secret": "s"},
    "device/d2": {"extension": "e1", "slot": 2, "secret": "s"},
    "secret/s": {},
    "ring_group/sales": {"name": "Sales", "number": "400", "site": "hq", "members": [{"extension": "e1"}]},
    "provider/telco": {"name": "Telco"},
    "did/main": {"number": "+390200000001", "company": "demo", "destination": {"type": "hangup"}},
}


def document(changes: dict[str, dict[str, Any] | None]) -> Document:
    """The sound document with fields of some objects changed or added (``None``: the object goes)."""
    found = {path: dict(fields) for path, fields in BASE.items()}
    for path, fields in changes.items():
        if fields is None:
            del found[path]
        else:
            found[path] = found.get(path, {}) | fields
    return Document.of(
        parse(KINDS, kind, {"id": id, **fields})
        for (kind, _, id), fields in ((path.partition("/"), fields) for path, fields in found.items())
    )


def faults(changes: dict[str, dict[str, Any] | None]) -> list[Fault]:
    return list(verify(document(changes)))


def plan(**fields: Any) -> dict[str, dict[str, Any] | None]:
    return {"number_plan/plan": fields}


def test_a_sound_document_has_no_faults() -> None:
    assert faults({}) == []


def _range(first: str, last: str) -> dict[str, str]:
    return {"first": first, "last": last}


WIDE = [_range("200", "299"), _range("400", "499")]
CASES: list[tuple[str, dict[str, dict[str, Any] | None], set[tuple[str, str]]]] = [
    ("no plan", {"number_plan/plan": None}, {("number_plan", "number_plan_missing")}),
    ("second plan", {"number_plan/two": {"name": "Two", "ranges": [_range("800", "899")]}},
     {("number_plan/two", "number_plan_twice")}),
    ("country of the plan", plan(country="ZZ"), {("number_plan/plan/country", "country_unknown")}),
    ("country of a provider", {"provider/telco": {"country": "BR"}}, {("provider/telco/country", "country_unknown")}),
    ("range backwards", plan(ranges=[*WIDE, _range("599", "500")]),
     {("number_plan/plan/ranges[2].last", "range_order")}),
    ("range of two lengths", plan(ranges=[*WIDE, _range("50", "599")]),
     {("number_plan/plan/ranges[2].last", "range_length")}),
    ("ranges overlap", plan(ranges=[*WIDE, _range("290", "310")], site_prefixes=[]),
     {("number_plan/plan/ranges[2]", "range_overlap")}),
    ("range begins with the outside prefix", plan(ranges=[*WIDE, _range("000", "099")]),
     {("number_plan/plan/ranges[2]", "outside_prefix_overlap")}),
    ("site prefix begins like the outside prefix", plan(site_prefixes=[{"site": "shop", "prefix": "07"}]),
     {("number_plan/plan/site_prefixes[0].prefix", "outside_prefix_overlap")}),
    ("site prefix twice", plan(site_prefixes=[{"site": "shop", "prefix": "7"}, {"site": "hq", "prefix": "7"}]),
     {("number_plan/plan/site_prefixes[1].prefix", "duplicate_prefix"),
      ("number_plan/plan/site_prefixes[1].prefix", "range_overlap")}),
    ("two prefixes of a site", plan(site_prefixes=[{"site": "shop", "prefix": "7"}, {"site": "shop", "prefix": "8"}]),
     {("number_plan/plan/site_prefixes[1].site", "duplicate_prefix")}),
    ("prefixed numbers are another range", plan(ranges=[*WIDE, _range("7250", "7260")]),
     {("number_plan/plan/ranges[2]", "range_overlap")}),
    ("emergency number in a range", plan(ranges=[*WIDE, _range("100", "199")]),
     {("number_plan/plan/ranges[2]", "emergency_overlap")}),
    ("emergency number behind a site prefix",
     plan(ranges=[*WIDE, _range("12", "14")], site_prefixes=[{"site": "shop", "prefix": "1"}]),
     {("number_plan/plan/site_prefixes[0].prefix", "emergency_overlap")}),
    ("outside prefix begins emergency numbers", plan(outside_prefix="1"),
     {("number_plan/plan/outside_prefix", "emergency_overlap")}),
    ("emergency number with outside prefix in a range", plan(ranges=[*WIDE, _range("9100", "9199")], outside_prefix="9"),
     {("number_plan/plan/ranges[2]", "emergency_overlap"), ("number_plan/plan/ranges[2]", "outside_prefix_overlap")}),
    ("range begins with an emergency number", plan(ranges=[*WIDE, _range("1120", "1129")]),
     {("emergency_plan/italy/numbers[0]", "emergency_prefix")}),
    ("extension is an emergency number", {"extension/e1": {"number": "112"}},
     {("extension/e1/number", "duplicate_number"), ("extension/e1/number", "number_outside_ranges")}),
    ("extension is an emergency number behind the outside prefix", {"extension/e1": {"number": "0112"}},
     {("extension/e1/number", "duplicate_number"), ("extension/e1/number", "number_outside_ranges")}),
    ("extension twice", {"extension/e2": {"number": "201"}}, {("extension/e2/number", "duplicate_number")}),
    ("extension and group", {"ring_group/sales": {"number": "202"}}, {("ring_group/sales/number", "duplicate_number")}),
    ("extension outside the ranges", {"extension/e1": {"number": "301"}},
     {("extension/e1/number", "number_outside_ranges")}),
    ("group begins with the outside prefix", {"ring_group/sales": {"number": "0400"}},
     {("ring_group/sales/number", "outside_prefix_overlap")}),
    ("group among a site's prefixed numbers", {"ring_group/sales": {"number": "7210"}},
     {("ring_group/sales/number", "range_overlap")}),
    ("code in a range", {"service_code/echo": {"code": "250"}}, {("service_code/echo/code", "range_overlap")}),
    ("code twice", {"service_code/two": {"code": "*43", "service": "date_time"}},
     {("service_code/two/code", "duplicate_number")}),
    ("code begins with another", {"service_code/two": {"code": "*430", "service": "date_time"}},
     {("service_code/two/code", "code_prefix")}),
    ("number of a did twice", {"did/two": BASE["did/main"]}, {("did/two/number", "duplicate_number")}),
    ("slot twice", {"device/d2": {"slot": 1}}, {("device/d2/slot", "duplicate_slot")}),
    ("no class of service", {"site/hq": {"class_of_service": None}},
     {("site/hq/class_of_service", "class_of_service_missing")}),
    ("allowed and denied", {"class_of_service/standard": {"allow_prefixes": ["+44", "+1"], "deny_prefixes": ["+44"]}},
     {("class_of_service/standard/deny_prefixes[0]", "prefix_allowed_and_denied")}),
    ("group and did in a circle",
     {"ring_group/sales": {"no_answer": {"type": "number", "number": "+390200000001", "site": "hq"}},
      "did/main": {"destination": {"type": "ring_group", "ring_group": "sales"}}},
     {("did/main/destination", "routing_loop")}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_clash_is_found(changes: dict[str, dict[str, Any] | None], expected: set[tuple[str, str]]) -> None:
    found = faults(changes)
    assert {(fault.path, fault.error_id) for fault in found} == expected
    assert all(fault.message and fault.hint for fault in found)


def test_all_are_told_at_once() -> None:
    found = faults(
        {"extension/e2": {"number": "201"}, "device/d2": {"slot": 1}, "did/two": BASE["did/main"]} | plan(country="ZZ")
    )
    assert {fault.error_id for fault in found} == {"duplicate_number", "duplicate_slot", "country_unknown"}
    assert len(found) == 4


def test_the_range_that_hides_emergency_numbers_is_told_which() -> None:
    found = faults(plan(ranges=[*WIDE, _range("100", "199")]))
    assert [fault.message.split("emergency number ")[1][:3] for fault in found] == ["112", "113", "115", "118"]


def test_only_what_cannot_work_is_an_error() -> None:
    longer = {"service_code/two": {"code": "*430", "service": "date_time"}}
    assert [fault.severity for fault in faults(longer)] == ["warning"]
    takes_number = longer | {"service_code/echo": {"service": "forward_set"}}
    assert [fault.severity for fault in faults(takes_number)] == ["error"]
    assert [fault.severity for fault in faults({"site/hq": {"class_of_service": None}})] == ["warning"]


def test_without_an_outside_prefix_nothing_begins_with_it() -> None:
    assert faults(plan(outside_prefix="")) == []


def test_intervals_find_what_holds_a_number_even_where_they_overlap() -> None:
    wide, narrow, far = (Interval(*ends, "", "") for ends in (("100", "400"), ("150", "160"), ("500", "599")))
    space = Intervals([far, narrow, wide])
    assert set(space.around("155")) == {wide, narrow}
    assert list(space.around("300")) == [wide]
    assert list(space.around("450")) == []
    assert list(space.around("1550")) == []
    assert list(overlaps(space)) == [(wide, narrow)]
