"""Plays OpenVPN's management interface from what a real one once said (tests/data/openvpn): for moments that can't be hit
with a real one. One connection is served at a time, as there; the others wait without a word.

    async with OpenVpnReplay(path) as daemon:
        daemon.clients = [0, 1]
        daemon.send(">BYTECOUNT_CLI:0,1,2")
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

DATA = Path(__file__).parents[2] / "data" / "openvpn"
GREETING = ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info"


@functools.cache
def recorded(name: str) -> list[tuple[str, list[str]]]:
    """A dialogue: what was sent (empty: the beginning), and the lines that came until the next was sent."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in (DATA / f"{name}-2.6.14.txt").read_text().splitlines():
        if line.startswith("C: "):
            found.append((line[3:], []))
        elif line.startswith("S: "):
            found[-1][1].append(line[3:])
    return found


def heard(name: str) -> bytes:
    """All that the daemon said in a dialogue."""
    return "".join(f"{line}\r\n" for _, lines in recorded(name) for line in lines).encode()


def status(rows: int) -> list[str]:
    """The status of the recorded server before (0) or after clients had come."""
    every = [[line for line in lines if line[0] != ">"] for sent, lines in recorded("server") if sent == "status 3"]
    return every[0] if not rows else next(lines for lines in every if sum("CLIENT_LIST\tm" in x for x in lines))


class OpenVpnReplay:
    """``silent``: takes commands and answers none; ``answers``: other lines than the usual to a command."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.greeting = f"{GREETING}\r\n".encode()
        self.silent = False
        self.connections = 0
        self.commands: list[str] = []
        self.answers: dict[str, list[str]] = {
            "version": ["OpenVPN Version: OpenVPN 2.6.14 x86_64-pc-linux-gnu", "Management Version: 5", "END"],
            "pid": ["SUCCESS: pid=4711"],
            "state": ["1795770323,CONNECTED,SUCCESS,10.99.0.1,,,,,fd00:99::1", "END"],
            "status 3": status(2),
            "load-stats": ["SUCCESS: nclients=2,bytesin=29286,bytesout=7535"],
        }
        self._slot = asyncio.Lock()
        self._serving: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.die()

    async def listen(self) -> None:
        """Be there (again)."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, str(self.path))

    async def die(self) -> None:
        """Be gone, with all connections."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._serving = None

    def send(self, *lines: str) -> None:
        """Tell events."""
        self.raw("".join(f"{line}\r\n" for line in lines).encode())

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self._serving is not None
        self._serving.write(data)

    def hang_up(self) -> None:
        """End the connection, not the daemon."""
        assert self._serving is not None
        self._serving.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with self._slot:
                await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._serving = writer
        writer.write(self.greeting)
        while line := (await reader.readline()).decode().strip():
            self.commands.append(line)
            if not self.silent:
                self.send(*self.answers.get(line, ["SUCCESS: done"]))

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """Answer nothing for the time of a ``with``."""
        self.silent = True
        yield
        self.silent = False
