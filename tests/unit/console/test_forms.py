"""Forms of every kind: an object's form, sent back as it stands, is the same object; buttons, faults, what is shown."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from appliance.console.portal.forms import (
    Filled,
    Form,
    Widget,
    columns,
    control_of,
    filled,
    form_of,
    initial,
    suggested_id,
    title_of,
)
from appliance.console.portal.submission import GIVEN, act, field_at, placed, read, set_value
from appliance.core.document import parse
from appliance.core.errors import Fault, InvalidError
from appliance.core.fields import AnyOrder, ListField
from appliance.core.model import Object, Part
from appliance.kinds import KINDS
from tests.strategies import objects


def sent(fields: tuple[Filled, ...]) -> dict[str, list[str]]:
    """What a browser sends of a form: every control that isn't locked, as the templates name them."""
    found: dict[str, list[str]] = {}
    for one in fields:
        _send(one, found)
    return found


def _send(one: Filled, found: dict[str, list[str]]) -> None:
    match one.field.widget:
        case Widget.SWITCH:
            if one.value:
                found[one.name] = ["on"]
        case Widget.BOXES:
            ticked = [value for value, _label in one.choices if value in (one.value or ())]
            if ticked:
                found[one.name] = ticked
        case Widget.GROUP | Widget.LIST:
            entry = one.position > 0 or (one.field.nullable and one.given)
            if one.field.widget is Widget.GROUP and entry:
                found[f"{one.name}-{GIVEN}"] = ["1"]
            for inner in one.inner:
                _send(inner, found)
        case Widget.UNION:
            found[f"{one.name}-type"] = [next((each.field.name for each in one.inner if each.given), "")]
            for option in one.inner:  # those not chosen are sent as well
                for inner in option.inner:
                    _send(inner, found)
        case Widget.SECRET:
            found[one.name] = [""]
        case _:
            found[one.name] = ["" if one.value is None else str(one.value)]


def round_trip(item: Object) -> Object:
    form = form_of(type(item))
    data = item.model_dump(mode="json")
    return parse(KINDS, item.kind, {"id": item.id, **read(form, sent(filled(form, data)))})


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_form_that_is_sent_back_as_it_stands_is_the_same_object(kind: str, data: st.DataObject) -> None:
    item = data.draw(objects(kind))
    found = round_trip(item)
    if kind == "device":  # boxes tell each transport once
        assert set(found.allowed_transports) == set(item.allowed_transports)  # type: ignore[attr-defined]
        found = found.model_copy(update={"allowed_transports": item.allowed_transports})  # type: ignore[attr-defined]
    assert found == item


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_form_starts_with_the_model_s_defaults(kind: str) -> None:
    """What one doesn't touch in a new form is as if it weren't given."""
    form = form_of(KINDS[kind])
    data = read(form, sent(filled(form, initial(form))))
    for one in form.fields:
        if not one.required and one.name in data:
            assert data[one.name] == (one.default if one.default is not None else data[one.name] and None), one.name


def test_widgets_are_told_from_the_model() -> None:
    form = form_of(KINDS["ring_group"])
    widgets = {one.name: one.widget.value for one in form.fields}
    assert widgets == {
        "name": "text", "number": "text", "site": "reference", "strategy": "choice", "members": "list",
        "ring_seconds": "number", "no_answer": "union",
    }  # fmt: skip
    members = form.field("members")
    assert members is not None
    assert (members.ordered, members.fewest, members.most) == (True, 1, 300)
    assert members.item is not None
    assert [one.name for one in members.item.fields] == ["extension", "delay_seconds"]
    seconds = form.field("ring_seconds")
    assert seconds is not None
    assert (seconds.minimum, seconds.maximum, seconds.unit, seconds.default) == (5, 600, "s", 30)
    site = form_of(KINDS["site"])
    assert {one.name: one.widget.value for one in site.fields if one.widget is not Widget.TEXT} == {
        "company": "reference", "time_zone": "time_zone", "address": "group", "networks": "list", "language": "choice",
        "class_of_service": "reference", "trunks": "list", "links": "list",
    }  # fmt: skip
    networks = site.field("networks")
    assert networks is not None
    assert networks.item is not None
    assert networks.item.hint == "network (CIDR)"
    assert not networks.ordered
    value = form_of(KINDS["secret"]).field("value")
    assert value is not None
    assert value.widget is Widget.SECRET


class Lot(Part):
    """A part that nobody wrote a page for."""

    first: int
    note: str | None = None


