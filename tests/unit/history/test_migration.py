"""A history of the former release (tables h0001), on SQLite; on PostgreSQL: tests/hil/test_history_databases.py."""

from __future__ import annotations

import runpy
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from appliance.core.errors import CentralinoError
from appliance.store.history import SCRIPTS, open_history
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


def test_a_migration_that_is_killed_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """The process is gone at its very last step, with everything written and nothing committed."""
    file = tmp_path / "history.db"
    rows = check.old_history(f"sqlite:///{file}")
    before = dump(file)
    code = """if True:
        import os, sys
        from alembic.operations.base import Operations
        from appliance.store.history import SCRIPTS, open_history
        Operations.drop_table = lambda *_, **__: os.kill(os.getpid(), 9)
        open_history(sys.argv[1])
    """
    killed = subprocess.run([sys.executable, "-c", code, f"sqlite:///{file}"], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert dump(file) == before
    check.migrated(f"sqlite:///{file}", rows)


def test_a_long_migration_says_that_it_is_still_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = runpy.run_path(str(SCRIPTS / "versions" / "h0002_search.py"))
    hourglass = script["Hourglass"]
    monkeypatch.setitem(hourglass.note.__globals__, "BEAT_S", 0.01)
    with caplog.at_level("INFO", "centralino.history"), hourglass(1_000_000) as note:
        note("step 1 of 6, and so on")
        deadline = time.monotonic() + 10
        while sum("step 1 of 6" in text for text in caplog.messages) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    said = len(caplog.messages)
    assert said >= 5
    with caplog.at_level("INFO", "centralino.history"), hourglass(9_999) as note:
        note("step 1 of 6")
    assert len(caplog.messages) == said, "of a small one nothing"


def dump(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return "\n".join(connection.iterdump())
