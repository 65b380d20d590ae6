"""The harness's networks: hosts reach each other until they shouldn't, and nothing of them is left behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.hil.agents.network import Host, Network, command, remove_stale
from tests.hil.agents.process import Child, eventually


def reaches(sender: Host, receiver: Host, address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with receiver.socket(family) as inbox, sender.socket(family) as outbox:
        inbox.bind((address, 4000))
        inbox.settimeout(0.3)
        outbox.sendto(b"hello", (address, 4000))  # must not fail: a dead peer gives no error
        try:
            return inbox.recv(16) == b"hello"
        except TimeoutError:
            return False


def test_hosts_reach_each_other_until_the_black_hole_or_the_cut_cable() -> None:
    with Network() as net:
        a, b, c = net.host("a"), net.host("b"), net.host("c")
        assert reaches(a, b, b.address)
        assert reaches(a, b, b.address6)
        with net.blackhole(a, b):
            assert not reaches(a, b, b.address)
            assert not reaches(b, a, a.address6)
            assert reaches(a, c, c.address)
        with net.blackhole(b):
            assert not reaches(c, b, b.address)
        with b.unplugged():
            assert not reaches(a, b, b.address)
        assert reaches(a, b, b.address)


def test_networks_leave_nothing_behind() -> None:
    left: list[tuple[Host, Child]] = []

    def fails() -> None:
        with Network() as net:
            host = net.host("a")
            left.append((host, host.start(["sleep", "60"], Path("/dev/null"))))
            eventually(lambda: command(["ip", "netns", "pids", host.namespace]).stdout, "the process is inside")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fails()
    host, child = left[0]
    assert eventually(lambda: not child.running, "the process inside is gone")
    child.stop()
    assert host.namespace not in command(["ip", "netns", "list"]).stdout


def test_namespaces_of_dead_test_runs_are_removed() -> None:
    dead = "cnt-4194304999-1-left"  # a pid no kernel hands out
    command(["ip", "netns", "add", dead])
    assert remove_stale() == [dead]
    assert dead not in command(["ip", "netns", "list"]).stdout
