"""Processes of ours that we don't hold as children: which is which, and how they end; and being told to end ourselves."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a program to stop: Ctrl-C, ``centralino stop``, the terminal that is closed."""
NICE: Final = -10
"""Of what carries voice."""
_POLL_S: Final = 0.02
_FAMILY_S: Final = 1.0
"""How long what has left a group may take to end by itself once its parent has."""


class Interrupted(BaseException):
    """One of :data:`ENDING` came. No Exception: whoever catches those must not go on."""


class _Signals:
    held = 0
    waiting = False
    told = False


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first of :data:`ENDING` into :class:`Interrupted`; later ones don't disturb the cleaning up."""
    before = {number: signal.signal(number, _on_signal) for number in ENDING}
    _Signals.told = _Signals.waiting = False
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_together() -> Iterator[None]:
    """No interruption in here, but right after: between starting a process and noting that there is one."""
    _Signals.held += 1
    try:
        yield
    finally:
        _Signals.held -= 1
        if _Signals.waiting and not _Signals.held:
            _Signals.waiting = False
            raise Interrupted


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    if _Signals.told:
        return
    _Signals.told = True
    if _Signals.held:
        _Signals.waiting = True
        return
    raise Interrupted


def urgent() -> list[str]:
    """What is put before the command of a process that carries voice, so that whatever manages it never makes it wait for a processor: a
    Python program that starts on a small machine takes one for a second. Only root may; for others their unit says it (``Nice=``)."""
    if os.geteuid() != 0:
        return []
    return ["nice", "-n", str(NICE - os.getpriority(os.PRIO_PROCESS, 0))]  # nice adds to ours


def started(pid: int) -> str:
    """When a process started, in ticks since boot: with its PID, this names it for good (proc(5), stat field 22).

    Empty: there is none, or it has ended and waits for its parent (a zombie).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def note(file: Path, pid: int) -> None:
    """Write a PID file that tells its process from a later one with the same number."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(f"{pid} {started(pid)}\n")
    fresh.replace(file)


def noted(file: Path) -> int | None:
    """The process of a PID file, if it is that one that still lives."""
    try:
        pid, when = file.read_text().split()
        return int(pid) if when == started(int(pid)) else None
    except (OSError, ValueError):
        return None


def alive(pid: int, when: str) -> bool:
    """Whether the process that :func:`started` then still lives."""
    return bool(when) and started(pid) == when


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs; parents first."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def command_of(pid: int) -> list[str]:
    """A process's arguments; empty when it is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []
    return [word.decode(errors="replace") for word in words]


def end(pid: int, patience_s: float, *, group: bool = False) -> None:
    """SIGTERM, and SIGKILL when it still lives after ``patience_s`` seconds.

    :param group: its whole process group; and what it started that has left the group (a sandbox's inside, which dies by its
        parent's death, a moment later) is waited for, and killed.
    A sandbox (bubblewrap) would die by the signal and have what it holds killed: so the program inside is told first, and the
    sandbox ends with it.

    :raises PermissionError: it is another user's.
    """
    when = started(pid)
    inside = _inside(pid, when)
    family = [(each, started(each)) for each in descendants(pid)] if group else []
    if inside is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(inside, signal.SIGTERM)
        _gone(pid, when, patience_s)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not alive(pid, when):
            break
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(pid, number)
        _gone(pid, when, patience_s)
    for each, began in family:
        if not _gone(each, began, _FAMILY_S):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
            _gone(each, began, patience_s)


def _inside(pid: int, when: str) -> int | None:
    """The program in a sandbox; None: it is none, or stays empty. One that was just started hasn't got it yet: a signal now would end
    the sandbox before its inside would notice."""
    deadline = time.monotonic() + _FAMILY_S
    while _is_sandbox(pid) and alive(pid, when) and time.monotonic() < deadline:
        for each in descendants(pid):
            if command_of(each) and not _is_sandbox(each):
                return each
        time.sleep(_POLL_S)
    return None


def _is_sandbox(pid: int) -> bool:
    return Path((command_of(pid) or [""])[0]).name == "bwrap"


def _gone(pid: int, when: str, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while alive(pid, when) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return not alive(pid, when)
