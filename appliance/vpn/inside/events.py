"""What edges tell of what happened at their branches: a file of lines for each site, the newest last.

An edge's word about itself, shown as such; nothing is decided by it. Each event has a number of its edge's journal: one that came before isn't taken again, whatever
was lost between the two ends. A file has :data:`FILE_MAX` octets at most; then it is put aside in place of the one before, and another is begun: of a branch
some 8,000 events are known, and what was before those is gone.

What happens when…

* the process is killed while it writes: a line that isn't whole is cut off, and comes again;
* the disk is full: nothing is taken, and the edge keeps what it has;
* the edge is another one: its journal has another name, and its numbers begin anew;
* the file is garbage: what can be read is shown, and what comes is put behind it.
"""

from __future__ import annotations

import errno
import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints, ValidationError

from appliance.core.errors import Fault, InvalidError
from appliance.core.model import Part

FILE_MAX: Final = 1 << 20
EVENTS_MAX: Final = 500
"""At once."""
ABOUT_MAX: Final = 4096
SHOWN: Final = 200
_TAIL: Final = 64 * 1024


class Told(Part):
    """One of them. :param at: ms since 1970, by the edge's clock; :param sure: whether that was right."""

    number: Annotated[int, Field(ge=1, lt=1 << 53)]
    what: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,29}$")]
    at: Annotated[int, Field(ge=0, lt=1 << 53)]
    sure: bool
    about: dict[str, Any]


class Batch(Part):
    """What comes at once. :param journal: its name; numbers are its own."""

    journal: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    events: Annotated[tuple[Told, ...], Field(min_length=1, max_length=EVENTS_MAX)]


def read(body: bytes) -> Batch:
    """:raises InvalidError: ``bad_events``."""
    try:
        batch = Batch.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise _bad(".".join(map(str, first["loc"])) or "events", f"is wrong: {first['msg']}") from error
    for before, each in zip((None, *batch.events), batch.events, strict=False):
        if before is not None and before.number >= each.number:
            raise _bad("number", "doesn't grow")
        if len(json.dumps(each.about)) > ABOUT_MAX:
            raise _bad("about", f"has more than {ABOUT_MAX} octets")
    return batch


class Events:
    """All sites' below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._last: dict[str, tuple[str, int]] = {}

    def take(self, site: str, batch: Batch) -> int:
        """Write what is new. :returns: the last number that is written. :raises OSError: nothing was."""
        last = self._last.get(site) or self._left(site)
        number = last[1] if last is not None and last[0] == batch.journal else 0
        fresh = [each for each in batch.events if each.number > number]
        if fresh:
            lines = [json.dumps({"journal": batch.journal, **each.model_dump()}) + "\n" for each in fresh]
            self._append(self._file(site), "".join(lines).encode())
            number = fresh[-1].number
        self._last[site] = (batch.journal, number)
        return number

    def of(self, site: str, count: int = SHOWN) -> list[dict[str, Any]]:
        """The newest of a site, the newest first."""
        found: deque[dict[str, Any]] = deque(maxlen=count)
        for file in (self._former(site), self._file(site)):
            found.extend(_events(file))
        return list(reversed(found))

    def _file(self, site: str) -> Path:
        return self._directory / f"{site}.jsonl"

    def _former(self, site: str) -> Path:
        return self._directory / f"{site}.jsonl.1"

    def _left(self, site: str) -> tuple[str, int] | None:
        """What was written last, by whoever came before us."""
        for file in (self._file(site), self._former(site)):
            for each in reversed(list(_events(file, _TAIL))):
                return each["journal"], each["number"]
        return None

    def _append(self, file: Path, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as stream:
            whole = _whole(stream.seek(0, os.SEEK_END), stream)
            stream.truncate(whole)
            try:
                stream.seek(whole)
                if stream.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            except OSError:
                stream.truncate(whole)
                raise
        if whole + len(content) > FILE_MAX:
            file.replace(file.with_name(f"{file.name}.1"))


def _whole(size: int, stream: Any) -> int:
    """Octets of the lines that are whole."""
    start = max(0, size - _TAIL)
    stream.seek(start)
    tail = stream.read()
    return start + tail.rfind(b"\n") + 1 if tail and not tail.endswith(b"\n") else size


def _events(file: Path, tail: int | None = None) -> Iterator[dict[str, Any]]:
    """Those that can be read."""
    try:
        with file.open("rb") as stream:
            if tail is not None:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - tail))
            lines = stream.read(2 * FILE_MAX).split(b"\n")
    except OSError:
        return
    for line in lines:
        try:
            plain = json.loads(line)
            yield {"journal": str(plain.pop("journal")), **Told.model_validate(plain).model_dump()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue


def _bad(where: str, message: str) -> InvalidError:
    return InvalidError([Fault(where, message, "centre and edge speak different releases", "bad_events")])
