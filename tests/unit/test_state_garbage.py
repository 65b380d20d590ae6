"""Garbage in any file that we keep ourselves: it counts as nothing, or is told in our own terms, and ends no process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.clock import Moment
from appliance.core.errors import CentralinoError
from appliance.edge.clock import EdgeClock, keep_system_clock
from appliance.edge.paths import EdgePaths
from appliance.edge.states import States
from appliance.edge.trials import Refused
from appliance.engine.keeping import text_of
from appliance.engine.processes import noted
from appliance.names.keeper import known_in
from appliance.paths import VpnPaths
from appliance.turn.keys import Keys
from appliance.vpn.configured import configured
from appliance.vpn.enrolment.waiting import Invitations
from appliance.vpn.inside.reports import Reports
from appliance.vpn.pki.registry import Registry
from appliance.vpn.pki.timekeeping import RELEASED, Timekeeper
from appliance.vpn.slices import Slices
from appliance.vpn.slices.plan import kept_of_tunnel

NOW = Moment(1_800_000_000_000, 1000, "boot")
SERIAL = "0" * 31 + "7"
GARBAGE = (
    b"", b"\0" * 5000, b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 100_000, b"null", b"7", b'"text"', b"[]", b"[1]", b"{}", b"{",
    b"1e999", b"NaN", b"-1 -1", b'{"seen": 1e999, "floor": 1e999, "times": 1e999}',
    b'{"seen": "x", "floor": [], "digest": {}, "revision": -1, "times": -9, "why": null}',
    b'{"seen": -1, "floor": true, "digest": "d", "revision": 1, "times": -9, "why": "", "sure": [], "stepped": {}}',
    b'{"previous": "../..", "boot": 1, "until": -1, "tries": -1, "ways": [], "site": "torino", "role": "branch"}',
)  # fmt: skip


def edge_clock(file: Path) -> None:
    clock = EdgeClock(file, keep_system_clock, lambda: NOW)
    clock.start(datetime(2026, 12, 1, tzinfo=UTC), None)
    clock.told(NOW.wall, 900, 1000)
    assert clock.sure


def refused(file: Path) -> None:
    known = Refused(file)
    if known.last is not None:
        known.waits(known.last.digest, NOW)


def time_seen(file: Path) -> None:
    keeper = Timekeeper(file, lambda: NOW)
    keeper.note()
    assert keeper.floor() >= RELEASED


def record(file: Path) -> None:
    registry = Registry(file.parent.parent)
    registry.issued_in.mkdir(exist_ok=True)
    registry.revoked_in.mkdir(exist_ok=True)
    if file.parent == registry.revoked_in:
        assert list(registry.revoked()) == [SERIAL], "whatever stands in it, it revokes"
    else:
        assert registry.damaged() == [SERIAL]


READERS: dict[str, Callable[[Path], object]] = {
    "clock.json": edge_clock,
    "refused.json": refused,
    "ca/clock.json": time_seen,
    f"issued/{SERIAL}.json": record,
    f"revoked/{SERIAL}.json": record,
    "states/000001/trial.json": lambda file: States(EdgePaths(file.parents[2])).trial("000001"),
    "invitations/torino.json": lambda file: Invitations(VpnPaths(file.parents[1])).open(),
    "reports/torino.json": lambda file: Reports(file.parent).of("torino"),
    "names.json": lambda file: {key: (each.targets, each.sources) for key, each in known_in(file).items()},
    "voice-0.pid": noted,
    "voice-0.conf": text_of,
    "host/vpn/voice-0.conf": lambda file: configured(file.parents[2]),
    "host/vpn/slices/torino.json": lambda file: Slices(file.parents[3]).of("torino"),
    "slice": lambda file: kept_of_tunnel(text_of(file)),
    "turn.db": lambda file: (Keys(file).tend(1_800_000_000), Keys(file).newest()),
}


@pytest.mark.parametrize("name", READERS)
def test_garbage_ends_nobody(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    for garbage in GARBAGE:
        file.write_bytes(garbage)
        with contextlib.suppress(CentralinoError):
            READERS[name](file)


@pytest.mark.parametrize("name", READERS)
def test_a_directory_in_the_place_of_a_file_ends_nobody(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.mkdir(parents=True)
    with contextlib.suppress(CentralinoError):
        READERS[name](file)
