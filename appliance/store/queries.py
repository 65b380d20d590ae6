"""The store's questions and statements, each inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, or_, select, update

from appliance.core.errors import NotFoundError
from appliance.store.revision import Key, Revision, State
from appliance.store.tables import object_version as version
from appliance.store.tables import proposed_change as proposed
from appliance.store.tables import revision as revisions
from appliance.store.tables import staged_change as staged

EMPTY: Final = 0
"""Number of the empty document before the first revision."""

Bodies = dict[Key, str]
"""(kind, id) → stored text."""

_MANY: Final = 500
"""Values in one IN list."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One object as its author wants it; ``body`` None: gone. ``base``: the revision that the author looked at. ``since``: when
    the author began; None: not known."""

    key: Key
    base: int
    body: str | None
    since: str | None = None


def _revision(row: Any) -> Revision:
    return Revision(row[0], row[1], row[2], row[3], row[4], State(row[5]), row[6], row[7])


def head(connection: Connection, format: int) -> Revision:
    """The newest committed revision; number 0, in the newest format, when there is none."""
    query = select(revisions).where(revisions.c.state == State.COMMITTED.value)
    row = connection.execute(query.order_by(revisions.c.number.desc()).limit(1)).first()
    return _revision(row) if row else Revision(EMPTY, EMPTY, "", "", "", State.COMMITTED, "", format)


def find(connection: Connection, number: int, format: int) -> Revision:
    """One revision. Raises NotFoundError."""
    if number == EMPTY:
        return Revision(EMPTY, EMPTY, "", "", "", State.COMMITTED, "", format)
    in_range = -(2**31) < number < 2**31
    row = connection.execute(select(revisions).where(revisions.c.number == number)).first() if in_range else None
    if row is None:
        raise NotFoundError(f"there is no revision {number}", "centralino history shows those there are")
    return _revision(row)


def listed(
    connection: Connection, *, limit: int, before: int | None = None, states: Sequence[State] = tuple(State)
) -> list[Revision]:
    """Revisions, newest first."""
    query = select(revisions).order_by(revisions.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(revisions.c.number < before)
    if len(states) < len(State):
        query = query.where(revisions.c.state.in_([state.value for state in states]))
    return [_revision(row) for row in connection.execute(query)]


def next_number(connection: Connection) -> int:
    """A number that no revision has had."""
    return int(connection.execute(select(func.coalesce(func.max(revisions.c.number), EMPTY))).scalar_one()) + 1


def add(connection: Connection, revision: Revision) -> None:
    """Note a revision."""
    values = {name: getattr(revision, name) for name in Revision.__slots__} | {"state": revision.state.value}
    connection.execute(insert(revisions).values(values))


def drop(connection: Connection, number: int) -> None:
    """Forget a revision that nothing was made of."""
    connection.execute(delete(revisions).where(revisions.c.number == number))


def set_state(connection: Connection, number: int, state: State, reason: str = "", parent: int | None = None) -> None:
    """Note what became of a revision."""
    values: dict[str, Any] = {"state": state.value, "reason": reason}
    if parent is not None:
        values["parent"] = parent
    connection.execute(update(revisions).where(revisions.c.number == number).values(values))


def bodies_at(connection: Connection, number: int) -> Bodies:
    """Every object as of a committed revision."""
    rows = connection.execute(
        select(version.c.kind, version.c.id, version.c.body).where(
            version.c.revision_from <= number, or_(version.c.revision_to.is_(None), version.c.revision_to > number)
        )
    )
    return {(kind, id): body for kind, id, body in rows.all()}


def bodies_now(connection: Connection, keys: Iterable[Key]) -> Bodies:
    """Some objects as of the head."""
    return _bodies(connection, keys, version.c.revision_to.is_(None))


def bodies_then(connection: Connection, keys: Iterable[Key], number: int) -> Bodies:
    """Some objects as of a committed revision, as they were stored then."""
    valid = and_(
        version.c.revision_from <= number, or_(version.c.revision_to.is_(None), version.c.revision_to > number)
    )
    return _bodies(connection, keys, valid)


def _bodies(connection: Connection, keys: Iterable[Key], valid: ColumnElement[bool]) -> Bodies:
    found: Bodies = {}
    for kind, ids in _portions(keys):
        query = select(version.c.id, version.c.body).where(version.c.kind == kind, version.c.id.in_(ids), valid)
        found.update(((kind, id), body) for id, body in connection.execute(query))
    return found


def _portions(keys: Iterable[Key]) -> Iterator[tuple[str, list[str]]]:
    """Keys by kind, as many at once as one question may ask for."""
    by_kind: dict[str, list[str]] = {}
    for kind, id in keys:
        by_kind.setdefault(kind, []).append(id)
    for kind, ids in by_kind.items():
        for start in range(0, len(ids), _MANY):
            yield kind, ids[start : start + _MANY]


def versions_since(
    connection: Connection, key: Key, number: int
) -> tuple[str | None, list[tuple[Revision, str | None]]]:
    """An object as of a revision, and every later committed revision that changed it with what it made of it."""
    of_it = and_(version.c.kind == key[0], version.c.id == key[1])
    later = or_(version.c.revision_from > number, version.c.revision_to > number)
    query = select(version.c.revision_from, version.c.revision_to, version.c.body).where(of_it, later)
    before: str | None = bodies_then(connection, [key], number).get(key)
    made: dict[int, str | None] = {}
    for start, end, body in connection.execute(query):
        if start > number:
            made[start] = body
        if end is not None and end > number:
            made.setdefault(end, None)
    rows = connection.execute(select(revisions).where(revisions.c.number.in_(made)).order_by(revisions.c.number))
    return before, [(_revision(row), made[row[0]]) for row in rows]


def changed_between(connection: Connection, low: int, high: int) -> dict[Key, tuple[str | None, str | None]]:
    """Objects that differ between two committed revisions: (body at ``low``, body at ``high``).

    A version valid at one end only begins or ends in between; so what is valid at both ends need not be read.
    """
    within_from = and_(version.c.revision_from > low, version.c.revision_from <= high)
    within_to = and_(version.c.revision_to > low, version.c.revision_to <= high)
    query = select(version.c.kind, version.c.id, version.c.revision_from, version.c.revision_to, version.c.body)
    found: dict[Key, tuple[str | None, str | None]] = {}
    for kind, id, start, end, body in connection.execute(query.where(or_(within_from, within_to))):
        before, after = found.get((kind, id), (None, None))
        if start <= low and (end is None or end > low):
            before = body
        if start <= high and (end is None or end > high):
            after = body
        found[kind, id] = before, after
    return {key: pair for key, pair in found.items() if pair[0] != pair[1]}


def add_proposal(connection: Connection, number: int, edits: Iterable[Edit]) -> None:
    """Note what a revision would change."""
    rows = [{"revision": number, "kind": edit.key[0], "id": edit.key[1], "body": edit.body} for edit in edits]
    connection.execute(insert(proposed), rows)


def proposal(connection: Connection, number: int, base: int) -> list[Edit]:
    """What a revision would change."""
    query = select(proposed.c.kind, proposed.c.id, proposed.c.body).where(proposed.c.revision == number)
    return [Edit((kind, id), base, body) for kind, id, body in connection.execute(query)]


def drop_proposal(connection: Connection, number: int) -> None:
    """Forget what a revision would have changed."""
    connection.execute(delete(proposed).where(proposed.c.revision == number))


def apply_proposal(connection: Connection, number: int, author: str) -> None:
    """Make a proposal the head's content, and drop the author's staged changes that it holds."""
    same = and_(proposed.c.revision == number, proposed.c.kind == version.c.kind, proposed.c.id == version.c.id)
    connection.execute(update(version).where(same, version.c.revision_to.is_(None)).values(revision_to=number))
    columns = ("kind", "id", "revision_from", "body")
    query = select(proposed.c.kind, proposed.c.id, proposed.c.revision, proposed.c.body)
    connection.execute(
        insert(version).from_select(columns, query.where(proposed.c.revision == number, proposed.c.body.is_not(None)))
    )
    drop_staged_as_proposed(connection, number, author)
    drop_proposal(connection, number)


def drop_staged_as_proposed(connection: Connection, number: int, author: str) -> None:
    """Forget those of an author's edits that a proposal holds."""
    unchanged = or_(proposed.c.body == staged.c.body, and_(proposed.c.body.is_(None), staged.c.body.is_(None)))
    held = exists().where(
        proposed.c.revision == number, proposed.c.kind == staged.c.kind, proposed.c.id == staged.c.id, unchanged
    )
    connection.execute(delete(staged).where(staged.c.author == author, held))


