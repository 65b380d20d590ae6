"""emergency → engine configuration (pure).

``emergency`` is a context to be looked at before any other, also from a locked phone: the numbers of the emergency
plan as they are, after the outside prefix, and behind the country's calling code (``+39112``: how a phone may dial a
stored contact). Nothing is checked: neither class of service, lock, CLIR, nor limits of trunks and links.

Order of attempts: the trunks of the site of the calling *device*, then those of all other sites,
then all of them once more. A trunk that is full gives up one of its other calls; in the last round each does, for it
may have fewer lines than we know. Any outcome but an answer leads to the next attempt. The calling number is the
site's (``EMERGENCY_CLI``), else the trunk's own; the number is sent as dialled, without prefix (112).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from appliance.core.asterisk import Section, dialplan
from appliance.core.document import Document
from appliance.organisation.model import Site
from appliance.pbx import carried
from appliance.pbx.context import Installation
from appliance.pbx.emergency.dialled import emergency_forms
from appliance.pbx.feature import Contribution
from appliance.pbx.trunks.order import everywhere, flattened

ROUNDS: Final = 2


def contribute(document: Document, installation: Installation) -> Contribution:  # noqa: ARG001
    """Contexts of emergency calls."""
    entry = _entry(tuple(emergency_forms(document).items()))
    rest = _attempts("emergency-rest", everywhere(document), "Hangup(34)", range(1, ROUNDS + 1))
    sites = [
        _attempts(f"emergency.{site.id}", flattened(document, site.trunks), "Goto(emergency-rest,${EXTEN},1)", (1,))
        for site in document.all(Site).values()
    ]
    return Contribution(dialplan=(entry, _place(), rest, *sites))


@lru_cache(maxsize=8)
def _entry(dialled: tuple[tuple[str, tuple[str, ...]], ...]) -> Section:
    extensions = [(form, [f"Goto(emergency-call,{number},1)"]) for number, forms in dialled for form in forms]
    return dialplan("emergency", *extensions)


def _place() -> Section:
    own = f"emergency.{carried.SITE}"
    return dialplan(
        "emergency-call",
        (
            "_X.",
            (
                "Set(__CALL_KIND=emergency)",
                "Set(__CLIR=)",
                "Set(__DIVERTED=)",
                # For whoever in the house must know: before anything can fail.
                f"UserEvent(Emergency,Number: ${{EXTEN}},Site: {carried.SITE},Device: {carried.DEVICE})",
                "Set(GLOBAL(EMERGENCY_AT)=${EPOCH})",
                f"Set(__EMERGENCY_CLI={carried.EMERGENCY_NUMBER})",
                f"GotoIf(${{DIALPLAN_EXISTS({own},${{EXTEN}},1)}}?{own},${{EXTEN}},1)",
                "Goto(emergency-rest,${EXTEN},1)",
            ),
        ),
    )


@lru_cache(maxsize=4096)
def _attempts(context: str, trunks: tuple[str, ...], end: str, rounds: range | tuple[int, ...]) -> Section:
    attempts = [f"Gosub(sos.{trunk},${{EXTEN}},1({round}))" for round in rounds for trunk in trunks]
    return dialplan(context, ("_X.", [*attempts, end]))
