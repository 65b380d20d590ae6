"""What is applied, under way, and waiting: one small file, replaced atomically, read at the daemon's start."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.applier.confirm import Moment, Pending
from appliance.applier.files import replace as replace_file
from appliance.applier.files import storage_error

_log = structlog.get_logger("centralino.applier")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def now() -> Moment:
    """The present moment, by every clock."""
    try:
        boot_id = _BOOT_ID.read_text().strip()
    except OSError:
        boot_id = ""
    return Moment(time.clock_gettime(time.CLOCK_BOOTTIME), boot_id, time.time())


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Collect(_Part):
    """Runtime values of a deleted object, still to be removed from the engine's database."""

    kind: str
    id: str


class Transaction(_Part):
    """An apply under way: from one generation to another, for a revision that isn't committed yet.

    ``confirm``: the window that opens when it is committed.
    """

    revision: int
    from_generation: int
    collect: tuple[Collect, ...] = ()
    confirm: Pending | None = None


class Scheduled(_Part):
    """A proposed revision that is to be applied at a time.

    ``staged``: it was made of what its author had staged, and goes back there when it isn't applied.
    """

    revision: int
    at: datetime
    allow: tuple[str, ...] = ()
    confirm_s: float | None = None
    staged: bool = False


class LastError(_Part):
    """Why the last apply failed."""

    revision: int
    error_id: str
    message: str


Count = Annotated[int, Field(ge=0)]


class State(_Part):
    """The whole journal.

    ``verified``: the engine was asked since the files last changed, and holds what they say.
    """

    format: int = 1
    revision: Count = 0
    generation: Count = 0
    verified: bool = False
    transaction: Transaction | None = None
    confirm: Pending | None = None
    scheduled: tuple[Scheduled, ...] = ()
    collect: tuple[Collect, ...] = ()
    last_error: LastError | None = None


@dataclass
class Journal:
    """The file and its content in memory."""

    path: Path
    state: State

    @classmethod
    def load(cls, path: Path) -> Journal:
        """Read the file. One that can't be read is put aside (``state.json.bad``) and counts as empty: what is
        committed stands in the store, and convergence finds out the rest."""
        try:
            return cls(path, State.model_validate_json(path.read_bytes()))
        except FileNotFoundError:
            return cls(path, State())
        except (OSError, ValidationError, ValueError) as error:
            _log.error("journal_unreadable", path=str(path), error=type(error).__name__)
            bad = path.with_name(path.name + ".bad")
            if path.is_file():
                path.rename(bad)
            return cls(path, State())

    def update(self, **fields: Any) -> None:
        """Change some fields; on the disk when this returns.

        :raises UnavailableError: the file system refuses; the content in memory stays as it was.
        """
        fresh = self.state.model_copy(update=fields)
        try:
            replace_file(self.path, fresh.model_dump_json(indent=1).encode())
        except OSError as error:
            raise storage_error(error, "the applier's journal") from error
        self.state = fresh


def tick(pending: Pending) -> Pending:
    """A confirm window as of now; written down from time to time, so that a reboot can't stretch it."""
    return pending.at(now())


__all__ = ["Collect", "Journal", "LastError", "Scheduled", "State", "Transaction", "now", "tick"]