def authors(connection: Connection) -> list[str]:
    """Who has edits in preparation."""
    return list(connection.execute(select(staged.c.author).distinct().order_by(staged.c.author)).scalars())


def staged_edits(connection: Connection, author: str) -> list[Edit]:
    """An author's edits in preparation."""
    query = select(*_EDIT).where(staged.c.author == author)
    return [Edit((kind, id), base, body, since) for kind, id, base, body, since in connection.execute(query)]


_EDIT: Final = (staged.c.kind, staged.c.id, staged.c.base, staged.c.body, staged.c.since)


def staged_by_others(connection: Connection, author: str, keys: Iterable[Key]) -> dict[str, list[Edit]]:
    """Other authors' edits in preparation of some objects, by author."""
    found: dict[str, list[Edit]] = {}
    for kind, ids in _portions(keys):
        query = select(staged.c.author, *_EDIT).where(
            staged.c.kind == kind, staged.c.id.in_(ids), staged.c.author != author
        )
        for who, *edit in connection.execute(query.order_by(staged.c.author)):
            found.setdefault(who, []).append(Edit((edit[0], edit[1]), *edit[2:]))
    return found


def set_staged(connection: Connection, author: str, edits: Mapping[Key, Edit], format: int) -> None:
    """Replace an author's edits of these objects; one that was begun before keeps the time."""
    known = {edit.key: edit.since for edit in staged_edits(connection, author)}
    drop_staged(connection, author, [key for key in edits if key in known])
    rows = [
        {
            "author": author,
            "kind": key[0],
            "id": key[1],
            "base": edit.base,
            "format": format,
            "body": edit.body,
            "since": known.get(key, edit.since),
        }
        for key, edit in edits.items()
    ]
    if rows:
        connection.execute(insert(staged), rows)


def drop_staged(connection: Connection, author: str, keys: Iterable[Key] | None) -> None:
    """Forget an author's edits: all, or those of some objects."""
    if keys is None:
        connection.execute(delete(staged).where(staged.c.author == author))
        return
    rows = [{"a": author, "k": kind, "i": id} for kind, id in keys]
    for row in rows:
        connection.execute(
            delete(staged).where(staged.c.author == row["a"], staged.c.kind == row["k"], staged.c.id == row["i"])
        )


def has_sealed(connection: Connection) -> bool:
    """Whether any revision holds a sealed secret."""
    query = select(version.c.id).where(version.c.kind == "secret", version.c.body.like("%sealed:v1:%")).limit(1)
    return connection.execute(query).first() is not None
