"""A line that was chosen by hand: the others are held back, and used where it doesn't work. With real relays: tests/hil/test_edge_drill.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.failover.relay.edge_process import EdgeProcess
from tests.unit.failover.test_relay_cut import NOW, Branch


@pytest.fixture
def branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Branch, list[frozenset[int]]]]:
    held: list[frozenset[int]] = []
    monkeypatch.setattr(EdgeProcess, "capped", lambda _relay, paths, _now: held.append(paths))
    made = Branch(tmp_path, monkeypatch)
    yield made, held
    for name in list(made.relay._sockets):
        made.relay.drop(name)
    for end in made.ends.values():
        end.close()


def test_all_paths_of_the_others_are_held_back(branch: tuple[Branch, list[frozenset[int]]]) -> None:
    made, held = branch
    assert held[-1] == set()
    made.configure(chosen=2)
    assert held[-1] == {1, 2}
    made.configure(chosen=1)
    assert held[-1] == {3, 4}
    made.relay.tick(NOW + 10)
    assert held[-1] == {3, 4}, "it is looked at again and again"
    made.configure()
    assert held[-1] == set()


def test_a_line_that_is_not_there_holds_none_back(branch: tuple[Branch, list[frozenset[int]]]) -> None:
    made, held = branch
    made.configure(chosen=4)
    assert held[-1] == set()
