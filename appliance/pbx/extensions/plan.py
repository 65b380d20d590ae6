"""extensions → engine configuration (pure)."""

from __future__ import annotations

from appliance.core.document import Document
from appliance.pbx.context import Installation
from appliance.pbx.feature import Contribution


def contribute(document: Document, installation: Installation) -> Contribution:  # noqa: ARG001
    """This feature's part of the engine's configuration."""
    return Contribution()
