"""``centralino run``: kill -9 of each process that it keeps, and of itself. The engine's calls outlive all but the engine."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.applier.client import ApplierClient
from appliance.core.errors import CentralinoError
from appliance.paths import Paths
from appliance.store import Store
from tests.hil.agents.network import Host, Network
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.company import PBX, talk


class Appliance:
    """What ``make run`` runs, on a host of its own."""

    def __init__(self, host: Host, work: Path) -> None:
        self.host, self.work = host, work
        self.paths = Paths(state=work / "state", cache=Paths.default().cache)
        self.environment = {
            **os.environ, "CENTRALINO_STATE": str(self.paths.state), "CENTRALINO_CACHE": str(self.paths.cache),
        }  # fmt: skip

    def run(self) -> Child:
        """Start it; returns when everything is up."""
        log = self.work / f"run-{len(list(self.work.glob('run-*')))}.log"
        child = self.host.start(
            [sys.executable, "-m", "appliance.cli", "run", "--address", PBX], log, env=self.environment
        )

        def up() -> bool:
            assert child.running, child.text()
            return "Centralino is running" in child.text()

        eventually(up, "the appliance is up", 60, 0.1)
        return child

    def pids(self) -> dict[str, int | None]:
        """Process ids by name of service."""
        try:
            told = json.loads((self.paths.state / "run" / "supervisor.json").read_text())
        except (OSError, ValueError):
            return {}
        return {item["name"]: item["pid"] for item in told["services"]}

    def passwords(self) -> dict[str, str]:
        with Store.default(self.paths) as store:
            return dict(store.keyring(self.paths.secret_key).reveal(store.document()))

    def applied(self) -> bool:
        """Whether the applier has asked the engine for everything and found it right."""
        try:
            return bool(ApplierClient(self.paths.applier_socket).state()["verified"])
        except CentralinoError:
            return False

    def back(self, name: str, old: int | None) -> int:
        """Wait until a service that died runs again: its new process id."""

        def there() -> int | None:
            pid = self.pids().get(name)
            return pid if pid and pid != old else None

        return eventually(there, f"{name} runs again", 45, 0.1)


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Network() as net:
        net.host("phones")
        yield Appliance(net.host("pbx", number=10), tmp_path)


@pytest.mark.slow
def test_whatever_is_killed_comes_back_and_calls_go_on(appliance: Appliance) -> None:
    phones, work = appliance.host.net.hosts["phones"], appliance.work
    supervisor = appliance.run()
    passwords = appliance.passwords()

    def phone(device: str, hz: int) -> SoftPhone:
        return SoftPhone(phones, work / device, device, passwords[device], PBX, tone_hz=hz, expires_s=3600)

    with phone("202-desk", 440) as one, phone("203-desk", 620) as two:
        one.register()
        two.register()
        call = one.call("203").ringing()
        incoming = two.incoming().answer()
        call.established()
        mark = one.hears(two.tone_hz).mark()
        first = appliance.pids()
        assert set(first) == {"applier", "provider", "engine", "history", "notifications", "hub", "console", "gate"}
        for name in ("applier", "history", "notifications", "hub", "provider", "console", "gate"):
            pid = first[name]
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            appliance.back(name, pid)
        assert appliance.pids()["engine"] == first["engine"]
        # The supervisor itself: the engine goes on with the call, and is taken over by the next start, not restarted.
        supervisor.signal(signal.SIGKILL)
        supervisor.wait()
        assert one.since(mark, two.tone_hz).longest_gap_ms <= 60
        supervisor = appliance.run()
        assert appliance.pids()["engine"] == first["engine"]
        assert one.since(mark, two.tone_hz).good()
        call.hangup()
        incoming.closed()
        eventually(appliance.applied, "the configuration is as committed", 30, 0.1)
        # The engine.
        pid = appliance.pids()["engine"]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        appliance.back("engine", pid)
        eventually(appliance.applied, "the new engine has what is committed", 30, 0.1)
        talk(one, two, one.call("203"))
        call = one.call("00200009998").established(30)  # through the line, which has registered again
        call.hangup()
    supervisor.signal(signal.SIGINT)
    assert supervisor.wait(40) == 0, supervisor.text()
    engine = appliance.paths.engine.control_socket
    assert not [pid for pid in Path("/proc").iterdir() if pid.name.isdigit() and _belongs(pid, appliance)], engine


def _belongs(process: Path, appliance: Appliance) -> bool:
    """Whether a process was started for this appliance."""
    try:
        return str(appliance.paths.state).encode() in (process / "environ").read_bytes()
    except OSError:
        return False
