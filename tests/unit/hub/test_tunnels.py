"""Branches of the voice VPN in the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.document import Document
from appliance.core.errors import UnavailableError
from appliance.engine.ami_stream import Place
from appliance.hub import service, tunnels
from appliance.hub.directory import BranchEntry, Directory, directory
from appliance.hub.service import Hub
from appliance.hub.subject import everything
from tests.hil.portal_app import company
from tests.unit.hub.loops import run

ENTRIES = {"to": BranchEntry("to", "torino", "Turin"), "ro": BranchEntry("ro", "roma", "Rome"), "x": BranchEntry("x", "x", "X", enabled=False)}  # fmt: skip
ROW: dict[str, Any] = {
    "site": "torino", "interface": "voice-0", "connected": True, "since": 1_795_406_000, "address": "198.51.100.7", "inside": ["172.29.0.2"],
    "received": 123_456, "sent": 98, "received_rate": 84_123.4, "sent_rate": None, "rtt_ms": 12.345, "rtt_median_ms": 11.75,
    "loss": 0.0333, "version": "2.6.14", "certificate": "torino.0784d168", "certificate_ends": "2029-01-01T00:00:00+00:00",
}  # fmt: skip
ROME = {"site": "roma", "interface": "voice-0", "connected": False}


def told(*rows: dict[str, Any], faults: tuple[str, ...] = (), alarm: str = "") -> dict[str, Any]:
    daemon = {"interface": "voice-0", "standing": "up", "alarm": alarm}
    return {"at": 0.0, "faults": list(faults), "alarms": [], "daemons": [daemon], "branches": list(rows)}


def test_each_branch_of_the_document_has_a_state() -> None:
    found = tunnels.branches(ENTRIES.values(), told(ROW, ROME))
    assert {id: each["state"] for id, each in found.items()} == {"to": "connected", "ro": "away", "x": "off"}
    turin = found["to"]
    assert (turin["since"], turin["received"], turin["received_rate"]) == (1_795_406_000_000, 123_000, 84_000)
    assert (turin["rtt_ms"], turin["rtt_last_ms"], turin["loss"]) == (12, 12, 0.03)
    assert found["ro"].keys() == turin.keys()
    assert turin["lines"] == []


def test_lines_of_a_branch_are_told_with_the_worse_of_their_losses() -> None:
    known = {
        "number": 1,
        "id": "to-1",
        "name": "Fibre",
        "role": "primary",
        "up": True,
        "address": "192.0.2.1 9",
        "rtt_ms": 3.2,
        "capped": False,
    }
    lines = [
        {**known, "loss_up": 0.0312, "loss_down": 0.004},
        {**known, "id": "to-2", "up": None, "loss_up": None, "loss_down": None},
    ]
    found = tunnels.branches(ENTRIES.values(), told({**ROW, "lines": lines}))["to"]["lines"]
    assert [(each["id"], each["up"], each["loss"]) for each in found] == [("to-1", True, 0.03), ("to-2", None, None)]


def test_what_is_silent_is_unknown() -> None:
    silent = tunnels.branches(ENTRIES.values(), None)
    assert {id: each["state"] for id, each in silent.items()} == {"to": "unknown", "ro": "unknown", "x": "off"}


def test_fields_are_documented_and_described() -> None:
    from appliance.console.api.openapi import description

    page = (Path(__file__).parents[3] / "docs" / "hub.md").read_text()
    found = tunnels.branches(ENTRIES.values(), told(ROW))["to"]
    assert all(f"`{name}`" in page for name in (*found, *tunnels.STATES))
    assert description()["components"]["schemas"]["live.Branch"]["required"] == list(found)


@given(st.floats(0, 1e13), st.integers(1, 4))
def test_rounding_keeps_the_size(value: float, digits: int) -> None:
    found = tunnels.rounded(value, digits)
    assert found is not None
    assert abs(found - value) <= value * 10 ** (1 - digits)


def test_faults_are_alarms_that_last_as_long_as_they_do() -> None:
    alarms = tunnels.Alarms()
    first = alarms.of({"a": "critical", "b": "warning"}, 5)
    again = alarms.of({"b": "warning", "c": "critical"}, 9)
    assert [(each["message"], each["raised"]) for each in again] == [("b", 5), ("c", 9)]
    assert again[0]["id"] == first[1]["id"]
    assert [each["severity"] for each in again] == ["warning", "critical"]
    assert all(each["id"].startswith("vpn-") for each in first)
    assert tunnels.faults(told(faults=("x",), alarm="x")) == {"x": "critical"}
    assert tunnels.faults(None) == {tunnels.SILENT: "critical"}
    crl = {"id": "crl", "severity": "warning", "message": "the list ends soon", "hint": "renew it"}
    assert tunnels.faults({**told(), "alarms": [crl]}) == {"the list ends soon (renew it)": "warning"}


@pytest.mark.parametrize("garbage", [{}, {"branches": 3}, {"branches": [{}]}, {"branches": [], "faults": []}])
def test_garbage_is_refused(garbage: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError):
        tunnels.checked(garbage)


def test_the_document_says_which_are_used() -> None:
    entry = directory(Document.of(company())).branches["milano"]
    assert (entry.site, entry.enabled) == ("milano", False)


def hub(ask: Callable[[], dict[str, Any]] | None) -> Hub:
    made = Hub(Place(lambda: "", port=1), everything, lambda _: None, ask_tunnels=ask)
    made.live.use(Directory(branches=ENTRIES))
    return made


def test_the_hub_tells_of_branches_and_of_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = [told(ROW, ROME, faults=("disk full",))]

    def ask() -> dict[str, Any]:
        if said[0] is None:
            raise UnavailableError("gone", error_id="vpn_not_running")
        return dict(said[0])

    async def work() -> None:
        made = hub(ask)

        def states() -> dict[str, str]:
            return {each["id"]: each["state"] for each in made.rooms.objects("branch")}

        def alarms() -> list[str]:
            return [each["message"] for each in made.rooms.objects("alarm")]

        await made._follow()
        assert alarms() == [], "not heard of yet"
        await made._look_at_tunnels()
        await made._follow()
        assert (states()["to"], alarms()) == ("connected", ["disk full"])
        seq = made.rooms.seq
        await made._look_at_tunnels()
        await made._follow()
        assert made.rooms.seq == seq, "nothing new, nothing said"
        said[0] = None
        await made._look_at_tunnels()
        assert states()["to"] == "connected", "it may be being started anew"
        monkeypatch.setattr(service, "GIVE_UP_S", -1.0)
        await made._look_at_tunnels()
        await made._follow()
        assert (states()["to"], alarms()) == ("unknown", [tunnels.SILENT])
        made.live.use(Directory())
        await made._look_at_tunnels()
        await made._follow()
        assert (states(), alarms()) == ({}, []), "no branches, nothing to miss"

    run(work(), 20)


def test_where_it_does_not_run_nothing_is_missed() -> None:
    async def work() -> None:
        made = hub(None)
        await made._look_at_tunnels()
        await made._follow()
        assert {each["state"] for each in made.rooms.objects("branch")} == {"unknown", "off"}
        assert made.rooms.objects("alarm") == []
        await asyncio.sleep(0)

    run(work(), 20)
