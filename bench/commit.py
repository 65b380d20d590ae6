"""From `commit` to the engine serving it, at 5,000 extensions with two devices each.

Through the applier as everybody does it: propose, verify, plan, apply, read back, promote; the clock stops when the
engine's own answer shows the new value. Baseline in the same run: the engine's bare `module reload res_pjsip.so` of the
same files, really read again, which is what every change would cost at least if names stood in endpoints.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from appliance.core.document import parse
from appliance.engine.ami import AmiClient
from appliance.engine.known import troubles
from appliance.kinds import KINDS
from bench import Result, Say
from tests.hil.agents.network import Host, Network
from tests.hil.system import Rows, System, office

EXTENSIONS: Final = 5000
TARGETS: Final = {
    "name_median_s": "<= 1.5",
    "device_median_s": "<= 4",
    "engine_start_s": "<= 8",
    "export_s": "<= 2",
    "log_troubles": "<= 0",
}


def company(address: str, extensions: int) -> Rows:
    """An office with four-digit numbers, two devices each."""
    return office(address, extensions, first=2000, devices=2)


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: 200 extensions, one change of each."""
    extensions, rounds = (200, 1) if smoke else (EXTENSIONS, 7)
    figures: dict[str, Any] = {"extensions": extensions, "devices": 2 * extensions}
    with Network() as net, tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        host = net.host("pbx")
        with System(host, Path(folder), company(host.address, extensions)) as system:
            figures["first_import_s"] = round(time.monotonic() - began, 2)
            say(f"{extensions} extensions imported and running after {figures['first_import_s']} s")
            assert system.engine is not None
            wait_for(lambda: bool(system.client.state()["verified"]), 120)  # it isn't asking when the engine stops
            system.engine.stop()
            figures["engine_start_s"] = clock(system.start_engine)
            say(f"engine start: {figures['engine_start_s']} s")
            with system.ami() as ami:
                figures |= changes(system, ami, rounds, say)
                figures["command_name_s"] = statistics.median(by_command(system, ami, host, n) for n in range(rounds))
                say(f"centralino commit of a name: {figures['command_name_s']} s, start of Python included")
                baseline = {"bare_pjsip_reload_s": bare_reload(system, ami)}
                say(f"bare reload of {len(system.passwords)} devices: {baseline['bare_pjsip_reload_s']} s")
            figures["log_troubles"] = len(troubles(system.log()))
            for line in troubles(system.log()):
                say(f"the engine complained: {line}")
            figures["log_known"] = len(system.log()) - figures["log_troubles"]
            figures["export_s"] = clock(lambda: centralino(system, "export", str(Path(folder) / "export.yaml")))
            say(f"export: {figures['export_s']} s")
    return Result("commit", figures, baseline, TARGETS)


def changes(system: System, ami: AmiClient, rounds: int, say: Say) -> dict[str, Any]:
    """Medians of changing a display name and a device, and where the time goes."""
    names, devices = [], []
    phases: dict[str, Any] = {}
    for turn in range(rounds):
        number = str(2010 + turn)
        label = f"Renamed {turn}"
        extension = parse(KINDS, "extension", {"id": f"ext-{number}", "number": number, "label": label, "site": "hq"})
        began = time.monotonic()
        answer = system.commit(extension)
        wait_for(lambda n=number, t=label: served_name(ami, n) == t)  # type: ignore[misc]
        names.append(time.monotonic() - began)
        phases["name_phases_s"] = answer.get("timing", {})
        device = parse(
            KINDS,
            "device",
            {
                "id": f"{number}-1",
                "extension": f"ext-{number}",
                "slot": 1,
                "secret": f"{number}-1",
                "language": "en",
            },
        )
        began = time.monotonic()
        answer = system.commit(device)
        devices.append(time.monotonic() - began)
        phases["device_phases_s"] = answer.get("timing", {})
        say(f"round {turn + 1}/{rounds}: name {names[-1]:.2f} s, device {devices[-1]:.2f} s")
    return {
        "name_median_s": round(statistics.median(names), 3),
        "device_median_s": round(statistics.median(devices), 3),
        **phases,
    }


def bare_reload(system: System, ami: AmiClient) -> float:
    """Seconds that the engine takes to read its endpoints again; touched, for it leaves a file alone that is as old as before."""
    file = system.paths.engine.current / "pjsip.conf"
    later = file.stat().st_mtime + 10
    os.utime(file, (later, later))
    return clock(lambda: ami.reload("res_pjsip.so"))


def by_command(system: System, ami: AmiClient, host: Host, turn: int) -> float:
    """Seconds from typing ``centralino commit`` to the engine serving the change and the prompt being back."""
    label = f"By hand {turn}"
    centralino(system, "extension", "set", "ext-2009", f"label={label}", host=host)
    began = time.monotonic()
    centralino(system, "commit", "-m", label, host=host)
    wait_for(lambda: served_name(ami, "2009") == label)
    return round(time.monotonic() - began, 3)


def served_name(ami: AmiClient, number: str) -> str:
    """What calls get when they ask for the name of an extension."""
    return ami.getvar(f"AST_CONFIG(tables/names.conf,{number[-2:]},{number})")


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Poll until true. :raises TimeoutError: not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the engine doesn't serve the change")
        time.sleep(0.005)


def clock(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    began = time.monotonic()
    action()
    return round(time.monotonic() - began, 3)


def centralino(system: System, *words: str, host: Host | None = None) -> None:
    """Run the command as a person does, start of Python included."""
    argv = [sys.executable, "-m", "appliance.cli", *words]
    subprocess.run(
        host.argv(argv) if host else argv, env=system.environment, check=True, capture_output=True, timeout=120
    )
