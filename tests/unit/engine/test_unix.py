"""Unix sockets deeper than the kernel's 107 bytes: bound, found and connected all the same."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from appliance.engine import unix


def test_a_socket_far_down(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 120) / "x.sock"
    assert unix.listening_process(path) is None
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(OSError, match="too long"):
            listener.bind(str(path))
        unix.bind(listener, path)
        assert unix.listening_process(path) is None, "nobody listens yet"
        listener.listen()
        unix.connect(client, path)
        assert unix.listening_process(path) == os.getpid()
