"""Settings of a branch's only line that cut it off, by the document and by hand: they undo themselves, and those that are right stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.core.errors import UnavailableError
from appliance.edge.asking import Edge
from tests.hil.agents.edge_ground import Ground, edge_ground
from tests.hil.agents.process import eventually
from tests.hil.test_protected_edge import FIBRE

ROUTER = "198.51.100.10"
"""The centre's own address: it is a neighbour."""


def entered(address: str, router: str) -> dict[str, Any]:
    return {**FIBRE, "access": {"type": "static", "addresses": [address], "gateways": [router]}}


GOOD, BAD = entered("198.51.100.77/24", ROUTER), entered("192.0.2.77/24", "192.0.2.1")


def commit(ground: Ground, line: dict[str, Any]) -> int:
    ground.commit(ground.centre.address_on("provider"), lines=[line])
    return ground.generations


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with edge_ground() as made:
        commit(made, FIBRE)
        made.enrol()
        made.start_centre()
        made.start_edge(["-m", "appliance.cli", "edge", "run", "--keep-clock", "--trial", "12"])
        made.reached(1)
        made.reached(commit(made, GOOD))
        for address in (f"{made.edge.address}/24", f"{made.edge.address6}/64"):  # of the network's own making
            made.edge.run(["ip", "address", "del", address, "dev", "eth0"])
        yield made


def told(ground: Ground) -> dict[str, Any]:
    try:
        return Edge(ground.edge_paths.orders).status()
    except UnavailableError:
        return {"lines": [], "links": [], "network": {}, "centre_reached": False}


def addresses(ground: Ground) -> list[str]:
    """In the kernel."""
    said = ground.edge.run(["ip", "-4", "-o", "address", "show", "dev", "eth0"]).stdout
    return [line.split()[3] for line in said.splitlines()]


def up(ground: Ground) -> bool:
    found = told(ground)
    return found["centre_reached"] and any(each["up"] for each in found["lines"])


def command(ground: Ground, *words: str) -> tuple[int, str]:
    argv = [sys.executable, "-m", "appliance.cli", "edge", "network", *words]
    env = {**os.environ, **ground.env, "CENTRALINO_LANGUAGE": "en", "COLUMNS": "200"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_a_commit_that_cuts_the_branch_off_is_undone_with_its_addresses(ground: Ground) -> None:
    eventually(lambda: addresses(ground) == ["198.51.100.77/24"] and up(ground), "by our own address alone", 20)
    bad = commit(ground, BAD)
    eventually(lambda: addresses(ground) == ["192.0.2.77/24"], "it is set up so", 20)
    eventually(lambda: not any(each["up"] for each in told(ground)["lines"]), "and cut off", 20)
    eventually(lambda: addresses(ground) == ["198.51.100.77/24"] and up(ground), "the former settings are back", 60)
    eventually(
        lambda: (ground.report().get("standing"), ground.report().get("revision")) == ("rolled_back", bad),
        "the centre knows",
        20,
    )
    commit(ground, GOOD)  # as it is


def test_a_setting_made_here_that_cuts_the_branch_off_is_undone(ground: Ground) -> None:
    eventually(lambda: up(ground), "all is well", 20)
    code, said = command(ground, "eth0", "--address", "192.0.2.77/24", "--router", "192.0.2.1")
    assert code == 0, said
    assert "is on trial" in said
    eventually(lambda: addresses(ground) == ["192.0.2.77/24"], "it is set up so", 10)
    eventually(lambda: not any(each["up"] for each in told(ground)["lines"]), "and cut off", 20)
    eventually(lambda: addresses(ground) == ["198.51.100.77/24"] and up(ground), "the former setting is back", 60)
    assert told(ground)["network"] == {"settings": [], "trial_s": None, "devices": []}


def test_a_setting_made_here_that_is_right_stays_until_the_document_says_another(ground: Ground) -> None:
    eventually(lambda: up(ground), "all is well", 20)
    code, said = command(ground, "eth0", "--address", "198.51.100.78/24", "--router", ROUTER)
    assert code == 0, said
    eventually(lambda: addresses(ground) == ["198.51.100.78/24"] and up(ground), "it is set up so", 20)
    eventually(lambda: told(ground)["network"].get("trial_s", 0) is None, "it has proven itself", 30)
    assert addresses(ground) == ["198.51.100.78/24"]
    code, said = command(ground)
    assert code == 0
    assert "198.51.100.78/24 (as entered)" in said
    assert "(set here)" in said
    code, said = command(ground, "--keep")
    assert code != 0
    assert "nothing is on trial" in said
    ground.reached(commit(ground, entered("198.51.100.79/24", ROUTER)))
    eventually(lambda: addresses(ground) == ["198.51.100.79/24"] and up(ground), "the document's word is newer", 20)


def test_what_makes_no_sense_is_refused_by_name(ground: Ground) -> None:
    eventually(lambda: up(ground), "all is well", 20)
    before = addresses(ground)
    for words, why in (
        (("eth9", "--dhcp"), "no line of this branch is at 'eth9'"),
        (("eth0", "--dhcp", "--given"), "one of --dhcp"),
        (("eth0",), "one of --dhcp"),
        (("--dhcp",), "one of --dhcp"),
        (("eth0", "--address", "198.51.100.78", "--router", ROUTER), "no length of its network"),
        (("eth0", "--address", "198.51.100.78/24", "--router", "192.0.2.1"), "none of the line's networks"),
        (("eth0", "--address", "198.51.100.78/24"), "gateways"),
    ):
        code, said = command(ground, *words)
        assert code != 0, words
        assert why in said, (words, said)
    assert addresses(ground) == before
