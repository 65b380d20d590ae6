"""What every kind of the configuration document has in common."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from appliance.core.fields import ObjectId


class Part(BaseModel):
    """A value inside an object: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class Object(Part):
    """One object of the configuration document.

    Subclasses name their ``kind`` (stable: it stands in files and paths). ``id`` never changes; all else may.
    """

    kind: ClassVar[str]
    id: ObjectId

    def path(self, field: str = "") -> str:
        """Where this object (or one field of it) stands in the document: ``kind/id/field``."""
        return f"{self.kind}/{self.id}/{field}" if field else f"{self.kind}/{self.id}"
