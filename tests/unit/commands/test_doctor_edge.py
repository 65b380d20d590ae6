"""``centralino doctor`` on a branch's edge: what its agent says, in findings."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from appliance.cli import app
from appliance.commands import doctor_edge
from appliance.console.technician.door import new_code
from appliance.edge.paths import EdgePaths
from appliance.engine.unix import bind

WELL: dict[str, Any] = {
    "enrolled": True, "site": "torino", "state": "000001", "revision": 7, "on_trial": False, "centre_reached": True,
    "remotes": ["198.51.100.7 1194"], "certificate": "torino.1", "certificate_ends": "2099-01-01T00:00:00+00:00",
    "clock_sure": True, "kept_out": 0, "refused": None, "faults": [],
}  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EdgePaths:
    monkeypatch.setenv("CENTRALINO_EDGE", str(tmp_path / "edge"))
    monkeypatch.setenv("CENTRALINO_STATE", str(tmp_path / "none"))
    monkeypatch.setenv("LANGUAGE", "en")
    monkeypatch.setattr(doctor_edge, "PROGRAMS", ("sh",))
    monkeypatch.setattr(doctor_edge, "PING_GROUPS", tmp_path / "ping_group_range")
    doctor_edge.PING_GROUPS.write_text("0\t2147483647\n")
    made = EdgePaths.default()
    made.run.mkdir(parents=True)
    return made


@contextmanager
def saying(paths: EdgePaths, said: dict[str, Any]) -> Iterator[None]:
    """An agent that is asked once."""
    with socket.socket(socket.AF_UNIX) as listener:
        bind(listener, paths.socket)
        listener.listen(1)

        def answer() -> None:
            asked, _address = listener.accept()
            with asked:
                asked.sendall(json.dumps(said).encode() + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def looked() -> tuple[int, dict[str, tuple[str, str, str]]]:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    return done.exit_code, {each["check"]: (each["grade"], each["message"], each["mend"]) for each in found}


def test_an_edge_is_looked_at_as_an_edge_and_not_as_a_centre(paths: EdgePaths) -> None:
    with saying(paths, WELL):
        code, found = looked()
    assert set(found) == {"host", "disk", "kernel", "edge"}
    assert found["edge"][:2] == ("ok", "site torino: the centre is reached")
    assert code == 0
    assert not (paths.top.parent / "none").exists(), "no store is made by looking"


@pytest.mark.parametrize(
    ("more", "grade", "message", "code"),
    [
        ({"enrolled": False, "faults": []}, "warning", "it belongs to no site yet", 0),
        ({"centre_reached": False}, "fault", "the centre isn't reached through the tunnel", 1),
        ({"faults": ["openvpn is not installed (apt install openvpn)"]}, "fault", "openvpn is not installed (apt install openvpn)", 1),
        ({"refused": {"revision": 8, "times": 1, "why": "nobody"}}, "warning", "Revision 8 was undone: nobody", 0),
        ({"certificate_ends": "2020-01-01T00:00:00+00:00"}, "fault", "its certificate is over, or the clock is wrong", 1),
    ],
)  # fmt: skip
def test_what_is_not_well_is_found(paths: EdgePaths, more: dict[str, Any], grade: str, message: str, code: int) -> None:
    with saying(paths, {**WELL, **more}):
        done, found = looked()
    assert (found["edge"][:2], done) == ((grade, message), code)


def test_what_was_set_up_or_changed_at_the_router_itself_is_found(paths: EdgePaths) -> None:
    settings = [{"number": 1, "device": "wan", "access": {"type": "dhcp"}, "instead": None}]
    with saying(paths, {**WELL, "network": {"settings": settings, "trial_s": None, "devices": []}}):
        code, found = looked()
    assert (code, found["network"][:2]) == (0, ("warning", "interface wan was set up at the router itself"))
    assert found["network"][2].endswith("centralino edge network wan --given")
    paths.socket.unlink()
    link = {"device": "lte", "put_back": 3, "last": "rule 5321 oif lte table 5302"}
    with saying(paths, {**WELL, "links": [{**link, "device": "wan", "put_back": 0}, link]}):
        code, found = looked()
    assert code == 0
    assert found["network"][0] == "warning"
    assert found["network"][1].startswith("lte: Changed from outside and put back 3 times")


def test_an_agent_that_does_not_run_is_a_fault(paths: EdgePaths) -> None:
    code, found = looked()
    assert found["edge"][:2] == ("fault", "no edge runs here")
    assert code == 1


def test_a_console_without_a_good_code_is_found(paths: EdgePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    top = paths.top.parent / "console"
    monkeypatch.setenv("CENTRALINO_EDGE_CONSOLE", str(top))
    with saying(paths, WELL):
        assert "console" not in looked()[1], "there is none here"
        top.mkdir()
        assert looked()[1]["console"] == ("warning", "nobody can sign in: it has no code yet", "centralino edge code")
        (top / "code.json").write_text("{}")
        assert looked()[1]["console"] == ("fault", "nobody can sign in: its code can't be read", "centralino edge code")
        new_code(top / "code.json")
        assert looked()[1]["console"][:2] == ("ok", "a technician's code opens it")


@pytest.mark.parametrize(
    ("groups", "grade"), [("1\t0", "warning"), ("0\t0", "ok"), ("100\t200", "ok"), ("0\t2147483647", "ok")]
)
def test_a_kernel_that_lets_nobody_ping_is_found(paths: EdgePaths, groups: str, grade: str) -> None:
    doctor_edge.PING_GROUPS.write_text(groups + "\n")
    with saying(paths, WELL):
        code, found = looked()
    assert (found["kernel"][0], code) == (grade, 0)
    assert (doctor_edge.PING_FILE in found["kernel"][2]) == (grade == "warning")