class ParkingLot(Object):
    """A kind that came later."""

    kind: ClassVar[str] = "parking_lot"
    name: str
    lots: Annotated[tuple[Lot, ...], ListField, AnyOrder()] = ()
    spare: Lot | None = Field(None, description="One more")


def test_a_kind_that_comes_later_has_its_form() -> None:
    form = form_of(ParkingLot)
    item = ParkingLot(id="a", name="P", lots=(Lot(first=1), Lot(first=2, note="x")), spare=Lot(first=3))
    again = read(form, sent(filled(form, item.model_dump(mode="json"))))
    assert ParkingLot.model_validate({"id": "a", **again}) == item
    assert [one.label for one in form.fields] == ["Name", "Lots", "Spare"]


GROUP: dict[str, Any] = {"name": "x", "members": [{"extension": "a"}, {"extension": "b"}, {"extension": "c"}]}


def names(data: dict[str, Any]) -> list[str]:
    return [member.get("extension", "") for member in data["members"]]


@pytest.mark.parametrize(
    ("action", "after", "focus"),
    [
        ("add:members", ["a", "b", "c", ""], "members-3"),
        ("remove:members-1", ["a", "c"], "members"),
        ("up:members-2", ["a", "c", "b"], "members-1-up"),
        ("up:members-1", ["b", "a", "c"], "members-0-down"),
        ("down:members-1", ["a", "c", "b"], "members-2-up"),
        ("up:members-0", ["a", "b", "c"], ""),
        ("down:members-2", ["a", "b", "c"], ""),
        ("remove:members-9", ["a", "b", "c"], ""),
        ("remove:members", ["a", "b", "c"], ""),
        ("add:nothing", ["a", "b", "c"], ""),
        ("explode:members-0", ["a", "b", "c"], ""),
        ("up:members-٣", ["a", "b", "c"], ""),
        ("", ["a", "b", "c"], ""),
    ],
)
def test_buttons_add_remove_and_move(action: str, after: list[str], focus: str) -> None:
    form = form_of(KINDS["ring_group"])
    data = {**GROUP, "members": [dict(member) for member in GROUP["members"]]}
    done = act(form, data, action)
    assert names(data) == after
    assert done.focus == focus


def test_a_button_adds_to_the_empty_entry_that_is_shown() -> None:
    form = form_of(KINDS["ring_group"])
    data: dict[str, Any] = {}
    assert act(form, data, "add:members").focus == "members-1"
    assert data["members"] == [{}, {}]
    one = field_at(form, data, "members-1")
    assert one is not None
    assert control_of(one, "members-1") == "members-1-extension"


def test_optional_parts_come_and_go() -> None:
    form = form_of(KINDS["site"])
    data: dict[str, Any] = {"address": None}
    act(form, data, "given:address")
    assert data["address"] == {"country": "IT"}
    assert f"address-{GIVEN}" in sent(filled(form, data))
    act(form, data, "none:address")
    assert data["address"] is None
    assert read(form, sent(filled(form, data)))["address"] is None


def test_a_made_object_is_put_where_it_was_missing() -> None:
    form = form_of(KINDS["ring_group"])
    data: dict[str, Any] = {**GROUP, "members": [{}], "no_answer": {"type": "extension"}}
    set_value(form, data, "members-0-extension", "new-one")
    set_value(form, data, "no_answer-extension-extension", "other")
    set_value(form, data, "no_answer-number-site", "not chosen")
    set_value(form, data, "members", "not a control")
    assert data["members"] == [{"extension": "new-one"}]
    assert data["no_answer"] == {"type": "extension", "extension": "other"}


def test_empty_entries_are_left_out_when_saving_only() -> None:
    form = form_of(KINDS["ring_group"])
    came = {"members-0-given": ["1"], "members-0-extension": [""], "members-0-delay_seconds": [""],
            "members-7-given": ["1"], "members-7-extension": ["a"], "members-7-delay_seconds": [" 5 "]}  # fmt: skip
    assert read(form, came, ["members"])["members"] == [{"extension": "a", "delay_seconds": 5}]
    assert read(form, came, ["members"], tidy=False)["members"] == [{}, {"extension": "a", "delay_seconds": 5}]


def faults(form: Form, kind: str, data: dict[str, Any]) -> dict[str, list[str]]:
    with pytest.raises(InvalidError) as error:
        parse(KINDS, kind, {"id": "x", **data})
    return {name: [fault.error_id for fault in found] for name, found in placed(form, data, error.value.faults, kind, "x").items()}  # fmt: skip


