"""What the TURN server's process says to whom, and how the console asks it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.engine.unix import bind
from appliance.paths import Paths
from appliance.turn.keeper import Keeper, confined
from appliance.turn.plan import FILE
from appliance.turn.service import Service, ask, ask_credentials


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path)


def in_force(paths: Paths, *, turn: bool) -> None:
    generation = paths.engine.config / f"gen-00000{int(turn) + 1}"
    generation.mkdir(parents=True)
    if turn:
        (generation / FILE).parent.mkdir(parents=True)
        (generation / FILE).write_text("aux-server=192.0.2.1:3478\n")
    paths.engine.current.unlink(missing_ok=True)
    paths.engine.current.symlink_to(generation)


def test_what_is_asked_is_answered_or_named(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(paths.turn, paths.engine.current)
    service = Service(keeper, paths)
    keeper.tend()
    assert service.told("status") == {
        "wanted": False, "pid": None, "faults": ["there is no configuration yet (start the applier)"],
    }  # fmt: skip
    in_force(paths, turn=False)
    keeper.tend()
    assert service.told("status") == {"wanted": False, "pid": None, "faults": []}
    assert service.told("credentials anna")["error_id"] == "turn_off"
    monkeypatch.setattr("appliance.turn.keeper.PROGRAM", "/nowhere/turnserver")
    in_force(paths, turn=True)
    keeper.tend()
    assert service.told("status")["faults"] == ["coturn is not installed (apt install coturn)"]
    made = service.told("credentials anna")
    assert set(made) == {"username", "password", "expires"}
    for line in ("", "credentials", "credentials ", "password anna", "\x00"):
        assert service.told(line)["error_id"] == "bad_line"


@contextmanager
def answering(paths: Paths, answer: bytes) -> Iterator[list[bytes]]:
    """Somebody at the socket who says this to whoever asks."""
    asked: list[bytes] = []
    paths.run.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        bind(listener, paths.turn_socket)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(1000))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join(10)


def test_the_console_is_given_credentials(paths: Paths) -> None:
    with answering(paths, b'{"username": "1:x", "password": "p", "expires": 1}\n') as asked:
        made = ask_credentials(paths, "anna")
    assert asked == [b"credentials anna\n"]
    assert (made.username, made.password, made.expires) == ("1:x", "p", 1)


@pytest.mark.parametrize(
    ("answer", "error_id"),
    [
        (b"", "turn_not_running"),
        (b"garbage", "turn_not_running"),
        (b'{"error_id": "turn_off", "message": "no", "hint": ""}', "turn_off"),
    ],
)
def test_what_isnt_told_is_an_error_of_ours(paths: Paths, answer: bytes, error_id: str) -> None:
    with answering(paths, answer), pytest.raises(UnavailableError) as refused:
        ask_credentials(paths, "anna")
    assert refused.value.error_id == error_id


def test_without_the_process_it_isnt_running(paths: Paths) -> None:
    with pytest.raises(UnavailableError) as refused:
        ask(paths, "status")
    assert refused.value.error_id == "turn_not_running"


def test_whoever_says_nothing_or_no_end_of_line_is_let_go(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.turn.service.ASK_S", 0.1)
    service = Service(Keeper(paths.turn, paths.engine.current), paths)

    async def talk(said: bytes) -> bytes:
        server = await asyncio.start_server(service._answer, "127.0.0.1", 0, limit=512)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(said)
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            await writer.wait_closed()
            return answer

    assert asyncio.run(talk(b"")) == b""
    assert asyncio.run(talk(b"x" * 2000)) == b""
    assert json.loads(asyncio.run(talk(b"status\n")))["wanted"] is False


def test_it_keeps_a_right_only_for_a_port_that_takes_one() -> None:
    for privileged in (False, True):
        argv = confined(Path("/state/turn/served"), privileged=privileged)
        assert ("CAP_NET_BIND_SERVICE" in argv) is (privileged and "setpriv" in argv)
        assert argv[-3:] == ["/usr/bin/turnserver", "-c", "/run/turn/turnserver.conf"]
        assert "--die-with-parent" not in argv
