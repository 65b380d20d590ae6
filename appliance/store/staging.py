"""Edits in preparation as they stand on a committed revision: merged with what others committed since they were begun.

Each function is inside a transaction of the caller's. See :mod:`appliance.store.merge` for what a clash is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from appliance.core.document import parse
from appliance.core.errors import ConflictError, InvalidError
from appliance.core.model import Object
from appliance.kinds import KINDS
from appliance.store import queries, upgrade
from appliance.store.encode import decode, encode, plain
from appliance.store.merge import WHOLE, Merge, three_way
from appliance.store.migrations.document import newest_format
from appliance.store.queries import Bodies, Edit
from appliance.store.revision import Key, Revision

Taken = Mapping[str, bool]
"""Path of a field → whether the other side's is taken."""


@dataclass(frozen=True, slots=True)
class Met:
    """One edit on top of a revision.

    :param edit: with the merged body; its base is that revision, or the one that it was begun on while sides clash.
    :param clashes: paths of fields that its author and somebody else changed, each otherwise.
    :param theirs: paths of fields that only others changed.
    :param sides: the object as it was begun, as its author wants it, as it is now; None where nobody else changed it.
    """

    edit: Edit
    clashes: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
    sides: tuple[Object | None, Object | None, Object | None] | None = None


def meet(connection: Connection, edits: Sequence[Edit], on: Revision, taken: Taken | None = None) -> list[Met]:
    """Every edit that still changes something on a revision; merged where others changed the same object.

    :param taken: who wins where sides clash.
    """
    now = bodies_at(connection, [edit.key for edit in edits], on)
    met = []
    for base in sorted({edit.base for edit in edits}):
        those = [edit for edit in edits if edit.base == base and edit.body != now.get(edit.key)]
        then = now
        if those and base < on.number:
            then = bodies_at(connection, [edit.key for edit in those], queries.find(connection, base, newest_format()))
        for edit in those:
            before, after = then.get(edit.key), now.get(edit.key)
            one = Met(replace(edit, base=on.number)) if before == after else _merged(edit, before, after, on, taken)
            if one.edit.body != after or one.clashes:
                met.append(one)
    return met


def _merged(edit: Edit, before: str | None, after: str | None, on: Revision, taken: Taken | None) -> Met:
    began, mine, theirs = (_object(edit.key[0], body) for body in (before, edit.body, after))
    item, merge = joined(edit.key[0], began, mine, theirs, taken or {})
    body = None if item is None else encode(item)
    base = edit.base if merge.clashes else on.number
    return Met(replace(edit, base=base, body=body), merge.clashes, merge.theirs, (began, mine, theirs))


def joined(
    kind: str, began: Object | None, mine: Object | None, theirs: Object | None, taken: Taken
) -> tuple[Object | None, Merge]:
    """Both sides in one object. Where that would be none that there can be, everything in which they differ clashes.

    :raises InvalidError: all clashes are settled, and what comes out is wrong.
    """
    then, here, there = (None if side is None else plain(side) for side in (began, mine, theirs))
    merge = three_way(then, here, there, taken)
    if merge.data is None:
        return None, merge
    try:
        return parse(KINDS, kind, merge.data), merge
    except InvalidError:
        if here is None or there is None:
            raise
        return _by_name(kind, here, there, taken)


def _by_name(kind: str, mine: dict[str, Any], theirs: dict[str, Any], taken: Taken) -> tuple[Object, Merge]:
    names = [name for name in dict.fromkeys((*mine, *theirs)) if mine.get(name) != theirs.get(name)]
    data = {**mine}
    for name in names:
        if taken.get(name):
            data.pop(name, None)
            data |= {name: theirs[name]} if name in theirs else {}
    clashes = tuple(name for name in names if name not in taken)
    return parse(KINDS, kind, mine if clashes else data), Merge(mine if clashes else data, clashes)


def bodies_at(connection: Connection, keys: Iterable[Key], revision: Revision) -> Bodies:
    """Some objects as of a committed revision, in the newest format."""
    if revision.format == newest_format():
        return queries.bodies_then(connection, keys, revision.number)
    wanted = set(keys)
    return {key: encode(item) for key, item in upgrade.load(connection, revision).items() if key in wanted}


def _object(kind: str, body: str | None) -> Object | None:
    return None if body is None else decode(kind, [body])[0]


def bases(connection: Connection, author: str, edits: Iterable[Edit], on: Revision) -> dict[Key, Edit]:
    """Edits as they are to be staged: one that clashes keeps the revision that it was begun on, until that is settled."""
    wanted = {edit.key: edit for edit in edits}
    known = [edit for edit in queries.staged_edits(connection, author) if edit.key in wanted and edit.base < on.number]
    for met in meet(connection, known, on):
        if met.clashes:
            wanted[met.edit.key] = replace(wanted[met.edit.key], base=met.edit.base)
    return wanted


def restaged(connection: Connection, author: str, head: Revision) -> list[Edit]:
    """What an author has staged, brought onto the head, and staged so.

    :raises ConflictError: with the paths of the fields that clash.
    """
    met = meet(connection, queries.staged_edits(connection, author), head)
    clashes = [path for one in met for path in full_paths(one)]
    if clashes:
        raise conflict(clashes)
    moved = {one.edit.key: one.edit for one in met if one.sides is not None}
    queries.set_staged(connection, author, moved, newest_format())
    return [one.edit for one in met]


def full_paths(met: Met) -> list[str]:
    """Paths of an edit's clashes: ``kind/id/field``."""
    kind, id = met.edit.key
    return [f"{kind}/{id}" if path == WHOLE else f"{kind}/{id}/{path}" for path in met.clashes]


def conflict(paths: Sequence[str]) -> ConflictError:
    """The error for fields that somebody else changed."""
    kind, id = paths[0].split("/")[:2]
    shown = ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
    return ConflictError(
        f"somebody else has changed {shown} meanwhile",
        f"look at centralino diff, then centralino discard {kind} {id}, and edit again",
        changed=paths,
    )


def settle(connection: Connection, author: str, key: Key, taken: Taken, seen: int, head: Revision) -> tuple[str, ...]:
    """Say who wins where an edit clashes; with all said, it is staged anew on the head. Returns the paths that nothing was said of.

    :param seen: the revision that the author was shown.
    :raises ConflictError: somebody changed the object again since.
    :raises InvalidError: what comes out is wrong.
    """
    shown = queries.find(connection, min(seen, head.number), newest_format())
    if bodies_at(connection, [key], shown) != bodies_at(connection, [key], head):
        raise conflict(["/".join(key)])
    edits = [edit for edit in queries.staged_edits(connection, author) if edit.key == key]
    met = meet(connection, edits, head, taken)
    if met and met[0].clashes:
        return met[0].clashes
    queries.drop_staged(connection, author, [key])
    queries.set_staged(connection, author, {one.edit.key: one.edit for one in met}, newest_format())
    return ()


def steps_since(
    connection: Connection, key: Key, number: int
) -> list[tuple[Revision, Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """Every committed revision after one that changed an object, with the object before and after it, as they were stored."""
    before, made = queries.versions_since(connection, key, number)
    found = []
    for revision, after in made:
        found.append((revision, _plain(before), _plain(after)))
        before = after
    return found


def _plain(body: str | None) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = None if body is None else json.loads(body)
    return found
