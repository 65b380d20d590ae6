"""Unix sockets at paths of any length: the kernel takes 107 bytes of path only (unix(7)), state directories lie deeper."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.core.errors import RefusedError

_PEER: Final = struct.Struct("3i")


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A short name of ``path``, for bind and connect, by a descriptor of its directory. Raises OSError: no directory."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def connect(connection: socket.socket, path: Path) -> None:
    """Connect a Unix socket. Raises OSError."""
    with short_path(path) as short:
        connection.connect(short)


def bind(listener: socket.socket, path: Path) -> None:
    """Give a Unix socket its name. Raises OSError."""
    with short_path(path) as short:
        listener.bind(short)


@contextmanager
def listening(path: Path, mode: int) -> Iterator[socket.socket]:
    """A socket that listens there with this mode; what a process that was killed has left is replaced.

    :raises RefusedError: ``already_running``: somebody listens there.
    """
    if listening_process(path) is not None:
        raise RefusedError("it runs already", f"it listens at {path}", error_id="already_running")
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.umask(0o777 & ~mode)
        try:
            bind(listener, path)
        finally:
            os.umask(before)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def listening_process(path: Path) -> int | None:
    """Id of the process that listens there, from the kernel (SO_PEERCRED); None: nobody does.

    Raises PermissionError: we may not ask.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            connect(probe, path)
        except PermissionError:
            raise
        except OSError:
            return None
        pid, _uid, _gid = _PEER.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(pid) or None
