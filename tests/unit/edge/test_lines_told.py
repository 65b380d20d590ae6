"""What an edge tells of its lines: how voice would be heard by each, which is the best, since when, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from appliance.cli import app
from appliance.commands import edge
from appliance.edge.paths import EdgePaths
from appliance.edge.relay import EdgeRelay
from appliance.failover.kept import KeptRelay
from appliance.failover.reasons import reason
from appliance.failover.relay.best import Why


def path(number: int, *, received: int, lost: float | None = 0.0, bound: bool = True) -> dict[str, Any]:
    """As a relay tells it."""
    return {
        "path": number, "bound": bound, "role": "primary", "device": f"eth{number}", "host": "198.51.100.7", "capped": False, "rtt_ms": 40.0,
        "out": None if lost is None else {"loss": lost, "late_ms": 3.0, "jitter_ms": 1.0},
        "in": {"silent_ms": 10, "highest": 1000, "packets": received, "late_ms": 30.0, "jitter_ms": 9.0},
    }  # fmt: skip


def decision(why: str, left: int | None = 0, taken: int = 4) -> dict[str, Any]:
    both = [each for each in (left, taken) if each is not None]
    seen = [
        {"path": each, "loss": 0.031, "late_ms": 52.4, "jitter_ms": 3.0, "rtt_ms": None, "silent_ms": 9, "mos": 3.41}
        for each in both
    ]
    return {"ago_s": 75.2, "left": left, "taken": taken, "why": why, "held_s": 20.0, "seen": seen, "number": 3}


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EdgeRelay:
    """Its process isn't there: what it would say is ours."""
    found: dict[str, Any] = {"best": 4, "decisions": [decision("first", None, 0), decision("loss")]}
    monkeypatch.setattr(KeptRelay, "standing", lambda _kept: found)
    made = EdgeRelay(EdgePaths(tmp_path / "edge"))
    for received in (900, 995):
        found["paths"] = [
            path(0, received=received),
            path(4, received=received, lost=None),
            path(8, received=received, lost=0.03, bound=False),
        ]
        for each in found["paths"]:
            each["in"]["highest"] += received
        made._working()
    return made


def test_each_way_of_a_line_by_itself(relay: EdgeRelay) -> None:
    first, second, third = relay.told()
    assert [each["best"] for each in (first, second, third)] == [False, True, False]
    assert [each["up"] for each in (first, second, third)] == [True, True, False]
    assert first["to_centre"] == {"loss": 0.0, "late_ms": 3.0, "jitter_ms": 1.0, "mos": 4.37}
    assert first["from_centre"]["loss"] == 0.0
    assert first["from_centre"]["mos"] < first["to_centre"]["mos"], "later, so worse"
    assert second["to_centre"] is None, "there is no word of it"
    assert third["to_centre"]["mos"] < 4.2


def test_changes_name_lines_and_come_the_last_one_first(relay: EdgeRelay) -> None:
    last, first = relay.changes()
    assert (first["left"], first["taken"], first["why"]) == (None, 1, "first")
    assert (last["left"], last["taken"], last["why"], last["hold_s"]) == (1, 2, "loss", 20.0)
    assert [each["line"] for each in last["seen"]] == [1, 2]
    assert reason(last) == "line 1 lost 3.1 % of the packets"


@pytest.mark.parametrize("why", list(Why))
def test_there_are_words_for_every_reason(why: Why, monkeypatch: pytest.MonkeyPatch, relay: EdgeRelay) -> None:
    found = [decision(why.value, None if why is Why.FIRST else 0)]
    monkeypatch.setattr(KeptRelay, "standing", lambda _kept: {"decisions": found})
    [change] = relay.changes()
    assert len(reason(change)) > 10
    assert "{" not in reason(change)


@pytest.mark.parametrize(
    "garbage",
    [
        None, "x", [None], [{}], [decision("loss") | {"why": "because"}], [decision("loss") | {"seen": []}], [decision("loss") | {"taken": 99}],
        [decision("loss") | {"taken": "<b>"}], [decision("loss", None)  | {"left": 3}], [decision("loss") | {"ago_s": "x"}], [decision("loss") | {"seen": 7}],
    ],
)  # fmt: skip
def test_what_a_relay_that_was_broken_into_says_is_not_told(
    garbage: Any, monkeypatch: pytest.MonkeyPatch, relay: EdgeRelay
) -> None:
    monkeypatch.setattr(KeptRelay, "standing", lambda _kept: {"decisions": garbage})
    assert relay.changes() == []


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("works, and is the best now", "MOS 4.4 (0.0 % lost, 3 ms late)", "40 ms there and back", "75 s ago: line 2 is the best, because line 1 lost 3.1 %")),
        ("it", ("funziona, ed è la migliore adesso", "MOS 4.4", "40 ms andata e ritorno", "75 s fa: la linea 2 è la migliore, perché la linea 1 perdeva il 3.1 %")),
    ],
)  # fmt: skip
def test_the_command_says_it_in_a_few_lines(
    language: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, relay: EdgeRelay
) -> None:
    told = {
        "enrolled": True, "site": "torino", "revision": 3, "on_trial": False, "centre_reached": True, "remotes": ["198.51.100.7 1170"],
        "lines": relay.told(), "changes": relay.changes(), "certificate_ends": "2027-11-28T00:00:00", "refused": None, "faults": [],
    }  # fmt: skip
    monkeypatch.setattr(edge, "told", lambda: told)
    monkeypatch.setattr(edge, "foreign_told", lambda: None)
    done = CliRunner().invoke(app, ["edge", "status"], env={"CENTRALINO_LANGUAGE": language, "COLUMNS": "200"})
    said = " ".join(done.output.split())
    assert done.exit_code == 0, done.output
    for each in words:
        assert each in said, said


def test_the_command_says_that_a_line_is_cut_on_purpose(relay: EdgeRelay) -> None:
    line = relay.told()[0]
    assert "cut for the drill" in edge._state({**line, "cut": True, "up": False})
    assert "is down" in edge._state({**line, "cut": False, "up": False})
