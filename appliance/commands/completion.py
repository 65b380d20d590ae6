"""What the shell offers when TAB is pressed. It must never print or fail: no store, or no right to read it, offers nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance.commands.common import author, store

if TYPE_CHECKING:
    from appliance.store import Store


def completed(ask: Callable[[Store], list[str]]) -> list[str]:
    """Words that the store knows."""
    try:
        with store() as opened:
            return ask(opened)
    except Exception:  # noqa: BLE001 (see the module's docstring)
        return []


def ids_of(kind: str) -> Callable[[str], list[str]]:
    """Completes ids of one kind, staged ones too."""

    def ids(incomplete: str) -> list[str]:
        def ask(opened: Store) -> list[str]:
            document = opened.candidate(author()).on(opened.document())
            return sorted(id for id in document.objects.get(kind, {}) if id.startswith(incomplete))

        return completed(ask)

    return ids
