"""What the PBX's plans need besides the document: facts of this installation, and secrets in the clear.

Pure: the applier fills it in. Nothing in here may be logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from appliance.names.answers import Resolved

TOKEN_LENGTH: Final = 18
"""Characters of an installation's token."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Facts of one installation that aren't configuration.

    ``transport_token``: random, made at installation; part of endpoint names so that a device is unknown on
    transports that it may not use. ``secrets``: secret id → clear text; a missing id means "no value yet".
    ``certificates``: certificate name → (certificate file, key file) as the engine sees them; ``authorities``: name →
    file of CA certificates, likewise. ``names``: what names of the document mean, by the key of their question (:mod:`appliance.names`).
    """

    transport_token: str = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
    certificates: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    authorities: Mapping[str, str] = field(default_factory=dict)
    realm: str = "centralino"
    names: Mapping[str, Resolved] = field(default_factory=dict)
