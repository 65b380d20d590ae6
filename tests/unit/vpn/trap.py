"""Stops whoever changes files, before the first change, before the second and so on; or fills the disk from any on.

Python tells an audit hook of each file that is opened for writing, renamed, removed and so on.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.unit.vpn.ground import Killed

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.chmod", "os.utime", "os.link", "os.rmdir"}
GROWS = {"open", "os.mkdir"}
NEW_FILES = os.O_CREAT | os.O_WRONLY | os.O_RDWR


class Trap:
    """Counts the changes below a directory; stops at one of them."""

    def __init__(self) -> None:
        self.top = ""
        self.seen = 0
        self.at = 0
        self.full = False
        self.hooked = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.top or (event not in CHANGES and event != "open"):
            return
        if not str(arguments[0]).startswith(self.top) or str(arguments[0]).endswith("lock"):
            return
        if event == "open" and not (arguments[2] or 0) & NEW_FILES:
            return
        if self.full and event not in GROWS:
            return
        self.seen += 1
        if self.full:
            if self.seen >= self.at:
                raise OSError(errno.ENOSPC, "No space left on device")
        elif self.seen == self.at:
            raise Killed

    @contextmanager
    def set(self, top: Path, at: int, *, full: bool) -> Any:
        if not self.hooked:  # for the life of the process; does nothing outside of a `with`
            self.hooked = True
            sys.addaudithook(self)
        self.top, self.seen, self.at, self.full = str(top), 0, at, full
        try:
            yield
        finally:
            self.top = ""


TRAP = Trap()
