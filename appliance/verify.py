"""Verify the whole document: every fault at once, nothing touched (law 3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.document import Document
from appliance.core.errors import Fault, NotFoundError
from appliance.core.references import dangling
from appliance.pbx.emergency import verify as _emergency
from appliance.pbx.extensions import verify as _extensions
from appliance.pbx.groups import verify as _groups
from appliance.pbx.media import verify as _media
from appliance.pbx.numbers import verify as _numbers
from appliance.pbx.routing import verify as _routing
from appliance.pbx.services import verify as _services
from appliance.pbx.trunks import verify as _trunks

FEATURES: Final = (_media, _numbers, _extensions, _groups, _services, _trunks, _routing, _emergency)


def verify(document: Document) -> tuple[Fault, ...]:
    """All errors: with any of them the document can't be applied."""
    return tuple(fault for fault in check(document) if fault.severity == "error")


def check(document: Document) -> tuple[Fault, ...]:
    """All errors and warnings, dangling references first.

    Features follow references freely. Where one leads nowhere, a feature has said what it found until then, and says the
    rest once the reference is mended: no fault is invented from a document with holes.
    """
    holes = tuple(dangling(document))
    found = (fault for feature in FEATURES for fault in _as_far_as(feature.verify(document), bool(holes)))
    return tuple(dict.fromkeys((*holes, *found)))  # two objects may give the same reason: it is told once


def _as_far_as(faults: Iterator[Fault], has_holes: bool) -> Iterator[Fault]:
    """The faults up to the first reference that leads nowhere; without holes every exception is a mistake of ours."""
    try:
        yield from faults
    except (NotFoundError, KeyError):
        if not has_holes:
            raise
