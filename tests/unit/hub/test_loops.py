"""The trap itself sees what blocks, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from tests.unit.hub.loops import run


@pytest.mark.parametrize(
    "block",
    [
        lambda: time.sleep(0.001),
        lambda: Path(__file__).read_bytes(),
        lambda: sqlite3.connect(":memory:").close(),
        lambda: socket.create_connection(("127.0.0.1", 1), 0.1),
    ],
)
def test_what_blocks_is_seen(block: object) -> None:
    async def work() -> None:
        with contextlib.suppress(OSError):
            block()  # type: ignore[operator]

    with pytest.raises(AssertionError, match=r"time.sleep|open|sqlite3|socket"):
        run(work())


def test_a_callback_that_computes_for_long_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.hub.loops.SLOW_S", 0.001)

    async def work() -> int:
        await asyncio.sleep(0)
        return sum(range(1_000_000))

    with pytest.raises(AssertionError, match="computed for"):
        run(work())


def test_a_thread_may_block() -> None:
    async def work() -> bytes:
        return await asyncio.to_thread(Path(__file__).read_bytes)

    assert b"may block" in run(work())
