"""What changed in an object, field by field, as people read it. Pure. Secrets are only said to have changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.document import Change
from appliance.organisation.model import Secret
from appliance.store.encode import plain

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field: ``before`` and ``after`` as JSON text; None: it was not there, or is no longer."""

    path: str
    before: str | None
    after: str | None


def field_changes(change: Change) -> tuple[FieldChange, ...]:
    """Every field that differs. Lists of simple values are one field each; parts are told apart field by field."""
    before = plain(change.before) if change.before else {}
    after = plain(change.after) if change.after else {}
    return tuple(_fields(change, before, after))


def changed_paths(change: Change) -> tuple[str, ...]:
    """Paths of the fields that differ; the object's own path when it came or went."""
    if change.before is None or change.after is None:
        return (change.path,)
    return tuple(found.path for found in field_changes(change))


def _fields(change: Change, before: dict[str, Any], after: dict[str, Any]) -> Iterator[FieldChange]:
    if change.kind == Secret.kind:
        if before.get("value") != after.get("value"):
            had, has = "value" in before, "value" in after
            yield FieldChange(f"{change.path}/value", "(secret)" if had else None, "(changed)" if has else None)
        elif change.before is None or change.after is None:
            yield FieldChange(
                change.path, None if change.before is None else "{}", None if change.after is None else "{}"
            )
        return
    for path, old, new in _differences("", before, after):
        if path != "id":
            yield FieldChange(f"{change.path}/{path}", _text(old), _text(new))


def _differences(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            inner = f"{path}.{name}" if path else name
            yield from _differences(inner, before.get(name, _ABSENT), after.get(name, _ABSENT))
    elif before is _ABSENT or after is _ABSENT or before != after:
        yield path, before, after


def _text(value: Any) -> str | None:
    return None if value is _ABSENT else json.dumps(value, ensure_ascii=False)
