"""The engine's configuration on disk: whole generations, one of them in force.

``gen-000012/`` is written aside and renamed into place when it is complete; ``current`` is a link that one ``rename``
moves to it. Files that didn't change are hard links to those of the generation before, so they keep their time stamp
and the engine doesn't read them again. A file that did change gets a time stamp that no generation on disk has for
that name: the engine tells a change by time and size alone.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.applier.files import fsync_directory, storage_error, write_new

_NAME = re.compile(r"gen-(\d{6,})")
_MARK = ".revision"
_LINK = "current"
_STEP_NS = 1_000_000
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750


@dataclass(frozen=True, slots=True)
class Generation:
    """One whole configuration: its directory and the revision that it was made from."""

    path: Path

    @property
    def number(self) -> int:
        match = _NAME.fullmatch(self.path.name)
        return int(match[1]) if match else 0

    @property
    def revision(self) -> int:
        """The document's revision; 0 if the generation doesn't say."""
        try:
            return int((self.path / _MARK).read_text())
        except (OSError, ValueError):
            return 0

    def names(self) -> frozenset[str]:
        """Names of its files, relative to it."""
        found = set()
        for directory, _, files in os.walk(self.path):
            base = Path(directory).relative_to(self.path)
            found |= {(base / file).as_posix() for file in files if file != _MARK}
        return frozenset(found)

    def holds(self, name: str, text: str) -> bool:
        """Whether a file of it has exactly this text."""
        try:
            return (self.path / name).read_bytes() == text.encode()
        except OSError:
            return False

    def matches(self, texts: Mapping[str, str]) -> bool:
        """Whether it has exactly these files with exactly these texts."""
        return self.names() == texts.keys() and all(self.holds(name, text) for name, text in texts.items())


class Generations:
    """The directory of generations. ``group``: numeric group that may read them (the engine's), None for our own."""

    def __init__(self, directory: Path, group: int | None = None) -> None:
        self._top = directory
        self._group = group

    def current(self) -> Generation | None:
        """The generation in force; None if there is none, or if the link leads nowhere."""
        try:
            target = self._top / (self._top / _LINK).readlink().name
        except OSError:
            return None
        return Generation(target) if target.is_dir() and _NAME.fullmatch(target.name) else None

    def all(self) -> list[Generation]:
        """Every complete generation, oldest first."""
        if not self._top.is_dir():
            return []
        found = [Generation(path) for path in self._top.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
        return sorted(found, key=lambda generation: generation.number)

    def create(
        self,
        base: Generation | None,
        writes: Mapping[str, str],
        keep: Iterable[str],
        revision: int,
        wrote: Callable[[str], None] = lambda _: None,
    ) -> Generation:
        """A new generation: ``writes`` anew, and the files named in ``keep`` linked from ``base``.

        It isn't in force yet. Nothing of it stays when this fails.

        :param wrote: called after each file that was written.
        :raises UnavailableError: ``disk_full``, or whatever else the file system says.
        """
        existing = self.all()
        number = max((generation.number for generation in existing), default=0) + 1
        target = self._top / f"gen-{number:06d}"
        fresh = self._top / f"{target.name}.new"
        try:
            self._ensure(self._top)
            shutil.rmtree(fresh, ignore_errors=True)
            self._ensure(fresh)
            for name in keep:
                if base is not None:
                    self._directory_of(fresh, name)
                    os.link(base.path / name, fresh / name)
            for name, text in sorted(writes.items()):
                self._directory_of(fresh, name)
                write_new(fresh / name, text.encode(), FILE_MODE, self._group)
                self._stamp(fresh / name, [generation.path / name for generation in existing])
                wrote(name)
            write_new(fresh / _MARK, str(revision).encode(), FILE_MODE, self._group)
            for directory, _, _ in os.walk(fresh):
                fsync_directory(Path(directory))
            fresh.rename(target)
            fsync_directory(self._top)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise storage_error(error, "a new generation of the engine's configuration") from error
        return Generation(target)

    def switch(self, generation: Generation) -> None:
        """Put a generation in force, atomically."""
        fresh = self._top / f"{_LINK}.new"
        try:
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(generation.path.name)
            fresh.rename(self._top / _LINK)
            fsync_directory(self._top)
        except OSError as error:
            raise storage_error(error, "the link to the engine's configuration") from error

    def prune(self, keep: int, needed: Iterable[int] = ()) -> list[int]:
        """Remove what is left of interrupted writes, and all generations but the newest ``keep``, the one in force
        and the ``needed`` ones. Returns the numbers removed."""
        current = self.current()
        wanted = {*needed, *(generation.number for generation in self.all()[-keep:])}
        removed = []
        for generation in self.all():
            if generation.number not in wanted and generation != current:
                shutil.rmtree(generation.path, ignore_errors=True)
                removed.append(generation.number)
        if self._top.is_dir():
            for path in self._top.iterdir():
                if path.name.endswith(".new") and path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
        return removed

    def discard(self, generation: Generation) -> None:
        """Remove a generation that isn't in force."""
        if generation != self.current():
            shutil.rmtree(generation.path, ignore_errors=True)

    def _ensure(self, directory: Path) -> None:
        """A directory that the engine may enter and nobody else may read."""
        if directory.is_dir():
            return
        directory.mkdir(parents=True)
        directory.chmod(DIRECTORY_MODE)
        if self._group is not None:
            os.chown(directory, -1, self._group)

    def _directory_of(self, top: Path, name: str) -> None:
        parent = (top / name).parent
        if parent != top:
            self._ensure(parent)

    @staticmethod
    def _stamp(path: Path, others: Iterable[Path]) -> None:
        """A time stamp newer than that of every file of this name: clocks may stand still or jump back."""
        newest = 0
        for other in others:
            try:
                newest = max(newest, other.stat().st_mtime_ns)
            except OSError:
                continue
        stamp = max(time.time_ns(), newest + _STEP_NS)
        os.utime(path, ns=(stamp, stamp))
