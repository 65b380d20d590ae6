"""What each feature of the PBX contributes to the engine's configuration."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.asterisk import ConfFile, Section


@dataclass(frozen=True, slots=True)
class Contribution:
    """Sections of pjsip.conf and extensions.conf, and files of a feature's own (hot tables among them)."""

    pjsip: tuple[Section, ...] = ()
    dialplan: tuple[Section, ...] = ()
    files: tuple[ConfFile, ...] = ()
