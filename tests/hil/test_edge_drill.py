"""A test call through the tunnel of a branch with two lines, and the drill: a line is cut on purpose, and what was lost is counted by both ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.core.errors import NotFoundError, RefusedError, UnavailableError
from appliance.edge.asking import Edge
from appliance.engine.processes import noted
from tests.hil.agents.edge_ground import Ground, edge_ground
from tests.hil.agents.process import eventually
from tests.hil.agents.relay import Stream
from tests.hil.agents.tap import Tap
from tests.hil.test_protected_edge import FIBRE, INSIDE, LTE, VOICE, addresses, all_up, dead


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with edge_ground() as made:
        made.commit(*addresses(made), lines=[FIBRE, LTE])
        made.enrol()
        made.start_centre()
        made.start_edge()
        made.reached(1)
        all_up(made)
        yield made


def edge(ground: Ground) -> Edge:
    return Edge(ground.edge_paths.orders)


def over(ground: Ground, timeout_s: float = 60) -> dict[str, Any]:
    def looked() -> bool:
        found = edge(ground).measurement()
        return found is not None and found["over"]

    eventually(looked, "the measurement is over", timeout_s)
    found = edge(ground).measurement()
    assert found is not None
    return found


def told(ground: Ground) -> list[dict[str, Any]]:
    """Lines as the edge tells them, one for each of the centre's addresses; none while its agent is being started."""
    try:
        return list(edge(ground).status()["lines"])
    except UnavailableError:
        return []


def lines(ground: Ground) -> dict[int, dict[str, Any]]:
    """Of each line that works or is cut the way that does."""
    return {each["line"]: each for each in told(ground) if each["up"] or each["cut"]}


def ready(ground: Ground) -> None:
    """Both ends hear each other by both lines."""
    all_up(ground)
    eventually(lambda: {line for line, each in lines(ground).items() if each["up"]} == {1, 2}, "so the edge says", 20)


def cut(ground: Ground) -> set[int]:
    return {each["line"] for each in told(ground) if each["cut"]}


def test_a_test_call_is_counted_each_way(ground: Ground) -> None:
    edge(ground).measure(3)
    with pytest.raises(RefusedError) as error:
        edge(ground).measure(3)
    assert error.value.error_id == "busy"
    found = over(ground)
    result = found["result"]
    assert found["fault"] is None
    assert result["sent"] == result["reached"] == result["returned"]
    assert result["sent"] > 100
    assert (result["up"]["lost"], result["down"]["lost"]) == (0, 0)
    assert min(result["up"]["mos"], result["down"]["mos"]) > 4.0
    assert {line["line"] for sample in found["samples"] for line in sample["lines"]} == {1, 2}
    assert found["cut_s"] == 0


