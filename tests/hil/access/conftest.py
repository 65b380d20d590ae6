"""The tests of tests/unit/access again, on PostgreSQL; and what needs processes, on both databases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hil.postgres import Postgres, postgres
from tests.unit.access.ground import Ground, quick_ground

COUNTER = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def url(server: Postgres) -> str:
    return server.database(f"access{next(COUNTER)}")


@pytest.fixture
def ground(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    with quick_ground(url, tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/access.db"
    url: str = request.getfixturevalue("url")
    return url
