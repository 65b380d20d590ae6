"""How people call what the document holds: kinds, fields, choices, units. The English text is the message id.

One table for portal, API and documentation, beside :mod:`appliance.kinds`. A field of a kind added later is shown under
its own name until it has a label here; ``tests/unit/test_labels.py`` fails until then. Help texts stand with the fields
(``Field(description=…)``). Why a table: ``docs/decisions/0019``.

Keys are a field's name, or ``Model.field`` where a name means something else in one model; choices are
``Enumeration.value``, or ``Model.field.value`` where the model lists the values itself; parts are their class's name.

:mod:`.kinds`    kinds, their topics, areas of permissions
:mod:`.fields`   fields and parts, units, what holds while a field is empty
:mod:`.choices`  choices
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.labels.choices import CHOICES
from appliance.labels.fields import FIELDS, INHERITED, PARTS, UNITS
from appliance.labels.kinds import AREAS, KINDS, TOPICS

__all__ = [
    "AREAS", "CHOICES", "FIELDS", "INHERITED", "KINDS", "PARTS", "TOPICS", "UNITS",
    "of_choice", "of_field", "of_kind", "of_part", "plain", "texts", "topics", "unit_of",
]  # fmt: skip


def of_kind(kind: str, *, several: bool = False) -> str:
    """What a kind is called."""
    return KINDS[kind][several] if kind in KINDS else plain(kind)


def of_field(model: str, name: str) -> str:
    """Label of a field of a model (the name of its class)."""
    return FIELDS.get(f"{model}.{name}") or FIELDS.get(name) or plain(name)


def of_choice(group: str, value: str) -> str:
    """Label of a choice: ``group`` is an enumeration's name, or ``Model.field``."""
    return CHOICES.get(f"{group}.{value}") or plain(value)


def of_part(part: str) -> str:
    """What a part is called (the name of its class)."""
    return PARTS.get(part) or part


def unit_of(name: str) -> str:
    """Unit of a number, or nothing."""
    return UNITS.get(name, "")


def plain(name: str) -> str:
    """A name as words, until it has a label: ``park_seconds`` is ``Park seconds``."""
    return name.replace("_", " ").capitalize()


def topics(kinds: Iterable[str]) -> list[tuple[str, list[str]]]:
    """These kinds by topic, in the order of the navigation; topics without any are left out."""
    known = set(kinds)
    found = {topic: [kind for kind in of_topic if kind in known] for topic, of_topic in TOPICS.items()}
    placed = {kind for of_topic in TOPICS.values() for kind in of_topic}
    found[list(TOPICS)[-1]] += sorted(known - placed)
    return [(topic, of_topic) for topic, of_topic in found.items() if of_topic]


def texts() -> Iterator[str]:
    """Every text in here, for the catalogues of translations."""
    for one, several in KINDS.values():
        yield from (one, several)
    yield from TOPICS
    for table in (AREAS, FIELDS, CHOICES, PARTS, UNITS, INHERITED):
        yield from (text for text in table.values() if len(text) > 1)
