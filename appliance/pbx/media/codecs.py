"""Codec policies as the engine writes them (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.core.document import Document
from appliance.pbx.media.model import Codec, CodecPolicy

STANDARD: Final = "standard"
"""Id of the policy that holds for whoever has none of its own."""
FALLBACK: Final = (Codec.OPUS, Codec.G722, Codec.ALAW, Codec.ULAW)
"""Codecs when the document has no policy of that id: best first."""


def allow(document: Document, policy: str | None, first: Sequence[Codec] = ()) -> str:
    """The value of an endpoint's ``allow``: exactly the codecs of a policy, best first, but those in ``first`` before."""
    found = document.find(CodecPolicy, policy) or document.find(CodecPolicy, STANDARD)
    codecs = found.codecs if found else FALLBACK
    return ",".join(("!all", *sorted(codecs, key=lambda codec: codec not in first)))


def codecs_line(policy: CodecPolicy | None) -> str:
    """``!all,g722,alaw``: nothing but these, in this order."""
    return ",".join(("!all", *(policy.codecs if policy else FALLBACK)))
