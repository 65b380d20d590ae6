"""Sockets of another network namespace (``ip netns``), without moving this process there."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from appliance.core.errors import UnavailableError

T = TypeVar("T")
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
    return inside(namespace, lambda: socket.socket(family, kind, protocol))


def inside(namespace: str | None, action: Callable[[], T]) -> T:
    """What ``action`` gives, done by a thread of its own within ``namespace``; ``None``: ours.

    :raises UnavailableError: ``netns``: no such namespace, or we aren't root; or what it is that the system refused.
    """
    if namespace is None:
        return action()
    given: list[T] = []
    raised: list[BaseException] = []

    def enter() -> None:
        try:
            descriptor = os.open(_NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(descriptor)
            given.append(action())
        except BaseException as error:  # noqa: BLE001 (carried to the caller's thread)
            raised.append(error)

    thread = threading.Thread(target=enter, name="netns")
    thread.start()
    thread.join()
    if raised and isinstance(raised[0], OSError):
        raise UnavailableError(f"network namespace {namespace}: {raised[0].strerror}", error_id="netns") from raised[0]
    if raised:
        raise raised[0]
    return given[0]
