"""``centralino doctor`` finds each trouble that is really there, and says how to mend it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.commands.doctor import NTP_MARK, ports
from appliance.engine.logs import LIMIT_BYTES
from appliance.engine.processes import started
from appliance.history.run import Alarms
from appliance.history.spool import LIVE, Spool
from appliance.pbx.media.model import Listener
from appliance.run.engine_service import running_engine
from appliance.store.history import open_history
from appliance.store.sealing import Keyring
from tests.hil.agents.network import command as network
from tests.hil.agents.process import eventually
from tests.hil.command import PROGRAM, As, Command
from tests.hil.office import Office, open_office

SECONDS = re.compile(r"(\d+) s\b")
GONE_ON_S = 30
"""How long the doctor may take, on a busy machine."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("doctor")) as office:
        office.system.start_history()
        eventually(Spool(office.system.paths.engine.cel).is_read, "the history is read", 30)
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
        assert says(told.stdout, f"{item['check']}: {item['message']}")
    return found


def says(text: str, message: str) -> bool:
    """Whether a message is in a text that was written a moment later: seconds that it counts have gone on since."""
    counted = [int(seconds) for seconds in SECONDS.findall(message)]
    pattern = r"(\d+) s\b".join(re.escape(part) for part in SECONDS.sub("\0", message).split("\0"))
    return any(
        all(0 <= int(later) - before <= GONE_ON_S for before, later in zip(counted, match.groups(), strict=True))
        for match in re.finditer(pattern, text)
    )


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
        assert run.run("status", "--json").stdout.count("can't be reached") == 1
    finally:
        assert system.engine is not None
        system.engine.stop()
        system.start_engine()
    assert faults(run) == {}


