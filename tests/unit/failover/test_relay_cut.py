"""A line that is cut on purpose: nothing goes or comes by it, never for long, and not while no other works. With real relays: tests/hil/test_edge_drill.py."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.failover.relay.at_edge import CUT_MAX_S
from appliance.failover.relay.batch import Came, sockaddr
from appliance.failover.relay.edge import Sent
from appliance.failover.relay.edge_process import EdgeProcess

NOW = 5000.0
ALL = {1, 2, 3, 4}


class Branch:
    """An edge's relay with two lines of two paths each, on the loopback; ``working``: paths by which the centre would be heard."""

    def __init__(self, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ends = {path: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for path in ALL}
        for end in self.ends.values():
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
        self.working = set(ALL)
        self.heard: list[int] = []
        monkeypatch.setattr(EdgeProcess, "works", lambda _relay, path, _now: path in self.working)
        monkeypatch.setattr(EdgeProcess, "by_line", lambda _relay, path, _data, _now: self.heard.append(path))
        self.relay = EdgeProcess(work)
        self.configure()

    def configure(self, **more: Any) -> None:
        lines = [
            {"path": path, "line": (path + 1) // 2, "role": "primary", "device": "lo", "host": "127.0.0.1", "port": end.getsockname()[1]}
            for path, end in self.ends.items()
        ]  # fmt: skip
        self.relay.configure(
            {"key": "00" * 32, "listen": ["127.0.0.1", 0], "copying": "always", "lines": lines, **more}, NOW
        )

    def goes(self) -> set[int]:
        """Paths by which a datagram that is to be sent on all is sent."""
        for end in self.ends.values():  # what a hello was before
            with contextlib.suppress(BlockingIOError):
                while end.recv(2048):
                    pass
        self.relay.send(Sent(path, b"voice", 0) for path in sorted(ALL))
        self.relay._flush()
        found = set()
        for path, end in self.ends.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    if end.recv(2048) == b"voice":
                        found.add(path)
        return found

    def comes(self) -> set[int]:
        """Paths by which a datagram of the centre's is heard."""
        self.heard.clear()
        for path, end in self.ends.items():
            far = sockaddr("127.0.0.1", end.getsockname()[1])
            self.relay.came(f"line-{path}", [Came(b"voice", far, b"", 0)], NOW)
        return set(self.heard)


@pytest.fixture
def branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Branch]:
    made = Branch(tmp_path, monkeypatch)
    yield made
    for name in list(made.relay._sockets):
        made.relay.drop(name)
    for end in made.ends.values():
        end.close()


def test_nothing_goes_or_comes_by_any_path_of_the_line(branch: Branch) -> None:
    assert branch.goes() == branch.comes() == ALL
    branch.configure(cut={"line": 1, "until": NOW + 30})
    assert branch.goes() == branch.comes() == {3, 4}
    assert [path["cut"] for path in branch.relay.standing(NOW)["paths"]] == [True, True, False, False]
    branch.relay.tick(NOW + 29)
    assert branch.goes() == {3, 4}
    branch.relay.tick(NOW + 30)
    assert branch.goes() == branch.comes() == ALL, "by itself"


def test_the_next_word_joins_it(branch: Branch) -> None:
    branch.configure(cut={"line": 1, "until": NOW + 30})
    branch.configure()
    assert branch.goes() == ALL


@pytest.mark.parametrize("until", [NOW - 1, NOW, NOW + CUT_MAX_S + 1, NOW + 1e6])
def test_a_time_that_is_over_or_of_before_the_machines_start_cuts_nothing(branch: Branch, until: float) -> None:
    branch.configure(cut={"line": 1, "until": until})
    assert branch.goes() == ALL


def test_no_line_is_cut_or_stays_so_while_no_other_works(branch: Branch) -> None:
    branch.working = {1, 2}
    branch.configure(cut={"line": 1, "until": NOW + 30})
    assert branch.goes() == ALL
    branch.working = {1, 4}
    branch.configure(cut={"line": 1, "until": NOW + 30})
    assert branch.goes() == {3, 4}
    branch.working = {1, 2}
    branch.relay.tick(NOW + 1)
    assert branch.goes() == ALL
    branch.working = ALL
    branch.relay.tick(NOW + 2)
    assert branch.goes() == ALL, "once it was joined it stays so"


def test_a_line_that_isnt_there_cuts_nothing_and_garbage_is_refused_as_a_whole(branch: Branch) -> None:
    branch.configure(cut={"line": 7, "until": NOW + 30})
    assert branch.goes() == ALL
    for garbage in ({}, {"line": 1}, {"line": "one", "until": NOW + 30}, {"line": 1, "until": "soon"}):
        with pytest.raises((KeyError, ValueError, TypeError)):
            branch.configure(cut=garbage)
        assert branch.goes() == ALL
