"""What an edge's relay goes by, and the addresses of the centre's names. With real relays: tests/hil/test_protected_edge.py."""

from __future__ import annotations

import errno
import json
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.edge import lookups as lookups_module
from appliance.edge.lookups import AGAIN_S, FAILED_S, TURN_S, Lookups
from appliance.edge.paths import EdgePaths
from appliance.edge.relay import EdgeRelay
from appliance.edge.states import State
from appliance.edge.tunnel import Tunnel, config
from appliance.failover.kept import KeptRelay
from appliance.vpn.slices import Remote
from tests.unit.edge.slices import a_slice, enrolled
from tests.unit.vpn.ground import Ground
from tests.unit.vpn.test_slices import PATHS

NUMERIC = [{**PATHS[0], "host": "198.51.100.7"}, {**PATHS[1], "host": "2001:db8::7"}]


@pytest.fixture
def state(tmp_path: Path, ground: Ground) -> State:
    found = enrolled(tmp_path, ground, paths=NUMERIC, copies="calls").current
    assert found is not None
    return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the relay would be given."""
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(KeptRelay, "tend", lambda _kept, config: given.append(config))
    return given


def test_it_goes_by_the_slices_paths_and_the_centre_has_its_key(
    state: State, ground: Ground, told: list[dict[str, Any]], tmp_path: Path
) -> None:
    relay = EdgeRelay(EdgePaths(tmp_path / "edge"))
    relay.tend(state)
    assert ground.authority.relay_keys() == {bytes.fromhex(told[0].pop("key")): "milan"}
    assert told[0] == {
        "listen": ["127.0.0.1", 1195],
        "copying": "calls",
        "lines": [
            {"path": 0, "line": 1, "role": "primary", "device": "wan", "host": "198.51.100.7", "port": 1170},
            {
                "path": 4,
                "line": 2,
                "role": "metered",
                "device": "wwan0",
                "host": "2001:db8::7",
                "port": 1170,
                "cap": 20_000_000_000,
            },
        ],
    }
    relay.now_is(int(datetime(2026, 11, 30, 23, 59, tzinfo=UTC).timestamp() * 1000))
    relay.tend(state)
    assert told[1]["month"] == "2026-11"
    relay.tend(replace(state, slice=a_slice()))
    assert len(told) == 2, "without paths there is none"


def test_openvpn_goes_through_it_and_notices_no_other_lines(state: State) -> None:
    lines = config(state, []).splitlines()
    assert [line for line in lines if line.startswith("remote ")] == ["remote 127.0.0.1 1195 udp4"]
    pauses = [line for line in lines if line.startswith("connect-retry")]
    assert pauses[-1] == "connect-retry 1 1", (
        "the last one holds: it is told when another server is there, and waits no longer than it must"
    )
    other = replace(state, slice=a_slice(revision=9, paths=NUMERIC[:1], networks=["10.9.0.0/24"]))
    assert config(other, []) == config(state, [])
    assert "ping-restart 0" in lines
    alone = replace(state, slice=a_slice())
    assert not [line for line in config(alone, []).splitlines() if "ping-restart" in line], "it goes by itself"
    assert [line for line in config(alone, []).splitlines() if line.startswith("remote ")] == [
        "remote vpn.example.com 1194 udp", "remote 198.51.100.7 5000 udp",
    ]  # fmt: skip


def test_a_relay_that_cannot_be_told_is_no_reason_to_leave_openvpn_alone(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    tended = []
    monkeypatch.setattr(KeptRelay, "tend", full)
    monkeypatch.setattr(Tunnel, "_tend", lambda _tunnel, _wanted, name: tended.append(name))
    with pytest.raises(OSError, match="No space left"):
        Tunnel(EdgePaths(tmp_path / "edge")).tend(state)
    assert tended == [state.name]


def test_the_way_is_that_of_the_first_path_that_is_bound(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = EdgeRelay(EdgePaths(tmp_path / "edge"))
    assert relay.way(state.slice) is None
    bound = {0: False, 4: True}
    monkeypatch.setattr(
        KeptRelay, "paths", lambda _kept: [{"path": path, "bound": each} for path, each in bound.items()]
    )
    assert relay.way(state.slice) == Remote(host="2001:db8::7", port=1170)
    bound[0] = True
    assert relay.way(state.slice) == Remote(host="198.51.100.7", port=1170)


class Names:
    """A name server of the test's: what it knows, and whether it answers at all."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()
        patch.setattr(lookups_module.socket, "getaddrinfo", self.ask)

    def ask(self, host: str, _port: None, **_: Any) -> list[Any]:
        self.asked += 1
        self.answers.wait(10)
        if host not in self.known:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, 0)) for address in self.known[host]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    monkeypatch.setattr(lookups_module, "FIRST_S", 0.2)
    return Names(monkeypatch)


