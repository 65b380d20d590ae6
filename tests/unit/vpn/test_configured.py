"""The generation in force is read once, and another one at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.vpn.configured import FOLDER, Generations


def generation(top: Path, name: str, config: str) -> Path:
    made = top / name
    (made / FOLDER / "voice-0").mkdir(parents=True)
    (made / FOLDER / "voice-0.conf").write_text(config)
    (made / FOLDER / "voice-0" / "torino").write_text("ifconfig-push 172.29.0.2 255.255.240.0\n")
    return made


def put_in_force(top: Path, made: Path) -> None:
    fresh = top / "current.new"
    fresh.symlink_to(made)
    fresh.rename(top / "current")


def test_a_generation_is_read_once_and_another_one_at_once(tmp_path: Path) -> None:
    read = Generations(tmp_path / "current").read
    with pytest.raises(UnavailableError):
        read()
    put_in_force(tmp_path, generation(tmp_path, "gen-1", "port 1194\n"))
    first = read()
    assert first["voice-0"].config == "port 1194\n"
    assert list(first["voice-0"].clients) == ["torino"]
    assert read()["voice-0"].clients is first["voice-0"].clients  # what shows the keeper that nothing has changed
    put_in_force(tmp_path, generation(tmp_path, "gen-2", "port 1195\n"))
    assert read()["voice-0"].config == "port 1195\n"


def test_a_generation_that_goes_and_comes_again_under_its_name_is_another_one(tmp_path: Path) -> None:
    read = Generations(tmp_path / "current").read
    put_in_force(tmp_path, generation(tmp_path, "gen-1", "port 1194\n"))
    read()
    shutil.rmtree(tmp_path / "gen-1")
    with pytest.raises(UnavailableError):
        read()
    generation(tmp_path, "gen-1", "port 1195\n")
    assert read()["voice-0"].config == "port 1195\n"


def test_without_the_vpn_there_are_no_daemons(tmp_path: Path) -> None:
    (tmp_path / "gen-1").mkdir()
    put_in_force(tmp_path, tmp_path / "gen-1")
    read = Generations(tmp_path / "current").read
    assert read() == {}
    (tmp_path / "gen-1" / FOLDER).mkdir(parents=True)
    assert read() == {}
