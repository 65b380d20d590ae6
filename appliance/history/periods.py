"""Hours of the statistics in somebody's time zone (pure)."""

from __future__ import annotations

import datetime
import zoneinfo
from enum import StrEnum
from typing import Final

from appliance.core.errors import Fault, InvalidError

HOUR_MS: Final = 3_600_000
QUARTER_MS: Final = 900_000
"""No time zone of today differs from UTC by anything but quarters of an hour."""


class By(StrEnum):
    """What statistics are told apart by. Days and hours are the time zone's."""

    TOTAL = "total"
    SITE = "site"
    TRUNK = "trunk"
    EXTENSION = "extension"
    HOUR = "hour"
    WEEKDAY = "weekday"
    DAY = "day"
    MONTH = "month"


TIMES: Final = (By.HOUR, By.WEEKDAY, By.DAY, By.MONTH)


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """The time zone. :raises InvalidError: there is none of that name."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidError([Fault("history/zone", "is not a time zone", "for example Europe/Rome")]) from None


def key(by: By, start_ms: int, zone: zoneinfo.ZoneInfo) -> str:
    """Which row a moment belongs to: hour ``00``–``23`` (both hours of one name when clocks are set back), weekday ``1``
    (Monday) – ``7``, day ``2026-11-23``, month ``2026-11`` (ISO 8601)."""
    local = datetime.datetime.fromtimestamp(start_ms / 1000, zone)
    if by is By.HOUR:
        return f"{local.hour:02}"
    if by is By.WEEKDAY:
        return str(local.isoweekday())
    return local.date().isoformat() if by is By.DAY else f"{local.year:04}-{local.month:02}"


def whole_hours(since_ms: int, until_ms: int, zone: zoneinfo.ZoneInfo) -> bool:
    """Whether the zone's clocks differ from UTC by whole hours all that time, so that its hours are ours."""
    moments = [*range(since_ms, until_ms, 28 * 24 * HOUR_MS), until_ms]
    offsets = (datetime.datetime.fromtimestamp(moment / 1000, zone).utcoffset() for moment in moments)
    return all(offset is not None and offset.total_seconds() % 3600 == 0 for offset in offsets)
