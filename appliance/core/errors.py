"""The one error tree.

::

    CentralinoError            error_id, message for people, hint
    ├── InvalidError           the input is wrong: carries every fault found, each with its path
    ├── ConflictError          a stale edit: somebody else changed the same object meanwhile
    ├── NotFoundError          no such object, revision or file
    ├── RefusedError           valid, but not without being asked for (it would drop calls, say)
    ├── ApplyError             the system didn't take the change; the former state was restored
    ├── UnavailableError       a peer (engine, applier, database, mirror) can't be reached now
    └── CorruptError           something stored can't be read back: bad key, garbage file

``error_id`` is stable: programs and translations hang on it; never rename one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in the document: where, what, and what would be right.

    ``path`` is ``kind/id/field`` (nested fields joined by dots, list positions in brackets). ``severity`` is ``error``,
    or ``warning`` for what people should know but may leave as it is: warnings are shown and hold nothing up. ``line``
    tells where it stands in the file that it was read from, if it was (the first line is 1).
    """

    path: str
    message: str
    hint: str = ""
    error_id: str = "invalid"
    severity: Literal["error", "warning"] = "error"
    line: int | None = None


class CentralinoError(Exception):
    """Base of all our errors: ``str()`` is one line for people."""

    error_id = "error"

    def __init__(self, message: str, hint: str = "", *, error_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if error_id is not None:
            self.error_id = error_id


class InvalidError(CentralinoError):
    """The input is wrong; ``faults`` holds all that was found, not only the first."""

    error_id = "invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        first = self.faults[0]
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        line = f"line {first.line}, " if first.line else ""
        super().__init__(f"{line}{first.path}: {first.message}{more}", first.hint, error_id=first.error_id)


class ConflictError(CentralinoError):
    """A stale edit: ``changed`` lists the paths that changed since the edit's base revision."""

    error_id = "conflict"

    def __init__(self, message: str, hint: str = "", *, changed: Sequence[str] = ()) -> None:
        super().__init__(message, hint)
        self.changed = tuple(changed)


class NotFoundError(CentralinoError):
    """No such object, revision or file."""

    error_id = "not_found"


class RefusedError(CentralinoError):
    """The request is valid but has consequences that must be asked for."""

    error_id = "refused"


class ApplyError(CentralinoError):
    """The system didn't take the change; the former state was restored."""

    error_id = "apply_failed"


class UnavailableError(CentralinoError):
    """A peer can't be reached now."""

    error_id = "unavailable"


class CorruptError(CentralinoError):
    """Something stored can't be read back."""

    error_id = "corrupt"
