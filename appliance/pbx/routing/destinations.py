"""Destinations as dialplan steps (pure): what DIDs, inbound routes and ring groups lead to.

``steps(destination, document)`` ends the course of the dialplan where it stands: nothing after it is reached.
"""

from __future__ import annotations

from typing import Final

from appliance.core.document import Document
from appliance.pbx.extensions.model import Extension
from appliance.pbx.routing.model import (
    Destination,
    Did,
    ToExtension,
    ToHangup,
    ToNumber,
    ToRingGroup,
    ToService,
)

HOPS_MAX: Final = 8
"""How often a call may be sent on. Loops between objects are found when the document is verified; what phones set
(forwards) is stopped by this counter."""
CAUSES: Final = {"busy": 17, "unavailable": 20, "rejected": 21}
"""Reasons of a refusal as ITU-T Q.850 causes: the caller's phone gets 486, 480 and 403."""
CONGESTION: Final = 42


def hop() -> list[str]:
    """Steps that count one more sending-on of the call, and end it after too many."""
    return ["Set(__HOPS=$[0${HOPS} + 1])", f"ExecIf($[${{HOPS}} > {HOPS_MAX}]?Hangup({CONGESTION}))"]


def steps(destination: Destination, document: Document) -> list[str]:
    """Dialplan steps to a destination."""
    match destination:
        case ToExtension(extension=id):
            return [f"Goto(internal,{document.get(Extension, id).number},1)"]
        case ToRingGroup(ring_group=id):
            return [*hop(), f"Goto(group.{id},s,1)"]
        case ToService(service=service):
            return [f"Goto(service-{service},s,1)"]
        case ToHangup(reason=reason):
            return [f"Hangup({CAUSES[reason]})"]
        case ToNumber():
            return _to_number(destination, document)
    msg = f"unknown destination {destination!r}"
    raise TypeError(msg)


def _to_number(destination: ToNumber, document: Document) -> list[str]:
    """A call that leaves again: by the trunks of the site that is named, from and diverted by the DID it came to."""
    if any(did.number == destination.number for did in document.all(Did).values()):
        return [*hop(), f"Goto(dids,{destination.number},1)"]
    return [
        *hop(),
        'ExecIf($["${DID}" != ""]?Set(__DIVERTED=${DID}))',
        'ExecIf($["${DID}" != ""]?Set(__CLI=${DID}))',
        f"Goto(route.{destination.site},{destination.number},1)",
    ]
