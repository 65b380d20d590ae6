"""What calls are found by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.history.assemble import Assembler
from appliance.history.labels import PART_MAX, Kind, folded, labels_of, parts
from appliance.history.model import Call
from tests.unit.history.events import RTCP, Engine


def office_call(place: str = "", device: str = "desk-2") -> Call:
    """From outside to an extension at a branch, with a second device at the head office."""
    engine = Engine()
    a = engine.channel(
        "trunk-a", number="+390200005678", origin="+390200005678", name="Ännchen ＡＢＣ", exten="+390200000100"
    )
    b = engine.channel("desk-2", a.call, number="102", account="102", exten="s")
    c = engine.channel("soft-2", a.call, number="102", account="102", exten="s")
    b.answer()
    a.answer()
    c.hangup(26, report="SIP 180 Ringing|Ringing|alaw|||soft-2|102|ext-102|hq|||")
    a.hangup(16, "ANSWER", a.name, report=f"Up|{RTCP}|alaw||{place}|||||||")
    b.hangup(16, source=a.name, report=f"SIP 200 OK|{RTCP}|alaw||{place}|{device}|102|ext-102|branch|||")
    assembler = Assembler()
    (call,) = [call for event in engine.events() for call in assembler.feed(event)]
    return call


def test_every_role_is_a_label_and_an_extension_is_no_number_too() -> None:
    engine_call = office_call()
    assert labels_of(engine_call) == {
        (Kind.NUMBER, "+390200005678"),
        (Kind.NUMBER, "+390200000100"),
        (Kind.EXTENSION, "102"),
        (Kind.DEVICE, "desk-2"),
        (Kind.DEVICE, "soft-2"),
        (Kind.TRUNK, "a"),
        (Kind.SITE, "branch"),
        (Kind.SITE, "hq"),
        (Kind.NAME, "Ännchen ＡＢＣ"),
    }
    assert (engine_call.from_site, engine_call.reached_site) == ("", "branch")


def test_a_called_leg_that_carries_its_callers_site_has_none() -> None:
    call = office_call(place="elsewhere", device="desk-9")
    assert call.reached_site == ""
    assert call.from_site == "elsewhere"  # the trunk's leg was sent on
    assert [leg.site for leg in call.legs] == ["elsewhere", "", "hq"]


def test_case_and_wide_forms_do_not_matter() -> None:
    assert folded("Ännchen ＡＢＣ") == folded("äNNCHEN abc") == "ännchen abc"
    assert folded("STRASSE") == folded("straße")


@given(st.text(max_size=60), st.data())
def test_every_part_of_a_text_is_found_by_its_beginning(text: str, data: st.DataObject) -> None:
    whole = folded(text)
    kept = set(parts(whole))
    start = data.draw(st.integers(0, max(0, len(whole) - 1)))
    part = whole[start : start + data.draw(st.integers(1, PART_MAX))]
    assert not part or any(one.startswith(part) for one in kept)
    assert all(one in whole for one in kept)


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)
