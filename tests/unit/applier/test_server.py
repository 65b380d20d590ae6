"""The socket: garbage, half messages, slow and many clients."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from appliance.applier.client import ApplierClient
from appliance.applier.protocol import LINE_MAX
from appliance.applier.server import CONNECTIONS, Server, groups_of
from appliance.applier.service import Service
from appliance.core.errors import InvalidError, UnavailableError

pytestmark = pytest.mark.usefixtures("server")


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(str(path))
    return connection


def say(connection: socket.socket, data: bytes) -> dict[str, Any]:
    connection.sendall(data)
    with connection.makefile("rb") as lines:
        found: dict[str, Any] = json.loads(lines.readline())
    return found


def test_only_owner_and_group_may_open_the_socket(server: Path) -> None:
    assert server.stat().st_mode & 0o777 == 0o660


def test_state_of_a_fresh_applier(client: ApplierClient) -> None:
    state = client.state()
    assert state["revision"] == 0
    assert state["confirm"] is None
    assert state["verified"] is False


@pytest.mark.parametrize(
    "line", [b"\n", b"garbage\n", b"\xff\x00\n", b"[" * 2000 + b"\n", b'{"op":"apply","revision":"x"}\n']
)
def test_garbage_gets_an_error_and_the_connection_stays_usable(server: Path, line: bytes) -> None:
    with connect(server) as connection:
        answer = say(connection, line)
        assert answer["ok"] is False
        assert answer["error"]["type"] == "InvalidError"
        assert say(connection, b'{"op":"state"}\n')["ok"] is True


def test_a_message_may_come_in_pieces(server: Path) -> None:
    with connect(server) as connection:
        for byte in b'{"op":"state"':
            connection.sendall(bytes([byte]))
        assert say(connection, b"}\n")["ok"] is True


def test_two_messages_may_come_at_once(server: Path) -> None:
    with connect(server) as connection:
        connection.sendall(b'{"op":"state"}\n{"op":"verify"}\n')
        with connection.makefile("rb") as lines:
            assert "revision" in json.loads(lines.readline())["result"]
            assert "faults" in json.loads(lines.readline())["result"]


def test_a_message_too_long_is_refused_and_the_connection_ended(server: Path) -> None:
    with connect(server) as connection:
        answer = say(connection, b"x" * (LINE_MAX + 1))
        assert answer["error"]["faults"][0]["message"] == f"is longer than {LINE_MAX} bytes"
        assert connection.recv(10) == b""


def test_half_a_message_is_waited_for_so_long_and_no_longer(server: Path, client: ApplierClient) -> None:
    with connect(server) as connection:
        connection.sendall(b'{"op":')
        assert client.state()["revision"] == 0  # others are served meanwhile
        assert connection.recv(10) == b""


def test_a_client_that_goes_away_harms_nobody(server: Path, client: ApplierClient) -> None:
    for _ in range(10):
        with connect(server) as connection:
            connection.sendall(b'{"op":"state"}\n')
    assert client.state()["revision"] == 0


def test_too_many_clients_are_told_so_and_the_others_keep_their_place(server: Path) -> None:
    held = []
    try:
        for _ in range(CONNECTIONS):
            connection = connect(server)
            held.append(connection)
            assert say(connection, b'{"op":"state"}\n')["ok"] is True
        with connect(server) as one_more, one_more.makefile("rb") as lines:
            assert json.loads(lines.readline())["error"]["error_id"] == "busy"
        assert say(held[0], b'{"op":"state"}\n')["ok"] is True
    finally:
        for connection in held:
            connection.close()


def test_the_clients_errors_are_those_of_the_service(client: ApplierClient) -> None:
    with pytest.raises(InvalidError) as caught:
        client.apply(-1)
    assert caught.value.faults[0].path == "request/apply.revision"


def test_no_applier_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        ApplierClient(tmp_path / "none.sock").state()
    assert caught.value.error_id == "applier_unreachable"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")
def test_another_user_is_refused_even_if_the_socket_lets_them_in(service: Service) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "applier.sock"
        running = Server(path, service)
        thread = threading.Thread(target=running.run)
        thread.start()
        try:
            while not path.exists():
                assert thread.is_alive()
            path.chmod(0o666)
            answer = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", _ASK, path],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        finally:
            running.stop()
            thread.join(20)
    assert json.loads(answer)["error"]["error_id"] == "forbidden"
    assert not path.exists()


_ASK = """
import select, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(10)
    s.connect(sys.argv[1])
    select.select([s], [], [], 10)  # the refusal is there before the question is sent
    s.sendall(b'{"op":"state"}\\n')
    print(s.makefile().readline())
"""


def test_groups_of_a_process_are_those_that_the_kernel_knows() -> None:
    assert groups_of(os.getpid(), os.getgid()) == {os.getgid(), *os.getgroups()}
    assert groups_of(2**22 + 1, 12345) == {12345}
