"""Each test runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from appliance.access import passwords, signin
from tests.hil.access.ground import Ground, open_ground
from tests.hil.postgres import Postgres, postgres

COUNTER = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/access.db"
    server: Postgres = request.getfixturevalue("server")
    return server.database(f"access{next(COUNTER)}")


@pytest.fixture
def ground(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    monkeypatch.setattr(signin, "FAILURE_S", 0.0)  # a test of its own waits for it, and computes the real hash
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1))
    passwords.dummy.cache_clear()
    with open_ground(url, tmp_path) as opened:
        yield opened
    passwords.dummy.cache_clear()
