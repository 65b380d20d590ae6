"""Lines of the spool: whatever a caller's name holds, and whatever a full disk leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.history.line import FIELDS, LineError, parse, salvage, text

REAL = (
    b'"HANGUP","1795406330.650344","1795406324.2","1795406324.2","PJSIP/d101-1-00000000","101","Ext 101","101","","100",'
    b'"from-device","101","","{""hangupcause"":16,""hangupsource"":""PJSIP/d101-1-00000000"",""dialstatus"":""ANSWER""}"'
)
NO_CONTROL = st.text(st.characters(blacklist_characters="\x00\n", blacklist_categories=("Cs",)))


def row(**fields: str) -> bytes:
    return text(
        {"EventType": "ANSWER", "EventTime": "1795406330.65", "UniqueID": "c-1.2", "LinkedID": "c-1.1"} | fields
    )


def test_a_line_of_the_real_engine() -> None:
    event = parse(REAL)
    assert (event.type, event.time, event.id, event.exten) == ("HANGUP", 1_795_406_330_650_344, "1795406324.2", "100")
    assert event.extra == {"hangupcause": 16, "hangupsource": "PJSIP/d101-1-00000000", "dialstatus": "ANSWER"}


@given(NO_CONTROL, NO_CONTROL)
def test_any_name_and_number_come_back(name: str, number: str) -> None:
    event = parse(row(Name=name, Num=number))
    assert (event.name, event.number, event.type, event.id) == (name, number, "ANSWER", "c-1.2")


@pytest.mark.parametrize("name", ['","HANGUP","1795406330.1","c-1.9', '"', '""', "\\", '\\"', ",", "😀", "a\tb\rc"])
def test_no_name_breaks_out_of_its_field(name: str) -> None:
    assert parse(row(Name=name)).name == name


def test_a_short_fraction_of_a_second_is_a_fraction() -> None:
    assert parse(row(EventTime="12.5")).time == 12_500_000


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        REAL[:-1],
        REAL[1:],
        REAL + b',"more"',
        REAL.replace(b'"101","Ext', b'"101""Ext'),
        REAL.replace(b"Ext", b"\x00xt"),
        row(EventTime="soon"),
        row(UniqueID=""),
        row(EventExtra="{"),
        row(EventExtra="[1]"),
        b",".join([b'""'] * len(FIELDS)),
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(LineError):
        parse(line)


@pytest.mark.parametrize("torn", range(1, len(REAL), 7))
def test_the_record_behind_a_torn_one_is_saved(torn: int) -> None:
    line = REAL[:torn] + REAL
    with pytest.raises(LineError):
        parse(line)
    found = salvage(line)
    assert found is not None
    assert found == (torn, parse(REAL))


def test_the_record_behind_zeros_is_saved() -> None:
    found = salvage(b"\x00" * 4096 + REAL)
    assert found is not None
    assert found[0] == 4096


def test_nothing_is_saved_from_a_torn_line_alone() -> None:
    assert salvage(REAL[:-20]) is None
    assert salvage(b"\x00" * 100) is None


def test_a_forged_record_in_a_name_is_not_taken_for_one() -> None:
    forged = row(Name="x" + REAL.decode())
    assert parse(forged).type == "ANSWER"
    assert salvage(forged[:-3]) is None
