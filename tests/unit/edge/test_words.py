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


def test_figures() -> None:
    assert [words.quality(mos)[0] for mos in (None, 4.4, 3.8, 2.0)] == [
        "not known",
        "good voice",
        "fair voice",
        "poor voice",
    ]
    assert [words.percent(share) for share in (None, 0.0, 0.0123)] == ["–", "0.0 %", "1.2 %"]
    assert [words.ago(seconds) for seconds in (5.2, 600, 9000)] == ["5 s ago", "10 min ago", "2 h ago"]
