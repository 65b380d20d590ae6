"""A thousand browsers at the hub, as bare as can be: opening by the book, then frames taken apart and timed.

``python -m bench.hub_clients SOCKET COUNT SECONDS``: prints one JSON line with what was seen. Every frame is timed; about
one in a hundred is also read, another one for each browser.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from appliance.engine.unix import connect

READ: Final = 10
"""Out of a thousand browsers so many read any given frame; of fewer browsers, more."""
PANELS: Final = 20
"""Each so-many-th browser is an operator's panel: calls and trunks besides lamps and own calls."""


class Browser(asyncio.Protocol):
    """One socket. ``seen``: (moment, extension, state) of messages that were read."""

    def __init__(self, number: int, token: str, every: int) -> None:
        self.number, self.token, self.every = number, token, every
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.frames = self.bytes = self.snapshots = 0
        self.seen: list[tuple[float, str, str]] = []
        self._buffer = bytearray()
        self._head = True

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(
            (
                "GET /live HTTP/1.1\r\nHost: portal.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Extensions: permessage-deflate\r\nX-Forwarded-For: 192.0.2.77\r\n"
                f"Origin: https://portal.example\r\nCookie: __Host-session={self.token}\r\n\r\n"
            ).encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._buffer += data
        self.bytes += len(data)
        if self._head:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"refused: {bytes(self._buffer[:80])!r}")
            del self._buffer[: end + 4]
            self._head = False
            rooms = ["extensions", "me"] + (["calls", "trunks"] if self.number % PANELS == 0 else [])
            self._say({"type": "subscribe", "rooms": rooms})
            self.opened.set_result(None)
        self._take(now)

    def _take(self, now: float) -> None:
        """Take apart what is there; only the frames that are read are copied."""
        buffer, begin = self._buffer, 0
        while len(buffer) - begin >= 2:
            size, head = buffer[begin + 1], 2
            if size > 125:
                head = 4 if size == 126 else 10
                size = int.from_bytes(buffer[begin + 2 : begin + head], "big")
            if len(buffer) - begin < head + size:
                break
            self.frames += 1
            if (self.frames + self.number) % self.every == 0:
                self._read(json.loads(buffer[begin + head : begin + head + size]), now)
            begin += head + size
        del buffer[:begin]

    def _read(self, messages: Any, now: float) -> None:
        for message in messages if isinstance(messages, list) else [messages]:
            data = message["data"]
            if message["type"] == "extension" and message["room"] == "extensions" and "state" in data:
                self.seen.append((now, data["id"], data["state"]))
            self.snapshots += message["type"] == "snapshot"

    def _say(self, message: dict[str, Any]) -> None:
        payload, mask = json.dumps(message).encode(), os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else bytes([0xFE]) + len(payload).to_bytes(2, "big")
        self.transport.write(b"\x81" + size + mask + masked)


async def main(path: Path, count: int, seconds: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    browsers, every = [], max(3, count // READ - 3)
    for number in range(count):
        raw = socket.socket(socket.AF_UNIX)
        connect(raw, path)
        raw.setblocking(False)
        token = f"user-{number}"
        _, browser = await loop.create_unix_connection(lambda n=number, t=token: Browser(n, t, every), sock=raw)  # type: ignore[misc]
        browsers.append(browser)
        if number % 50 == 49:
            await asyncio.gather(*(each.opened for each in browsers))
    await asyncio.gather(*(each.opened for each in browsers))
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    for browser in browsers:
        browser.frames = browser.bytes = 0
    await asyncio.sleep(seconds)  # the span that is measured
    return {
        "frames": sum(each.frames for each in browsers),
        "bytes": sum(each.bytes for each in browsers),
        "lost": sum(each.transport.is_closing() for each in browsers),
        "seen": [item for each in browsers for item in each.seen],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))), flush=True)
