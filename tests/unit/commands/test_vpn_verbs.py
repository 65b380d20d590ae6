"""What ``centralino vpn status`` and ``bans list`` say to people, in Italian; what the processes would tell is given."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.engine.unix import bind
from appliance.paths import Paths
from tests.unit.commands.conftest import Command
from tests.unit.console.edge import FAULT, TURIN, told

ALARM = {"id": "crl_old", "severity": "error", "message": "there is no document", "hint": "ask an administrator"}


@contextlib.contextmanager
def telling(path: Path, answer: dict[str, Any], *, when_asked: bool = False) -> Iterator[None]:
    """A process that tells this to whoever connects, once. ``when_asked``: after it has read a question."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            if when_asked:
                connection.recv(4096)
            connection.sendall(json.dumps(answer).encode())

    with socket.socket(socket.AF_UNIX) as listener:
        bind(listener, path)
        listener.listen(1)
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)
    path.unlink()


def test_branches_and_what_is_not_well_are_told_in_the_readers_language(
    run: Command, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CENTRALINO_LANGUAGE", "it")
    edge = {"standing": "rolled_back", "revision": 5, "way": {"host": "vpn.example.com"}}
    says = told({**TURIN, "edge": edge}, faults=(FAULT,)) | {"alarms": [ALARM], "addresses": []}
    with telling(paths.vpn_socket, says):
        text = " ".join(run("vpn", "status").split())
    assert "openvpn non è installato (apt install openvpn)" in text
    assert "chiedi a un amministratore" in text
    assert "revisione 5 annullata" in text
    assert "[red]" not in text


def test_why_somebody_is_kept_out_is_told_in_the_readers_language(
    run: Command, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CENTRALINO_LANGUAGE", "it")
    ban = {
        "network": "203.0.113.7/32", "since": 1_795_000_000_000, "left": 590, "reason": "many_accounts", "words": "tried many accounts (10 or more); attempts: 10",
        "strike": 1, "attempts": 10, "quarantine": False, "brief": False,
        "evidence": [[1_795_000_000_000, "203.0.113.7", "sip", 0, "309", "wrong password"]],
    }  # fmt: skip
    spared = {**ban, "network": "192.0.2.9/32"}
    says = {"bans": [ban], "count": 1, "spared": [spared], "counters": [], "troubles": [], "missed": 0}
    with telling(paths.bans_socket, says, when_asked=True):
        text = " ".join(run("bans", "list").split())
    assert "telefonia (SIP), 309, password errata" in text
    assert "protetto" in text
