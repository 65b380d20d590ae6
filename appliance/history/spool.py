"""The spool's directory: which files there are, reading on, rotating, free space.

The engine opens ``events.csv`` for every event, appends one line and closes it, one event at a time. So the file is
rotated by renaming it, at any moment: at most the write in progress still goes to the old file, and once a new
``events.csv`` exists the old one is final. Sealed files are called ``events-<number>.csv`` and are read in order.

The engine does not notice that a line couldn't be written because the disk was full: watching the free space is ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import RefusedError, UnavailableError
from appliance.engine import unix

LIVE: Final = "events.csv"
CHUNK: Final = 1 << 20
"""Bytes read at once: one transaction."""
LINE_MAX: Final = 1 << 16
"""Bytes that a record may have at most."""
HEAD: Final = 64
"""First bytes of a file that tell it from another one with the same inode number."""
_SEALED: Final = re.compile(r"events-(\d{9})\.csv")


@dataclass(frozen=True, slots=True)
class Known:
    """How far one file has been read, as the database remembers it."""

    number: int
    device: int
    inode: int
    head: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Found:
    """One file on disk; ``final``: the engine won't write to it any more."""

    number: int
    path: Path
    device: int
    inode: int
    size: int
    final: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """What was read: the file's whole lines from ``offset`` on, and what is left over at a final file's end."""

    file: Found
    head: bytes
    offset: int
    data: bytes
    rest: bytes
    at_end: bool


class Spool:
    """One spool directory, read ``chunk`` bytes at a time."""

    def __init__(self, directory: Path, chunk: int = CHUNK) -> None:
        self.directory = directory
        self._chunk = chunk

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the right to read on: only one reader may. RefusedError when another one has it."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle = os.open(self.directory / ".reader", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + 0.5  # whoever only looks (:meth:`is_read`) has it for an instant
        while not _locked(handle):
            if time.monotonic() > deadline:
                os.close(handle)
                message = f"another process reads {self.directory} already"
                raise RefusedError(message, "stop it first", error_id="history_running")
            time.sleep(0.02)
        try:
            yield
        finally:
            os.close(handle)

    def is_read(self) -> bool:
        """Whether a reader holds :meth:`lock`. Raises PermissionError: we may not look."""
        try:
            with (self.directory / ".reader").open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def files(self, known: Iterable[Known], last: int = 0) -> list[Found]:
        """Every file, oldest first; ``known`` are those not read to their end yet, ``last`` the highest number ever."""
        known = list(known)
        sealed: dict[int, Found] = {}
        live_stat = _stat(
            self.directory / LIVE
        )  # before listing: a rename in between then shows as sealed, not as lost
        for entry in os.scandir(self._readable()):
            match = _SEALED.fullmatch(entry.name)
            if match:
                stat = entry.stat()
                sealed[int(match[1])] = Found(
                    int(match[1]), Path(entry.path), stat.st_dev, stat.st_ino, stat.st_size, False
                )
        if live_stat is not None and any(file.inode == live_stat.st_ino for file in sealed.values()):
            live_stat = None
        numbers = sorted(sealed)
        files = []
        for number in numbers:
            final = live_stat is not None or number != numbers[-1]
            file = sealed[number]
            files.append(Found(number, file.path, file.device, file.inode, file.size, final))
        if live_stat is not None:
            number = self._live_number(live_stat, known, numbers, last)
            path = self.directory / LIVE
            files.append(Found(number, path, live_stat.st_dev, live_stat.st_ino, live_stat.st_size, False))
        return files

    def _readable(self) -> Path:
        if not self.directory.is_dir():
            raise UnavailableError(
                f"{self.directory} isn't there", "start the engine: it makes its directories", error_id="no_spool"
            )
        return self.directory

    def _live_number(self, stat: os.stat_result, known: list[Known], sealed: list[int], last: int) -> int:
        head = self._head(self.directory / LIVE)
        for file in known:
            same = (file.device, file.inode) == (stat.st_dev, stat.st_ino) and file.number not in sealed
            if same and stat.st_size >= file.offset and head.startswith(file.head):
                return file.number
        return max([last, *sealed, *(file.number for file in known)]) + 1

    @staticmethod
    def _head(path: Path) -> bytes:
        with path.open("rb") as handle:
            return handle.read(HEAD)

    def read(self, file: Found, offset: int) -> Chunk:
        """Whole lines from ``offset`` on, at most one chunk, made durable before they are counted as read."""
        with file.path.open("rb") as handle:
            os.fdatasync(handle.fileno())
            head = handle.read(HEAD)
            handle.seek(offset)
            data = handle.read(self._chunk)
            at_end = len(data) < self._chunk
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if end == 0 and not at_end:
            # No line is that long: damage. A record may begin near the end.
            return Chunk(file, head, offset, data[: max(len(data) // 2, len(data) - LINE_MAX)], b"", False)
        return Chunk(file, head, offset, data[:end], rest if file.final and at_end else b"", at_end)

    def rotate(self, number: int) -> Path | None:
        """Seal the live file under its number; the engine makes a new one with its next event."""
        target = self.directory / f"events-{number:09}.csv"
        if target.exists():
            return None
        try:
            (self.directory / LIVE).rename(target)
        except FileNotFoundError:
            return None
        handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return target

    def free(self) -> int:
        """Bytes that the engine can still write here."""
        figures = os.statvfs(self.directory)
        return figures.f_bavail * figures.f_frsize


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def listening(control_socket: Path) -> bool:
    """Somebody listens on the engine's control socket; unknown (no right to ask) counts as yes."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            unix.connect(probe, control_socket)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
