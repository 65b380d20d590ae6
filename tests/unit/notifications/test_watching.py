"""What isn't well with the voice VPN is told to whoever wants alarms: raised when it lasts, over when it is."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.history.alarms import Alarms
from appliance.history.service import History
from appliance.notifications.watching import LASTING_S, SILENT, Watching, alarms_of
from appliance.vpn.asking import told
from tests.unit.notifications.ground import Ground

WELL: dict[str, Any] = {"alarms": [], "daemons": [{"interface": "voice-0", "standing": "up", "alarm": ""}], "faults": [], "branches": []}  # fmt: skip
EXPIRED = {
    "id": "crl_expires",
    "severity": "error",
    "message": "the list couldn't be renewed",
    "hint": "free some space",
}


@contextmanager
def saying(file: Path, said: dict[str, Any]) -> Iterator[None]:
    """The voice VPN's process, as far as it tells."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(file))
        listener.listen()

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(json.dumps(said).encode() + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            file.unlink()


def test_what_lasts_is_an_alarm_and_is_over_when_it_is(ground: Ground) -> None:
    now = [0.0]
    history = History(ground.database)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vpn.sock"
        watching = Watching(Alarms(ground.database), lambda: told(file), lambda: now[0])

        def look() -> dict[str, tuple[str, str]]:
            watching.look()
            return {each.code: (each.severity, each.message) for each in history.alarms()}

        with saying(file, {**WELL, "alarms": [EXPIRED]}):
            assert look() == {}, "it may be over in a moment"
            now[0] += LASTING_S
            alarms = {"vpn_crl_expires": ("critical", "the list couldn't be renewed (free some space)")}
            assert look() == look() == alarms
        assert look() == {}, "nobody says so any more"
        now[0] += LASTING_S
        assert look() == {"vpn_silent": ("critical", SILENT)}
        # The next process goes on with what this one raised.
        watching = Watching(Alarms(ground.database), lambda: told(file), lambda: now[0])
        with saying(file, WELL):
            assert look() == {}


def test_each_kind_is_one_alarm_however_many_there_are() -> None:
    branch = {"id": "branch_certificate_ended", "severity": "warning", "message": "it ended", "hint": "enrol it"}
    daemon = {"interface": "voice-1", "standing": "gone", "alarm": "voice-1 doesn't answer"}
    found = alarms_of({**WELL, "alarms": [branch, branch], "daemons": [daemon], "faults": ["the disk", "and more"]})
    assert found == {
        "vpn_branch_certificate_ended": ("warning", "it ended (enrol it) and 1 more"),
        "vpn_daemon": ("critical", "voice-1 doesn't answer"), "vpn_fault": ("critical", "the disk and 1 more"),
    }  # fmt: skip


def test_where_there_is_no_vpn_nothing_is_told(ground: Ground) -> None:
    watching = Watching(Alarms(ground.database), None)
    watching.look()
    assert History(ground.database).alarms() == []
