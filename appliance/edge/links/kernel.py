"""The kernel's addresses, routes and rules: read and changed by a process of its own (:mod:`.rtnetlink`), and watched."""

from __future__ import annotations

import pickle
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, Final

from appliance.core.errors import UnavailableError
from appliance.edge.links.things import Change, Device, Failed, Found

TIMEOUT_S: Final = 15.0
"""On a small router Python takes its time to begin."""
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000
"""Of rtnetlink: links; addresses, routes and rules of both versions (``RTMGRP_…``, and ``RTNLGRP_IPV6_RULE`` as a bit)."""
_HEAD: Final = struct.Struct("=IHHIIB")
"""``nlmsghdr`` and, in all of these messages, the family."""
_NEW_ADDRESS: Final = 20


class Kernel:
    """Of this network namespace."""

    def read(self, devices: Iterable[str]) -> Found:
        """What it has of these interfaces, and of all that is ours. :raises UnavailableError: ``no_routes``: it doesn't tell."""
        found: Found = _done("read", frozenset(devices))
        return found

    def change(self, changes: Iterable[Change], devices: dict[str, Device]) -> tuple[Failed, ...]:
        """One after the other; those that it refused. :raises UnavailableError: ``no_routes``: it says nothing."""
        return tuple(_done("change", list(changes), devices))


def _done(what: str, *arguments: Any) -> Any:
    argv = [sys.executable, "-m", "appliance.edge.links.rtnetlink"]
    try:
        done = subprocess.run(
            argv, input=pickle.dumps((what, arguments)), capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _silent("it doesn't answer") from error
    if done.returncode:
        raise _silent(next(iter(done.stderr.decode(errors="replace").splitlines()[-1:]), "it says nothing"))
    return pickle.loads(done.stdout)  # noqa: S301 (our own child wrote it)


def _silent(why: str) -> UnavailableError:
    return UnavailableError(f"the kernel doesn't tell addresses and routes: {why}", error_id="no_routes")


class Watch:
    """Whether anything of links, addresses, routes or rules may have changed. What is said is hardly read: that something was said is enough."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))

    def anything(self) -> bool:
        """Since it was asked last."""
        found = False
        while True:
            try:
                found = matters(self._socket.recv(1 << 16)) or found
            except BlockingIOError:
                return found
            except OSError:  # too much at once: some of it is lost, so something was
                found = True

    def close(self) -> None:
        """Nobody asks any more."""
        self._socket.close()


def matters(said: bytes) -> bool:
    """Whether any of these messages is worth a look. A router that advertises itself makes the kernel say every few seconds that an
    address of IPv6 lasts longer: that isn't."""
    at = 0
    while at + _HEAD.size <= len(said):
        length, kind, _flags, _number, _port, family = _HEAD.unpack_from(said, at)
        if (kind, family) != (_NEW_ADDRESS, socket.AF_INET6):
            return True
        at += max(_HEAD.size, (length + 3) & ~3)
    return False
