"""What must hold between the objects of this feature and others, beyond what each model checks of itself."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault


def verify(document: Document) -> Iterator[Fault]:  # noqa: ARG001
    """Every fault found, each with its path and how to mend it."""
    yield from ()
