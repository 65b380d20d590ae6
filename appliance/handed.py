"""Which secrets which process is handed in the clear (pure).

The key that opens secrets is the applier's alone. A process that must show a secret to somebody else (a directory, a receiver
of notifications) is handed the ones it needs, and no others: see ``docs/decisions/0024``.
"""

from __future__ import annotations

from typing import Final

from appliance.core.document import Document
from appliance.core.references import references
from appliance.organisation.model import Secret

READERS: Final[dict[str, tuple[str, ...]]] = {
    "console": ("directory_service", "identity_provider"),
    "notifications": ("notification_endpoint", "history_export"),
}
"""Process → kinds whose objects name the secrets that it is handed."""
FILE: Final = "secrets.json"
"""Name of the file in the reader's directory: a JSON object, secret id → clear text."""


def wanted(document: Document, reader: str) -> frozenset[str]:
    """Ids of the secrets that a process needs."""
    return frozenset(
        id
        for kind in READERS[reader]
        for item in document.objects.get(kind, {}).values()
        for _path, id, kinds in references(item)
        if Secret.kind in kinds
    )
