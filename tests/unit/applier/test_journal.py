"""The journal survives, or starts afresh: it is never half read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.applier.confirm import Pending
from appliance.applier.journal import Collect, Journal, Scheduled, State, Transaction, now


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "applier" / "state.json"
    journal = Journal.load(path)
    assert journal.state == State()
    journal.update(
        revision=13,
        transaction=Transaction(revision=14, from_generation=3, collect=(Collect(kind="extension", id="e"),)),
        confirm=Pending(13, 12, 600, now()),
        scheduled=(Scheduled(revision=15, at=datetime(2030, 1, 31, 22, 30, tzinfo=UTC), allow=("live",)),),
    )
    assert Journal.load(path).state == journal.state
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"revision": -1}', b"\x00" * 100, b'{"revision": "x"}'])
def test_garbage_is_put_aside_and_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    assert Journal.load(path).state == State()
    assert path.with_name("state.json.bad").read_bytes() == content
