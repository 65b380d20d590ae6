"""References between objects: found from the models' own annotations, checked in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.core.fields import RefTo
from appliance.core.model import Object, Part

Finder = Callable[[Any, str], Iterator[tuple[str, str, tuple[str, ...]]]]
"""(value, path) → (path, id, kinds) of every reference in it."""


def references(item: Part, path: str = "") -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Every reference in an object: (field path, id referred to, kinds it may be of)."""
    for name, find in _finders(type(item)):
        value = getattr(item, name)
        if value is not None:
            yield from find(value, f"{path}.{name}" if path else name)


@cache
def _finders(model: type[Part]) -> tuple[tuple[str, Finder], ...]:
    found = []
    for name, info in model.model_fields.items():
        annotation = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        finder = _finder(annotation)
        if finder is not None:
            found.append((name, finder))
    return tuple(found)


def _finder(annotation: Any) -> Finder | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return references
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        for mark in metadata:
            if isinstance(mark, RefTo):
                kinds, built_in = mark.kinds, mark.built_in
                return lambda value, path: iter(() if value in built_in else ((path, value, kinds),))
        return _finder(inner)
    if get_origin(annotation) is tuple:
        item = _finder(get_args(annotation)[0])
        if item is None:
            return None
        return lambda values, path: (
            found for index, value in enumerate(values) for found in item(value, f"{path}[{index}]")
        )
    options = [found for found in map(_finder, get_args(annotation)) if found is not None]
    # Optional references and unions of parts: parts know their own type, so one finder serves for all of a union.
    return options[0] if options else None


def dangling(document: Document) -> Iterator[Fault]:
    """Every reference to something that isn't there."""
    for item in document:
        yield from dangling_of(document, item)


def dangling_of(document: Document, item: Object) -> Iterator[Fault]:
    """Every reference of one object to something that isn't there."""
    for path, id, kinds in references(item):
        if not any(id in document.objects.get(kind, ()) for kind in kinds):
            yield Fault(
                item.path(path),
                f"refers to {' or '.join(kinds)} {id!r}, which does not exist",
                f"create it, or choose one of: centralino {kinds[0]} list",
                "dangling_reference",
            )
