"""Logs that can't fill the disk: the engine rotates its own when it is told to, ours are copied and emptied."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 16 << 20
"""Size at which a log is rotated: months of a healthy engine, an hour of one under attack."""
KEPT: Final = 4
"""Rotated files that are kept of each log."""
_ROTATED: Final = re.compile(r"\.(\d+)")


@dataclass(frozen=True, slots=True)
class EngineLogs:
    """The engine's logs. ``rotate`` tells it to begin new ones; whether it could be told is its affair."""

    directory: Path
    rotate: Callable[[], None]
    limit_bytes: int = LIMIT_BYTES

    def bound(self) -> None:
        """Rotate when one is too large; remove the oldest. Raises OSError."""
        if not self.directory.is_dir():
            return
        logs = [file for file in self.directory.iterdir() if file.is_file()]
        if any(file.stat().st_size > self.limit_bytes for file in logs if not _ROTATED.fullmatch(file.suffix)):
            self.rotate()
        _prune(self.directory)


def _prune(directory: Path) -> None:
    for file in directory.iterdir():
        if (number := _ROTATED.fullmatch(file.suffix)) and int(number[1]) >= KEPT:
            file.unlink(missing_ok=True)


def bound_ours(log: Path, limit_bytes: int = LIMIT_BYTES) -> bool:
    """Rotate a log to which a program of ours appends (O_APPEND: it goes on at the new end). Whether it was due.

    What is written between copying and emptying is lost; so is all of it when the disk is full: then room matters more.
    """
    try:
        if log.stat().st_size <= limit_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(KEPT - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            log.with_name(f"{log.name}.{number - 1}").replace(log.with_name(f"{log.name}.{number}"))
    with contextlib.suppress(OSError):
        shutil.copyfile(log, log.with_name(f"{log.name}.0"))
    with log.open("r+b") as file:
        file.truncate(0)
    return True
