"""Logs are rotated before they are large, and few are kept."""

from __future__ import annotations

from pathlib import Path

from appliance.engine.logs import KEPT, EngineLogs, bound_ours


def test_the_engine_is_told_once_a_log_is_too_large_and_old_ones_go(tmp_path: Path) -> None:
    told: list[str] = []
    logs = EngineLogs(tmp_path, lambda: told.append("rotate"), limit_bytes=100)
    (tmp_path / "messages").write_bytes(b"x" * 100)
    (tmp_path / "messages.1").write_bytes(b"x" * 1000)
    for number in (KEPT - 1, KEPT, KEPT + 7):
        (tmp_path / f"security.{number}").touch()
    logs.bound()
    assert told == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["messages", "messages.1", f"security.{KEPT - 1}"]
    (tmp_path / "security").write_bytes(b"x" * 101)
    logs.bound()
    assert told == ["rotate"]
    EngineLogs(tmp_path / "none", lambda: told.append("never")).bound()
    assert told == ["rotate"]


def test_a_program_goes_on_appending_to_its_emptied_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert not bound_ours(log)
    with log.open("ab", buffering=0) as program:
        for number in range(KEPT + 3):
            program.write(f"{number:>10}\n".encode())
            assert not bound_ours(log, limit_bytes=11)
            program.write(b"more\n")
            assert bound_ours(log, limit_bytes=11)
            assert log.stat().st_size == 0
        program.write(b"last\n")
    assert log.read_text() == "last\n"
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert kept == ["x.log", *(f"x.log.{number}" for number in range(KEPT))]
    assert (tmp_path / "x.log.0").read_text() == f"{KEPT + 2:>10}\nmore\n"
