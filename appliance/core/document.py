"""The configuration document: an immutable set of objects by kind and id.

A changed document shares all unchanged objects with the one it came from, so "what changed" is a comparison by
identity, and caches keyed by object stay valid from one revision to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from appliance.core.errors import Fault, InvalidError, NotFoundError
from appliance.core.fields import FORMS
from appliance.core.model import Object

Kind = TypeVar("Kind", bound=Object)


@dataclass(frozen=True, slots=True)
class Change:
    """One object put (``after`` set) or removed (``after`` is None); ``before`` is what stood there."""

    kind: str
    id: str
    before: Object | None
    after: Object | None

    @property
    def path(self) -> str:
        """Path of the object: ``kind/id``."""
        return f"{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """All objects: ``objects[kind][id]``. Never changed in place."""

    objects: Mapping[str, Mapping[str, Object]] = field(default_factory=dict)

    @classmethod
    def of(cls, objects: Iterable[Object]) -> Self:
        """A document with these objects. Raises InvalidError when two have the same kind and id."""
        found: dict[str, dict[str, Object]] = {}
        faults = []
        for item in objects:
            of_kind = found.setdefault(item.kind, {})
            if item.id in of_kind:
                faults.append(Fault(item.path("id"), "is used twice", "give each object an id of its own", "duplicate"))
            of_kind[item.id] = item
        if faults:
            raise InvalidError(faults)
        return cls(found)

    def all(self, model: type[Kind]) -> Mapping[str, Kind]:
        """All objects of one kind, by id."""
        return self.objects.get(model.kind, {})  # type: ignore[return-value]

    def get(self, model: type[Kind], id: str) -> Kind:
        """One object. Raises NotFoundError."""
        found = self.find(model, id)
        if found is None:
            raise NotFoundError(
                f"there is no {model.kind} {id!r}", f"centralino {model.kind} list shows those there are"
            )
        return found

    def find(self, model: type[Kind], id: str | None) -> Kind | None:
        """One object, or None."""
        return self.all(model).get(id) if id is not None else None

    def __iter__(self) -> Iterator[Object]:
        for of_kind in self.objects.values():
            yield from of_kind.values()

    def __len__(self) -> int:
        return sum(map(len, self.objects.values()))

    def with_changes(self, put: Iterable[Object] = (), remove: Iterable[tuple[str, str]] = ()) -> Document:
        """A document with some objects put or removed; all others are shared with this one."""
        objects = dict(self.objects)
        touched: dict[str, dict[str, Object]] = {}
        for kind, id in remove:
            touched.setdefault(kind, dict(objects.get(kind, {}))).pop(id, None)
        for item in put:
            touched.setdefault(item.kind, dict(objects.get(item.kind, {})))[item.id] = item
        objects.update(touched)
        return Document(objects)


def changes(before: Document, after: Document) -> tuple[Change, ...]:
    """What differs, object by object, in order of kind (as in the new document) and id."""
    found = []
    for kind in dict.fromkeys((*after.objects, *before.objects)):
        old, new = before.objects.get(kind, {}), after.objects.get(kind, {})
        if old is new:
            continue
        for id in sorted(old.keys() | new.keys()):
            one, other = old.get(id), new.get(id)
            if one is not other and one != other:
                found.append(Change(kind, id, one, other))
    return tuple(found)


def parse(kinds: Mapping[str, type[Object]], kind: str, data: Mapping[str, Any]) -> Object:
    """An object from plain data, as in YAML or JSON. Raises InvalidError with one fault per wrong field."""
    model = kinds.get(kind)
    if model is None:
        raise InvalidError([Fault(kind, "is not a kind of object", f"kinds are {', '.join(kinds)}", "unknown_kind")])
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidError(list(_faults(kind, data, error))) from None


def _faults(kind: str, data: Mapping[str, Any], error: ValidationError) -> Iterator[Fault]:
    id = data.get("id")
    start = f"{kind}/{id if isinstance(id, str) and len(id) <= 40 else '?'}"
    for detail in error.errors(include_url=False, include_input=False):
        path = ""
        for part in detail["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else f"/{part}"
        yield Fault(start + path, *_words(kind, detail), detail["type"])


def _words(kind: str, detail: Mapping[str, Any]) -> tuple[str, str]:
    """Message and hint of one of pydantic's findings, in our words where there are better ones."""
    context = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return "is missing", f"centralino {kind} fields tells what it takes"
        case "extra_forbidden":
            return "is not a field here", f"centralino {kind} fields shows those there are"
        case "string_pattern_mismatch":
            pattern = context["pattern"]
            return "is not in the right form", FORMS.get(pattern) or f"it must match {pattern}"
        case "enum" | "literal_error":
            return "is none of the allowed values", f"allowed: {context['expected']}"
        case _:
            return detail["msg"].removeprefix("Value error, "), ""
