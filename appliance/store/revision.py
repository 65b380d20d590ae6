"""Revisions and sets of changes as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.core.document import Document
from appliance.core.model import Object

Key = tuple[str, str]
"""(kind, id) of an object."""


class State(StrEnum):
    """What became of a revision."""

    PROPOSED = "proposed"
    """Stored, not in force: the applier has still to take it."""
    COMMITTED = "committed"
    """In force, or was until a later one."""
    FAILED = "failed"
    """The applier refused it or could not apply it; ``reason`` says why. Its changes can still be read."""
    SUPERSEDED = "superseded"
    """Got another number because a later revision was committed first; ``reason`` says which."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One step in the history of the document. Numbers order the history; times (UTC, RFC 3339) are for people only."""

    number: int
    parent: int
    author: str
    time: str
    message: str
    state: State
    reason: str
    format: int
    """Format of its objects, see :mod:`appliance.store.migrations.document`."""


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Objects to put and objects to remove."""

    put: tuple[Object, ...] = ()
    remove: tuple[Key, ...] = ()

    def on(self, document: Document) -> Document:
        """The document with these changes."""
        return document.with_changes(self.put, self.remove)

    def __bool__(self) -> bool:
        return bool(self.put or self.remove)


@dataclass(frozen=True, slots=True)
class Candidate(ChangeSet):
    """One author's edits in preparation; ``base`` is the oldest revision that any of them was made on."""

    author: str = ""
    base: int = 0
