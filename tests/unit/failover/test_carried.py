"""What a line has carried: counted as its provider does, by months that somebody is sure of."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.failover.relay.batch import Goes, sockaddr
from appliance.failover.relay.carried import KEPT_S, Carried

FOUR, SIX = sockaddr("192.0.2.1", 1170), sockaddr("2001:db8::1", 1170)


def test_octets_are_counted_with_their_headers_by_line(tmp_path: Path) -> None:
    carried = Carried(tmp_path / "carried.json")
    carried.add(1, [Goes(bytes(100), FOUR), Goes(bytes(50), FOUR)])
    carried.add(2, [Goes(bytes(100), SIX)])
    assert (carried.of(1), carried.of(2), carried.of(3)) == (150 + 2 * 28, 100 + 48, 0)


def test_a_month_that_is_told_begins_at_nothing_and_one_that_is_not_goes_on(tmp_path: Path) -> None:
    carried = Carried(tmp_path / "carried.json")
    carried.add(1, [Goes(bytes(72), FOUR)])
    carried.month(None)
    carried.month("2026-11")  # what came before anybody knew the time is of this month
    assert carried.of(1) == 100
    carried.month(None)
    carried.month("2026-11")
    assert carried.of(1) == 100
    carried.month("2026-12")
    assert carried.of(1) == 0


def test_it_outlives_its_process_but_for_the_last_half_minute(tmp_path: Path) -> None:
    file = tmp_path / "carried.json"
    carried = Carried(file)
    carried.month("2026-11")
    carried.add(3, [Goes(bytes(72), FOUR)])
    carried.keep(0.0)
    carried.add(3, [Goes(bytes(72), FOUR)])
    carried.keep(KEPT_S - 1)
    assert Carried(file).of(3) == 100
    carried.keep(KEPT_S)
    again = Carried(file)
    again.month("2026-11")
    assert again.of(3) == 200


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"month": "x", "lines": 3}', '{"month": "x", "lines": {"a": 1}}', "\xff", "[" * 5000]
)
def test_garbage_is_counted_as_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "carried.json"
    file.write_text(content)
    carried = Carried(file)
    assert carried.of(1) == 0
    carried.add(1, [Goes(bytes(72), FOUR)])
    carried.keep(0.0)
    assert Carried(file).of(1) == 100


def test_a_file_that_cannot_be_written_stops_no_counting(tmp_path: Path) -> None:
    carried = Carried(tmp_path / "nowhere" / "carried.json")
    carried.keep(0.0)
    carried.add(1, [Goes(bytes(72), FOUR)])
    assert carried.of(1) == 100
