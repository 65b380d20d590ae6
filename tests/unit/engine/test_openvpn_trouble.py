"""Sockets that are silent, taken, or say what nobody understands; and whatever they say, the client goes on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.errors import UnavailableError
from appliance.engine import openvpn_management, openvpn_session
from appliance.engine.openvpn_management import CommandRefusedError, Management
from appliance.engine.openvpn_messages import REPLY_MAX, ByteCount
from appliance.engine.openvpn_status import Standing, Traffic
from tests.hil.agents.openvpn_replay import OpenVpnReplay, heard
from tests.unit.engine.openvpn_conversation import conversing, impatient, managing, standing_of
from tests.unit.hub.loops import run, until


def test_a_daemon_that_stops_answering() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        with daemon.silence():
            with pytest.raises(UnavailableError, match="no answer to version") as raised:
                await management.version()
            assert raised.value.error_id == "vpn_management_silent"
            await until(lambda: management.standing.kind == "gone", "it is told")
        await management.up(5)

    with impatient():
        conversing(work)


def test_a_slot_that_is_taken() -> None:
    async def work(daemon: OpenVpnReplay, first: Management) -> None:
        async with managing(daemon.path) as second:
            await until(standing_of("busy", second), "it is told")
            assert "taken by another program" in second.standing.alarm
            assert first.standing.kind == "up"
            daemon.hang_up()  # and whoever waits comes next
            await second.up(5)
            await until(standing_of("busy", first), "now the first waits")

    with impatient(), patch.object(openvpn_management, "TURN_S", 60):
        conversing(work)


def test_a_slot_where_too_many_wait_already(tmp_path: Path) -> None:
    """OpenVPN listens with a backlog of 1: the third has to come again."""

    async def work() -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as waiting:
            listening.bind(str(path))
            listening.listen(1)
            for _ in range(2):
                one = waiting.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(str(path))
            async with managing(path) as management:
                await until(standing_of("busy", management), "it is told")

    with impatient():
        run(work())


def test_nobody_there_and_no_right_to_be(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "socket"
        async with managing(path) as management:
            await until(lambda: "No such file" in management.standing.alarm, "there is no socket")
            with socket.socket(socket.AF_UNIX) as left_over:
                left_over.bind(str(path))
            await until(lambda: "refused" in management.standing.alarm, "nobody listens")
            path.unlink()

            async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.close()

            async with await asyncio.start_unix_server(turn_away, str(path)):
                await until(standing_of("refused", management), "we are turned away")
                error = management.standing.error
                assert error is not None
                assert "management-client-user" in error.hint

    with impatient():
        run(work())


def test_a_socket_that_asks_for_a_password() -> None:
    prompt = heard("password").rstrip()

    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        daemon.greeting = prompt
        daemon.hang_up()
        await until(standing_of("password", management), "it is told")

    with impatient():
        conversing(work)


@pytest.mark.parametrize(
    "said",
    [
        b"END\r\n",
        b"SUCCESS: what nobody wanted\r\n",
        b"\r\n" * 1000,
        b"x" * 100_000,
        b">CLIENT:CONNECT,1,1\r\n" + b">CLIENT:ENV,a=b\r\n" * 3000,
    ],
)
def test_what_nobody_understands_ends_the_connection_and_not_more(said: bytes) -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        with management.subscribe() as subscription:
            daemon.raw(said)
            await until(lambda: daemon.connections == 2, "it connects again")
            await management.up(5)
            standings = [item for item in subscription._waiting if isinstance(item, Standing)]
            assert [item.kind for item in standings][:2] == ["up", "gone"]
            assert "says what nobody understands" in standings[1].alarm

    with impatient():
        conversing(work)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("status 3", ["CLIENT_LIST\tx", "END"]),
        ("status 3", ["SUCCESS: done"]),
        ("version", ["END"]),
        ("pid", ["SUCCESS: pid=many"]),
        ("pid", ["a row", "END"]),
        ("state", ["yesterday,CONNECTED", "END"]),
        ("bytecount 1", ["ERROR: no"]),
    ],
)
def test_an_answer_that_is_none(asked: str, answer: list[str]) -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        right = daemon.answers.get(asked, ["SUCCESS: done"])
        daemon.answers[asked] = answer
        daemon.hang_up()
        await until(standing_of("garbled", management), "it is told")
        assert management.snapshot is None
        daemon.answers[asked] = right
        await management.up(5)

    with impatient():
        conversing(work)


def test_an_answer_to_a_reader_that_is_none() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        daemon.answers["load-stats"] = ["SUCCESS: nclients=many"]
        with pytest.raises(UnavailableError) as raised:
            await management.traffic()
        assert raised.value.error_id == "vpn_management_garbled"
        await until(lambda: daemon.connections == 2, "it connects again")

    with impatient():
        conversing(work)


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvpn_session, "REPLY_MAX", 20_000)

    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        daemon.answers["version"] = ["x" * 100] * 1000
        with pytest.raises(UnavailableError, match="no end"):
            await management.version()

    with impatient():
        conversing(work)
    assert REPLY_MAX > 10_000 * 150


# Fuzz

PIECES = st.sampled_from(
    [b"SUCCESS: pid=1\r\n", b"END\r\n", b"ERROR: no\r\n", b">HOLD:x:1\r\n", b">FATAL:x\r\n", b">CLIENT:CONNECT,1,2\r\n",
     b">CLIENT:ENV,END\r\n", b">BYTECOUNT_CLI:1,2,3\r\n", b"ENTER PASSWORD:", b"OpenVPN Version: x\r\n", b"\r\n", b"\0",
     b">INFO:x\r\n", b"Management Version: 5\r\n", b">STATE:1,CONNECTED\r\n", b"x" * 20_000, heard("held")[:700]]
) | st.binary(max_size=40)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=5).map(b"".join), min_size=1, max_size=6), st.booleans())
def test_whatever_a_socket_says_the_client_goes_on(replies: list[bytes], greet: bool) -> None:
    """Garbage instead of answers; then a daemon that answers, to which it comes back by itself."""

    async def work(path: Path) -> None:
        said = iter(replies)
        connected: list[asyncio.StreamWriter] = []

        async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.append(writer)
            with contextlib.suppress(ConnectionError):
                writer.write(b">INFO:hello\r\n" if greet else next(said, b""))
                while await reader.read(1000):
                    writer.write(next(said, b""))

        server = await asyncio.start_unix_server(garble, str(path))
        async with managing(path) as management:
            with management.subscribe(size=5) as subscription:
                with contextlib.suppress(UnavailableError, CommandRefusedError):
                    await management.up(0.05)
                    await management.clients()
                server.close()
                for writer in connected:
                    writer.transport.abort()
                path.unlink()
                async with OpenVpnReplay(path):
                    await until(lambda: management.snapshot and management.snapshot.pid == 4711, "it is back", 3)
                assert len(subscription._waiting) <= 5

    with impatient(), TemporaryDirectory() as folder:
        run(work(Path(folder, "socket")), 10)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=10), st.lists(st.integers(0, 99), max_size=10))
def test_answers_in_pieces_with_events_in_between(sizes: list[int], events: list[int]) -> None:
    """However the bytes of good answers are cut and mixed with events, they are understood."""

    async def work(path: Path) -> None:
        answers = OpenVpnReplay(path).answers

        async def slice_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            cut = itertools.cycle(sizes)
            writer.write(b">INFO:hello\r\n")
            with contextlib.suppress(ConnectionError):
                while line := (await reader.readline()).decode().strip():
                    lines = list(answers.get(line, ["SUCCESS: done"]))
                    for number in events:
                        lines.insert(number % (len(lines) + 1), f">BYTECOUNT_CLI:{number},1,2")
                    data = "".join(f"{line}\r\n" for line in lines).encode()
                    while data:
                        size = next(cut)
                        writer.write(data[:size])
                        await asyncio.sleep(0)
                        data = data[size:]
            writer.close()

        async with await asyncio.start_unix_server(slice_up, str(path)), managing(path) as management:
            with management.subscribe() as subscription:
                await management.up(5)
                assert len(await management.clients()) == 2
                assert await management.traffic() == Traffic(2, 29286, 7535)
                assert management.standing.kind == "up"
                counts = [item.cid for item in subscription._waiting if isinstance(item, ByteCount)]
                assert set(counts) == set(events)

    with TemporaryDirectory() as folder:
        run(work(Path(folder, "socket")), 10)


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    async def work() -> None:
        async with managing(tmp_path / "socket") as management:
            await asyncio.sleep(0.1)
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            async with OpenVpnReplay(tmp_path / "socket") as daemon:
                await management.up(5)
                for count in range(2, 12):
                    daemon.hang_up()
                    await until(lambda wanted=count: daemon.connections == wanted and management.snapshot, "back")
            await until(standing_of("gone", management), "gone")
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before, "all are closed")  # noqa: PTH208

    with impatient():
        asyncio.run(work())
