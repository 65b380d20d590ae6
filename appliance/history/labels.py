"""What a call can be found by (pure): labels, one per number, extension, device, trunk, site and name.

A label stands once in the history however many calls carry it. Parts of numbers and names are looked for among the labels,
of which there are few, and never among the calls, of which there are many.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from appliance.history.model import Call

PART_MAX: Final = 12
"""Characters of each part of a text that are kept for searching; the rest of a longer one is compared afterwards."""
NUMBER_MAX: Final = 64
ID_MAX: Final = 80
NAME_MAX: Final = 200


class Kind(IntEnum):
    """What a label names. The numbers stand in the database: they never change. ``ALL`` is every call, for statistics."""

    ALL = 0
    EXTENSION = 1
    NUMBER = 2
    DEVICE = 3
    TRUNK = 4
    SITE = 5
    NAME = 6


SEARCHED: Final = (Kind.EXTENSION, Kind.NUMBER, Kind.NAME)
"""Labels that are found by a part of them too."""
COUNTED: Final = (Kind.ALL, Kind.EXTENSION, Kind.TRUNK, Kind.SITE)
"""Labels that statistics are kept of."""
WIDTHS: Final = {
    Kind.EXTENSION: NUMBER_MAX,
    Kind.NUMBER: NUMBER_MAX,
    Kind.DEVICE: ID_MAX,
    Kind.TRUNK: ID_MAX,
    Kind.SITE: ID_MAX,
    Kind.NAME: NAME_MAX,
}
Label = tuple[Kind, str]


def labels_of(call: Call) -> frozenset[Label]:
    """Every label of a call. A number is one of an extension that took part, or else just a number: never both."""
    legs = call.legs
    extensions = {call.from_extension, call.reached_extension, *(leg.extension for leg in legs)}
    found = {
        Kind.EXTENSION: extensions,
        Kind.NUMBER: call.parties() - extensions,
        Kind.DEVICE: {call.from_device, call.reached_device, *(leg.device for leg in legs)},
        Kind.TRUNK: {call.from_trunk, call.trunk, call.reached_trunk, *(leg.trunk for leg in legs)},
        Kind.SITE: {call.from_site, call.reached_site, *(leg.site for leg in legs)},
        Kind.NAME: {call.from_name},
    }
    return frozenset((kind, value[: WIDTHS[kind]]) for kind, values in found.items() for value in values if value)


def folded(text: str) -> str:
    """The text as it is searched: compatibility forms and case don't matter (Unicode NFKC, full case folding)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def parts(text: str) -> Iterator[str]:
    """What must be kept so that every part of a text (already folded) is found by looking for a beginning."""
    return iter({text[start : start + PART_MAX] for start in range(len(text))})
