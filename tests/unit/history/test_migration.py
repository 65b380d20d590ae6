"""A history of the former release (tables h0001), on SQLite; on PostgreSQL: tests/hil/test_history_databases.py."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.core.errors import CentralinoError
from appliance.store.history import open_history
from tests.unit.history import check


def test_an_old_history_is_brought_up_to_date(tmp_path: Path) -> None:
    check.migrated(f"sqlite:///{tmp_path}/history.db")


def test_a_migration_that_is_stopped_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its very last step; the next start does it again."""
    file = tmp_path / "history.db"
    check.old_history(f"sqlite:///{file}")
    before = dump(file)
    drop = "alembic.operations.base.Operations.drop_table"
    with monkeypatch.context() as patch:
        patch.setattr(drop, lambda *_, **__: 1 / 0, raising=False)
        with pytest.raises((CentralinoError, ZeroDivisionError)):
            open_history(f"sqlite:///{file}").close()
    assert dump(file) == before
    open_history(f"sqlite:///{file}").close()
    assert "call_party" not in dump(file)


def dump(file: Path) -> str:
    with sqlite3.connect(file) as connection:
        return "\n".join(connection.iterdump())
