"""What the tests of sign-in stand on; here on SQLite, in tests/hil/access on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.access.ground import Ground, quick_ground


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store/access.db"


@pytest.fixture
def ground(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    with quick_ground(url, tmp_path, monkeypatch) as opened:
        yield opened
