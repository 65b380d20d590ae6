"""What the engine wrote to its log while it read its files: which objects it refused, and why.

Reading back can't see everything: the engine keeps the old form of an object that it refuses, and when the change only
took something away, the old form has all that the new one wants. Its log names each object that it refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.applier.expect import SECRET, Mismatch

_READ_MAX: Final = 4 * 1024 * 1024
_REFUSED: Final = re.compile(r"Could not create an object of type '([^']*)' with id '([^']*)'")
_WHOLE_FILE: Final = re.compile(
    r"(?:Config file '[^']*' could not be loaded|Contents of config file '[^']*' are invalid|Unable to load config file"
    r"|Unable to register extension|No closing parenthesis found|Invalid priority/label|Unknown directive).*"
)
_SOURCE: Final = re.compile(r"^\[[^\]]*\] (?:ERROR|WARNING)\[\d+\](?:\[[^\]]*\])? \S+: ")


class EngineLog:
    """The engine's log of errors and warnings, from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = self._size()

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def refusals(self) -> list[Mismatch]:
        """Objects that the engine has refused since, with its own reason, and files that it couldn't read."""
        size = self._size()
        start = self._start if size >= self._start else 0  # it was rotated meanwhile
        try:
            with self._path.open("rb") as file:
                file.seek(max(start, size - _READ_MAX))
                text = file.read(_READ_MAX).decode(errors="replace")
        except OSError:
            return []
        return list(_refusals(text))


def _refusals(text: str) -> Iterator[Mismatch]:
    reason = ""
    for line in text.splitlines():
        source = _SOURCE.match(line)
        if source is None:
            continue
        said = line[source.end() :]
        if found := _REFUSED.search(said):
            why = f": {reason}" if reason and not any(word in reason for word in SECRET) else ""
            yield Mismatch(f"{found[1]} {found[2]}", "", "", f"the engine refused it{why}")
            reason = ""
        elif _WHOLE_FILE.search(said):
            yield Mismatch("the engine", "", "", said)
        else:
            reason = said
