"""What the engine's log may say without anything being wrong: a short list, with a reason each (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

STARTING: Final = "registered during operation"
"""What the SIP stack says of each of its modules that is loaded after the first packet came in."""
KNOWN: Final = {
    "Taskprocessor 'stasis/": (
        "thousands of devices tell their state within a second, at start or when they all register: a queue passes its "
        "high-water mark of 500 and drains at once"
    ),
    STARTING: (
        "phones send, or what was probed answers, while the engine is still starting: its SIP stack answers before its last module is loaded"
    ),
    "func_hangupcause.c: Unable to find information for channel": (
        "a call was picked up: two legs have changed places, and how one of them was answered is asked for when it ends"
    ),
    "Asterisk is shutting down": "the applier was asking the engine something while it was being stopped: it asks again",
}
"""Part of a line → why it is no trouble."""


def troubles(lines: Iterable[str]) -> list[str]:
    """Errors and warnings among the lines of the engine's log, without the known ones."""
    bad = (line for line in lines if " ERROR[" in line or " WARNING[" in line)
    return [line for line in bad if not any(part in line for part in KNOWN)]
