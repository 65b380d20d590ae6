"""The whole PBX: document → files of the engine's configuration (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from typing import Final

from appliance.core.asterisk import ConfFile
from appliance.core.document import Document
from appliance.history import legs
from appliance.pbx.context import Installation
from appliance.pbx.emergency import plan as _emergency
from appliance.pbx.extensions import plan as _extensions
from appliance.pbx.groups import plan as _groups
from appliance.pbx.media import plan as _media
from appliance.pbx.numbers import plan as _numbers
from appliance.pbx.routing import plan as _routing
from appliance.pbx.services import plan as _services
from appliance.pbx.trunks import plan as _trunks

FEATURES: Final = (_media, _numbers, _extensions, _groups, _services, _trunks, _routing, _emergency)


def desired(document: Document, installation: Installation) -> Mapping[str, ConfFile]:
    """Every file that the PBX's features want, by name. Files of the engine itself come from appliance.engine.plan."""
    parts = [feature.contribute(document, installation) for feature in FEATURES]
    files = [
        ConfFile("pjsip.conf", tuple(section for part in parts for section in part.pjsip)),
        ConfFile("extensions.conf", (*legs.contexts(), *(section for part in parts for section in part.dialplan))),
        *(file for part in parts for file in part.files),
    ]
    made = {file.name: shared(file, _known.get(file.name)) for file in files}
    _known.clear()
    _known.update(made)
    return made


_known: Final[dict[str, ConfFile]] = {}
"""The files as last made: what didn't change since is handed out again, neither rendered nor compared a second time."""


def shared(file: ConfFile, known: ConfFile | None) -> ConfFile:
    """``file``, with those objects of ``known`` that are equal: the very same file when nothing changed."""
    if known is None:
        return file
    of_old = {(section.type, section.name): section for section in known.sections}
    sections = []
    for section in file.sections:
        was = of_old.get((section.type, section.name))
        sections.append(section if was is None or was is section or was != section else was)
    if len(sections) == len(known.sections) and all(map(is_, sections, known.sections)):
        return known
    return ConfFile(file.name, tuple(sections))
