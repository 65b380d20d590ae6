"""Running coroutines in tests, with a trap for whatever would block the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

SLOW_S = 1.0
"""A callback that computes for so long is a mistake on any machine; seconds of its thread's own CPU time."""
_trap: list[tuple[int, list[str]]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook (PEP 578); it can't be taken out again, so it looks whether a trap is set."""
    if not _trap or asyncio._get_running_loop() is None or threading.get_ident() != _trap[0][0]:
        return
    blocking = event in {"time.sleep", "sqlite3.connect", "subprocess.Popen", "socket.getaddrinfo", "os.listdir"}
    blocking |= event == "socket.connect" and arguments[0].gettimeout() != 0
    blocking |= event == "open" and isinstance(arguments[0], str | bytes)
    if blocking:
        # Names and lines only: looking at the source would open files.
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_stack(sys._getframe(1))]
        importing = any("importlib" in name for name, _ in frames)
        quoting = any(name.endswith(("linecache.py", "tokenize.py")) for name, _ in frames)
        if not importing and not quoting:
            where = "; ".join(f"{name}:{line}" for name, line in frames[:4])
            _trap[0][1].append(f"{event} {arguments[:1]} at {where}")


sys.addaudithook(_hook)


@contextlib.contextmanager
def trapped() -> Iterator[list[str]]:
    """Everything that blocks the event loop of this thread meanwhile; it must stay empty."""
    found: list[str] = []
    run_callback = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run_callback(handle)
        if time.thread_time() - began > SLOW_S:
            found.append(f"{handle} computed for {time.thread_time() - began:.1f} s")

    _trap.append((threading.get_ident(), found))
    sleep = time.sleep

    def seen_sleep(seconds: float) -> None:
        _hook("time.sleep", (seconds,))  # an audit event of its own from Python 3.13 on
        sleep(seconds)

    time.sleep = seen_sleep
    asyncio.Handle._run = timed  # type: ignore[method-assign]
    try:
        yield found
    finally:
        time.sleep = sleep
        asyncio.Handle._run = run_callback  # type: ignore[method-assign]
        _trap.pop()


def run(work: Coroutine[Any, Any, T], deadline_s: float = 30) -> T:
    """Run a coroutine to its end; fails when something in it blocked the loop."""

    async def within() -> T:
        return await asyncio.wait_for(work, deadline_s)

    with trapped() as blocked:
        result = asyncio.run(within())
    assert not blocked, "\n".join(blocked)
    return result


async def until(probe: Any, what: str, deadline_s: float = 10) -> None:
    """Wait until ``probe()`` is true."""
    end = asyncio.get_running_loop().time() + deadline_s
    while not probe():
        assert asyncio.get_running_loop().time() < end, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.01)
