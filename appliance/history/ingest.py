"""Spool → assembler → database. Each batch is one transaction: records, calls still open, and the place in the spool.

Killed at any moment, the next start finds the last whole batch and reads on behind it, so every event counts exactly
once. The reader may have been dead for days: the engine's spool waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from appliance.history import outbox
from appliance.history.assemble import Assembler
from appliance.history.line import Event, LineError, parse, salvage
from appliance.history.model import Call
from appliance.history.openstate import OpenCall, dump, load
from appliance.history.spool import LIVE, Chunk, Found, Known, Spool
from appliance.history.write import Labels, write_calls
from appliance.store import history as table
from appliance.store.database import Database

_log = logging.getLogger("centralino.history")
CONTENT_MAX: Final = 2000
"""Bytes of a damaged line that are kept."""
DELETED_AT_ONCE: Final = 500
"""Keys in one statement."""


@dataclass(slots=True)
class _Batch:
    """What one transaction writes."""

    calls: list[Call] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)


class Ingest:
    """The one writer of the history. Not thread-safe; hold :meth:`Spool.lock` while using it."""

    def __init__(self, database: Database, spool: Spool) -> None:
        self.database, self.spool = database, spool
        self._load()

    @property
    def open_calls(self) -> int:
        """Calls in progress."""
        return len(self._assembler.calls)

    def step(self) -> int:
        """Read on, at most one chunk. Number of bytes taken; 0: nothing new."""
        files = self._files()
        self._missing(files)
        for file in files:
            if file.number not in self._done:
                chunk = self.spool.read(file, self._offset(file.number))
                if chunk.data or chunk.rest or (file.final and chunk.at_end):
                    return self._take(chunk) or 1
                return 0
        return 0

    def drain(self) -> int:
        """Read on to the end. Number of bytes taken."""
        total = 0
        while taken := self.step():
            total += taken
        return total

    def engine_died(self) -> int:
        """No engine runs (checked *before* the spool was drained): end the calls that it left open. Their number."""
        return self._end(self._assembler.close_all())

    def reconcile(self, live_channels: Collection[str], before: int) -> int:
        """End calls that the engine doesn't know any more, see :meth:`Assembler.reconcile`; each leaves a gap."""
        ended = self._assembler.reconcile(live_channels, before)
        gaps = [_gap(call.ended, _now(), "events_missing", f"end of call {call.linked_id}") for call in ended]
        return self._end(ended, gaps)

    def add_gap(self, since: int, until: int, reason: str, detail: str = "", *, notices: bool = False) -> None:
        """Record a time (milliseconds) in which calls may be missing; with ``notices`` it is notifications that are."""
        with self.database.write() as connection:
            connection.execute(insert(table.gap), [_gap(since, until, reason, detail)])
            if notices:
                outbox.forget_dropped(connection)

    def rotate(self, size: int) -> bool:
        """Seal the live file if it has ``size`` bytes or more."""
        files = self._files()
        if not files or files[-1].path.name != LIVE or files[-1].size < max(1, size):
            return False
        return self.spool.rotate(files[-1].number) is not None

    def prune(self, older_than_ms: int) -> list[int]:
        """Delete sealed files that were read to their end before that time. Their numbers."""
        with self.database.read() as connection:
            done = dict(connection.execute(select(table.spool_file.c.number, table.spool_file.c.done)).tuples().all())
        gone = []
        for file in self._files():
            if (finished := done.get(file.number)) is not None and finished < older_than_ms:
                file.path.unlink(missing_ok=True)
                gone.append(file.number)
        return gone

    def _files(self) -> list[Found]:
        return self.spool.files(self._known.values(), max(self._done, default=0))

    def _offset(self, number: int) -> int:
        return self._known[number].offset if number in self._known else 0

    def _load(self) -> None:
        """Take up what the last transaction left."""
        with self.database.read() as connection:
            state = connection.execute(select(table.reader)).one_or_none()
            rows = connection.execute(select(table.open_call)).all()
            files = connection.execute(select(table.spool_file)).all()
        self._state = state
        self._last_call = state.last_call if state else 0
        self._last_event = state.last_event if state else 0
        self._labels = Labels(state.last_label if state else 0)
        self._assembler = Assembler(state.run if state else "", list(_readable(rows)))
        self._done = {row.number for row in files if row.done is not None}
        self._known = {
            row.number: Known(row.number, row.device, row.inode, row.head, row.offset)
            for row in files
            if row.done is None
        }

    def _take(self, chunk: Chunk) -> int:
        batch = _Batch()
        try:
            self._feed(chunk, batch)
            with self.database.write() as connection:
                self._write(connection, batch)
                self._advance(connection, chunk)
        except BaseException:
            self._load()  # memory is ahead of the database: go back to what it has
            raise
        self._settle(chunk)
        return len(chunk.data) + len(chunk.rest)

    def _feed(self, chunk: Chunk, batch: _Batch) -> None:
        position = chunk.offset
        broken: int | None = None  # time of the last event before damage
        for line in chunk.data.split(b"\n")[:-1] if chunk.data.endswith(b"\n") else [chunk.data]:
            event = self._event(line, position, chunk.file.number, batch)
            if event is None:
                broken = broken or self._last_event
            else:
                if broken is None and batch.faults and batch.faults[-1]["offset"] == position:
                    broken = self._last_event  # the line's beginning was damaged
                if broken is not None:
                    batch.gaps.append(_gap(broken // 1000, event.time // 1000, "spool_damaged", "unreadable lines"))
                    broken = None
                self._assemble(event, position, chunk.file.number, line, batch)
                self._last_event = event.time
            position += len(line) + 1
        if chunk.rest:
            batch.faults.append(_fault(chunk.file.number, position, chunk.rest, "a line without its end"))
            broken = broken or self._last_event
        if broken is not None:
            batch.gaps.append(_gap(broken // 1000, _now(), "spool_damaged", "unreadable lines"))

    def _assemble(self, event: Event, position: int, file: int, line: bytes, batch: _Batch) -> None:
        try:
            batch.calls.extend(self._assembler.feed(event))
        except Exception:  # noqa: BLE001 (whatever it is)
            # A mistake of ours in one call must not stop the history of all others; the event is kept for whoever mends it.
            _log.exception("an event was not understood")
            batch.faults.append(_fault(file, position, line, "the event was not understood"))

    @staticmethod
    def _event(line: bytes, position: int, file: int, batch: _Batch) -> Event | None:
        try:
            return parse(line)
        except LineError as error:
            rescued = salvage(line)
            bad = line if rescued is None else line[: rescued[0]]
            if bad.strip(b"\x00\r "):
                batch.faults.append(_fault(file, position, bad, str(error)))
            elif bad:
                batch.faults.append(_fault(file, position, bad, "zeros: lost in a power failure"))
            return rescued[1] if rescued else None

    def _write(self, connection: Connection, batch: _Batch) -> None:
        assembler = self._assembler
        numbers: dict[int, int] = {}
        if batch.calls:
            write_calls(connection, batch.calls, self._last_call + 1, self._labels)
            numbers = {id(call): number for number, call in enumerate(batch.calls, self._last_call + 1)}
            self._last_call += len(batch.calls)
        outbox.put(connection, assembler.notices, numbers)
        stale = sorted(assembler.gone | assembler.changed)
        for start in range(0, len(stale), DELETED_AT_ONCE):
            these = table.open_call.c.linked_id.in_(stale[start : start + DELETED_AT_ONCE])
            connection.execute(delete(table.open_call).where(these))
        fresh = [{"linked_id": key, "state": dump(assembler.calls[key])} for key in assembler.changed]
        if fresh:
            connection.execute(insert(table.open_call), fresh)
        assembler.changed.clear()
        assembler.gone.clear()
        assembler.notices.clear()
        if batch.faults:
            connection.execute(insert(table.fault), batch.faults)
        if batch.gaps:
            connection.execute(insert(table.gap), batch.gaps)
        values = {"run": assembler.run, "last_call": self._last_call, "last_event": self._last_event}
        values["last_label"] = self._labels.last
        if connection.execute(update(table.reader).values(**values)).rowcount == 0:
            connection.execute(insert(table.reader).values(id=1, **values))

    def _advance(self, connection: Connection, chunk: Chunk) -> None:
        file = chunk.file
        finished = file.final and chunk.at_end
        values = {
            "device": file.device,
            "inode": file.inode,
            "head": chunk.head,
            "offset": chunk.offset + len(chunk.data) + len(chunk.rest),
            "done": _now() if finished else None,
        }
        where = table.spool_file.c.number == file.number
        if connection.execute(update(table.spool_file).where(where).values(**values)).rowcount == 0:
            connection.execute(insert(table.spool_file).values(number=file.number, **values))

    def _settle(self, chunk: Chunk) -> None:
        file = chunk.file
        if file.final and chunk.at_end:
            self._known.pop(file.number, None)
            self._done.add(file.number)
        else:
            offset = chunk.offset + len(chunk.data) + len(chunk.rest)
            self._known[file.number] = Known(file.number, file.device, file.inode, chunk.head, offset)

    def _end(self, calls: list[Call], gaps: Iterable[dict[str, Any]] = ()) -> int:
        if not calls:
            return 0
        try:
            with self.database.write() as connection:
                self._write(connection, _Batch(calls=calls, gaps=list(gaps)))
        except BaseException:
            self._load()
            raise
        return len(calls)

    def _missing(self, files: list[Found]) -> None:
        """A file that was being read is gone, or is another one now: nothing to do but to say so."""
        there = {file.number for file in files}
        for known in [known for number, known in self._known.items() if number not in there]:
            _log.error("spool file %d vanished after %d bytes", known.number, known.offset)
            with self.database.write() as connection:
                where = table.spool_file.c.number == known.number
                connection.execute(update(table.spool_file).where(where).values(done=_now()))
                reason = "the file was removed or replaced"
                connection.execute(insert(table.fault), [_fault(known.number, known.offset, b"", reason)])
                connection.execute(
                    insert(table.gap), [_gap(self._last_event // 1000, _now(), "spool_removed", f"file {known.number}")]
                )
            del self._known[known.number]
            self._done.add(known.number)


def _readable(rows: Sequence[Row[Any]]) -> Iterator[OpenCall]:
    """The open calls; one that can't be read is left out: the rest of its events make an incomplete call."""
    for row in rows:
        try:
            yield load(row.linked_id, row.state)
        except (ValueError, KeyError, TypeError):
            _log.exception("the stored state of open call %s is damaged", row.linked_id)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _gap(since: int, until: int, reason: str, detail: str) -> dict[str, Any]:
    return {"since": since, "until": max(since, until), "reason": reason, "detail": detail}


def _fault(file: int, offset: int, content: bytes, reason: str) -> dict[str, Any]:
    _log.warning("spool file %d, offset %d: %d bytes are no record: %s", file, offset, len(content), reason)
    return {
        "file": file,
        "offset": offset,
        "length": len(content),
        "reason": reason,
        "content": content[:CONTENT_MAX],
        "found": _now(),
    }
