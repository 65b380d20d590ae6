"""``centralino run`` and ``centralino stop``: the whole appliance with the demo company, as a newcomer starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from appliance.paths import Paths
from appliance.run.demo import CALL_BACK_NUMBER
from appliance.run.engine_service import running_engine
from tests.hil.agents.network import Host, Network
from tests.hil.agents.network import command as network
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.softphone import SoftPhone, converse
from tests.hil.command import PROGRAM, As, Command

START_S = 120
AGAIN_S = 10
"""The second start's limit."""


@pytest.fixture
def host() -> Iterator[Host]:
    with Network() as net:
        net.host("phones")
        yield net.host("appliance")


def started(host: Host, log: Path, environment: dict[str, str], *options: str) -> Child:
    """A run that has shown its card."""
    child = host.start([PROGRAM, "run", *options], log, env=environment)

    def ready() -> bool:
        assert child.running, child.text()
        return "Ctrl-C stops everything" in child.text()

    eventually(ready, "the card is shown", START_S)
    return child


def password(card: str, user: str) -> str:
    found = re.search(rf" {user} +(\S+) ", card)
    assert found is not None, card
    return found[1]


def first_calls(host: Host, work: Path, card: str, run: As) -> None:
    """What the card says to dial first."""

    def phone(user: str, hz: int) -> SoftPhone:
        # G.722: what it hears is then judged by its own recording; the tap sees no loopback.
        secret = password(card, user)
        return SoftPhone(host, work / user, user, secret, "127.0.0.1", tone_hz=hz, codecs=["G722"], expires_s=600)

    with phone("204-desk", 440) as one, phone("201-desk", 620) as reception:
        one.register()
        reception.register()
        assert {item["device"] for item in run.json("status")["registrations"]} == {"204-desk", "201-desk"}
        call = one.call("*43").established()
        one.hears(one.tone_hz, 40)
        call.hangup()
        for number in ("201", "400"):
            call = one.call(number).ringing()
            incoming = reception.incoming().answer()
            call.established()
            assert all(report.good() for report in converse(one, reception)), number
            call.hangup()
            incoming.closed()
        eventually(lambda: run.json("status")["lines"] == [{"name": "line-1", "state": "registered"}], "the line is registered", 60)  # fmt: skip
        for number in ("112", "00200009998"):
            one.call(number).established(40).hangup()
        assert "0" + CALL_BACK_NUMBER.removeprefix("+39") in card
        one.call("0" + CALL_BACK_NUMBER.removeprefix("+39")).closed(40)
        incoming = reception.incoming(60)  # the provider calls the main number, which rings the front desk
        assert CALL_BACK_NUMBER.removeprefix("+39") in incoming.peer
        incoming.answer().hangup()
        eventually(lambda: run.json("status")["calls"] == [], "no call is left", 30)

    def recorded() -> bool:
        return {("emergency", "answered"), ("outbound", "answered"), ("inbound", "answered")} <= {
            (item["direction"], item["outcome"]) for item in run.json("calls")["calls"]
        }

    eventually(recorded, "the calls are in the history", 30, 0.3)


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
        assert names == [
            "supervisor",
            "applier",
            "provider",
            "engine",
            "history",
            "notifications",
            "hub",
            "console",
            "gate",
        ]
        assert all(item["pid"] for item in status["services"])
        assert (status["faults"], status["devices"]) == ([], 14)
        first_calls(host, tmp_path, card, run)
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
        with started(host, tmp_path / "second", environment, "--address", host.address) as second:
            seconds = re.search(r"ready in (\d+) s", second.text())
            assert seconds is not None
            print(f"second start: {seconds[1]} s")  # noqa: T201
            assert int(seconds[1]) < AGAIN_S
            assert password(second.text(), "202-desk") == password(card, "202-desk")
            assert "Sales desk" in second.text()
            moved = f"Phones connect at {host.address}"
            assert [item["message"] for item in run.json("history")] == [moved, "Rename sales", "Demo company"]
            addresses = {item["id"]: item["address"] for item in run.json("listener", "list")}
            assert addresses == {**dict.fromkeys(("tcp", "tls", "udp", "wss"), host.address), "trunks": "127.0.0.1"}
            certificate = x509.load_pem_x509_certificate((state / "engine" / "tls" / "appliance.crt").read_bytes())
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert host.address in [str(each.value) for each in names]
            phones = host.net.hosts["phones"]
            secret = password(card, "202-desk")
            with SoftPhone(phones, tmp_path / "lan", "202-desk", secret, host.address) as one:
                one.register()
                one.call("*43").established().hangup()
            assert run.run("doctor").code == 0, run.run("doctor").stdout
            run("stop")
            assert second.wait(30) == 0
        with started(host, tmp_path / "third", environment) as third:
            assert run.json("history")[0]["message"] == moved, "it stays there"
            third.signal(signal.SIGINT)
            assert third.wait(30) == 0


AS_A_USER = """
import os, subprocess, sys
top, checkout, cache = sys.argv[1:]
def bound(name, place):  # what lies where only root can look is shown to the user elsewhere
    os.mkdir(f"{top}/{name}")
    subprocess.run(["mount", "--bind", place, f"{top}/{name}"], check=True)
bound("checkout", checkout)
bound("cache", cache)
os.mkdir(f"{top}/state")
for place in (top, f"{top}/state"):
    os.chown(place, 65534, 65534)
os.chdir(f"{top}/checkout")
os.environ |= {"CENTRALINO_STATE": f"{top}/state", "CENTRALINO_CACHE": f"{top}/cache", "LC_ALL": "C.UTF-8"}
user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
os.execvp(user[0], [*user, f"{top}/checkout/.venv/bin/python", "-B", "-m", "appliance.cli", "run"])
"""


def test_an_ordinary_user_runs_it_too(host: Host) -> None:
    """As far as the kernel lets users make namespaces; where it doesn't, that is what it says."""
    checkout, cache = Path(__file__).parents[2], Paths.default().cache
    with tempfile.TemporaryDirectory() as top:
        log = Path(top).with_suffix(".log")
        argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", AS_A_USER]
        child = host.start([*argv, top, str(checkout), str(cache)], log)
        try:
            eventually(lambda: "Ctrl-C stops everything" in child.text() or not child.running, "card or error", START_S)
            if users_get_namespaces():
                assert child.running, child.text()
                engine = running_engine(Path(top, "state/engine/run/asterisk.ctl"))
                assert engine is not None
                assert Path(f"/proc/{engine}").stat().st_uid == 65534
                child.signal(signal.SIGTERM)
                assert child.wait(40) == 0
            else:
                assert child.wait(10) == 1
                assert "this kernel refuses the engine's sandbox" in child.text()
                assert "start it as root" in child.text()
        finally:
            child.stop()
            log.unlink()
    assert network(["ip", "netns", "pids", host.namespace]).stdout == ""


def users_get_namespaces() -> bool:
    """Whether this kernel gives namespaces to whoever isn't root."""
    argv = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "unshare",
        "--user",
        "--map-root-user",
        "true",
    ]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0
