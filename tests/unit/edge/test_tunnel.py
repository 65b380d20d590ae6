"""An edge's OpenVPN: what it is told, when it is started and when it is left alone. The program is a stand-in; the real one: tests/hil."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.clock import Moment
from appliance.core.errors import UnavailableError
from appliance.edge import tunnel
from appliance.edge.paths import EdgePaths
from appliance.edge.states import State
from appliance.edge.tunnel import Tunnel, config
from appliance.engine.processes import started
from appliance.engine.unix import bind
from tests.hil.agents.process import eventually
from tests.unit.edge.slices import a_slice, enrolled
from tests.unit.vpn.ground import Ground


@pytest.fixture
def state(ground: Ground, tmp_path: Path) -> State:
    found = enrolled(tmp_path, ground).current
    assert found is not None
    return found


@pytest.fixture
def paths(state: State) -> EdgePaths:
    return EdgePaths(state.path.parents[1])


@pytest.fixture
def openvpn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name that does nothing, until it is told to end."""
    program = tmp_path / "bin" / "openvpn"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(tunnel, "narrowed", list)  # a test may have no capabilities to give up
    return program


@contextmanager
def ended(made: Tunnel) -> Iterator[Tunnel]:
    try:
        yield made
    finally:
        made.stop()


def other(state: State, **more: object) -> State:
    return replace(state, slice=a_slice(**more))


def test_what_openvpn_is_told_is_one_file_whose_parts_belong_together(state: State) -> None:
    text = config(state, ["user nobody"])
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("remote ")] == [
        "remote vpn.example.com 1194 udp", "remote 198.51.100.7 5000 udp",
    ]  # fmt: skip
    assert set(state.slice.openvpn) | {"dev voice-0", "user nobody", "remote-cert-tls server"} <= set(lines)
    for name, begins, times in (
        ("ca", "CERTIFICATE", 1), ("cert", "CERTIFICATE", 2), ("key", "PRIVATE KEY", 1), ("tls-crypt-v2", "OpenVPN tls-crypt-v2 client key", 1),
    ):  # fmt: skip
        inside = text.partition(f"<{name}>\n")[2].partition(f"</{name}>")[0]
        assert inside.count(f"-----BEGIN {begins}-----") == times, name
        assert inside.count("-----BEGIN ") == times, name
    assert not [line for line in lines if line.split(" ")[0] in ("up", "down", "script-security", "plugin")]


def test_it_runs_is_left_alone_and_starts_anew_for_another_configuration(
    openvpn: Path, paths: EdgePaths, state: State
) -> None:
    with ended(Tunnel(paths)) as made:
        assert made.pid is None
        made.tend(state)
        first = made.pid
        assert first is not None
        file = paths.run / "openvpn.conf"
        assert file.stat().st_mode & 0o777 == 0o600
        assert os.getsid(first) == first, "our own end doesn't take it along"
        made.tend(other(state, networks=["10.9.0.0/24"]))
        assert made.pid == first, "OpenVPN isn't told of networks: it notices nothing"
        # Another agent takes it over, and only a configuration that differs starts it anew.
        again = Tunnel(paths)
        again.tend(state)
        assert again.pid == first
        again.tend(other(state, remotes=[{"host": "192.0.2.1", "port": 1194}]))
        second = again.pid
        assert second not in (None, first)
        assert started(first) == "", "the former has ended"
        again.stop()
        assert again.pid is None
        assert not (paths.run / "openvpn.pid").exists()


def test_killed_it_is_started_again(openvpn: Path, paths: EdgePaths, state: State) -> None:
    with ended(Tunnel(paths)) as made:
        made.tend(state)
        first = made.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)

        def back() -> bool:
            made.tend(state)
            return made.pid not in (None, first)

        eventually(back, "it runs again")


def test_a_pid_that_is_somebody_else_s_now_is_not_taken_for_it(openvpn: Path, paths: EdgePaths, state: State) -> None:
    paths.run.mkdir()
    (paths.run / "openvpn.pid").write_text(f"{os.getpid()} 1\n")
    with ended(Tunnel(paths)) as made:
        assert made.pid is None
        made.tend(state)
        assert made.pid not in (None, os.getpid())


def test_without_openvpn_it_is_told(paths: EdgePaths, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError) as told:
        Tunnel(paths).tend(state)
    assert told.value.error_id == "program_missing"


