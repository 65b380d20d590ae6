"""Roles and what they allow (pure): patterns such as ``extension:view``, ``person.language:edit`` or ``*:edit``.

The part before the colon is a kind of the document or one of :data:`AREAS`, then a field or nothing (all of them);
``*`` stands for every kind and area. ``edit`` includes ``view``.

A role reaches everything, or only the sites that it names, or that the person who has it is tied to; or only what is the
person's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from appliance.organisation.model import BUILT_IN_ROLES, Role

AREAS: Final[dict[str, str]] = {
    "accounts": "other people's sign-ins: links, sessions, second factors",
    "api_keys": "keys for programs",
    "audit": "who signed in and who did what",
    "calls": "calls that are up; to edit is to place, transfer and end them",
    "firewall": "who may reach what on this machine, and who is kept out; to edit is to lift bans",
    "history": "calls that have ended, and statistics",
    "revisions": "former revisions; to edit is to roll back and to confirm other people's commits",
    "system": "processes, alarms and health",
}
"""What isn't in the document and yet has permissions."""

ANY: Final = "*"
_PATTERN: Final = re.compile(r"([a-z_]+|\*)(?:\.([a-z_]+))?:(view|edit)")


@dataclass(frozen=True, slots=True)
class Permission:
    """One pattern: ``subject`` is a kind, an area or ``*``; ``field`` empty: all of its fields."""

    subject: str
    field: str
    edit: bool

    def covers(self, subject: str, field: str, *, edit: bool) -> bool:
        """Whether it allows this. ``field`` empty: the object as a whole, every field of it."""
        if edit and not self.edit:
            return False
        return self.subject in (ANY, subject) and self.field in ("", field)

    def touches(self, subject: str, *, edit: bool) -> bool:
        """Whether it allows this for any field."""
        return (self.edit or not edit) and self.subject in (ANY, subject)


def permission(text: str) -> Permission | None:
    """A pattern, or None if it is none."""
    match = _PATTERN.fullmatch(text)
    return None if match is None else Permission(match[1], match[2] or "", match[3] == "edit")


BUILT_IN: Final[dict[str, Role]] = {
    id: Role(id=id, name=name, permissions=tuple(permissions), own_only=own)
    for id, (name, permissions, own) in {
        "administrator": ("Administrator", ("*:edit",), False),
        "it-manager": (
            "IT manager",
            (
                "*:view",
                *(
                    f"{kind}:edit"
                    for kind in (
                        "company", "site", "person", "number_plan", "emergency_plan", "class_of_service", "service_code",
                        "codec_policy", "listener", "extension", "device", "ring_group", "provider", "trunk", "trunk_group",
                        "did", "inbound_route", "outbound_route", "concentrator", "branch", "wan_line", "turn_server", "network", "address_list", "notification_endpoint", "history_export",
                        "secret", "calls", "firewall", "revisions", "system",
                    )
                ),
            ),
            False,
        ),
        "hr-manager": (
            "HR manager",
            (
                "person:edit", "extension:view", "extension.person:edit", "extension.label:edit", "site:view",
                "company:view", "ring_group:view",
            ),
            False,
        ),
        "site-manager": (
            "Site manager",
            (
                "extension:edit", "device:edit", "ring_group:edit", "person:view", "site:view", "company:view", "did:view",
                "class_of_service:view", "codec_policy:view", "number_plan:view", "service_code:view", "listener:view",
                "secret:edit", "history:view", "calls:view",
            ),
            False,
        ),
        "operator": (
            "Operator",
            ("calls:edit", "extension:view", "person:view", "ring_group:view", "site:view", "company:view"),
            False,
        ),
        "user": (
            "User",
            (
                "person:view", "person.language:edit", "extension:view", "extension.busy_policy:edit",
                "extension.ring_seconds:edit", "extension.language:edit", "device:view", "calls:edit", "history:view",
            ),
            True,
        ),
        "auditor": ("Auditor", ("*:view",), False),
    }.items()
}  # fmt: skip
"""Roles that every installation has. Rights on people's roles are nobody's but an administrator's: see `guarded`."""
assert BUILT_IN.keys() == BUILT_IN_ROLES  # noqa: S101 (two lists of one thing, so that models needn't import this one)

ESCALATING: Final = frozenset({("person", "roles"), ("person", "sites")})
"""Fields that give rights away: whoever may edit roles may set them, and nobody else."""

VOUCHING: Final = frozenset({"directory_service", "identity_provider"})
"""Kinds that say who vouches for people: whoever may change one could sign in as anybody. As for roles, then."""

HARMLESS: Final = frozenset({"user"})
"""Roles that open nothing but one's own. Of people with others, the e-mail address gives rights away too: a directory or a provider
may tell by it who somebody is."""
