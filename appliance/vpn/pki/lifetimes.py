"""How long certificates and lists of revoked ones live, and when they are due for renewal. Pure: functions of now.

Times are aware datetimes in UTC, to the second, as X.509 has them (RFC 5280 §4.1.2.5).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

DAY: Final = timedelta(days=1)
YEAR: Final = 365 * DAY

ROOT: Final = 20 * YEAR
INTERMEDIATE: Final = 5 * YEAR
SERVER: Final = YEAR
SIGNER: Final = YEAR
BRANCH: Final = YEAR
THIRD_PARTY: Final = 2 * YEAR
"""It isn't renewed by itself: somebody has to carry another bundle there."""
GATE: Final = 15 * DAY
"""Longer than any invitation waits."""
LIST: Final = 90 * DAY
"""From now to ``nextUpdate`` of a list of revoked certificates."""

BACKDATED: Final = 2 * DAY
"""How long before now everything begins to be valid: an edge whose clock is a day behind, time zone mistaken on top, takes
it. Lists of revoked certificates too: one from the future would lock every branch out when the centre's clock is put back.

But for what the centre shows its branches (server, signer, intermediates): that begins when the root does. An edge that was off for
months and has no battery begins with the time that it saw last, and must take a certificate that was renewed meanwhile; only then
it learns what time it is."""

WORTH_IT: Final = DAY
"""What is cut short by its issuer's end isn't renewed unless it lasts longer by this."""

_RENEWED_LIST: Final = LIST / 3
_ALARM_LIST: Final = LIST / 3


def moment(wall_ms: int) -> datetime:
    """A wall clock's ms since the epoch."""
    return datetime.fromtimestamp(wall_ms // 1000, UTC)


def due(begins: datetime, ends: datetime) -> datetime:
    """When a certificate is to be renewed: at two thirds of its life."""
    return begins + 2 * (ends - begins) / 3


def urgent(begins: datetime, ends: datetime) -> datetime:
    """When somebody has to be told that it wasn't: half of the time for renewal is over, at five sixths of its life."""
    return begins + 5 * (ends - begins) / 6


def end(now: datetime, lasts: timedelta, issuer_ends: datetime) -> datetime:
    """When a certificate ends that is issued now: never after its issuer."""
    return min(now + lasts, issuer_ends)


def list_due(next_update: datetime) -> datetime:
    """When a list of revoked certificates is made anew: a third of its time is gone."""
    return next_update - LIST + _RENEWED_LIST


def list_urgent(next_update: datetime) -> datetime:
    """When somebody has to be told that it wasn't: the last third has begun."""
    return next_update - _ALARM_LIST
