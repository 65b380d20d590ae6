"""What the search of calls says: days and times of a zone, numbers as people type them."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest

from appliance.console.portal.calls_form import asked, day_of, periods
from appliance.history.filter import Range
from appliance.history.model import Direction, Outcome

ROME = ZoneInfo("Europe/Rome")


@pytest.mark.parametrize(
    ("typed", "number", "name"),
    [("201", "201", ""), ("02 0000-777", "020000777", ""), ("+39 (02) 00", "+390200", ""), ("0039 02", "+3902", ""), ("00", "00", ""),
     ("*21*201#", "*21*201#", ""), ("Rossi", "", "Rossi"), ("rossi 2", "", "rossi 2"), ("%", "", "%"), (" ", "", ""),
     ("+39x", "", "+39x"), ("٣٤", "", "٣٤"), ("+", "", "+")],
)  # fmt: skip
def test_one_box_takes_numbers_and_names(typed: str, number: str, name: str) -> None:
    found = asked({"q": typed}, "Europe/Rome").filter
    assert (found.number_part, found.name) == (number, name)


def test_a_day_as_the_end_is_meant_whole_whatever_its_length() -> None:
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-23", 24)):
        found = asked({"from": day, "to": day}, "Europe/Rome").filter
        assert found.since is not None
        assert found.until is not None
        assert (found.until.timestamp() - found.since.timestamp()) / 3600 == hours
    found = asked(
        {"from": "2026-11-23", "from_time": "08:30", "to": "2026-11-23", "to_time": "09:00:30"}, "Europe/Rome"
    ).filter
    assert found.since == datetime.datetime(2026, 11, 23, 8, 30, tzinfo=ROME)
    assert found.until == datetime.datetime(2026, 11, 23, 9, 0, 30, tzinfo=ROME)


def test_everything_else_is_read_in_the_units_of_the_history() -> None:
    given = {"direction": "inbound", "outcome": "busy", "site": "hq", "trunk": "a", "extension": "201", "device": "d", "talk": "1.5",
             "ring": "20", "loss": "0,5", "jitter": "30", "call": "17"}  # fmt: skip
    found = asked(given, "Europe/Rome")
    assert (found.faults, found.more) == ({}, True)
    assert found.given == given
    filter = found.filter
    assert (filter.direction, filter.outcome, filter.id) == (Direction.INBOUND, Outcome.BUSY, 17)
    assert (filter.talk_ms, filter.ring_ms) == (Range(low=1500), Range(low=20_000))
    assert (filter.loss_percent, filter.jitter_ms) == (Range(low=0.5), Range(low=30))
    assert (filter.site, filter.trunk, filter.extension, filter.device) == ("hq", "a", "201", "d")
    assert asked({"call": "centralino-1767000000.12"}, "UTC").filter.linked_id == "centralino-1767000000.12"
    assert not asked({"q": "x", "nonsense": "1"}, "UTC").more


@pytest.mark.parametrize(
    "text",
    ["", "x", "2026-2-3", "2026-02-30", "0000-01-01", "1970-01-01", "2999-01-01", "２０２６-01-01", "2026-01-01T00:00"],
)
def test_what_is_no_day(text: str) -> None:
    assert day_of(text) is None


@pytest.mark.parametrize("today", ["2026-01-31", "2026-03-01", "2026-03-31", "2026-12-31", "2028-02-29"])
def test_times_that_are_asked_for_often(today: str) -> None:
    day = datetime.date.fromisoformat(today)
    found = {name: (first, last) for name, first, last in periods(day)}
    assert found["Today"] == (day, day)
    assert (found["30 days"][1] - found["30 days"][0]).days == 29
    first, last = found["Last month"]
    assert (first.day, last + datetime.timedelta(days=1)) == (1, day.replace(day=1))
    first, last = found["12 months"]
    assert (last.year - first.year) * 12 + last.month - first.month == 11
    assert first.day == 1
