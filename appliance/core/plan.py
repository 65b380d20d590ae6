"""What a plan consists of: frozen steps, in order, each with its effect on what is running.

Planning is pure: desired state of the old revision against desired state of the new one. Applying walks the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.core.asterisk import Section
from appliance.core.document import Change


class Effect(StrEnum):
    """What a step does to calls and connections that are up."""

    LIVE = "live"
    DROPS_CONNECTIONS = "drops_connections"
    NEEDS_RESTART = "needs_restart"


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file of the engine's configuration gets new content (or goes, when ``content`` is None)."""

    name: str
    content: str | None
    effect: Effect = Effect.LIVE


@dataclass(frozen=True, slots=True)
class ReloadModule:
    """One engine module re-reads its files. At most one such step per module in a plan."""

    module: str
    effect: Effect = Effect.LIVE


@dataclass(frozen=True, slots=True)
class RestartEngine:
    """The engine must be started afresh for the change to take effect."""

    reason: str
    effect: Effect = Effect.NEEDS_RESTART


@dataclass(frozen=True, slots=True)
class LoadRules:
    """The firewall's rules are loaded from this file in one transaction of the kernel. Connections that are up go on."""

    name: str
    effect: Effect = Effect.LIVE


@dataclass(frozen=True, slots=True)
class ReadBack:
    """The engine must now say this of a changed object: ``after`` None means it must be gone."""

    file: str
    section: str
    type: str
    before: Section | None
    after: Section | None
    effect: Effect = Effect.LIVE


@dataclass(frozen=True, slots=True)
class CollectState:
    """Runtime values (DND, forwards…) of a deleted object are removed from the engine's database."""

    kind: str
    id: str
    effect: Effect = Effect.LIVE


Step = WriteFile | ReloadModule | RestartEngine | LoadRules | ReadBack | CollectState


@dataclass(frozen=True, slots=True)
class Plan:
    """From one revision to the next: the changes of the document, and the steps of the system."""

    changes: tuple[Change, ...]
    steps: tuple[Step, ...]

    @property
    def effect(self) -> Effect:
        """The worst effect of all steps."""
        order = list(Effect)
        return max((step.effect for step in self.steps), key=order.index, default=Effect.LIVE)
