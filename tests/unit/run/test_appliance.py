"""Which supervisor runs here: the one that holds the lock, whatever an old PID file says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.core.errors import RefusedError
from appliance.engine.processes import note
from appliance.paths import Paths
from appliance.run.appliance import _only_one, end_leftovers, supervisor_pid


def test_a_stale_pid_file_names_nobody(tmp_path: Path) -> None:
    paths = Paths(state=tmp_path / "state", cache=tmp_path / "cache")
    assert supervisor_pid(paths) is None
    assert end_leftovers(paths) == []
    assert not paths.state.exists(), "looking makes nothing"
    with _only_one(paths):
        assert supervisor_pid(paths) == os.getpid()
        with pytest.raises(RefusedError, match="runs already"):
            end_leftovers(paths)
    # Killed, it leaves its files; its number may be a stranger's now, here even one that is a supervisor elsewhere.
    note(paths.state / "run" / "supervisor.pid", os.getpid())
    assert supervisor_pid(paths) is None
    assert end_leftovers(paths) == []
