"""``centralino doctor`` finds each trouble that is really there, and says how to mend it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.history.run import Alarms
from appliance.run.engine_service import running_engine
from appliance.store.history import open_history
from tests.hil.agents.network import command as network
from tests.hil.agents.process import eventually
from tests.hil.command import As, Command
from tests.hil.office import Office, open_office


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("doctor")) as office:
        yield office


@pytest.fixture(scope="module")
def run(office: Office) -> Iterator[As]:
    with Command(office.system.host, office.system.environment, office.work) as command:
        yield As(command)


def faults(run: As, **env: str) -> dict[str, dict[str, Any]]:
    """What isn't well, by check. The exit code says whether there are faults; people are told the same."""
    done = run.run("doctor", "--json", **env)
    found = {item["check"]: item for item in json.loads(done.stdout) if item["grade"] == "fault"}
    assert done.code == (1 if found else 0), done
    told = run.run("doctor", **env)
    assert told.code == done.code
    for item in found.values():
        assert f"{item['check']}: {item['message']}" in told.stdout
    return found


def test_a_healthy_system_has_no_fault(run: As) -> None:
    assert faults(run) == {}


def test_key_files_that_others_can_read(office: Office, run: As) -> None:
    key = office.system.paths.secret_key
    key.chmod(0o644)
    try:
        # The store refuses such a key too, wherever it needs it; the doctor says what to type.
        assert faults(run)["keys"]["mend"] == f"chmod 600 {key}"
    finally:
        key.chmod(0o600)
    assert faults(run) == {}


def test_an_engine_that_was_killed_and_a_port_that_another_program_took(office: Office, run: As) -> None:
    system = office.system
    pid = running_engine(system.paths.engine.control_socket)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: running_engine(system.paths.engine.control_socket) is None, "the engine is gone")
    try:
        assert set(faults(run)) == {"engine"}
        assert faults(run)["engine"]["mend"].startswith("start the appliance")
        with system.host.socket() as taken:
            taken.bind((office.address, 5060))
            found = faults(run)["ports"]
            assert found["message"] == f"another program listens at udp {office.address} 5060"
            assert found["mend"] == "see who: ss -lntup"
    finally:
        assert system.engine is not None
        system.engine.stop()
        system.start_engine()
    assert faults(run) == {}


def test_an_address_that_this_machine_lost(office: Office, run: As) -> None:
    host = office.system.host
    address = ["ip", "-n", host.namespace, "addr", "VERB", f"{office.address}/24", "dev", "eth0"]
    network(["del" if word == "VERB" else word for word in address])
    try:
        assert f"{office.address} is not an address of this machine" in faults(run)["ports"]["message"]
    finally:
        network(["add" if word == "VERB" else word for word in address])
    assert faults(run) == {}


def test_complaints_in_the_engine_s_log(office: Office, run: As) -> None:
    log = office.system.paths.engine.messages
    kept = log.read_text()
    with log.open("a") as more:
        more.write("[2030-01-01 00:00:00.000] WARNING[1] x.c: [red]odd[/] thing\n")
    try:
        done = run.run("doctor")
        assert done.code == 0
        assert "1 errors and warnings in its log; the last: " in done.stdout
        assert "[red]odd[/] thing" in done.stdout
    finally:
        log.write_text(kept)


def test_an_alarm_of_the_history(office: Office, run: As) -> None:
    database = open_history(paths=office.system.paths)
    alarms = Alarms(database)
    try:
        alarms.set("spool_full", "critical", "/spool is full: calls are being lost", active=True)
        assert faults(run)["history"]["message"] == "/spool is full: calls are being lost"
        alarms.set("spool_full", "critical", "", active=False)
        assert faults(run) == {}
    finally:
        database.close()


def test_programs_that_are_missing(run: As) -> None:
    found = faults(run, PATH="/nowhere")["host"]
    assert found["message"] == "missing: bwrap, setpriv, mmdebstrap"
    assert found["mend"] == "tools/host-packages run"


def test_a_disk_that_is_nearly_full(run: As, tmp_path: Path) -> None:
    network(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(tmp_path)])
    try:
        # A process of its own: one that was started before doesn't see the new mount.
        done = run.process("doctor", "--json", CENTRALINO_STATE=str(tmp_path))
        found = next(item for item in json.loads(done.stdout) if item["check"] == "disk")
        assert found["grade"] == "fault"
        assert "only 0.1 GB" in found["message"]
        assert "make room" in found["mend"]
    finally:
        network(["umount", str(tmp_path)])


def test_a_store_that_is_garbage(run: As, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "document.db").write_bytes(b"not a database" * 1000)
    assert "document.db" in faults(run, CENTRALINO_STATE=str(tmp_path))["store"]["message"]


def test_an_engine_root_that_is_not_built(run: As, tmp_path: Path) -> None:
    assert "make engine" in faults(run, CENTRALINO_CACHE=str(tmp_path))["engine root"]["mend"]
