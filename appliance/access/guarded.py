"""The document as one subject sees it: the one place where permissions are enforced, for portal, API and hub alike.

What a subject may not see isn't there: `NotFoundError`, the same as for what doesn't exist; fields that it may not see are left
out. What it sees and may not change is `RefusedError` (``forbidden``), naming the fields. Edits are collected as the author's
pending changes (see :mod:`appliance.store`); every one is checked when it is made and once more when it is committed, for roles
may have changed in between.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from appliance.access.editing import OpenForms, Other, others, touched, touched_by_others
from appliance.access.entries import HIDDEN, Entry, Listing, Row, etag, label_of, shown, sort_key
from appliance.access.permissions import Rights, Subject
from appliance.access.roles import ESCALATING, HARMLESS, VOUCHING
from appliance.core.document import Change, Document, changes, parse
from appliance.core.errors import ConflictError, Fault, InvalidError, NotFoundError, RefusedError
from appliance.core.fields import valid_id
from appliance.core.model import Object
from appliance.core.references import references
from appliance.kinds import KINDS
from appliance.organisation.model import Person, Role, Secret
from appliance.pbx.extensions.model import Device
from appliance.store import Store
from appliance.store.encode import plain
from appliance.store.revision import State

LISTED_MAX: Final = 1000
PASSWORD_BYTES: Final = 18
"""Entropy of a generated password: 144 bits."""


@lru_cache(maxsize=64)
def _rights(subject: Subject, document: Document) -> Rights:
    return Rights(subject, document)


class GuardedDocument:
    """The committed document with the subject's own pending changes on top.

    :param seal: (secret id, clear text) → sealed text; needed to set secrets.
    :param forms: who has which form open, where that is known.
    """

    def __init__(
        self,
        store: Store,
        subject: Subject,
        seal: Callable[[str, str], str] | None = None,
        forms: OpenForms | None = None,
    ) -> None:
        self._store = store
        self._seal = seal
        self._forms = forms
        self.subject = subject

    # -- reading --------------------------------------------------------------------------------------------------

    def committed(self) -> Document:
        """The document in force. Whole: for those who enforce permissions themselves."""
        return self._store.document()

    def current(self) -> Document:
        """The same with the subject's pending changes."""
        return self._store.candidate(self.subject.id).on(self.committed())

    def kinds(self) -> list[str]:
        """Kinds of which the subject may see something, in the document's order."""
        return [kind for kind in KINDS if self.subject.may(kind)]

    def may_add(self, kind: str) -> bool:
        """Whether there may be something of this kind that the subject can add."""
        return any(grant.covers(kind, "", edit=True) and not grant.own for grant in self.subject.grants)

    def search(
        self,
        kind: str,
        *,
        text: str = "",
        where: Mapping[str, str] | None = None,
        sort: str = "id",
        descending: bool = False,
        offset: int = 0,
        limit: int = 100,
    ) -> Listing:
        """Objects of a kind that the subject may see, removed ones (not yet committed) among them.

        :param text: only those with this in one of their fields, whatever its case.
        :param where: field → value that it must have, as text; a list must hold it.
        :param sort: name of a field; numbers sort as numbers.
        :raises InvalidError: an unknown field, or a limit that isn't 1 to :data:`LISTED_MAX`.
        """
        self._known(kind)
        names = KINDS[kind].model_fields
        for name in (sort, *(where or ())):
            if name not in names:
                raise InvalidError(
                    [
                        Fault(
                            f"{kind}/?/{name}"[:120],
                            "is not a field here",
                            f"there are {', '.join(names)}",
                            "unknown_field",
                        )
                    ]
                )
        if not 1 <= limit <= LISTED_MAX or offset < 0:
            raise InvalidError(
                [Fault("limit", "is no page size", f"1 to {LISTED_MAX}, from an offset of 0 on", "limit")]
            )
        base, current = self.committed(), self.current()
        found = [row for row in self._rows(kind, base, current) if row.matches(text, where or {})]
        found.sort(key=lambda row: (*sort_key(row.value(sort)), row.item.id), reverse=descending)
        shown = (self._entry(base, current, row.before, row.after) for row in found[offset : offset + limit])
        return Listing(self._with_others(base, [entry for entry in shown if entry is not None]), len(found))

    def get(self, kind: str, id: str) -> Entry:
        """One object.

        :raises NotFoundError: there is none, or none that the subject may see.
        """
        self._known(kind)
        base, current = self.committed(), self.current()
        before, after = base.objects.get(kind, {}).get(id), current.objects.get(kind, {}).get(id)
        entry = self._entry(base, current, before, after)
        if entry is None:
            raise _missing(kind, id)
        return self._with_others(base, [entry])[0]

    def get_seen(self, kind: str, id: str, expected: str, seen: int) -> Entry:
        """One object as a form began with it: the one with that etag at a former revision, if it is another by now and only
        others changed it since; else the present one. Raises NotFoundError.

        :param seen: number of the head when the form began.
        """
        self._known(kind)
        item = self.current().objects.get(kind, {}).get(id)
        ground = None if item is not None and expected == etag(item) else self._seen(kind, id, expected, seen)
        if ground is None:
            return self.get(kind, id)
        base = self._store.document(seen)
        entry = self._entry(base, ground, base.objects.get(kind, {}).get(id), ground.objects[kind][id])
        if entry is None:
            raise _missing(kind, id)
        return entry

    def others(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[Other, ...]]:
        """Who else is changing some objects, by kind and id."""
        busy = touched_by_others(self._store, self.subject, self._forms, keys)  # of thousands pending, few
        found = self._with_others(self.committed(), list(self.entries(busy).values()))
        return {(entry.item.kind, entry.item.id): entry.others for entry in found if entry.others}

    def head(self) -> int:
        """Number of the revision in force."""
        return self._store.head().number

    def opened(self, entry: Entry) -> None:
        """The subject has the object's form open."""
        if self._forms is not None and entry.editable:
            self._forms.opened((entry.item.kind, entry.item.id), self.subject.id, entry.editable)

    def closed(self, kind: str, id: str) -> None:
        """It has not any more."""
        if self._forms is not None:
            self._forms.closed((kind, id), self.subject.id)

    def entries(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Entry]:
        """Several objects at once, by kind and id; those that aren't there for the subject are left out."""
        base, current = self.committed(), self.current()
        made = {
            (kind, id): self._entry(
                base, current, base.objects.get(kind, {}).get(id), current.objects.get(kind, {}).get(id)
            )
            for kind, id in keys
        }
        return {key: entry for key, entry in made.items() if entry is not None}

    def sight(self) -> tuple[Document, Callable[[Object], frozenset[str]]]:
        """The present document, whole, and what of an object the subject may see: for who looks at very many objects."""
        current = self.current()
        return current, self._rights(current).fields

    def sees_all(self, kind: str) -> bool:
        """Whether no object of a kind, and no field of one, is hidden from the subject."""
        return any(grant.everywhere and grant.covers(kind, "", edit=False) for grant in self.subject.grants)

    def choices(self, kinds: Iterable[str]) -> list[tuple[str, str, str]]:
        """(kind, id, label) of everything of some kinds that the subject may see and refer to."""
        current = self.current()
        rights = self._rights(current)
        return [
            (kind, item.id, label_of(item))
            for kind in kinds
            for item in current.objects.get(kind, {}).values()
            if rights.fields(item)
        ]

    def referrers(self, kind: str, id: str) -> list[Object]:
        """Objects that refer to this one and that the subject may see."""
        current = self.current()
        rights = self._rights(current)
        return [
            item
            for item in current
            if any(target == id and kind in kinds for _path, target, kinds in references(item)) and rights.fields(item)
        ]

    def _rows(self, kind: str, base: Document, current: Document) -> Iterator[Row]:
        """What the subject may see of a kind. Of thousands of objects a page shows fifty: the others are only compared."""
        before, after = base.objects.get(kind, {}), current.objects.get(kind, {})
        now, former = self._rights(current), self._rights(base)
        for id in dict.fromkeys((*after, *before)):
            new, old = after.get(id), before.get(id)
            item = new or old
            if item is not None and (visible := (now if new is not None else former).fields(item)):
                yield Row(item, visible, old, new)

    def _with_others(self, base: Document, entries: list[Entry]) -> tuple[Entry, ...]:
        visible = {(entry.item.kind, entry.item.id): frozenset(entry.fields) for entry in entries}
        found = others(self._store, self.subject, self._forms, base, visible)
        if not found:
            return tuple(entries)
        return tuple(replace(entry, others=found.get((entry.item.kind, entry.item.id), ())) for entry in entries)

    def _seen(self, kind: str, id: str, expected: str, seen: int) -> Document | None:
        """The document as the subject saw it at a former revision, if the object with that etag is in it. What it saw was its own
        etag's content: nothing old is told to who didn't see it then."""
        if not 0 < seen <= self.head() or self._store.revision(seen).state is not State.COMMITTED:
            return None
        ground = self._store.candidate(self.subject.id, at=seen).on(self._store.document(seen))
        item = ground.objects.get(kind, {}).get(id)
        return ground if item is not None and etag(item) == expected and self._rights(ground).fields(item) else None

    def _entry(self, base: Document, current: Document, before: Object | None, after: Object | None) -> Entry | None:
        item = after or before
        if item is None:
            return None
        rights = self._rights(current if after is not None else base)
        visible = rights.fields(item)
        if not visible:
            return None
        editable = rights.fields(item, edit=True) - {"id"} if after is not None else frozenset()
        if not self._may_give_rights():
            editable -= _giving(item)
        pending = (
            ""
            if before is after or before == after
            else "added"
            if before is None
            else "removed"
            if after is None
            else "changed"
        )
        fields = {name: value for name, value in shown(item).items() if name in visible}
        return Entry(item, fields, frozenset(editable), pending, etag(item))

    # -- changing -------------------------------------------------------------------------------------------------

    def put(
        self,
        kind: str,
        id: str,
        data: Mapping[str, Any],
        *,
        expected: str | None = None,
        new: bool = False,
        patch: bool = False,
        seen: int | None = None,
    ) -> Entry:
        """Add or replace an object among the pending changes.

        Fields that the subject can't see stay as they are, and so does a secret's value that isn't given. A new device without a
        secret gets one of its own, with a password that the answer holds.

        :param expected: the object's etag as the editor last saw it.
        :param new: there must be none yet; else there must be one.
        :param patch: only the fields in ``data`` change; None takes one back to its default.
        :param seen: number of the head when the editor began. What others committed since is no error then: both are merged, and
            where they clash it has to be settled before it is committed (:mod:`appliance.access.conflicts`).
        :raises ConflictError: it is another one by now.
        :raises RefusedError: ``exists``, or ``forbidden``.
        :raises InvalidError: with every fault of the object's own.
        """
        self._known(kind)
        number = self.head()  # before the document is read: what is committed in between counts as somebody else's
        base = self.current()
        before = base.objects.get(kind, {}).get(id)
        if seen is not None and expected is not None and (before is None or expected != etag(before)):
            ground = self._seen(kind, id, expected, seen)
            if ground is not None:
                number, base, before = seen, ground, ground.objects[kind][id]
        if new:
            if not self.may_add(kind):  # before anything is said about the object
                raise _forbidden(f"you may not add a {kind}")
            self._unused(kind, id, before)
        elif before is None or not self._rights(base).fields(before):
            raise _missing(kind, id)
        _check_etag(before, expected)
        merged = self._merged(base, before, data, patch=patch)
        own = self._own_secret(base, id) if new and kind == Device.kind and "secret" not in data else None
        if own is not None:
            merged["secret"] = id
        made = parse(KINDS, kind, self._sealed(kind, id, merged))
        if before is not None and made == before:
            return self.get(kind, id)
        put = [made] if own is None else [made, own[0]]
        after = base.with_changes(put)
        for item in put:
            self._check(base, after, Change(item.kind, item.id, before if item is made else None, item))
        self._check_new_references(after, before, made)
        self._store.stage(self.subject.id, put, base=number)
        return replace(self.get(kind, id), password=None if own is None else own[1])

    def remove(self, kind: str, id: str, *, expected: str | None = None) -> None:
        """Take an object out, among the pending changes. Raises as `put` does."""
        number = self.head()
        _check_etag(self.check_removal(kind, id), expected)
        self._store.stage(self.subject.id, remove=[(kind, id)], base=number)

    def check_removal(self, kind: str, id: str) -> Object:
        """The object, if the subject may take it out. Raises NotFoundError, and RefusedError (``forbidden``)."""
        self._known(kind)
        base = self.current()
        before = base.objects.get(kind, {}).get(id)
        if before is None or not self._rights(base).fields(before):
            raise _missing(kind, id)
        self._check(base, base.with_changes(remove=[(kind, id)]), Change(kind, id, before, None))
        return before

    def pending(self) -> tuple[Change, ...]:
        """The subject's pending changes."""
        base = self.committed()
        return changes(base, self._store.candidate(self.subject.id).on(base))

    def check_pending(self) -> tuple[Change, ...]:
        """The same, if the subject may still make them. Raises RefusedError (``forbidden``)."""
        base = self.committed()
        after = self._store.candidate(self.subject.id).on(base)
        found = changes(base, after)
        for change in found:
            self._check(base, after, change)
        return found

    # -- inside ---------------------------------------------------------------------------------------------------

    def _known(self, kind: str) -> None:
        if kind not in KINDS or not self.subject.may(kind):
            raise NotFoundError(
                f"there is no kind {kind[:40]!r}", f"there are {', '.join(self.kinds())}", error_id="unknown_kind"
            )

    def _rights(self, document: Document) -> Rights:
        return _rights(self.subject, document)

    def _may_give_rights(self) -> bool:
        return any(grant.everywhere and grant.covers(Role.kind, "", edit=True) for grant in self.subject.grants)

    def _unused(self, kind: str, id: str, before: Object | None) -> None:
        if not valid_id(id):
            raise InvalidError(
                [Fault(f"{kind}/{id[:40]}/id", "is not a valid id", "use a-z, 0-9 and inner hyphens, at most 40", "id")]
            )
        if before is not None:
            raise RefusedError(
                f"{kind} {id!r} exists already", "choose another id, or change that one", error_id="exists"
            )

    def _merged(self, base: Document, before: Object | None, data: Mapping[str, Any], *, patch: bool) -> dict[str, Any]:
        """The whole object: what the editor sent, and what it can't see or didn't touch."""
        known: dict[str, Any] = {} if before is None else plain(before)
        if before is None:
            kept: dict[str, Any] = {}
        elif patch:
            kept = known
        else:
            visible = self._rights(base).fields(before)
            kept = {name: value for name, value in known.items() if name not in visible or name == "id"}
        merged = {**kept, **data}
        if patch:
            merged = {name: value for name, value in merged.items() if value is not None or name not in data}
        if before is not None and merged.get("id", before.id) != before.id:
            raise InvalidError([Fault(before.path("id"), "never changes", "remove the object and add another", "id")])
        return merged

    def _sealed(self, kind: str, id: str, data: dict[str, Any]) -> dict[str, Any]:
        """With a secret's value sealed; the one that it has, where none is given."""
        data = {**data, "id": id}
        if kind != Secret.kind:
            return data
        value = data.get("value", HIDDEN)
        if value == HIDDEN or (isinstance(value, str) and value.startswith("sealed:")):
            before = self.current().find(Secret, id)
            return {**data, "value": None if before is None else before.value}
        if value is None:
            return data
        fault = _fault_of_secret(value)
        if fault is not None:
            raise InvalidError([Fault(f"{kind}/{id}/value", *fault)])
        if self._seal is None:
            raise RefusedError("secrets can't be set here", "use centralino secret set", error_id="forbidden")
        return {**data, "value": self._seal(id, value)}

    def _own_secret(self, base: Document, id: str) -> tuple[Object, str] | None:
        """A new secret and its password in the clear; None where there is a secret of that name, or nothing to seal it with."""
        if self._seal is None or base.find(Secret, id) is not None:
            return None
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        return parse(KINDS, Secret.kind, {"id": id, "value": self._seal(id, password)}), password

    def _check(self, base: Document, after: Document, change: Change) -> None:
        """Refuse what the subject may not do to one object."""
        denied: set[str] = set()
        for document, item in ((base, change.before), (after, change.after)):
            if item is not None:
                rights = self._rights(document)
                if None in (change.before, change.after) and not rights.may(item, edit=True):
                    raise _forbidden(f"{change.path}: you may not add or remove it")
                denied |= touched(change.before, change.after) - rights.fields(item, edit=True)
        if not self._may_give_rights():
            denied |= _rights_given(change)
        if denied:
            raise _forbidden(f"{change.path}: you may not change {', '.join(sorted(denied))}")

    def _check_new_references(self, after: Document, before: Object | None, made: Object) -> None:
        """What the subject can't see, it can't refer to anew: the same answer as for what isn't there."""
        old = set() if before is None else {(path, id) for path, id, _kinds in references(before)}
        rights = self._rights(after)
        faults = []
        for path, id, kinds in references(made):
            targets = [item for kind in kinds if (item := after.objects.get(kind, {}).get(id)) is not None]
            if (path, id) not in old and targets and not any(rights.fields(item) for item in targets):
                faults.append(dangling_fault(made, path, kinds, id))
        if faults:
            raise InvalidError(faults)


