"""Where a process really listens, and what of it belongs to no listener."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.applier import sockets
from appliance.applier.sockets import Place
from appliance.core.asterisk import ConfFile, Section

FILES = {
    "pjsip.conf": ConfFile(
        "pjsip.conf",
        (
            Section("udp", (("protocol", "udp"), ("bind", "192.0.2.1:5060")), type="transport"),
            Section("web", (("protocol", "wss"), ("bind", "[2001:DB8::1]:8089")), type="transport"),
            Section("201-1", (("transport", "udp"),), type="endpoint"),
        ),
    ),
    "http.conf": "[general]\nenabled=yes\nbindaddr=::1\nbindport=8088\n",
    "rtp.conf": "[general]\nrtpstart=10000\nrtpend=19999\n",
    "udptl.conf": "[general]\nudptlstart=4000\nudptlend=4999\n",
}


@pytest.fixture
def opened() -> Iterator[dict[str, socket.socket]]:
    with ExitStack() as stack:
        made = {}
        for name, family, kind in (
            ("tcp", socket.AF_INET, socket.SOCK_STREAM),
            ("tcp6", socket.AF_INET6, socket.SOCK_STREAM),
            ("udp", socket.AF_INET, socket.SOCK_DGRAM),
        ):
            made[name] = stack.enter_context(socket.socket(family, kind))
            made[name].bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                made[name].listen()
        yield made


def test_a_process_listens_where_it_has_bound(opened: dict[str, socket.socket]) -> None:
    held = sockets.listening(os.getpid())
    assert held is not None
    for name, found in opened.items():
        address, port = found.getsockname()[:2]
        assert Place(name.removesuffix("6"), address, port) in held


def test_what_another_process_holds_is_not_ours(opened: dict[str, socket.socket]) -> None:
    port = opened["tcp"].getsockname()[1]
    child = os.fork()
    if child == 0:
        for each in opened.values():
            each.close()
        held = sockets.listening(os.getpid())
        os._exit(0 if held is not None and Place("tcp", "127.0.0.1", port) not in held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_engine_is_found_behind_its_control_socket(tmp_path: Path) -> None:
    path = tmp_path / "asterisk.ctl"
    assert sockets.process_behind(path) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert sockets.process_behind(path) == os.getpid()


def test_listeners_are_read_from_the_files() -> None:
    assert sockets.wanted(FILES) == {
        Place("udp", "192.0.2.1", 5060): "udp",
        Place("tcp", "2001:db8::1", 8089): "web",
        Place("tcp", "::1", 8088): "web",
    }
    assert str(Place("tcp", "2001:db8::1", 8089)) == "tcp [2001:db8::1]:8089"


def test_a_stray_is_neither_a_listener_nor_the_manager_nor_media() -> None:
    expected = {Place("udp", "192.0.2.1", 5060), Place("tcp", "2001:db8::1", 8089), Place("tcp", "127.0.0.1", 5038)}
    calls = {Place("udp", "::", port) for port in (4000, 4999, 10000, 20000)}
    gone = {Place("tcp", "192.0.2.1", 5070), Place("udp", "192.0.2.1", 5080)}
    assert set(sockets.strays(frozenset(expected | calls | gone), FILES, 5038)) == gone


@pytest.mark.parametrize("name", ["tcp", "tcp6", "udp"])
def test_what_hinders_a_listener_is_what_the_kernel_says(opened: dict[str, socket.socket], name: str) -> None:
    address, port = opened[name].getsockname()[:2]
    assert "in use" in sockets.hindrance(Place(name.removesuffix("6"), address, port), None)
    opened[name].close()
    assert sockets.hindrance(Place(name.removesuffix("6"), address, port), None) == ""
    assert "assign" in sockets.hindrance(Place(name.removesuffix("6"), "192.0.2.1", port), None)
