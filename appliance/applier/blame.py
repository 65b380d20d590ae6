"""Which field of the document is to blame when an engine file can't carry a value (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from appliance.core.asterisk import UncarriableError, writable
from appliance.core.document import Document
from appliance.core.errors import Fault, InvalidError
from appliance.organisation.model import Secret

LONG: Final = 1000
"""Characters of a text that can be what makes a line too long."""


def blame(error: UncarriableError, document: Document, secrets: Mapping[str, str]) -> InvalidError:
    """The error with the paths of the fields whose text is in the value; else it names the place in the engine's file.

    :param secrets: secret id → clear text; never shown.
    """
    hint = "leave out control characters and white space at the ends, and shorten what is very long"
    paths = [f"{Secret.kind}/{id}/value" for id, clear in secrets.items() if _guilty(clear, error.value)]
    for objects in document.objects.values():
        for item in objects.values():
            found = _texts(item.model_dump(mode="json"))
            paths += [item.path(field) for field, text in found if _guilty(text, error.value)]
    paths = paths or [f"[{error.section}]/{error.option}"]
    return InvalidError([Fault(path, f"can't be carried: {error.reason}", hint, "uncarriable") for path in paths])


def _guilty(text: str, value: str) -> bool:
    return bool(text) and text in value and (len(text) >= LONG or not writable(text))


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path of the field, text) of every text in an object's plain form."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{index}]")