def test_the_manager_interface_where_the_environment_says(office: Office, run: As) -> None:
    found = faults(run, CENTRALINO_AMI_PORT="6038")
    assert set(found) == {"engine", "ports"}
    assert "127.0.0.1:6038" in found["engine"]["message"]
    assert found["ports"]["message"] == "nobody listens at tcp 127.0.0.1 6038"
    assert "can't be reached" in " ".join(json.loads(run("status", "--json", CENTRALINO_AMI_PORT="6038"))["faults"])
    # From another network namespace than the engine's.
    host = office.system.host
    environment = {**office.system.environment, "CENTRALINO_ENGINE_NETNS": host.namespace, "LC_ALL": "C.UTF-8"}
    for words in (["doctor"], ["status", "--json"]):
        done = subprocess.run(
            [PROGRAM, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["faults"] == []


def test_a_port_that_another_program_took_while_the_engine_runs(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't be bound either way: what counts is whose socket it is."""
    system = office.system
    monkeypatch.setenv("CENTRALINO_ENGINE_NETNS", system.host.namespace)
    with system.store() as store:
        document = store.document()
    moved = document.get(Listener, "udp").model_copy(update={"port": 5062})
    changed = document.with_changes(put=[moved])
    where = f"udp {office.address} 5062"
    assert [each.message for each in ports(system.paths, changed)] == [f"nobody listens at {where}"]
    for address in (office.address, "0.0.0.0"):  # noqa: S104
        with system.host.socket() as taken:
            taken.bind((address, 5062))
            assert [each.message for each in ports(system.paths, changed)] == [f"another program listens at {where}"]


def test_an_applier_that_is_gone_or_finds_a_difference(office: Office, run: As) -> None:
    system = office.system
    system.applier.stop()
    assert faults(run)["applier"]["message"] == "the applier can't be reached"
    status = run.json("status")
    assert status["applied"] is None
    assert "the applier can't be reached" in status["faults"]
    system.start_applier()
    eventually(lambda: system.client.state()["verified"], "the applier has asked the engine")
    assert faults(run) == {}
    revision = system.client.state()["revision"]
    assert f"The engine was asked and has revision {revision}." in run("status")
    file = system.paths.engine.current / "pjsip.conf"
    right = file.read_text()
    with system.ami() as ami:
        try:
            file.write_text(right.replace("direct_media=no", "direct_media=yes"))
            ami.reload("res_pjsip")
            found = faults(run)["applier"]
            assert f"otherwise than revision {revision}; the first: " in found["message"]
            assert "restart the engine" in found["mend"]
        finally:
            file.write_text(right)
            ami.reload("res_pjsip")
    assert faults(run) == {}


def test_what_waits_to_be_confirmed_or_for_its_time(office: Office, run: As) -> None:
    run("extension", "set", "ext-204", "label=For ten minutes")
    revision = run.json("commit", "--confirm", "10m")["revision"]
    waits = run.json("status")["applied"]["confirm"]
    assert (waits["revision"], waits["previous"]) == (revision, revision - 1)
    assert 500 < waits["left_s"] <= 600
    assert re.search(
        rf"Revision {revision} waits to be confirmed; \d+ s are left, then revision {revision - 1} comes", run("status")
    )
    done = run.run("doctor", "--json")
    (found,) = [item for item in json.loads(done.stdout) if item["check"] == "applier" and item["grade"] == "warning"]
    assert found["mend"] == "centralino confirm"
    run("confirm")
    assert run.json("status")["applied"]["confirm"] is None
    run("extension", "set", "ext-204", "label=Later")
    later = run.json("commit", "--at", "2090-01-01T00:00")["revision"]
    assert [item["revision"] for item in run.json("status")["applied"]["scheduled"]] == [later]
    assert f"Revision {later} will be applied at 2090-01-01 00:00:00." in run("status")


def test_a_history_that_nobody_writes(office: Office, run: As) -> None:
    system = office.system
    cel = system.paths.engine.cel
    eventually(lambda: faults(run) == {}, "it has read everything", 30, 0.5)
    system.history.signal(signal.SIGSTOP)  # it lives, and does nothing
    try:
        with (cel / LIVE).open("a") as spool:
            spool.write("\n")
        late = time.time() - 200
        os.utime(cel / LIVE, (late, late))
        assert re.fullmatch(r"events of the last 2\d\d s aren't recorded yet", faults(run)["history"]["message"])
    finally:
        system.history.signal(signal.SIGCONT)
    eventually(lambda: faults(run) == {}, "it has read on", 30, 0.5)
    system.history.stop()
    found = faults(run)
    assert found["history"]["message"] == "nobody records calls: its daemon doesn't run"
    system.restart_history()
    eventually(Spool(cel).is_read, "the history is read", 30)
    assert faults(run) == {}


def test_a_key_that_is_gone_or_another_one(office: Office, run: As, tmp_path: Path) -> None:
    key = office.system.paths.secret_key
    kept = key.rename(tmp_path / "kept")
    try:
        assert faults(run)["keys"]["message"] == f"there is no key file {key}"
        Keyring.load_or_create(key)
        found = faults(run)["keys"]
        assert f"can't be opened with the key in {key}" in found["message"]
        assert found["mend"].startswith("restore the key file")
    finally:
        key.unlink(missing_ok=True)
        kept.rename(key)
    assert faults(run) == {}


@pytest.mark.parametrize(
    ("program", "says", "grade", "message"),
    [
        (
            "chronyc",
            "A29FC87B,192.0.2.1,3,1,0.0,0.0,0.0,1,0,0,0.1,0.1,1024.2,Normal",
            "ok",
            "synchronised by the network",
        ),
        (
            "chronyc",
            "7F7F0101,,10,1,0.0,0.0,0.0,1,0,0,0.1,0.1,0.0,Not synchronised",
            "warning",
            "nothing keeps it right",
        ),
        ("timedatectl", "yes", "ok", "synchronised by the network"),
        ("timedatectl", "no", "warning", "nothing keeps it right"),
        ("timedatectl", "Failed to connect to bus", "warning", "unknown whether anything keeps it right"),
    ],
)
def test_the_clock_is_what_its_keeper_says(run: As, tmp_path: Path, program: str, says: str, grade: str, message: str) -> None:  # fmt: skip
    assert not NTP_MARK.exists(), "this machine's own"
    (tmp_path / program).write_text(f"#!/bin/sh\necho '{says}'\n")
    (tmp_path / program).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    found = [item for item in run.json("doctor", PATH=path) if item["check"] == "clock"]
    assert [(item["grade"], item["message"]) for item in found] == [(grade, message)]


def test_what_one_may_not_look_at(office: Office) -> None:
    """Root without its rights: files of the engine's user are closed to it."""
    system = office.system
    argv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", PROGRAM, "doctor", "--json"]
    environment = {**system.environment, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        system.host.argv(argv), env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    found = {item["check"]: item for item in json.loads(done.stdout) if item["grade"] == "fault"}
    assert {"engine", "ports", "history"} <= set(found)
    for check in ("engine", "ports", "history"):
        assert found[check]["message"].startswith("you may not look at "), found
        assert found[check]["mend"] == "ask as the appliance's user: sudo centralino doctor"


def test_a_supervisor_that_is_gone(office: Office, run: As) -> None:
    """What a killed one leaves behind; here the others run without."""
    system = office.system
    pid = running_engine(system.paths.engine.control_socket)
    told = system.paths.state / "run" / "supervisor.json"
    engine = {"name": "engine", "pid": pid, "started": started(pid or 0)}
    dead = {"name": "history", "pid": 2**22 - 1, "started": "1"}
    told.write_text(json.dumps({"supervisor": os.getpid(), "services": [engine, dead]}))
    try:
        assert faults(run)["supervisor"]["mend"] == "start it, calls go on: make run"
        status = run.json("status")
        assert [(item["name"], item["pid"]) for item in status["services"]] == [
            ("supervisor", None), ("engine", pid), ("history", None)
        ]  # fmt: skip
        assert status["faults"] == ["supervisor does not run", "history does not run"]
    finally:
        told.unlink()


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


def test_the_engine_s_logs_are_bounded(office: Office) -> None:
    """Filled as by an attack: the history's daemon has the engine begin new ones, and it goes on writing there."""
    log = office.system.paths.engine.messages
    with log.open("ab") as more:
        more.truncate(LIMIT_BYTES + 1)
    eventually(lambda: log.stat().st_size < LIMIT_BYTES, "it is rotated", 30)
    assert log.with_name("messages.0").stat().st_size > LIMIT_BYTES
    before = log.stat().st_size
    with office.system.ami() as ami:
        ami.command("logger reload")
    eventually(lambda: log.stat().st_size > before, "the engine writes to the new one")
    log.with_name("messages.0").unlink()
