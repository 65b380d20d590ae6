"""What must hold of roles, beyond what the model checks of itself (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.access.roles import ANY, AREAS, BUILT_IN, permission
from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.kinds import KINDS
from appliance.organisation.model import Role


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    for role in document.all(Role).values():
        if role.id in BUILT_IN:
            yield Fault(
                role.path("id"),
                "is the id of a built-in role: that one counts, and this one for nothing",
                "give it another id, and people that one",
                "built_in_role",
                "warning",
            )
        for index, text in enumerate(role.permissions):
            yield from _permission(role.path(f"permissions[{index}]"), text)


def _permission(path: str, text: str) -> Iterator[Fault]:
    found = permission(text)
    if found is None or found.subject not in (ANY, *KINDS, *AREAS):
        known = ", ".join((*KINDS, *AREAS))
        yield Fault(path, f"{text!r} names neither a kind nor an area", f"there are {known}", "unknown_permission")
    elif found.field and (found.subject not in KINDS or found.field not in KINDS[found.subject].model_fields):
        fields = ", ".join(KINDS[found.subject].model_fields) if found.subject in KINDS else "none"
        yield Fault(path, f"{text!r} names no field", f"there are {fields}", "unknown_permission")