def test_a_full_disk_leaves_what_runs(
    openvpn: Path, paths: EdgePaths, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with ended(Tunnel(paths)) as made:
        made.tend(state)
        with monkeypatch.context() as patch:
            patch.setattr(tunnel, "put", full)
            made.tend(state)
            first = made.pid
            assert first is not None
            with pytest.raises(OSError, match="No space"):
                made.tend(other(state, remotes=[{"host": "192.0.2.1", "port": 1194}]))
        eventually(lambda: (made.tend(state), made.pid)[1], "it runs again when there is room")


def test_root_s_openvpn_becomes_nobody_and_a_service_s_keeps_one_capability(
    paths: EdgePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert tunnel.narrowed() == []
    assert {"user nobody"} & set(Tunnel(paths)._local()) or any(
        line.startswith("user centralino-vpn") for line in Tunnel(paths)._local()
    )
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert not [line for line in Tunnel(paths)._local() if line.startswith(("user ", "group "))]
    argv = tunnel.narrowed()
    assert argv[0] == "setpriv"
    assert {"--ambient-caps=-all,+net_admin", "--inh-caps=-all,+net_admin", "--no-new-privs"} <= set(argv)
    assert "--ambient-caps=-all,+net_raw,+net_bind_service" in tunnel.narrowed("net_raw", "net_bind_service")


@contextmanager
def says(paths: EdgePaths, answer: bytes) -> Iterator[None]:
    """OpenVPN's management socket, once."""
    paths.run.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        bind(listener, paths.run / "openvpn.sock")
        listener.listen(1)

        def speak() -> None:
            talk, _address = listener.accept()
            with talk:
                talk.sendall(b">INFO:OpenVPN Management Interface Version 5\r\n")
                assert talk.recv(100) == b"state\n"
                talk.sendall(answer)

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            yield
        finally:
            thread.join()


@dataclass
class Hands:
    """A clock that is set by hand."""

    wall: int = 1_795_780_800_000
    uptime: int = 1000

    def __call__(self) -> Moment:
        return Moment(self.wall, self.uptime, "boot")


TRYING = b"1795780800,RECONNECTING,tls-error,,,,,\r\nEND\r\n"
IN = b"1795780800,CONNECTED,SUCCESS,172.29.0.3,198.51.100.7,5000,,\r\nEND\r\n"


@pytest.mark.parametrize(
    ("set_back_s", "answer", "anew"),
    [(59, TRYING, False), (60, TRYING, True), (630_720_000, TRYING, True), (630_720_000, IN, False), (60, b"", False), (-7200, TRYING, False)],
)  # fmt: skip
def test_a_clock_that_is_set_back_makes_one_that_isnt_in_begin_anew(
    openvpn: Path, paths: EdgePaths, state: State, set_back_s: int, answer: bytes, anew: bool
) -> None:
    clock = Hands()
    with ended(Tunnel(paths, clock)) as made:
        made.tend(state)
        made.tend(state)
        first = made.pid
        clock.wall -= 1000 * set_back_s
        with says(paths, answer) if set_back_s >= 60 else nullcontext():
            made.tend(state)
        assert (made.pid != first) == anew
        assert made.pid is not None
        second = made.pid
        (paths.run / "openvpn.sock").unlink(missing_ok=True)
        clock.uptime += 10_000
        clock.wall += 10_000
        made.tend(state)
        assert made.pid == second, "once"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"1795780800,CONNECTED,SUCCESS,172.29.0.3,198.51.100.7,5000,,\r\nEND\r\n", ("198.51.100.7", 5000)),
        (b">STATE:1,WAIT,,,,,,\r\n1795780800,CONNECTED,SUCCESS,172.29.0.3,198.51.100.7,5000,,\r\nEND\r\n", ("198.51.100.7", 5000)),
        (b"1795780800,RECONNECTING,tls-error,,198.51.100.7,5000,,\r\nEND\r\n", None),
        (b"1795780800,CONNECTED,SUCCESS,172.29.0.3,203.0.113.9,5000,,\r\nEND\r\n", None),
        (b"1795780800,CONNECTED,SUCCESS,172.29.0.3,198.51.100.7,5001,,\r\nEND\r\n", None),
        (b"ERROR: no\r\nEND\r\n", None),
        (b"\xff\xfe,,,,,,\r\nEND\r\n", None),
        (b"", None),
    ],
)  # fmt: skip
def test_it_tells_by_which_address_it_came_in(
    paths: EdgePaths, answer: bytes, expected: tuple[str, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve: Callable[[str], set[str]] = lambda host: {host} if host[0].isdigit() else set()  # noqa: E731
    monkeypatch.setattr(tunnel, "_addresses", resolve)
    with says(paths, answer):
        found = Tunnel(paths).way(a_slice())
    assert (None if found is None else (found.host, found.port)) == expected


def test_a_management_socket_that_is_gone_or_silent_tells_nothing(
    paths: EdgePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Tunnel(paths).way(a_slice()) is None
    monkeypatch.setattr(tunnel, "ASK_S", 0.1)
    paths.run.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        bind(listener, paths.run / "openvpn.sock")
        listener.listen(1)
        assert Tunnel(paths).way(a_slice()) is None
