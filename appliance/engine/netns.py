"""Sockets of another network namespace (``ip netns``), without moving this process there."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path

from appliance.core.errors import UnavailableError

_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")


def socket_in(
    namespace: str | None, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
) -> socket.socket:
    """A socket that lives in ``namespace``; ``None``: ours.

    A thread of its own enters the namespace, makes the socket and ends: a namespace belongs to a thread, a socket
    keeps the one that it was made in.

    :raises UnavailableError: ``netns``: no such namespace, or we aren't root.
    """
    if namespace is None:
        return socket.socket(family, kind, protocol)
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            descriptor = os.open(_NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(descriptor)
            made.append(socket.socket(family, kind, protocol))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make, name="netns")
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise UnavailableError(f"network namespace {namespace}: {made[0].strerror}", error_id="netns") from made[0]
    return made[0]
