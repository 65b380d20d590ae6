"""Destination fields of any model, found from its annotations (pure): a kind that gets one later needs no change here."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from appliance.core.fields import RefTo
from appliance.core.model import Object, Part
from appliance.core.references import references
from appliance.pbx.routing.model import Onward


@dataclass(frozen=True, slots=True)
class Port:
    """A destination field of an object: where it sends calls on.

    :param path: the field's place in its object: ``destination``, ``keys[2].destination``.
    :param destination: what stands in it; None: nothing, which only an optional one may hold.
    """

    path: str
    destination: Onward | None
    optional: bool

    @property
    def field(self) -> str:
        """The object's own field that it stands in."""
        return self.path.partition(".")[0].partition("[")[0]


_Finder = Callable[[Any, str], Iterator[Port]]


def ports(item: Part, path: str = "") -> Iterator[Port]:
    """Every destination field of an object, in the model's order; of lists, those of the entries that there are."""
    for name, find in _finders(type(item)):
        yield from find(getattr(item, name), f"{path}.{name}" if path else name)


def sends(model: type[Part]) -> bool:
    """Whether a model has a destination field."""
    return bool(_finders(model))


@cache
def _finders(model: type[Part]) -> tuple[tuple[str, _Finder], ...]:
    found = ((name, _finder(_annotation(model, name))) for name in model.model_fields)
    return tuple((name, finder) for name, finder in found if finder is not None)


def _annotation(model: type[Part], name: str) -> Any:
    info = model.model_fields[name]
    return Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation


def _finder(annotation: Any) -> _Finder | None:
    options = _options(annotation)
    if any(_is(option, Onward) for option in options):
        optional = type(None) in options
        return lambda value, path: iter((Port(path, value, optional),))
    if any(_is(option, Part) and sends(option) for option in options):
        return lambda value, path: ports(value, path) if isinstance(value, Part) else iter(())
    for option in options:
        if get_origin(option) is tuple and (entry := _finder(get_args(option)[0])) is not None:
            return lambda values, path: (
                port for index, value in enumerate(values or ()) for port in entry(value, f"{path}[{index}]")
            )
    return None


def _options(annotation: Any) -> list[Any]:
    """What a type may be, without marks: a union's members, or itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [inner for option in get_args(annotation) for inner in _options(option)]
    return [annotation]


def _is(option: Any, base: type) -> bool:
    return isinstance(option, type) and issubclass(option, base)


def leads_to(destination: Onward) -> tuple[tuple[str, ...], str] | None:
    """Kinds and id of the object that a destination leads to; None: calls leave or end there."""
    for path, id, kinds in references(destination):
        if path == destination.type:
            return kinds, id
    return None


def receiving(models: Iterable[type[Object]]) -> tuple[str, ...]:
    """Kinds that destinations of these models may lead to, each once."""
    ways = dict.fromkeys(way for model in models for way in _ways(model))
    return tuple(dict.fromkeys(kind for way in ways for kind in _kinds_of(way)))


@cache
def _ways(model: type[Part]) -> tuple[type[Onward], ...]:
    """The options of all destination fields of a model."""
    found: list[type[Onward]] = []
    for name in model.model_fields:
        waiting = _options(_annotation(model, name))
        while waiting:
            option = waiting.pop(0)
            if get_origin(option) is tuple:
                waiting += _options(get_args(option)[0])
            elif _is(option, Onward):
                found.append(option)
            elif _is(option, Part):
                found += _ways(option)
    return tuple(found)


def _kinds_of(way: type[Onward]) -> tuple[str, ...]:
    """What an option's reference of its type's name refers to."""
    (name,) = get_args(way.model_fields["type"].annotation)
    info = way.model_fields.get(name)
    marks = () if info is None else info.metadata
    return next((mark.kinds for mark in marks if isinstance(mark, RefTo)), ())
