"""The centre's relays: what they are told to go by, and what is made of what they say. With real relays: test_kept.py, tests/hil/test_protected_edge.py."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from appliance.failover import relays as relays_module
from appliance.failover.kept import KeptRelay
from appliance.failover.plan import FILE, files
from appliance.failover.relays import DOWN_S, SILENT_S, TROUBLES, Relays
from appliance.paths import VpnPaths
from tests.unit.failover.test_failover_plan import FIBRE, LTE, line
from tests.unit.vpn.test_vpn_plan import TWO, Row, document

KEYS = {b"\x01" * 32: "torino", b"\x02" * 32: "torino", b"\x03" * 32: "roma", b"\x04" * 32: "gone"}


def path(
    number: int, *, silent: int = 10, loss: float | None = 0.0, packets: int = 0, highest: int = 0
) -> dict[str, Any]:
    return {
        "path": number, "address": [f"198.51.100.{number}", 5000 + number], "role": "primary", "capped": False, "rtt_ms": 4.5,
        "out": {"loss": loss, "late_ms": 1.0, "jitter_ms": 0.5},
        "in": {"silent_ms": silent, "packets": packets, "highest": highest, "late_ms": 1.0, "jitter_ms": 0.5},
    }  # fmt: skip


class Ground:
    """Relays whose processes aren't there; what they would say is the test's."""

    def __init__(self, top: Path, patch: pytest.MonkeyPatch) -> None:
        self.now, self.found, self.says = 1000.0, list[str](), dict[str, Any]()
        self.configs: dict[str, Any] = {}
        self.stopped: list[str] = []
        self.generation, self.servers = top / "gen", top / "servers"
        self.generation.mkdir()
        self.servers.mkdir()
        self.relays = Relays(VpnPaths(top / "vpn"), self.generation, lambda: KEYS)
        patch.setattr(relays_module.time, "monotonic", lambda: self.now)
        patch.setattr(KeptRelay, "tend", lambda kept, config: self.configs.update({kept._directory.name: config}))
        patch.setattr(
            KeptRelay,
            "give",
            lambda kept, name, content: self.configs.update({f"{kept._directory.name}/{name}": content}),
        )
        patch.setattr(KeptRelay, "standing", lambda kept: self.says.get(kept._directory.name, {}))
        patch.setattr(KeptRelay, "stop", lambda kept: self.stopped.append(kept._directory.name))

    def commit(self, *rows: Row, cores: int = 1) -> None:
        for name, text in files(document(*rows), cores).items():
            (self.generation / name).parent.mkdir(parents=True, exist_ok=True)
            (self.generation / name).unlink(missing_ok=True)
            (self.generation / name).write_text(text)

    def says_of_torino(self, *paths: dict[str, Any]) -> None:
        self.says["0"] = {"pid": 1, "troubles": {}, "sites": {"torino": {"ports": [], "paths": list(paths)}}}

    def tend(self, later: float = 0.0) -> list[str]:
        self.now += later
        self.found.clear()
        self.relays.tend(lambda index: self.servers / index, self.found)
        return self.found

    def lines(self) -> list[tuple[str, bool | None]]:
        return [(each.id, each.up) for each in self.relays.lines("torino")]


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, monkeypatch)


def test_a_relay_is_told_of_all_branches_of_ours_and_of_no_key_besides(ground: Ground) -> None:
    ground.commit(*TWO, FIBRE)
    (ground.servers / "0").write_text("17 42\n")
    ground.tend()
    told = ground.configs["0"]
    assert told["listen"] == [["0.0.0.0", 1170], ["::", 1170]]  # noqa: S104
    assert told["servers"] == {"0": {"at": ["127.0.0.1", 1194], "pid": "server-0.pid"}}
    assert [(each["site"], each["number"], each["server"], each["key"]) for each in told["sites"]] == [
        ("torino", 1, "0", "01" * 32), ("torino", 1, "0", "02" * 32), ("roma", 2, "0", "03" * 32),
    ]  # fmt: skip
    assert ground.configs["0/server-0.pid"] == b"17 42\n"
    (ground.servers / "0").unlink()
    assert ground.tend() == [], "it is being started anew"
    assert ground.configs["0/server-0.pid"] == b"17 42\n"


def test_when_nobody_can_tell_whose_keys_are_good_those_go_on_that_were(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> dict[bytes, str]:
        raise OSError(errno.EIO, "I/O error")

    ground.commit(*TWO, FIBRE)
    monkeypatch.setattr(ground.relays, "_keys", unreadable)
    assert len(ground.tend()) == 1
    assert ground.configs == {}, "what runs is told nothing new"
    monkeypatch.setattr(ground.relays, "_keys", lambda: KEYS)
    assert ground.tend() == []
    assert len(ground.configs["0"]["sites"]) == 3
    monkeypatch.setattr(ground.relays, "_keys", unreadable)
    ground.configs.clear()
    ground.commit(*TWO, FIBRE, LTE)
    assert len(ground.tend()) == 1
    assert len(ground.configs["0"]["sites"]) == 3


def test_without_an_edge_of_ours_there_is_none_and_what_cannot_be_read_changes_nothing(ground: Ground) -> None:
    ground.commit(*TWO, FIBRE)
    ground.tend()
    (ground.generation / FILE).write_text("garbage")
    assert any("Error" in each or "mistake" in each for each in ground.tend())
    assert ground.stopped == []
    assert [each.id for each in ground.relays.lines("torino")] == ["fibre"]
    (ground.generation / FILE).unlink()
    assert ground.tend() == []
    assert ground.stopped == ["0"]
    assert ground.relays.lines("torino") == ()
    ground.relays.stop()
    assert ground.stopped == ["0"]


def test_lines_are_up_down_or_unknown(ground: Ground) -> None:
    ground.commit(*TWO, FIBRE, LTE)
    ground.tend()
    assert ground.lines() == [("fibre", None), ("lte", None)]
    ground.says_of_torino(path(1), path(8))
    ground.tend()
    assert ground.lines() == [("fibre", True), ("lte", True)]
    assert ground.relays.address("torino") == "198.51.100.1 5001"
    ground.says_of_torino(path(0, silent=2000), path(8, silent=11_000))
    ground.tend()
    assert ground.lines() == [("fibre", False), ("lte", True)], "a metered line is measured rarely"
    assert ground.relays.address("torino") == "198.51.100.8 5008"
    ground.says_of_torino(path(0, silent=9000), path(1, silent=3))
    ground.tend()
    assert ground.lines() == [("fibre", True), ("lte", False)], "any path of a line will do"
    assert ground.relays.lines("roma") == ()
    ground.says.clear()
    ground.tend()
    assert ground.lines() == [("fibre", None), ("lte", None)]
    assert ground.relays.address("torino") is None


def test_losses_are_told_both_ways(ground: Ground) -> None:
    ground.commit(*TWO, FIBRE)
    for step in range(4):
        ground.says_of_torino(path(0, loss=0.02, packets=90 * step, highest=100 * step))
        ground.tend(1.0)
    (fibre,) = ground.relays.lines("torino")
    assert (fibre.loss_up, fibre.loss_down) == (pytest.approx(0.1), 0.02)
    ground.says_of_torino(path(0, packets=5, highest=5))  # another session: numbers begin anew
    ground.tend(1.0)
    (fibre,) = ground.relays.lines("torino")
    assert fibre.loss_up is None


def test_a_line_that_stays_down_is_an_alarm_until_it_is_back(ground: Ground) -> None:
    ground.commit(*TWO, FIBRE, LTE)
    ground.says_of_torino(path(0), path(8))
    ground.tend()
    ground.says_of_torino(path(8))
    ground.tend()
    assert ground.relays.alarms() == ()
    ground.tend(DOWN_S - 0.1)
    assert ground.relays.alarms() == ()
    ground.tend(0.2)
    (alarm,) = ground.relays.alarms()
    assert (alarm.path, alarm.error_id, alarm.severity) == ("wan_line/fibre", "line_down", "warning")
    ground.says_of_torino(path(0), path(8))
    ground.tend()
    assert ground.relays.alarms() == ()
    ground.says_of_torino()  # the whole branch is away: that is told elsewhere
    ground.tend(60)
    ground.tend(60)
    assert ground.relays.alarms() == ()


def test_a_relay_that_says_nothing_or_has_trouble_is_a_fault(ground: Ground) -> None:
    ground.commit(*TWO, line("fibre", 1, "wan"))
    assert ground.tend() == []
    assert ground.tend(SILENT_S - 1) == []
    (fault,) = ground.tend(2)
    assert "isn't at work (see the end of" in fault
    ground.says["0"] = {"pid": 1, "troubles": {"configuration": "OSError: in use"}, "sites": {}}
    (fault,) = ground.tend()
    assert "has trouble with configuration: OSError: in use" in fault
    ground.says["0"] = {
        "pid": 1,
        "troubles": {"\x1b[2J" + "x" * 9999: "y\n" * 9999, **{str(each): 1 for each in range(99)}},
        "sites": {},
    }
    assert len(ground.tend()) == TROUBLES
    assert all(len(fault) < 600 and fault.isprintable() for fault in ground.tend())
    ground.says_of_torino()
    assert ground.tend() == []


@pytest.mark.parametrize(
    "says",
    [
        {"sites": 3}, {"sites": {"torino": []}}, {"sites": {"torino": {"paths": 3}}}, {"sites": {"torino": {"paths": [3, None, {}]}}},
        {"sites": {"torino": {"paths": [{**path(0), "in": {}}]}}}, {"sites": {"torino": {"paths": [{**path(0), "path": 99}]}}},
        {"sites": {"torino": {"paths": [{**path(0), "out": 7}]}}}, {"sites": {"torino": {"paths": [{**path(0), "rtt_ms": "x"}]}}},
        {"troubles": [1]}, {"troubles": None}, {"troubles": {}},
    ],
)  # fmt: skip
def test_whatever_a_broken_relay_says_is_passed_over(ground: Ground, says: dict[str, Any]) -> None:
    ground.commit(*TWO, FIBRE)
    ground.says["0"] = {"pid": 1, **says}
    assert ground.tend() == []
    assert ground.lines() == [("fibre", None)]
    assert ground.relays.alarms() == ()
    assert ground.relays.address("torino") is None
    ground.says_of_torino({**path(0), "address": "nowhere"})
    ground.tend()
    assert ground.lines() == [("fibre", True)]
    assert ground.relays.address("torino") is None


def test_a_plan_is_read_once(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.commit(*TWO, FIBRE)
    ground.tend()

    def never(_content: bytes) -> None:
        raise AssertionError

    monkeypatch.setattr(json, "loads", never)
    assert ground.tend() == []