def looked_up(lookups: Lookups, host: str, wanted: str | None) -> None:
    end = time.monotonic() + 5
    while lookups.address(host) != wanted:
        assert time.monotonic() < end, (host, wanted)
        time.sleep(0.01)


def test_an_address_is_itself_and_a_name_is_asked_for_once_a_minute(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = Lookups(tmp_path / "names.json")
    assert lookups.address("2001:DB8::7") == "2001:db8::7"
    assert names.asked == 0
    names.known["vpn.example.com"] = ["192.0.2.7", "192.0.2.8"]
    looked_up(lookups, "vpn.example.com", "192.0.2.7")
    assert [lookups.address("vpn.example.com") for _ in range(5)] == ["192.0.2.7"] * 5
    assert names.asked == 1
    lookups._asking["vpn.example.com"].join(5)
    began = time.monotonic()
    for later, known, wanted in (
        (AGAIN_S + 1, ["192.0.2.8", "192.0.2.7"], "192.0.2.7"),  # it still has that address
        (2 * AGAIN_S + 2, ["192.0.2.9"], "192.0.2.9"),
    ):
        monkeypatch.setattr(lookups_module.time, "monotonic", lambda later=later: began + later)
        names.known["vpn.example.com"] = known
        asked = names.asked
        lookups.address("vpn.example.com")
        lookups._asking["vpn.example.com"].join(5)
        assert names.asked == asked + 1
        assert lookups.address("vpn.example.com") == wanted
    assert json.loads((tmp_path / "names.json").read_text())["known"] == {"vpn.example.com": "192.0.2.9"}


def test_a_proven_address_stays_while_anything_works_by_it_whatever_is_said_of_the_name(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, proven, said = "vpn.example.com", "192.0.2.7", "192.0.2.66"
    lookups = Lookups(tmp_path / "names.json")
    names.known[name] = [said]
    looked_up(lookups, name, said)
    lookups._asking[name].join(5)
    lookups.prove(name, proven)
    for each in (lookups, Lookups(tmp_path / "names.json")):  # and the next agent knows it too
        now = time.monotonic()
        monkeypatch.setattr(lookups_module, "AGAIN_S", 10 * AGAIN_S)
        tried = []
        for turn in range(4):
            with monkeypatch.context() as patch:
                patch.setattr(lookups_module.time, "monotonic", lambda now=now, turn=turn: now + turn * TURN_S)
                assert each.address(name, {proven}) == proven
                tried.append(each.address(name, {"198.51.100.7"}))
        assert sorted(tried) == [said, said, proven, proven], "by turns"
        assert tried[0] != tried[1]
    lookups.prove(name, said)
    assert lookups.address(name) == said, "the centre has moved"


def test_what_answers_at_the_address_that_was_given_has_proven_it(
    state: State, tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = replace(state, slice=state.slice.model_copy(update={"paths": (
        state.slice.paths[0].model_copy(update={"host": "vpn.example.com"}),)}))  # fmt: skip
    names.known["vpn.example.com"] = ["192.0.2.7"]
    relay = EdgeRelay(EdgePaths(tmp_path / "edge"))
    looked_up(relay._lookups, "vpn.example.com", "192.0.2.7")
    number = named.slice.paths[0].number
    told = {
        "path": number,
        "role": "primary",
        "host": "192.0.2.7",
        "bound": False,
        "in": {"silent_ms": 0, "highest": 1, "packets": 1},
    }
    monkeypatch.setattr(KeptRelay, "paths", lambda _kept: [told])
    relay._config(named)
    relay._config(named)
    assert relay._lookups._proven == {}, "nobody has answered"
    told["bound"] = True
    relay._config(named)
    assert relay._lookups._proven == {"vpn.example.com": "192.0.2.7"}
    relay._lookups._known["vpn.example.com"] = "192.0.2.66"
    assert [line["host"] for line in relay._config(named)["lines"]] == ["192.0.2.7"]


def test_where_no_name_can_be_looked_up_it_goes_where_the_centre_was(tmp_path: Path, names: Names) -> None:
    (tmp_path / "names.json").write_text('{"known": {"vpn.example.com": "192.0.2.7"}, "proven": {}}')
    names.answers.clear()
    lookups = Lookups(tmp_path / "names.json")
    assert lookups.address("vpn.example.com") == "192.0.2.7"
    assert lookups.address("other.example.com") is None, "it isn't waited for longer than a moment"
    names.answers.set()
    assert FAILED_S < AGAIN_S


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"known": {"a": 1}, "proven": {}}',
        b'{"known": {"a": "192.0.2.7"}}',
        b'{"known": [], "proven": {}}',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_a_file_of_garbage_knows_nothing(tmp_path: Path, names: Names, content: bytes) -> None:
    (tmp_path / "names.json").write_bytes(content)
    assert Lookups(tmp_path / "names.json").address("a") is None
