"""Objects as plain data and as the JSON text that is stored, and back.

A field is left out when it holds its default *and* that default is nothing (none, or an empty list): the absence of a
thing can't come to mean something else. All other values are written, defaults too: a later release may have other
defaults, and an old revision or export must go on meaning what it meant. See docs/decisions/0006-canonical-form.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from appliance.core.errors import CorruptError
from appliance.core.model import Object, Part
from appliance.kinds import KINDS
from appliance.store.revision import Key

_ALWAYS: Final = object()


@cache
def _layout(model: type[Part]) -> tuple[tuple[str, Any], ...]:
    """Fields in order, each with the value at which it is left out."""
    return tuple(
        (name, info.default if info.default is None or info.default == () else _ALWAYS)
        for name, info in model.model_fields.items()
    )


def plain(item: Part) -> dict[str, Any]:
    """An object (or a part of one) as dicts, lists, text and numbers, in the order of its model's fields."""
    values = item.__dict__
    return {
        name: value if type(value) in _SCALARS else _plain(value)
        for name, absent in _layout(type(item))
        if (value := values[name]) is not absent and value != absent
    }


_SCALARS: Final = frozenset({str, int, bool, type(None)})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [one if type(one) in _SCALARS else _plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Part):
        return plain(value)
    msg = f"a field of type {type(value).__name__} has no canonical form yet"
    raise TypeError(msg)


def encode(item: Object) -> str:
    """The JSON text that is stored. Equal objects give equal text."""
    return json.dumps(plain(item), ensure_ascii=False, separators=(",", ":"))


@cache
def _list_of(kind: str) -> TypeAdapter[list[Object]]:
    return TypeAdapter(list[KINDS[kind]])  # type: ignore[valid-type]


def decode(kind: str, bodies: Sequence[str]) -> list[Object]:
    """Objects of one kind from their stored text. Raises CorruptError naming the object that can't be read."""
    if kind not in KINDS:
        raise CorruptError(f"the store holds objects of an unknown kind {kind!r}", _HINT)
    try:
        return _list_of(kind).validate_json(f"[{','.join(bodies)}]")
    except ValidationError as error:
        raise _broken(kind, bodies, error) from None


_HINT: Final = "restore the database from a backup, or import the last export"


def _broken(kind: str, bodies: Sequence[str], error: ValidationError) -> CorruptError:
    """Which object it was: found one by one, because text that isn't JSON spoils the whole list."""
    for body in bodies:
        try:
            KINDS[kind].model_validate_json(body)
        except ValidationError as single:
            detail = single.errors(include_url=False, include_input=False, include_context=False)[0]
            field = ".".join(str(part) for part in detail["loc"])
            start = f"stored {kind}/{_id_in(body)}" + (f"/{field}" if field else "")
            return CorruptError(f"{start} can't be read back: {detail['msg']}", _HINT)
    return CorruptError(f"stored objects of kind {kind} can't be read back ({error.error_count()} faults)", _HINT)


def _id_in(body: str) -> str:
    try:
        return str(json.loads(body)["id"])[:40]
    except (ValueError, TypeError, LookupError):
        return "?"


def decode_rows(rows: Iterable[tuple[str, str, str]]) -> dict[Key, Object]:
    """Objects by (kind, id) from rows (kind, id, body), in order of kind as in KINDS, then of id."""
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for kind, id, body in rows:
        by_kind.setdefault(kind, []).append((id, body))
    found: dict[Key, Object] = {}
    for kind in sorted(by_kind, key=kind_order):
        pairs = sorted(by_kind[kind])
        for (id, _), item in zip(pairs, decode(kind, [body for _, body in pairs]), strict=True):
            found[kind, id] = item
    return found


_ORDER: Final = {kind: position for position, kind in enumerate(KINDS)}


def kind_order(kind: str) -> int:
    """Position of a kind in an export."""
    return _ORDER.get(kind, len(_ORDER))
