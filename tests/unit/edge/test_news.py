"""What is worth an event: the difference between how an edge stood and how it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.clock import Moment
from appliance.edge.journal import Journal
from appliance.edge.news import News
from appliance.failover.happened import text

NOW = Moment(1_795_000_000_000, 50_000, "boot-1")


def told(**more: Any) -> dict[str, Any]:
    """As an agent tells that is well."""
    return {
        "enrolled": True, "state": "000001", "revision": 7, "centre_reached": True, "clock_sure": True, "certificate": "torino.1",
        "refused": None, "faults": [], "away": None, "changes": [], "lines": [line(1), line(2)],
        "links": [link(1, put_back=1), link(2)], **more,
    }  # fmt: skip


def line(number: int, *, up: bool = True) -> dict[str, Any]:
    return {"line": number, "up": up}


def link(number: int, addresses: list[str] | None = None, put_back: int = 0, last: str = "") -> dict[str, Any]:
    own = [f"192.0.2.{number}/24"] if addresses is None else addresses
    return {"line": number, "addresses": own, "put_back": put_back, "last": last}


def change(id: str, ago_s: float, left: int | None = 1, taken: int = 2, why: str = "silent") -> dict[str, Any]:
    both = [each for each in (left, taken) if each is not None]
    seen = [{"line": each, "loss": 0.0, "late_ms": 1.0, "rtt_ms": 9.0, "mos": 4.4} for each in both]
    return {"id": id, "ago_s": ago_s, "left": left, "taken": taken, "why": why, "hold_s": 10.0, "seen": seen}


class Branch:
    def __init__(self, top: Path) -> None:
        self.top = top
        self.begin()

    def begin(self) -> None:
        """Another process."""
        self.journal = Journal(self.top / "journal.db")
        self.news = News(self.journal)

    def hears(self, **more: Any) -> list[tuple[str, dict[str, Any]]]:
        """What is new when that is told."""
        self.news.look(told(**more), NOW)
        _name, found = self.journal.waiting(1 << 20)
        if found:
            self.journal.delivered(found[-1].number)
        return [(each.what, each.about) for each in found]


@pytest.fixture
def branch(tmp_path: Path) -> Branch:
    made = Branch(tmp_path)
    made.hears()
    return made


def test_before_it_is_a_branch_nothing_happens(tmp_path: Path) -> None:
    assert Branch(tmp_path).hears(enrolled=False) == []


def test_a_start_says_whether_the_machines_and_how_lines_are(tmp_path: Path) -> None:
    about = {"machine": True, "revision": 7, "lines": {"1": False, "2": True}}
    lines = [line(1, up=False), line(2)]
    branch = Branch(tmp_path)
    assert branch.hears(lines=lines) == [("started", about)]
    branch.begin()
    assert branch.hears(lines=lines) == [("started", about | {"machine": False})]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        ({}, []),
        ({"lines": [line(1, up=False), line(2)]}, [("line_down", {"line": 1})]),
        ({"lines": [line(1, up=False), line(1), line(2)]}, []),  # it works by another of the centre's addresses
        ({"lines": [line(2), line(3, up=False)]}, []),  # other lines are no news of these
        ({"links": [link(1), link(3)]}, []),
        ({"chosen": {"line": 2, "left_s": 60}}, [("chosen", {"line": 2})]),
        (
            {"network": {"settings": [{"device": "wan", "access": {"type": "dhcp"}}]}},
            [("set_here", {"device": "wan", "how": "DHCP"})],
        ),
        (
            {"network": {"settings": [{"device": "wan", "access": {"type": "static", "addresses": ["192.0.2.7/24"]}}]}},
            [("set_here", {"device": "wan", "how": "192.0.2.7/24"})],
        ),
        (
            {"links": [link(1, addresses=["192.0.2.8/24"]), link(2)]},
            [("addresses", {"line": 1, "addresses": ["192.0.2.8/24"]})],
        ),
        ({"links": [link(1), link(2, addresses=[])]}, [("addresses", {"line": 2, "addresses": []})]),
        ({"links": [link(1, put_back=2, last="rule 5311"), link(2)]}, [("put_back", {"line": 1, "what": "rule 5311"})]),
        ({"links": [link(1, put_back=1), link(2)]}, []),
        ({"centre_reached": False, "away": "no"}, [("centre_away", {"why": "no"})]),
        ({"centre_reached": False, "state": "000002", "revision": 8}, [("revision", {"revision": 8, "before": 7})]),
        ({"certificate": "torino.2"}, [("certificate", {"certificate": "torino.2"})]),
        ({"refused": {"revision": 8, "times": 1, "why": "w" * 400}}, [("undone", {"revision": 8, "why": "w" * 300})]),
        ({"faults": ["the disk is full"]}, [("fault", {"text": "the disk is full"})]),
    ],
)
def test_what_is_another_is_told_once(branch: Branch, now: dict[str, Any], what: list[tuple[str, Any]]) -> None:
    assert branch.hears(**now) == what
    assert branch.hears(**now) == []


def test_what_was_is_told_when_it_is_over(branch: Branch) -> None:
    branch.hears(lines=[line(1, up=False), line(2)], centre_reached=False)
    assert branch.hears() == [("line_up", {"line": 1}), ("centre_reached", {})]


def test_changes_of_the_best_line_are_told_in_their_order_also_those_of_before_we_were(branch: Branch) -> None:
    first, second, third = change("71-1", 90, None, 1, "first"), change("71-2", 60.5), change("71-3", 20, 2, 1, "back")
    assert [about["taken"] for _what, about in branch.hears(changes=[first])] == [1]
    found = branch.hears(changes=[third, second, first])
    assert [(what, about["taken"], about["why"]) for what, about in found] == [
        ("best", 2, "silent"),
        ("best", 1, "back"),
    ]
    branch.begin()
    fourth = change("71-4", 3)
    assert [what for what, _about in branch.hears(changes=[fourth, third, second, first])] == ["started", "best"]
    branch.news.look(told(changes=[change("80-1", 1.5, None, 1, "first")]), NOW)  # another relay
    [event] = branch.journal.waiting(1 << 20)[1]
    assert event.at == NOW.wall - 1500


def test_there_are_words_for_all_of_it(branch: Branch) -> None:
    lines = [line(1, up=False), line(2)]
    found = branch.hears(lines=lines, centre_reached=False, certificate="torino.2", revision=8, faults=["x is full"],
                         changes=[change("71-1", 3)], refused={"revision": 9, "times": 1, "why": "no"})  # fmt: skip
    found += branch.hears()
    branch.begin()
    found += branch.hears()
    found += [
        ("addresses", {"line": 1, "addresses": ["192.0.2.7/24"]}),
        ("addresses", {"line": 1, "addresses": []}),
        ("put_back", {"line": 1, "what": "rule 5311"}),
        ("set_here", {"device": "wan", "how": "DHCP"}),
        ("set_here", {"device": "wan", "how": ""}),
        ("chosen", {"line": 2}),
        ("chosen_over", {"line": 2}),
    ]
    found += [("thinned", {"since": 1, "of": {"line_up": 3, "line_down": 4}}), ("journal_lost", {})]
    kinds = {what for what, _about in found}
    said = [text({"what": what, "about": about}) for what, about in found]
    assert not set(said) & kinds, "every kind has words"
    assert "7 older events were too many to be kept: 4 × line_down, 3 × line_up" in said
    assert "line 2 is the best, because nothing came through by line 1 any more" in said


@pytest.mark.parametrize("about", [{}, {"line": None}, {"seen": []}, {"of": 3}])
def test_what_a_newer_edge_tells_is_shown_as_it_is_called(about: dict[str, Any]) -> None:
    for what in ("seen_from_space", "best", "thinned", "undone"):
        assert text({"what": what, "about": about}) == what
