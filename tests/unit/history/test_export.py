"""CSV: readable by anybody's reader, harmless to anybody's spreadsheet, never whole in memory."""

from __future__ import annotations

import csv
import dataclasses
import gc
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import InvalidError
from appliance.history.export import BOM, COLUMNS, FORMULA, Format, cell, rows
from appliance.history.filter import CallFilter, Visible
from appliance.history.model import Call
from appliance.history.service import History
from appliance.store.history import open_history
from tests.unit.history.samples import calls, matches, newest_first, store

NASTY = (
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1+1",
    'a,"b";c',
    "two\r\nlines",
    "plain",
    "'=1",
)


def exported(tmp_path: Path, made: list[Call], filter: CallFilter = CallFilter(), format: Format = Format(), visible: Visible | None = None) -> str:  # fmt: skip  # noqa: B008
    database = open_history(f"sqlite:///{tmp_path}/history.db")
    try:
        store(database, made)
        return "".join(rows(History(database), filter, format, visible_to=visible))
    finally:
        database.close()


@pytest.mark.parametrize("separator", [",", ";"])
def test_every_call_is_a_record_of_rfc_4180(tmp_path: Path, separator: str) -> None:
    made = [dataclasses.replace(call, from_name=NASTY[n % len(NASTY)]) for n, call in enumerate(calls(1200, seed=5))]
    text = exported(tmp_path, made, format=Format(bom=True, separator=separator))
    assert text.startswith(BOM)
    records = list(csv.DictReader(io.StringIO(text.removeprefix(BOM), newline=""), delimiter=separator, strict=True))
    assert [int(record["id"]) for record in records] == [id for id, _ in newest_first(made)]
    for record, (_, call) in zip(records, newest_first(made), strict=True):
        assert tuple(record) == COLUMNS
        assert record["from_name"].replace("'", "") == call.from_name.replace("'", "")
        assert record["from_name"][:1] not in FORMULA or not record["from_name"]
        assert record["from_number"] == call.from_number  # +39… stays a number
        assert record["outcome"] == call.outcome.value
        assert record["talk_s"] == f"{call.talk_ms / 1000:.3f}".replace(".", "," if separator == ";" else ".")
    assert text.endswith("\r\n")


def test_what_is_not_found_or_not_to_be_seen_is_not_exported(tmp_path: Path) -> None:
    made = calls(300, seed=6)
    filter, visible = CallFilter(trunk="a"), Visible(extensions=frozenset({"101"}))
    text = exported(tmp_path, made, filter, visible=visible)
    ids = [record.partition(",")[0] for record in text.split("\r\n")[1:-1]]
    assert ids == [str(id) for id, call in newest_first(made) if matches(call, id, filter, visible)]
    assert ids


@given(st.text(max_size=30), st.booleans())
def test_no_cell_begins_like_a_formula(text: str, number: bool) -> None:
    made = cell(text, number=number)
    assert made.replace("'", "") == text.replace("'", "")
    if made[:1] in FORMULA and made:
        assert number
        assert made[1:].isascii()
        assert set(made[1:]) <= set("0123456789*#")


@pytest.mark.parametrize("separator", [",", ";", '"', "\t", "; ", ',"'])
def test_no_part_of_a_cell_is_a_formula_to_who_parts_them_elsewhere(separator: str) -> None:
    assert cell(f"Anna{separator}=1+1") == f"Anna{separator}'=1+1"
    assert cell(f"Anna{separator}+390200000100", number=True) == f"Anna{separator}'+390200000100"
    assert cell(f"Anna{separator}Rossi - Sales") == f"Anna{separator}Rossi - Sales"


@pytest.mark.parametrize("number", ["+390200000100", "201", "*21*", "+39"])
def test_a_plain_number_stays_one(number: str) -> None:
    assert cell(number, number=True) == number


@pytest.mark.parametrize("number", ["+39-1", "+1+1", "-1", "=1", "+a", "+３９"])
def test_anything_else_in_a_column_of_numbers_does_not(number: str) -> None:
    assert cell(number, number=True) == f"'{number}"


def test_times_have_the_offset_of_their_zone(tmp_path: Path) -> None:
    text = exported(tmp_path, calls(50, seed=7), format=Format(zone="Europe/Rome"))
    offsets = {record["started"][-6:] for record in csv.DictReader(io.StringIO(text, newline=""))}
    assert offsets == {"+02:00", "+01:00"}  # clocks are set back that night


def test_what_cannot_be_is_told_before_anything_is_written(tmp_path: Path) -> None:
    for format, path in ((Format(zone="x"), "history/zone"), (Format(separator="="), "history/separator")):
        with pytest.raises(InvalidError) as caught:
            rows(None, format=format)  # type: ignore[arg-type]
        assert caught.value.faults[0].path == path


def test_memory_does_not_grow_with_the_number_of_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.history.export.PAGE_MAX", 100)
    database = open_history(f"sqlite:///{tmp_path}/history.db")
    store(database, calls(1500, seed=8), batch=500)
    pieces = rows(History(database))
    next(pieces)
    peaks = []
    tracemalloc.start()
    for _ in pieces:
        peaks.append(tracemalloc.get_traced_memory()[1])
        gc.collect()  # what is garbage isn't held
        tracemalloc.reset_peak()
    assert len(peaks) == 15
    assert max(peaks[8:]) < 1.3 * max(peaks[:8]), peaks
    tracemalloc.stop()
    database.close()
