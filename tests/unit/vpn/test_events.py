"""What edges tell of their branches: once each, in order, through kills and full disks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import InvalidError
from appliance.vpn.inside import events as module
from appliance.vpn.inside.events import ABOUT_MAX, EVENTS_MAX, Batch, Events, read

ONE, OTHER = "0123456789abcdef", "fedcba9876543210"


def batch(*numbers: int, journal: str = ONE) -> Batch:
    return read(content(*numbers, journal=journal))


def content(*numbers: int, journal: str = ONE, **more: Any) -> bytes:
    told = [
        {"number": n, "what": "line_down", "at": 1000 + n, "sure": True, "about": {"line": 1}, **more} for n in numbers
    ]
    return json.dumps({"journal": journal, "events": told}).encode()


def numbers(events: Events, site: str = "torino", count: int = 200) -> list[int]:
    return [each["number"] for each in events.of(site, count)]


def test_what_came_before_is_not_taken_again_also_by_the_next_process(tmp_path: Path) -> None:
    events = Events(tmp_path)
    assert events.take("torino", batch(1, 2, 3)) == 3
    assert events.take("torino", batch(2, 3, 4)) == 4
    assert Events(tmp_path).take("torino", batch(1, 2, 3, 4)) == 4
    assert Events(tmp_path).take("torino", batch(4, 9)) == 9
    assert Events(tmp_path).take("roma", batch(1)) == 1
    assert numbers(events) == [9, 4, 3, 2, 1]
    assert numbers(events, count=2) == [9, 4]
    assert events.of("bari") == []
    assert events.of("torino")[0] == {
        "journal": ONE,
        "number": 9,
        "what": "line_down",
        "at": 1009,
        "sure": True,
        "about": {"line": 1},
    }
    assert (tmp_path / "torino.jsonl").stat().st_mode & 0o777 == 0o600


def test_another_edge_begins_anew(tmp_path: Path) -> None:
    events = Events(tmp_path)
    events.take("torino", batch(1, 2, 3))
    assert events.take("torino", batch(1, 2, journal=OTHER)) == 2
    assert numbers(events) == [2, 1, 3, 2, 1]


@pytest.mark.parametrize(
    "left", [b'{"journal": "0123', b"\0\0\0", b'{"journal": "0123456789abcdef", "number": 4, "what"']
)
def test_a_line_that_was_not_written_whole_comes_again(tmp_path: Path, left: bytes) -> None:
    Events(tmp_path).take("torino", batch(1, 2, 3))
    with (tmp_path / "torino.jsonl").open("ab") as file:
        file.write(left)
    events = Events(tmp_path)
    assert events.take("torino", batch(4, 5)) == 5
    assert numbers(events) == [5, 4, 3, 2, 1]


def test_on_a_full_disk_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events(tmp_path)
    events.take("torino", batch(1, 2, 3))
    before = (tmp_path / "torino.jsonl").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        events.take("torino", batch(4, 5))
    assert (tmp_path / "torino.jsonl").read_bytes() == before
    monkeypatch.undo()
    assert events.take("torino", batch(4, 5)) == 5


def test_of_a_branch_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_MAX", 5000)
    events, number = Events(tmp_path), 0
    for _batch in range(100):
        number = events.take("torino", batch(*range(number + 1, number + 4)))
    found = numbers(events, count=1000)
    assert found == list(range(300, 300 - len(found), -1))
    assert 40 < len(found) < 120
    assert Events(tmp_path).take("torino", batch(299, 300, 301)) == 301
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * 5500


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "events"), (b"[]", "events"), (b"null", "events"), (content(), "events"), (content(1, journal="../../x"), "journal"),
        (content(2, 1), "number"), (content(1, 1), "number"), (content(0), "events.0.number"), (content(1 << 60), "events.0.number"),
        (content(1, what="<b>"), "events.0.what"), (content(1, more=1), "events.0.more"), (content(1, about="x"), "events.0.about"),
        (content(1, about={"text": "x" * ABOUT_MAX}), "about"), (content(*range(1, EVENTS_MAX + 2)), "events"),
    ],
)  # fmt: skip
def test_what_no_edge_says_is_refused(body: bytes, where: str) -> None:
    with pytest.raises(InvalidError) as refused:
        read(body)
    assert refused.value.error_id in ("bad_events", "invalid")
    assert refused.value.faults[0].path == where
