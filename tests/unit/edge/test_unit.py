"""The edge's service: what systemd reads of its unit, and whose the edge's files are."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance.cli import app
from appliance.console.technician import unit as console
from appliance.core.errors import RefusedError
from appliance.edge import owner, unit
from appliance.edge.paths import DEFAULT, DEFAULT_RUN, EdgePaths
from appliance.firewall import boot

EXPOSURE = 25
"""What systemd-analyze counts at most, in tenths: below 2.5 of 10."""
EDGE_EXPOSURE = 26
"""The edge's: DHCP needs packet sockets and a port below 1024 (decision 63), which count for 0.3."""


def analysed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / "centralino"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def test_systemd_reads_the_unit_and_finds_it_confined(tmp_path: Path, program: Path) -> None:
    file = tmp_path / unit.NAME
    file.write_text(unit.unit(program))
    read = analysed("verify", "--man=no", str(file))
    assert (read.returncode, [line for line in read.stderr.splitlines() if file.name in line]) == (0, [])
    judged = analysed("security", "--offline=true", f"--threshold={EDGE_EXPOSURE}", "--no-pager", str(file))
    assert judged.returncode == 0, judged.stdout[-300:]
    open_wide = file.read_text().replace("ProtectSystem=strict\n", "").replace("NoNewPrivileges=yes\n", "")
    file.write_text(open_wide.replace("SystemCallFilter=", "#"))
    judged = analysed("security", "--offline=true", f"--threshold={EDGE_EXPOSURE}", "--no-pager", str(file))
    assert judged.returncode == 1, "the measure measures"


def test_the_consoles_unit_is_confined_and_has_no_capability(tmp_path: Path, program: Path) -> None:
    file = tmp_path / console.NAME
    file.write_text(console.unit(program))
    read = analysed("verify", "--man=no", str(file))
    assert (read.returncode, [line for line in read.stderr.splitlines() if file.name in line]) == (0, [])
    judged = analysed("security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(file))
    assert judged.returncode == 0, judged.stdout[-300:]
    lines = file.read_text().splitlines()
    for line in (
        "CapabilityBoundingSet=", "AmbientCapabilities=", f"User={console.USER}", f"SupplementaryGroups={owner.USER}", f"ExecStart={program} edge console",
    ):  # fmt: skip
        assert line in lines
    assert console.USERS.splitlines()[1] == f"m {console.USER} {owner.USER}"


def test_it_comes_after_the_firewall_is_never_given_up_and_leaves_the_tunnel(program: Path) -> None:
    lines = unit.unit(program).splitlines()
    before = next(line for line in boot.unit(Path("/s"), program).splitlines() if line.startswith("Before="))
    assert "network-pre.target" in before
    for line in (
        "After=network-pre.target centralino-firewall.service", "Restart=always", "StartLimitIntervalSec=0",
        "KillMode=process", "OOMPolicy=continue", f"ExecStart={program} edge run", f"User={owner.USER}",
        f"StateDirectory={DEFAULT.name}", f"RuntimeDirectory={DEFAULT_RUN.name}", "RuntimeDirectoryPreserve=yes",
    ):  # fmt: skip
        assert line in lines
    for of in ("Ambient", "Bounding"):
        [line] = [
            line for line in lines if line.startswith(("AmbientCapabilities=", "CapabilityBoundingSet=")) and of in line
        ]
        assert set(line.partition("=")[2].split()) == {
            "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_SYS_TIME",
        }  # fmt: skip


def test_the_command_prints_units_and_the_user() -> None:
    edge, user, firewall = (
        CliRunner().invoke(app, words.split()).output for words in ("edge unit", "edge unit --user", "firewall unit")
    )
    [start] = [line for line in edge.splitlines() if line.startswith("ExecStart=")]
    assert Path(start.removeprefix("ExecStart=").split()[0]).is_absolute()
    assert edge == unit.unit(Path(start.removeprefix("ExecStart=").split()[0]))
    assert user == f'u {owner.USER} - "Centralino edge" {DEFAULT}\n'
    assert "ExecStart=" in firewall
    assert "Before=network-pre.target" in firewall


def test_the_owner_is_whose_the_directory_is_or_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = EdgePaths(tmp_path / "edge")
    us = os.geteuid(), os.getegid()
    known = pwd.struct_passwd((owner.USER, "x", 45_070, 45_071, "", "/", "/usr/sbin/nologin"))

    def found(name: str) -> pwd.struct_passwd:
        assert name == owner.USER
        return known

    def missing(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", missing)
    assert owner.owner(paths) == us
    monkeypatch.setattr(pwd, "getpwnam", found)
    assert owner.owner(paths) == (45_070, 45_071)
    paths.top.mkdir()
    assert owner.owner(paths) == us, "an edge that was begun stays whose it is"
    with owner.as_owner(paths):
        assert (os.geteuid(), os.getegid()) == us
    done: list[int] = []
    owner.as_root(lambda: done.append(os.geteuid()))
    assert done == [us[0]]


def test_what_the_tunnel_is_started_from_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CENTRALINO_EDGE", raising=False)
    monkeypatch.delenv("CENTRALINO_EDGE_RUN", raising=False)
    assert EdgePaths.default().run == DEFAULT_RUN
    monkeypatch.setenv("CENTRALINO_EDGE", str(tmp_path / "edge"))
    assert EdgePaths.default().run == tmp_path / "edge" / "run"
    monkeypatch.setenv("CENTRALINO_EDGE_RUN", str(tmp_path / "memory"))
    assert EdgePaths.default().socket.parent == tmp_path / "memory"


def test_root_does_not_run_the_edge_of_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRALINO_EDGE", str(tmp_path / "edge"))
    monkeypatch.setattr(owner, "owner", lambda _paths: (os.geteuid() + 1, 0))
    refused = CliRunner().invoke(app, ["edge", "run"]).exception
    assert isinstance(refused, RefusedError)
    assert refused.error_id == "not_ours"
    assert "centralino-edge" in refused.hint
