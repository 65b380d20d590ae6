"""What is said of what an edge tells."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.edge import words


def measured(
    lost_up: int = 0, lost_down: int = 0, *, cut: int | None = None, cut_s: float = 0.0, returned: int = 100
) -> dict[str, Any]:
    result = {"sent": 500, "returned": returned, "up": {"lost": lost_up}, "down": {"lost": lost_down}}
    return {"result": result, "cut": cut, "cut_s": cut_s}


@pytest.mark.parametrize(
    ("measurement", "said", "good"),
    [
        (measured(), "Of 500 packets each way none was lost.", True),
        (measured(2, 3), "5 of 500 packets were lost.", True),
        (measured(2, 4), "6 of 500 packets were lost.", False),
        (measured(500, 0, returned=0), "Nothing came back", False),
        (measured(cut=1, cut_s=29.6), "Line 1 was cut for 30 s: of 500 packets each way none was lost.", True),
        (measured(0, 1, cut=1, cut_s=30.0), "Line 1 was cut for 30 s: 1 packets were lost.", False),
        (measured(cut=1), "nothing is proven", False),
    ],
)
def test_what_a_measurement_has_shown(measurement: dict[str, Any], said: str, good: bool) -> None:
    """A drill is good only when nothing at all was lost, and only when the line was really cut."""
    text, well = words.outcome(measurement)
    assert said in text
    assert well is good


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"cut": True, "up": False, "capped": False}, "cut for the drill"),
        ({"cut": False, "up": False, "capped": True}, "down"),
        ({"cut": False, "up": True, "capped": True}, "its volume is used up"),
        ({"cut": False, "up": True, "capped": False}, "works"),
    ],
)
def test_how_a_line_stands(line: dict[str, Any], said: str) -> None:
    assert words.state(line)[0] == said


def test_a_line_that_is_not_the_chosen_one_is_held_back() -> None:
    held = {"line": 1, "cut": False, "up": True, "capped": True}
    chosen = {"line": 2, "left_s": 89}
    assert words.state(held, chosen)[0] == "held back by hand"
    assert words.state({**held, "line": 2, "capped": False}, chosen)[0] == "works"
    assert words.state({**held, "up": False}, chosen)[0] == "down"
    assert words.by_hand(chosen) == "Line 2 alone is used by hand, as long as it works, for 1 min more."


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({"addresses": ["192.0.2.9/24"], "gateways": ["192.0.2.1"], "access": "dhcp", "server": "192.0.2.1"},
         "192.0.2.9/24 (by DHCP of 192.0.2.1), router 192.0.2.1"),
        ({"addresses": [], "gateways": [], "access": "dhcp", "server": None}, "no address (by DHCP), router none"),
        ({"addresses": ["192.0.2.7/24"], "gateways": ["192.0.2.1", "fe80::1"], "access": "static", "server": None},
         "192.0.2.7/24 (as entered), router 192.0.2.1, fe80::1"),
    ],
)  # fmt: skip
def test_where_a_line_is_in_the_internet(link: dict[str, Any], said: str) -> None:
    assert words.addresses(link) == said


def test_what_was_put_back() -> None:
    assert words.put_back({"put_back": 0, "last": ""}) == ""
    assert "put back 3 times, the last time: rule 5311" in words.put_back({"put_back": 3, "last": "rule 5311"})


def test_figures() -> None:
    assert [words.quality(mos)[0] for mos in (None, 4.4, 3.8, 2.0)] == [
        "not known",
        "good voice",
        "fair voice",
        "poor voice",
    ]
    assert [words.percent(share) for share in (None, 0.0, 0.0123)] == ["–", "0.0 %", "1.2 %"]
    assert [words.ago(seconds) for seconds in (5.2, 600, 9000)] == ["5 s ago", "10 min ago", "2 h ago"]
