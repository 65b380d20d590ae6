"""Who did what, from where: a table that only grows.

Each entry's hash covers the entry and the hash of the one before, so a change, a removal or an insertion afterwards
breaks the chain; the place where it ends is kept apart, so entries cut off at the end are missed too. The database refuses
to change or delete entries. Somebody who may rewrite the whole database can make a new chain: note the last number and
hash elsewhere now and then (``centralino access audit --verify`` prints them), and compare.

Never in it: passwords, codes, tokens, or names typed that nobody has (people type passwords into the wrong field).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, select, update

from appliance.access.texts import ADDRESS_MAX, clean
from appliance.clock import Moment
from appliance.core.errors import CorruptError, Fault, InvalidError
from appliance.store.access import audit as table
from appliance.store.access import audit_head as head
from appliance.store.database import Database

START: Final = "0" * 64
"""The hash before the first entry."""
PAGE_MAX: Final = 1000
_VALUE_MAX: Final = 300


class Event(StrEnum):
    """What happened."""

    SIGNED_IN = "signed_in"
    PASSWORD_RIGHT = "password_right"  # noqa: S105 (the second factor is still due)
    FAILED = "failed"
    THROTTLED = "throttled"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    LINK_MADE = "link_made"
    LINK_USED = "link_used"
    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    RECOVERY_CODES_MADE = "recovery_codes_made"
    KEY_MADE = "key_made"
    KEY_REVOKED = "key_revoked"
    SESSION_ENDED = "session_ended"
    RESET = "reset"
    FORGOTTEN = "forgotten"
    BAN_LIFTED = "ban_lifted"
    BRANCH_REVOKED = "branch_revoked"
    BRANCH_INVITED = "branch_invited"
    INVITATION_ENDED = "invitation_ended"
    ROOT_KEY = "root_key"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``person``: whose account it is about, ``""`` if nobody's. ``author``: who did it. ``time`` in ms."""

    number: int
    time: int
    event: str
    person: str
    author: str
    address: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chain:
    """What :meth:`Audit.verify` found: the last number and hash of the whole part, and the first broken entry, if any."""

    number: int
    hash: str
    broken: int | None


def append(
    connection: Connection,
    now: Moment,
    event: Event,
    person: str = "",
    *,
    author: str = "",
    address: str = "",
    **detail: Any,
) -> None:
    """Add an entry, in the transaction of what it tells of. Without ``author``, the person did it."""
    last = connection.execute(select(head)).one_or_none()
    number, before = (last.number + 1, last.hash) if last else (1, START)
    entry = Entry(
        number,
        now.wall,
        event.value,
        person,
        clean(author or person, 120),
        clean(address, ADDRESS_MAX),
        {key: clean(value, _VALUE_MAX) if isinstance(value, str) else value for key, value in detail.items()},
    )
    hash, text = _hash(entry, before), _json(entry.detail)
    row = {name: getattr(entry, name) for name in ("number", "time", "event", "person", "author", "address")}
    connection.execute(table.insert().values(row | {"detail": text, "hash": hash}))
    if last:
        connection.execute(update(head).values(number=number, hash=hash))
    else:
        connection.execute(head.insert().values(id=1, number=number, hash=hash))


def _hash(entry: Entry, before: str) -> str:
    fields = [
        entry.number,
        entry.time,
        entry.event,
        entry.person,
        entry.author,
        entry.address,
        _json(entry.detail),
        before,
    ]
    return hashlib.sha256(_json(fields).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)


class Audit:
    """Reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self, *, person: str | None = None, before: int | None = None, limit: int = 100) -> list[Entry]:
        """The newest first; ``before``: number of the last one of the page before. ``limit``: 1 to 1,000."""
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidError([Fault("audit/limit", f"{limit} is not a page size", f"1 to {PAGE_MAX}")])
        query = select(table).order_by(table.c.number.desc()).limit(limit)
        if person is not None:
            query = query.where(table.c.person == person)
        if before is not None:
            query = query.where(table.c.number < before)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [_entry(row) for row in rows]

    def verify(self) -> Chain:
        """Follow the chain from its beginning."""
        with self._database.read() as connection:
            last = connection.execute(select(head)).one_or_none()
            number, hash = 0, START
            for row in self._rows(connection):
                try:
                    right = row.number == number + 1 and row.hash == _hash(_entry(row), hash)
                except CorruptError:
                    right = False
                if not right:
                    return Chain(number, hash, number + 1)
                number, hash = row.number, row.hash
        if (number, hash) != ((last.number, last.hash) if last else (0, START)):
            return Chain(number, hash, number + 1)
        return Chain(number, hash, None)

    @staticmethod
    def _rows(connection: Connection) -> Iterator[Any]:
        """A thousand at a time: there may be more than fit into memory."""
        after = -1
        while True:
            query = select(table).where(table.c.number > after).order_by(table.c.number).limit(PAGE_MAX)
            rows = connection.execute(query).all()
            if not rows:
                return
            yield from rows
            after = rows[-1].number


def _entry(row: Any) -> Entry:
    try:
        detail = json.loads(row.detail)
    except ValueError:
        raise CorruptError(
            f"entry {row.number} of the audit can't be read",
            "centralino access audit --verify tells where it is broken",
        ) from None
    return Entry(row.number, row.time, row.event, row.person, row.author, row.address, detail)
