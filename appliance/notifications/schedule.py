"""When an export is due, in a site's own time (pure).

An hour that a change of the clocks leaves out comes when the change is over; of one that comes twice the first counts. So every day
has its export, once.
"""

from __future__ import annotations

import datetime
from typing import Final
from zoneinfo import ZoneInfo

from appliance.notifications.model import Every, HistoryExport, Weekday

_WRONG: Final = datetime.timedelta(hours=1)
_DAYS: Final = list(Weekday)


def last_due(export: HistoryExport, zone: ZoneInfo, now: datetime.datetime) -> datetime.datetime:
    """The newest time at or before ``now`` at which the export is due."""
    day = now.astimezone(zone).date()
    while True:
        if _is_day(export, day):
            due = at(export, zone, day)
            if due <= now:
                return due
        day -= datetime.timedelta(days=1)


def at(export: HistoryExport, zone: ZoneInfo, day: datetime.date) -> datetime.datetime:
    """The export's time on a day, in UTC."""
    hour, minute = map(int, export.time.split(":"))
    return datetime.datetime.combine(day, datetime.time(hour, minute), zone).astimezone(datetime.UTC)


def is_due(export: HistoryExport, zone: ZoneInfo, now: datetime.datetime, last: datetime.datetime) -> bool:
    """Whether a time has come since the last one. A last one in the future was noted by a clock that was wrong."""
    return last > now + _WRONG or last_due(export, zone, now) > last


def file_name(
    export: HistoryExport, zone: ZoneInfo, since: datetime.datetime, until: datetime.datetime, count: int
) -> str:
    """Name of a file: export, number, and the time that it is about. Files of one export sort by it."""
    first, last = (f"{when.astimezone(zone):%Y-%m-%dT%H%M}" for when in (since, until))
    return f"{export.id}_{count:06}_{first}_{last}.csv"


def _is_day(export: HistoryExport, day: datetime.date) -> bool:
    if export.every is Every.WEEK:
        return day.weekday() == _DAYS.index(export.weekday)
    return export.every is Every.DAY or day.day == 1
