"""The doctor is asked when something is broken: nothing that is may end it."""

from __future__ import annotations

from pathlib import Path

from appliance.commands.doctor import examine
from appliance.commands.findings import Grade
from appliance.paths import Paths


def test_a_check_that_meets_garbage_is_a_fault_and_not_the_end_of_the_others(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    paths.engine.top.mkdir(parents=True)
    (paths.engine.top / "hosts").write_bytes(b"\xff\xfe garbage")
    found = {each.check: each for each in examine(paths, None)}
    assert found["dns"].grade is Grade.FAULT
    assert found["dns"].message.startswith("it couldn't be looked at: UnicodeDecodeError")
    assert "damaged" in found["dns"].mend
    assert "disk" in found, "which comes after it"