def command(ground: Ground, *words: str, language: str = "en") -> tuple[int, str]:
    env = {**os.environ, **ground.env, "CENTRALINO_LANGUAGE": language, "COLUMNS": "200"}
    argv = [sys.executable, "-m", "appliance.cli", "edge", *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_the_command_says_what_was_lost_in_both_languages(ground: Ground) -> None:
    ready(ground)
    code, said = command(ground, "call", "--seconds", "3")
    assert code == 0, said
    assert re.search(r"Of 1[45]\d packets each way none was lost\.", said), said
    code, said = command(ground, "call", "--seconds", "3", language="it")
    assert code == 0, said
    assert re.search(r"Di 1[45]\d pacchetti per direzione nessuno è andato perso\.", said), said
    code, said = command(ground, "call", "--seconds", "3", "--json")
    assert code == 0
    assert json.loads(said)["result"]["returned"] > 140
    code, said = command(ground, "drill", "4", "--seconds", "5")
    assert code != 0
    assert "there is no line 4 here" in said


def test_the_drill_cuts_a_line_and_nothing_is_lost(ground: Ground) -> None:
    ready(ground)
    with Stream([(ground.centre, INSIDE), (ground.lan, ground.lan.address)], port=VOICE) as stream:
        edge(ground).measure(6, line=1)
        eventually(lambda: cut(ground) == {1}, "the line is cut", 15)
        counted = {line: each["to_centre"] for line, each in lines(ground).items()}
        assert 2 in counted
        eventually(lambda: not lines(ground).get(1, {"up": False})["up"], "and is seen to be down", 5)
        found = over(ground)
    result = found["result"]
    assert (result["up"]["lost"], result["down"]["lost"]) == (0, 0)
    assert stream.missing() == ([], []), "and no real call's packet either"
    assert 3 <= found["cut_s"] <= 8
    downs = [each for each in found["samples"] if not any(line["up"] for line in each["lines"] if line["line"] == 1)]
    assert downs, "the picture shows it"
    assert all(any(line["up"] for line in each["lines"] if line["line"] == 2) for each in found["samples"])
    eventually(lambda: lines(ground).get(1, {"up": False})["up"], "it is joined again", 10)
    assert cut(ground) == set()


def heavy(tap: Tap) -> int:
    """Packets of voice's size that a tap has seen."""
    said = ["tcpdump", "-n", "-r", str(tap.file), "udp and greater 200"]
    return len(subprocess.run(said, capture_output=True, text=True, check=True).stdout.splitlines())


def test_a_line_that_is_chosen_by_hand_carries_all_and_another_takes_over_where_it_dies(ground: Ground) -> None:
    ready(ground)
    code, said = command(ground, "use", "2", "--minutes", "5")
    assert code == 0, said
    assert "Line 2 alone is used" in said
    eventually(
        lambda: {line for line, each in lines(ground).items() if each["capped"]} == {1}, "the other is held back", 10
    )
    eventually(
        lambda: {each["line"] for each in told(ground) if each["best"]} == {2}, "and the chosen one is the best", 10
    )
    chosen = edge(ground).status()["chosen"]
    assert chosen["line"] == 2
    assert 240 < chosen["left_s"] <= 300
    assert "Line 2 alone is used by hand" in command(ground, "status")[1]
    time.sleep(0.5)
    with Stream([(ground.centre, INSIDE), (ground.lan, ground.lan.address)], port=VOICE) as stream:
        fibre, lte = (
            Tap(ground.edge, ground.work / f"chosen-{number}.pcap", leg=line["device"])
            for number, line in enumerate((FIBRE, LTE))
        )
        with fibre, lte:
            time.sleep(2)
        assert heavy(fibre) < 20, "what a line is measured by"
        assert heavy(lte) > 80
    assert stream.missing() == ([], [])
    # Killed, the agent's successor knows it.
    agent = ground.children[-1]
    agent.signal(signal.SIGKILL)
    agent.wait()
    ground.start_edge()
    ready(ground)
    eventually(lambda: (edge(ground).status()["chosen"] or {}).get("line") == 2, "its successor knows it", 15)
    with Stream([(ground.centre, INSIDE), (ground.lan, ground.lan.address)], port=VOICE) as stream:
        time.sleep(0.5)
        with dead(ground, "isp-two"):
            time.sleep(3)
    up, down = stream.missing()
    assert max(len(up), len(down)) < 50, "a second of a call, at most"
    ready(ground)
    assert command(ground, "use", "auto")[0] == 0
    eventually(lambda: not any(each["capped"] for each in told(ground)), "as they are judged", 10)
    assert edge(ground).status()["chosen"] is None
    for wrong, why in ((("4",), "there is no line 4 here"), (("x",), "1, 2")):
        code, said = command(ground, "use", *wrong)
        assert code != 0
        assert why in said


def test_the_other_line_dies_within_a_drill_and_the_cut_ends_at_once(ground: Ground) -> None:
    ready(ground)
    edge(ground).measure(30, line=1)
    eventually(lambda: cut(ground) == {1}, "the line is cut", 15)
    began = time.monotonic()
    with dead(ground, "isp-two"):
        eventually(lambda: cut(ground) == set(), "it is joined by itself", 10)
        eventually(lambda: lines(ground).get(1, {"up": False})["up"], "and works", 10)
        assert time.monotonic() - began < 25, "long before its time was over"
        edge(ground).end()
        eventually(lambda: 2 not in lines(ground), "the other is seen to be down", 10)
        with pytest.raises(RefusedError) as error:
            edge(ground).measure(10, line=1)
        assert error.value.error_id == "only_line"
    ready(ground)
    with pytest.raises(NotFoundError):
        edge(ground).measure(10, line=4)


def test_the_agent_is_killed_within_a_drill_and_the_relay_joins_the_line_by_itself(ground: Ground) -> None:
    ready(ground)
    with Stream([(ground.centre, INSIDE), (ground.lan, ground.lan.address)], port=VOICE) as stream:
        edge(ground).measure(5, line=1)
        eventually(lambda: cut(ground) == {1}, "the line is cut", 15)
        agent = ground.children[-1]
        agent.signal(signal.SIGKILL)
        agent.wait()
        time.sleep(9)  # its time is over, and nobody was there to say so
        relay = noted(ground.edge_paths.run / "relay" / "relay.pid")
        assert relay is not None
        os.kill(relay, 0)
        with dead(ground, "isp-two"):
            time.sleep(2)
        ground.start_edge()
        ready(ground)
        assert cut(ground) == set()
    assert stream.missing() == ([], []), "while the other was dead, the one that had been cut carried the call"
