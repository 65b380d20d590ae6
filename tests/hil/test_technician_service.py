"""The technician's console as its unit runs it, beside an edge as its own unit runs that: it comes to the agent's sockets, and to nothing that is secret."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from appliance.console.technician.door import new_code
from appliance.console.technician.unit import unit as console_unit
from appliance.edge.paths import EdgePaths
from appliance.edge.unit import unit as edge_unit
from appliance.paths import CHECKOUT
from tests.hil.agents.network import require_root
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.unit import CONSOLE_UID, UID, confined
from tests.hil.engine_under_test import free_port

PROGRAM = Path("/usr/bin/centralino")


@pytest.fixture
def work() -> Iterator[Path]:
    require_root()
    with tempfile.TemporaryDirectory(prefix="centralino-console-") as folder:
        Path(folder).chmod(0o711)  # pytest's own are closed to the users of services
        yield Path(folder)


def place(work: Path, name: str, uid: int, mode: int) -> Path:
    """A directory as systemd makes it for a service."""
    made = work / name
    made.mkdir()
    made.chmod(mode)
    os.chown(made, uid, uid)
    return made


def asked(port: int, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    body = headers.pop("body", None)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    headers_there = {name.lower(): value for name, value in answer.getheaders()}
    found = answer.status, headers_there, answer.read().decode()
    connection.close()
    return found


def test_it_reaches_the_agent_and_none_of_its_files(work: Path) -> None:
    top, run = place(work, "edge", UID, 0o700), place(work, "run", UID, 0o710)
    own = place(work, "console", CONSOLE_UID, 0o700)
    port = free_port()
    env = {
        "CENTRALINO_EDGE": str(top), "CENTRALINO_EDGE_RUN": str(run), "CENTRALINO_EDGE_CONSOLE": str(own), "PYTHONPATH": str(CHECKOUT),
        "LANG": "C.UTF-8",
    }  # fmt: skip
    paths = EdgePaths(top, run)
    code = new_code(own / "code.json")
    assert (own / "code.json").stat().st_uid == CONSOLE_UID, "made by root, and its service reads it"
    (top / "secret").write_text("a key")
    (run / "openvpn.conf").write_text("a key")
    for file in (top / "secret", run / "openvpn.conf"):
        file.chmod(0o600)
        os.chown(file, UID, UID)
    with ExitStack() as stack:
        edge = stack.enter_context(confined(edge_unit(PROGRAM), work, writable=(top, run)))
        console = stack.enter_context(confined(console_unit(PROGRAM), work, writable=(own,)))
        words = [sys.executable, "-m", "appliance.cli", "edge"]
        stack.enter_context(Child([*edge, *words, "run", "--keep-clock"], work / "edge.log", env=env))
        try:
            eventually(paths.orders.exists, "the agent listens", 20)
        except AssertionError:
            pytest.fail((work / "edge.log").read_text()[-3000:])
        child = stack.enter_context(
            Child(
                [*console, *words, "console", "--listen", "127.0.0.1", "--port", str(port)],
                work / "console.log",
                env=env,
            )
        )
        try:
            eventually(lambda: "listens at" in child.log.read_text(), "the console listens", 20)
        except AssertionError:
            pytest.fail(child.log.read_text()[-3000:])
        status, headers, _page = asked(
            port, "POST", "/sign-in", body=f"code={code}", **{"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert status == 303
        cookie = headers["set-cookie"].partition(";")[0]
        status, _headers, page = asked(port, "GET", "/", Cookie=cookie)
        assert status == 200
        assert "it belongs to no site yet" in page, "which is the agent's word"
        user = Path(f"/proc/{served_by(port)}/status").read_text()
        found = dict(re.findall(r"(?m)^(\w+):\s*(.*)$", user))
        assert found["Uid"].split()[0] == str(CONSOLE_UID)
        assert {found["CapEff"], found["CapBnd"], found["CapAmb"]} == {"0" * 16}
        assert found["NoNewPrivs"] == "1"
        for argv in (
            ["cat", str(top / "secret")],
            ["ls", str(top)],
            ["cat", str(run / "openvpn.conf")],
            ["ls", str(run)],
            ["touch", str(run / "x")],
        ):
            done = subprocess.run(
                [*console, *argv], env={**os.environ, **env}, capture_output=True, text=True, check=False
            )
            assert done.returncode != 0, f"{argv}: {done.stdout}"
            assert "Permission denied" in done.stderr or "Read-only" in done.stderr, done.stderr


def served_by(port: int) -> int:
    """The process that listens there."""
    said = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"pid=(\d+)", said)
    assert found is not None, said
    return int(found[1])
