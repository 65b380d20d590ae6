"""Who else is changing an object: has it among its pending changes, or its form open. It holds nobody up: it is only told.

Pending changes stand in the store. That a form is open is noted in the console's one process and forgotten a while after its last
sign of life, or when the process ends: nothing to clean up, and a forgotten browser stands in nobody's way. Names are told to
those who may see who changed what (``revisions:view``), as in the history; others learn that it is somebody else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from appliance.access.permissions import Subject
from appliance.core.document import Document
from appliance.core.model import Object
from appliance.store import Store
from appliance.store.encode import decode, plain
from appliance.store.revision import Key
from appliance.store.store import utc_now

LASTS_S: Final = 900
"""A form counts as open for so long after it was last asked for."""
OPEN_MAX: Final = 10_000
"""Open forms that are noted; beyond, the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Other:
    """Somebody else. ``who``: empty for those who may not see names. ``since``: UTC, RFC 3339; empty: not known. ``doing``: has
    it ``pending``, or its ``form`` open."""

    who: str
    since: str
    doing: str


@dataclass(frozen=True, slots=True)
class _Open:
    since: str
    seen: float
    editable: frozenset[str]


@dataclass
class OpenForms:
    """Forms that people have open, of one process. Thread-safe."""

    clock: Callable[[], float] = time.monotonic
    _held: dict[tuple[Key, str], _Open] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def opened(self, key: Key, who: str, editable: frozenset[str]) -> None:
        """Somebody has a form open, with fields that it may change there."""
        now = self.clock()
        with self._lock:
            before = self._held.pop((key, who), None)
            kept = before is not None and now - before.seen <= LASTS_S
            self._held[key, who] = _Open(before.since if before and kept else utc_now(), now, editable)
            if len(self._held) > OPEN_MAX:
                del self._held[next(iter(self._held))]

    def closed(self, key: Key, who: str) -> None:
        """It has not any more."""
        with self._lock:
            self._held.pop((key, who), None)

    def by_others(self, who: str, keys: Iterable[Key]) -> list[tuple[Key, str, str, frozenset[str]]]:
        """(key, who, since when, what may be changed there) of other people's forms of some objects."""
        wanted, now = set(keys), self.clock()
        with self._lock:
            for gone in [place for place, one in self._held.items() if now - one.seen > LASTS_S]:
                del self._held[gone]
            return [
                (key, other, one.since, one.editable)
                for (key, other), one in self._held.items()
                if other != who and key in wanted
            ]


def named(subject: Subject, who: str) -> str:
    """Somebody's id, if the subject may see who changed what; else nothing."""
    return who if subject.may("revisions") or who == subject.id else ""


def others(
    store: Store, subject: Subject, forms: OpenForms | None, committed: Document, visible: Mapping[Key, frozenset[str]]
) -> dict[Key, tuple[Other, ...]]:
    """Who else is changing some objects, each as far as the subject may see what is being changed.

    :param visible: object → its fields that the subject may see.
    """
    found: dict[Key, dict[str, Other]] = {}
    for key, who, since, editable in forms.by_others(subject.id, visible) if forms else ():
        if editable & visible[key]:
            found.setdefault(key, {})[who] = Other(who, since, "form")
    for who, edit in store.staged_by_others(subject.id, visible):
        before = committed.objects.get(edit.key[0], {}).get(edit.key[1])
        after = None if edit.body is None else decode(edit.key[0], [edit.body])[0]
        # Of an object that isn't in force yet, nobody can say whether the subject might see that other one of the same id.
        if before is not None and touched(before, after) & visible[edit.key]:
            found.setdefault(edit.key, {})[who] = Other(who, edit.since or "", "pending")
    return {key: _told(subject, list(several.values())) for key, several in found.items()}


def touched_by_others(store: Store, subject: Subject, forms: OpenForms | None, keys: Iterable[Key]) -> set[Key]:
    """Of some objects those that others are at, whoever may see it."""
    keys = tuple(keys)
    opened = {key for key, *_ in forms.by_others(subject.id, keys)} if forms else set()
    return opened | {edit.key for _who, edit in store.staged_by_others(subject.id, keys)}


def _told(subject: Subject, several: Sequence[Other]) -> tuple[Other, ...]:
    return tuple(replace(one, who=named(subject, one.who)) for one in several)


def touched(before: Object | None, after: Object | None) -> frozenset[str]:
    """Names of the fields that differ; all that are set when an object comes or goes."""
    old = {} if before is None else plain(before)
    new = {} if after is None else plain(after)
    return frozenset(name for name in {*old, *new} - {"id"} if old.get(name) != new.get(name))
