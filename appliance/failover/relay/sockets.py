"""A relay's sockets, and how they outlive it: whoever started the relay keeps copies of them, by names, and hands them to the next one.

Spoken is what systemd speaks (``sd_notify(3)``: ``FDSTORE=1``, ``FDNAME=``; ``sd_listen_fds(3)``), so that either systemd or :mod:`.holder` may be the keeper.
What comes while no relay runs waits in the kernel: nothing of it is lost, it is late. Only what a killed relay had in hand is lost.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from appliance.engine.unix import short_path
from appliance.failover.relay.batch import prepare

FIRST: Final = 3
"""Descriptor of the first socket that is handed over (``SD_LISTEN_FDS_START``)."""
CLIENT_ANEW: Final = "X_CLIENT_ANEW"
"""A word of ours, which systemd passes over (``sd_notify(3)``)."""
MEMORY: Final = 4 << 20
"""Octets that may wait in a socket: a second of two hundred calls."""
NAME_MAX: Final = 107
"""Octets of a Unix socket's name that the kernel takes (unix(7))."""
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE, _SO_BINDTODEVICE = 33, 32, 25


class Kept:
    """Sockets by name. ``ours``: environment of this process."""

    def __init__(self, ours: dict[str, str]) -> None:
        self._to = ours.pop("NOTIFY_SOCKET", "")
        names = ours.pop("LISTEN_FDNAMES", "").split(":")
        number = int(ours.pop("LISTEN_FDS", "0")) if ours.pop("LISTEN_PID", "") == str(os.getpid()) else 0
        self._found: dict[str, socket.socket] = {}
        for index in range(number):
            made = socket.socket(fileno=FIRST + index)
            made.set_inheritable(False)
            self._found[names[index] if index < len(names) else ""] = made

    def take(self, name: str) -> socket.socket | None:
        """A socket that an earlier process had by that name."""
        return self._found.pop(name, None)

    @property
    def names(self) -> frozenset[str]:
        """Of those that nobody has taken yet."""
        return frozenset(self._found)

    def keep(self, name: str, made: socket.socket) -> None:
        """Have a copy kept."""
        self._say(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", made)

    def forget(self, name: str) -> None:
        """It needn't be kept any more."""
        self._say(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def client_anew(self) -> None:
        """OpenVPN's client is to begin anew; the relay itself may send it no signal."""
        self._say(f"{CLIENT_ANEW}=1")

    def ready(self) -> None:
        """At work: close what nobody has taken, and tell."""
        for name, made in self._found.items():
            made.close()
            self.forget(name)
        self._found.clear()
        self._say("READY=1")

    def _say(self, what: str, made: socket.socket | None = None) -> None:
        if not self._to:
            return
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [made.fileno()]))] if made is not None else []
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as said:
            said.settimeout(1.0)  # without a keeper a restart loses more, and that is all
            if len(os.fsencode(self._to)) <= NAME_MAX:
                said.sendmsg([what.encode()], beside, 0, "\0" + self._to[1:] if self._to.startswith("@") else self._to)
            else:
                with short_path(Path(self._to)) as short:
                    said.sendmsg([what.encode()], beside, 0, short)


def outside(host: str, port: int, device: str = "") -> socket.socket:
    """A socket towards the lines; IPv6 by its host.

    :param host: what it is bound to; :param device: the only line that it uses. :raises OSError: it can't be.
    """
    six = ":" in host
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        if six:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if device:
            made.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, device.encode() + b"\0")
        prepare(made, whole=True)
        _give_memory(made)
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


def within(host: str, port: int, to: tuple[str, int] | None = None) -> socket.socket:
    """A socket towards OpenVPN, on the loopback (IPv4). :param to: the only other end. :raises OSError: it can't be."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        prepare(made, whole=False)
        _give_memory(made)
        made.bind((host, port))
        if to is not None:
            made.connect(to)
    except BaseException:
        made.close()
        raise
    return made


def force_memory(descriptor: int) -> None:
    """As much as the relay wants: it may ask for what the machine gives to anybody only, and who holds its sockets may ask for more."""
    made = socket.socket(fileno=os.dup(descriptor))
    try:
        for forced in (_SO_RCVBUFFORCE, _SO_SNDBUFFORCE):
            made.setsockopt(socket.SOL_SOCKET, forced, MEMORY)
    except OSError:
        pass  # without the capability it stays with what there is
    finally:
        made.close()


def _give_memory(made: socket.socket) -> None:
    for usual in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, usual, MEMORY)
