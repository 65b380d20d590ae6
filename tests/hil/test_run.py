"""``centralino run`` and ``centralino stop``: the whole appliance with the demo company, as a newcomer starts it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.paths import Paths
from tests.hil.agents.network import Host, Network
from tests.hil.agents.process import Child, eventually
from tests.hil.command import PROGRAM, As, Command

START_S = 120


@pytest.fixture
def host() -> Iterator[Host]:
    with Network() as net:
        yield net.host("appliance")


def started(host: Host, log: Path, environment: dict[str, str]) -> Child:
    """A run that has shown its card."""
    child = host.start([PROGRAM, "run"], log, env=environment)

    def ready() -> bool:
        assert child.running, child.text()
        return "Ctrl-C stops everything" in child.text()

    eventually(ready, "the card is shown", START_S)
    return child


def password(card: str, user: str) -> str:
    found = re.search(rf" {user} +(\S+) ", card)
    assert found is not None, card
    return found[1]


def test_a_newcomer_starts_it_looks_stops_it_and_starts_it_again(host: Host, tmp_path: Path) -> None:
    state = tmp_path / "state"
    environment = {**os.environ, "CENTRALINO_STATE": str(state), "CENTRALINO_CACHE": str(Paths.default().cache),
                   "LC_ALL": "C.UTF-8", "COLUMNS": "120"}  # fmt: skip
    with started(host, tmp_path / "first", environment) as first, Command(host, environment, tmp_path) as command:
        run = As(command)
        card = first.text()
        assert "Demo Srl" in card
        assert len(password(card, "202-desk")) == 16
        status = run.json("status")
        names = [item["name"] for item in status["services"]]
        assert names == ["supervisor", "applier", "provider", "engine", "history"]
        assert all(item["pid"] for item in status["services"])
        assert (status["faults"], status["devices"]) == ([], 14)
        eventually(
            lambda: run.json("status")["lines"] == [{"name": "line-1", "state": "registered"}],
            "the line is registered",
            30,
        )
        assert re.search(r"^engine +\d+ +runs$", run("status"), re.MULTILINE)
        assert run.run("doctor").code == 0, run.run("doctor").stdout
        assert run.json("verify") == []
        assert "runs already" in run.run("run").stderr
        log = (state / "engine" / "log" / "messages").read_text().splitlines()
        assert [line for line in log if " ERROR[" in line or " WARNING[" in line] == [], "at demo size: none at all"
        run("extension", "set", "ext-202", "label=Sales desk")
        assert run.json("commit", "-m", "Rename sales")["verified"]
        assert run("stop") == "Stopped.\n"
        assert first.wait(30) == 0
        for item in status["services"]:
            assert not Path(f"/proc/{item['pid']}").exists(), item
        assert "is not running here" in run.refused("stop")
        assert run.json("status")["services"] == [] or not any(item["pid"] for item in run.json("status")["services"])
        with started(host, tmp_path / "second", environment) as second:
            assert password(second.text(), "202-desk") == password(card, "202-desk")
            assert "Sales desk" in second.text()
            assert [item["message"] for item in run.json("history")] == ["Rename sales", "Demo company"]
            run("stop")
            assert second.wait(30) == 0
