"""Objects as their reader may see them: fields, lists and their order, what people call them (pure)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.access.editing import Other
from appliance.core.model import Object
from appliance.organisation.model import Secret
from appliance.store.encode import encode

HIDDEN: Final = "••••••"
"""Stands for a value that isn't to be seen, a secret's above all."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as its reader may see it.

    :param fields: the visible ones as plain data, in the model's order, defaults included; secrets as :data:`HIDDEN` or None.
    :param editable: names of those that may be changed.
    :param pending: what the reader's own pending changes do to it: ``added``, ``changed``, ``removed``, or nothing.
    :param etag: changes with the object.
    :param password: of a new device that none was given for: shown this once.
    :param others: who else is changing it; of a single object and of a list's only.
    """

    item: Object
    fields: Mapping[str, Any]
    editable: frozenset[str]
    pending: str
    etag: str
    password: str | None = field(default=None, repr=False)
    others: tuple[Other, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """An object before anybody has asked for the whole of it."""

    item: Object
    visible: frozenset[str]
    before: Object | None
    after: Object | None

    def value(self, name: str) -> Any:
        """A field as plain data; None also for one that isn't to be seen."""
        if name not in self.visible:
            return None
        found = getattr(self.item, name)
        if found is None or type(found) in (str, int, bool):
            return HIDDEN if found and isinstance(self.item, Secret) and name == "value" else found
        return shown(self.item)[name]

    def matches(self, text: str, where: Mapping[str, str]) -> bool:
        """Whether fields have these values, and some field holds the text."""
        for name, wanted in where.items():
            value = self.value(name)
            if wanted not in map(_plain, value) if isinstance(value, list) else _plain(value) != wanted:
                return False
        wanted = text.casefold().strip()
        if not wanted:
            return True
        fields = (value for name, value in shown(self.item).items() if name in self.visible)
        return any(wanted in word.casefold() for value in fields for word in _words(value))


@dataclass(frozen=True, slots=True)
class Listing:
    """Some of a kind's objects. ``total``: how many there are that match."""

    entries: tuple[Entry, ...]
    total: int


def etag(item: Object) -> str:
    """Names the content of an object: 22 letters and digits. Says nothing about it."""
    return hashlib.blake2s(encode(item).encode(), digest_size=11, person=b"etag").hexdigest()


def shown(item: Object) -> dict[str, Any]:
    """An object's fields as plain data, defaults included; a secret's value only as set or not."""
    data = item.model_dump(mode="json")
    if isinstance(item, Secret):
        data["value"] = None if item.value is None else HIDDEN
    return data


def label_of(item: Object) -> str:
    """What people call an object: its name, number and label, or its id."""
    words = [getattr(item, name, None) for name in ("number", "code", "name", "label")]
    found = " ".join(word for word in words if isinstance(word, str) and word)
    return found or item.id


def _plain(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _words(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)
    elif value is not None:
        yield _plain(value)


_DIGITS: Final = re.compile(r"\d+")


def sort_key(value: Any) -> tuple[int, int, str]:
    """Nothing first, numbers in order of size (telephone numbers in order of length, then digits), then text."""
    text = " ".join(_words(value)).casefold()
    if not text:
        return 0, 0, ""
    if _DIGITS.fullmatch(text):
        return 1, int(text), text
    return 2, 0, text