def test_what_is_wrong_stands_at_its_control_and_what_was_typed_stays() -> None:
    form = form_of(KINDS["ring_group"])
    came = {"name": [" "], "number": ["4a"], "site": ["hq"], "strategy": ["none"], "ring_seconds": ["soon"],
            "members-0-given": ["1"], "members-0-extension": ["a"], "members-0-delay_seconds": ["999"],
            "no_answer-type": ["number"], "no_answer-number-number": ["02"], "no_answer-number-site": [""]}  # fmt: skip
    data = read(form, came)
    assert faults(form, "ring_group", data) == {
        "name": ["missing"],
        "number": ["string_pattern_mismatch"],
        "strategy": ["enum"],
        "members-0-delay_seconds": ["less_than_equal"],
        "ring_seconds": ["int_parsing"],
        "no_answer-number-number": ["string_pattern_mismatch"],
        "no_answer-number-site": ["missing"],
    }
    shown = {one.name: one for one in filled(form, data)}
    assert (shown["number"].value, shown["ring_seconds"].value, shown["strategy"].value) == ("4a", "soon", "none")


def test_a_choice_that_wasn_t_made_is_told_at_the_union() -> None:
    form = form_of(KINDS["did"])
    assert faults(form, "did", read(form, {"number": ["+390200000001"], "company": ["c"]})) == {
        "destination": ["missing"]
    }
    unknown = read(form, {"number": ["+390200000001"], "company": ["c"], "destination-type": ["moon"]})
    assert list(faults(form, "did", unknown)) == ["destination"]


def test_checks_between_objects_name_fields_without_the_type() -> None:
    form = form_of(KINDS["did"])
    data = {"destination": {"type": "extension", "extension": "gone"}}
    found = placed(form, data, [
        Fault("did/x/destination.extension", "a"), Fault("did/x/destination.extension.extension", "b"), Fault("did/y/number", "c"),
        Fault("did/x/nothing", "d"), Fault("", "e"), Fault("did/x/id", "f"), Fault("did/x", "g"),
    ], "did", "x")  # fmt: skip
    assert {name: "".join(fault.message for fault in several) for name, several in found.items()} == {
        "destination-extension-extension": "ab",
        "": "cdeg",
        "id": "f",
    }


def test_only_editable_fields_are_read() -> None:
    form = form_of(KINDS["extension"])
    came = {"number": ["999"], "label": ["Reception"]}
    assert read(form, came, {"label"}) == {"label": "Reception"}
    locked = {one.name: one.locked for one in filled(form, {}, editable={"label"}, visible={"label", "number"})}
    assert locked == {"number": True, "label": False}


def test_a_list_s_columns_and_an_object_s_name() -> None:
    assert [one.name for one in columns(form_of(KINDS["did"]))] == [
        "number",
        "company",
        "destination",
    ]  # the label leads
    assert [one.name for one in columns(form_of(KINDS["device"]))] == [
        "extension",
        "slot",
        "site",
        "allowed_transports",
    ]
    assert title_of({"id": "a", "name": "N"}) == "N"
    assert title_of({"id": "a", "name": None, "number": "201"}) == "201"
    assert title_of({"id": "a"}) == "a"


@pytest.mark.parametrize(
    ("data", "taken", "id"),
    [
        ({"name": "Sede di Forlì"}, set(), "sede-di-forli"),
        ({"name": "Sede"}, {"sede", "sede-2"}, "sede-3"),
        ({"number": "201"}, set(), "201"),
        ({"name": "🙂"}, set(), "new"),
        ({}, {"new"}, "new-2"),
        ({"name": "x" * 31 + " - y"}, set(), "x" * 31),
    ],
)
def test_an_id_is_made_from_the_name(data: dict[str, Any], taken: set[str], id: str) -> None:
    assert suggested_id(data, taken) == id


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["members-0-extension", "members-99999-given", "members-1", "no_answer-type", "strategy", "site", "members", "no_answer-number-number"]), st.lists(st.text(max_size=5), max_size=3)), st.text(max_size=30) | st.sampled_from(["up:members-0-extension", "add:no_answer-number", "remove:members-0-extension", "given:members-0", "add:members-0-extension-x"]))  # fmt: skip
def test_whatever_is_sent_is_read_without_an_error_of_ours(came: dict[str, list[str]], action: str) -> None:
    form = form_of(KINDS["ring_group"])
    data = read(form, came, tidy=False)
    act(form, data, action)
    filled(form, data)
    try:
        parse(KINDS, "ring_group", {"id": "x", **data})
    except InvalidError as error:
        placed(form, data, error.faults, "ring_group", "x")