def dangling_fault(item: Object, path: str, kinds: tuple[str, ...], id: str) -> Fault:
    """A reference to what isn't there."""
    return Fault(item.path(path), f"refers to {' or '.join(kinds)} {id!r}, which does not exist",
                 f"create it, or choose one of: centralino {kinds[0]} list", "dangling_reference")  # fmt: skip


def _forbidden(message: str) -> RefusedError:
    return RefusedError(message, "ask an administrator, or leave it as it is", error_id="forbidden")


def _missing(kind: str, id: str) -> NotFoundError:
    return NotFoundError(f"there is no {kind} {id[:40]!r}", "look at the list of those there are")


def _check_etag(before: Object | None, expected: str | None) -> None:
    if expected is not None and before is not None and expected not in ("*", etag(before)):
        raise ConflictError(
            f"{before.path()} has changed since you looked at it", "look at it again, then repeat your change",
            changed=[before.path()],
        )  # fmt: skip


def _rights_given(change: Change) -> set[str]:
    """Fields of a change that give or take rights away: roles, who has them, and people who have any."""
    if change.kind == Role.kind:
        return {"permissions"}
    if change.kind in VOUCHING:
        return set(touched(change.before, change.after))
    before, after = change.before, change.after
    if isinstance(before, Person) and after is None:
        return {"roles"} if before.roles else set()
    giving = set().union(*(_giving(item) for item in (before, after) if item is not None))
    return giving & touched(change.before, change.after)


def _giving(item: Object) -> set[str]:
    """Fields of an object that give rights away when they change."""
    if item.kind in VOUCHING:
        return set(type(item).model_fields)
    names = {name for kind, name in ESCALATING if kind == item.kind}
    if isinstance(item, Person) and set(item.roles) - HARMLESS:
        names.add("email")
    return names


def _fault_of_secret(value: object) -> tuple[str, str, str] | None:
    if not isinstance(value, str) or not value:
        return "is empty", "give it a value", "missing"
    if len(value) > 4096 or not value.isprintable():
        return "can't be typed", "one line of at most 4096 characters", "secret"
    if value != value.strip():
        return "starts or ends with white space", "leave the blanks out", "secret"
    return None
