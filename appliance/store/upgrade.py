"""Stored documents of an older format: read as if they were of the newest, and written so once, as a revision."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

from sqlalchemy import Connection, select

from appliance.core.errors import CorruptError
from appliance.core.model import Object
from appliance.store import queries
from appliance.store.database import Database
from appliance.store.encode import decode_rows, encode
from appliance.store.migrations.document import Plain, migrate, newest_format
from appliance.store.queries import Bodies, Edit
from appliance.store.revision import Key, Revision, State
from appliance.store.tables import staged_change as staged

AUTHOR: Final = "centralino"


def load(connection: Connection, revision: Revision) -> dict[Key, Object]:
    """Every object of a committed revision, in the newest format."""
    return _decode(queries.bodies_at(connection, revision.number), revision.format)


def edits(found: Iterable[Edit], format: int) -> list[Edit]:
    """Edits stored in some format, in the newest one."""
    found = list(found)
    if format == newest_format():
        return found
    bases = {edit.key: edit.base for edit in found}
    since = {edit.key: edit.since for edit in found}
    oldest = min(bases.values(), default=0)
    put = _decode({edit.key: edit.body for edit in found if edit.body is not None}, format)
    removed = [edit for edit in found if edit.body is None and edit.key not in put]
    return [Edit(key, bases.get(key, oldest), encode(item), since.get(key)) for key, item in put.items()] + removed


def _decode(bodies: Bodies, format: int) -> dict[Key, Object]:
    if format != newest_format():
        plain: Plain = {}
        for (kind, id), body in bodies.items():
            try:
                plain.setdefault(kind, {})[id] = {key: value for key, value in json.loads(body).items() if key != "id"}
            except (ValueError, AttributeError):
                raise CorruptError(f"stored {kind}/{id} can't be read back", "restore a backup") from None
        bodies = {
            (kind, id): json.dumps({"id": id} | fields, ensure_ascii=False, separators=(",", ":"))
            for kind, objects in migrate(plain, format).items()
            for id, fields in objects.items()
        }
    return decode_rows((*key, body) for key, body in bodies.items())


def upgrade(database: Database, clock: Callable[[], str]) -> None:
    """If the head is of an older format, add a revision that says the same in the newest one.

    Staged changes are brought along; open proposals are closed (their authors have them staged, or commit again).
    Raises CorruptError (``too_new``) if a newer release wrote the database.
    """
    with database.read() as connection:
        if queries.head(connection, newest_format()).format == newest_format():
            return
    with database.write() as connection:
        head = queries.head(connection, newest_format())
        if head.format == newest_format():  # another process was faster
            return
        _write(connection, head, clock())
        for proposal in queries.listed(connection, limit=1_000_000, states=[State.PROPOSED]):
            queries.set_state(connection, proposal.number, State.FAILED, "made before an update of the software")
        _upgrade_staged(connection)


def _write(connection: Connection, head: Revision, time: str) -> None:
    number = queries.next_number(connection)
    message = f"Document format {head.format} becomes {newest_format()}"
    queries.add(connection, Revision(number, head.number, AUTHOR, time, message, State.PROPOSED, "", newest_format()))
    before = queries.bodies_at(connection, head.number)
    after = {key: encode(item) for key, item in load(connection, head).items()}
    changed = [Edit(key, head.number, body) for key, body in after.items() if before.get(key) != body]
    changed += [Edit(key, head.number, None) for key in before if key not in after]
    if changed:
        queries.add_proposal(connection, number, changed)
        queries.apply_proposal(connection, number, AUTHOR)
    queries.set_state(connection, number, State.COMMITTED)


def _upgrade_staged(connection: Connection) -> None:
    old = list(connection.execute(select(staged.c.author, staged.c.format).distinct()))
    for author, format in old:
        if format == newest_format():
            continue
        renewed = edits(queries.staged_edits(connection, author), format)
        queries.drop_staged(connection, author, None)
        queries.set_staged(connection, author, {edit.key: edit for edit in renewed}, newest_format())
