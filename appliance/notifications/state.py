"""Where a delivery is. Apart from the queue, so that a command can name it without the database's library."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a delivery is."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
