"""Numbered changes of the document's format, applied to stored revisions and to imported files of an older format.

``vNNNN_name.py`` holds ``def migrate(document: Plain) -> Plain``: from format NNNN - 1 to NNNN, pure, on plain data
``{kind: {id: fields}}`` without validation by models (models know the newest format only). A document may be a part of
a whole one (an author's staged changes), so nothing may be taken for granted to be in it. Raise the format only for
changes that make old data mean something else or not be accepted: a new optional field needs no migration.

To add one: write the module, append it to ``STEPS``, keep an export of the former format as
``tests/data/documents/vN.yaml`` and what becomes of it as ``vN.now.yaml`` — the tests pick them up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from appliance.core.errors import CorruptError

Plain = dict[str, dict[str, dict[str, Any]]]
"""kind → id → fields (the id is not among them)."""

STEPS: Final[list[Callable[[Plain], Plain]]] = []
"""``STEPS[0]`` makes format 2 of format 1, and so on."""


def newest_format() -> int:
    """The format that is written."""
    return len(STEPS) + 1


def migrate(document: Plain, format: int, steps: Sequence[Callable[[Plain], Plain]] | None = None) -> Plain:
    """The document in the newest format. Raises CorruptError if its format is newer than that."""
    steps = STEPS if steps is None else steps
    if not 1 <= format <= len(steps) + 1:
        raise CorruptError(
            f"the document has format {format}, this release knows formats 1 to {len(steps) + 1}",
            "use the release that wrote it, or a newer one",
            error_id="too_new",
        )
    for step in steps[format - 1 :]:
        document = step(document)
    return document
