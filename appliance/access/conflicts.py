"""What a subject and somebody else both changed, field by field, and who wins: as far as the subject may see the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.access.editing import named
from appliance.access.entries import HIDDEN
from appliance.access.permissions import Rights, Subject
from appliance.core.errors import Fault, InvalidError, NotFoundError
from appliance.core.model import Object
from appliance.organisation.model import Secret
from appliance.store import Store
from appliance.store.encode import plain
from appliance.store.merge import ABSENT, WHOLE, last_change, value_at
from appliance.store.revision import Key, Revision
from appliance.store.staging import Met

MINE: Final = "mine"
THEIRS: Final = "theirs"


@dataclass(frozen=True, slots=True)
class Clash:
    """One field that both changed, each otherwise.

    :param name: path within the object (``destination.site``); empty: the object itself, which one side took out.
    :param began: what it was when the subject began, as plain data; None: nothing. So ``mine``, ``theirs``.
    :param who: who committed theirs; empty for those who may not see it. ``when``: UTC, RFC 3339.
    """

    name: str
    began: Any
    mine: Any
    theirs: Any
    who: str
    when: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """One object among the subject's pending changes that somebody else has changed meanwhile.

    :param merged: paths of fields that only others changed: they are as the others made them.
    :param revision: the head at which this holds; to be sent back with the choices.
    """

    kind: str
    id: str
    clashes: tuple[Clash, ...]
    merged: tuple[str, ...]
    revision: int

    @property
    def path(self) -> str:
        return f"{self.kind}/{self.id}"


class Conflicts:
    """Those of one subject."""

    def __init__(self, store: Store, subject: Subject) -> None:
        self._store = store
        self._subject = subject

    def open(self) -> tuple[Conflict, ...]:
        """Objects in which something has still to be chosen."""
        return tuple(one for one in self._all() if one.clashes)

    def of(self, kind: str, id: str) -> Conflict | None:
        """One object's: also one in which nothing clashes, but others changed something; None: nobody has."""
        return next(iter(self._all((kind, id))), None)

    def settle(self, kind: str, id: str, choices: Mapping[str, str], revision: int) -> None:
        """Say who wins in every field that clashes.

        :param choices: name of a clash → :data:`MINE` or :data:`THEIRS`.
        :param revision: the one that the clashes were shown with.
        :raises ConflictError: somebody changed the object again since: look at it again.
        :raises InvalidError: something isn't chosen, or what comes out is wrong.
        :raises NotFoundError: nothing of it is pending.
        """
        if (kind, id) not in {one.edit.key for one in self._store.met(self._subject.id)}:
            raise NotFoundError(
                f"nothing clashes in {kind[:40]}/{id[:40]}", "look at your pending changes", error_id="no_conflict"
            )
        taken = {name: choice == THEIRS for name, choice in choices.items() if choice in (MINE, THEIRS)}
        missing = self._store.settle(self._subject.id, (kind, id), taken, seen=revision)
        if missing:
            raise InvalidError(
                [
                    Fault(
                        f"{kind}/{id}/{name}".rstrip("/"), "is not chosen yet", "keep yours, or take theirs", "missing"
                    )
                    for name in missing
                ]
            )

    def _all(self, key: Key | None = None) -> tuple[Conflict, ...]:
        number = self._store.head().number
        found = [met for met in self._store.met(self._subject.id) if key in (None, met.edit.key)]
        if not found:
            return ()
        base = self._store.document()
        current = self._store.candidate(self._subject.id).on(base)
        rights = Rights(self._subject, current), Rights(self._subject, base)
        made = [self._conflict(met, number, *rights) for met in found]
        return tuple(one for one in made if one.clashes or one.merged)

    def _conflict(self, met: Met, number: int, mine_rights: Rights, their_rights: Rights) -> Conflict:
        kind, id = met.edit.key
        began, mine, theirs = met.sides or (None, None, None)
        own = mine_rights.fields(mine) if mine is not None else frozenset[str]()
        theirs_seen = their_rights.fields(theirs) if theirs is not None else frozenset[str]()
        seen = own | theirs_seen
        steps = self._store.steps_since(met.edit.key, met.edit.base) if met.clashes else ()
        clashes = tuple(
            self._clash(steps, path, (began, mine, theirs), seen if theirs is None else theirs_seen)
            for path in met.clashes
            if (seen if path == WHOLE else path.split(".")[0] in seen)
        )
        merged = tuple(path for path in met.theirs if path.split(".")[0] in theirs_seen)
        return Conflict(kind, id, clashes, merged, number)

    def _clash(
        self,
        steps: Sequence[tuple[Revision, Any, Any]],
        path: str,
        sides: tuple[Object | None, Object | None, Object | None],
        theirs_seen: frozenset[str],
    ) -> Clash:
        began, mine, theirs = (_shown(side, path) for side in sides)
        if path.split(".", maxsplit=1)[0] not in theirs_seen and path != WHOLE and sides[2] is not None:
            theirs = HIDDEN
        step = last_change(steps, path)
        who, when = ("", "") if step is None else (named(self._subject, step.author), step.time)
        return Clash(path, began, mine, theirs, who, when)


def _shown(item: Object | None, path: str) -> Any:
    """A value as plain data; secrets hidden; of the object itself only whether it is there."""
    if item is None:
        return None
    if path == WHOLE:
        return {"id": item.id}
    value = value_at(plain(item), path)
    if value is ABSENT:
        return None
    return HIDDEN if isinstance(item, Secret) and path == "value" else value
