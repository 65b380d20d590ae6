"""Lines to a server that isn't ours: what is said of them, what the relay is to go by, and what is told. With a real server: tests/hil/test_stock_server.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from appliance.cli import app
from appliance.core.errors import InvalidError
from appliance.edge.foreign import Foreign, ForeignLine, lines_of
from appliance.failover.kept import KeptRelay
from appliance.failover.model import Copies, LineRole

FIBRE, DSL = ForeignLine("eth0", LineRole.PRIMARY), ForeignLine("eth1", LineRole.BACKUP)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a relay is to go by: none is started."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(KeptRelay, "tend", lambda _self, config: found.append(config))
    return found


def foreign(place: Path, host: str = "198.51.100.7") -> Foreign:
    return Foreign(place, host, 1194, (FIBRE, DSL), Copies.CALLS, ("127.0.0.1", 1195))


def test_lines_are_named_by_interface_and_role() -> None:
    assert lines_of(["eth0", "eth1"]) == (FIBRE, DSL)
    assert lines_of(["wwan0:metered", "eth1:primary"]) == (
        ForeignLine("wwan0", LineRole.METERED),
        ForeignLine("eth1", LineRole.PRIMARY),
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([], "0 of two to eight lines"),
        (["eth0"], "1 of two to eight lines"),
        ([f"eth{at}" for at in range(9)], "9 of two to eight lines"),
        (["eth0", "eth0:backup"], "named twice"),
        (["eth0", "no such name:backup"], "is no line"),
        (["eth0", "a/b"], "is no line"),
        (["eth0", "eth1:spare"], "'spare' is nothing that a line can be"),
    ],
)
def test_what_is_no_line_is_refused(said: list[str], told: str) -> None:
    with pytest.raises(InvalidError) as caught:
        lines_of(said)
    (fault,) = caught.value.faults
    assert fault.path == "--line"
    assert told in fault.message
    assert fault.hint


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["198.51.100.7", "--line", "eth0"], "--line"),
        (["198.51.100.7:0", "--line", "eth0", "--line", "eth1"], "198.51.100.7:0"),
        (["198.51.100.7", "--line", "eth0", "--line", "eth1", "--copies", "degraded"], "--copies"),
    ],
)
def test_the_command_says_what_is_wrong_and_starts_nothing(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CENTRALINO_EDGE", str(tmp_path / "edge"))
    done = CliRunner().invoke(app, ["edge", "relay", *words])
    assert isinstance(done.exception, InvalidError)
    assert told in str(done.exception)
    assert not (tmp_path / "edge").exists()


def test_the_relay_goes_by_all_lines(tmp_path: Path, given: list[dict[str, Any]]) -> None:
    foreign(tmp_path).tend()
    lines = [
        {"path": 0, "role": "primary", "device": "eth0", "host": "198.51.100.7", "port": 1194},
        {"path": 1, "role": "backup", "device": "eth1", "host": "198.51.100.7", "port": 1194},
    ]
    assert given == [{"listen": ["127.0.0.1", 1195], "copying": "calls", "lines": lines}]


def test_a_server_whose_name_nobody_knows_is_waited_for(
    tmp_path: Path, given: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> list[Any]:
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    made = foreign(tmp_path, "vpn.example.com")
    with caplog.at_level("INFO"):
        made.tend()
        made.tend()
    assert given == []
    assert caplog.text.count("vpn.example.com: no address is known of it") == 1


@pytest.mark.parametrize("said", ["{", "[]", '{"paths": 7}', '{"paths": [7, {}, {"heard_s": "x", "left_s": 0}]}'])
def test_garbage_that_a_relay_tells_is_nothing(tmp_path: Path, given: list[dict[str, Any]], said: str) -> None:
    (tmp_path / "relay").mkdir()
    (tmp_path / "relay" / "standing.json").write_text(said)
    made = foreign(tmp_path)
    assert made.told() == []
    made.tend()
    assert len(given) == 1


def test_where_the_server_answers_is_noted_once(
    tmp_path: Path, given: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "relay").mkdir()
    line = {"path": 0, "role": "primary", "device": "eth0", "host": "198.51.100.7", "capped": False}
    paths = [
        {**line, "followed": False, "heard_s": 3.0, "left_s": 29},
        {**line, "path": 1, "device": "eth1", "followed": True, "heard_s": 0.0, "left_s": 0},
    ]
    standing = {"paths": paths, "troubles": {"line-0": "eth0: No such device"}}
    (tmp_path / "relay" / "standing.json").write_text(json.dumps(standing))
    made = foreign(tmp_path)
    with caplog.at_level("INFO"):
        made.tend()
        made.tend()
    for text in ("the server answers by eth1", "eth0: left, nothing comes by it", "eth0: No such device"):
        assert caplog.text.count(text) == 1
    assert given[0] == given[1]
