"""Shared by the tests of the notifications."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.notifications import backoff
from tests.unit.notifications.ground import Ground
from tests.unit.notifications.receiver import Receiver, receiving


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path) as made:
        yield made


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are tried again after some hundredths of a second."""
    monkeypatch.setattr(backoff, "FIRST_WAIT_S", 0.03)
    monkeypatch.setattr(backoff, "FACTOR", 1.3)
