"""A line that was chosen by hand: for a time, and not beyond a start of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.clock import MINUTE, Moment
from appliance.edge.chosen import MAX, Choice, Chosen


class Machine:
    def __init__(self) -> None:
        self.now = Moment(1_795_000_000_000, 50_000, "boot-1")

    def __call__(self) -> Moment:
        return self.now


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def chosen(tmp_path: Path, machine: Machine) -> Chosen:
    return Chosen(tmp_path / "chosen.json", machine)


def test_it_ends_by_itself_whatever_the_clock_says(chosen: Chosen, machine: Machine) -> None:
    chosen.choose(2, 60)
    assert chosen.now == Choice(2, 60.0)
    machine.now = Moment(0, 50_000 + MINUTE - 1, "boot-1")
    assert chosen.now == Choice(2, 0.001)
    machine.now = Moment(0, 50_000 + MINUTE, "boot-1")
    assert chosen.now is None


def test_the_machines_next_start_knows_nothing_of_it(chosen: Chosen, machine: Machine) -> None:
    chosen.choose(2, 60)
    machine.now = Moment(1_795_000_010_000, 1_000, "boot-2")
    assert chosen.now is None


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"\xff", b"[]", b"null", b"[" * 100_000, b'{"line": 2}', b'{"line": "2", "until": 60000, "boot": "boot-1"}',
        b'{"line": 2, "until": 1e99, "boot": "boot-1"}', b'{"line": 2, "until": %d, "boot": "boot-1"}' % (60_000 + MAX),
    ],
)  # fmt: skip
def test_garbage_chooses_nothing(chosen: Chosen, garbage: bytes) -> None:
    chosen.file.write_bytes(garbage)
    assert chosen.now is None
