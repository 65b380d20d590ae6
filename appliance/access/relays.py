"""Who is given credentials for the TURN server: whoever may handle calls, since voice is all that it relays."""

from __future__ import annotations

from appliance.access.permissions import Subject
from appliance.core.errors import RefusedError


def require(subject: Subject) -> None:
    """:raises RefusedError: ``forbidden``."""
    if not subject.may("calls", edit=True):
        needed = "calls:edit"
        raise RefusedError(f"this needs the permission {needed}", "ask an administrator", error_id="forbidden")
