"""Statistics of calls: volumes, answer rates, durations and waiting times, as charts and as the table that says the same."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from flask import Blueprint, render_template, request

from appliance.access.seen_calls import visible_calls, zone_of_reader
from appliance.commands.calls_text import clock, direction_text
from appliance.console.api.requests import document as guarded
from appliance.console.api.requests import services, subject
from appliance.console.portal.calls import BAD, Answer, Names, closed_with, seen, words
from appliance.console.portal.calls_form import DAY, day_of, periods, start_of
from appliance.console.portal.charts import Chart, Series, lying, upright
from appliance.console.portal.writing import day, day_of_year, figure, month
from appliance.core.errors import CentralinoError, RefusedError
from appliance.history.filter import TEXT_MAX
from appliance.history.hours import Figures
from appliance.history.model import Direction
from appliance.history.periods import TIMES, By
from appliance.history.service import Statistics
from appliance.history.statistics import KINDS, Wanted
from appliance.i18n import _, language, later

DAYS: Final = 30
DAYS_MAX: Final = 400
"""Days that are shown one by one."""
DRAWN: Final = 20
"""Sites, trunks or extensions that are drawn: those with the most calls."""
ROWS: Final = 200
"""And that stand in the table."""
CHOICES: Final = (By.DAY, By.WEEKDAY, By.HOUR, By.MONTH, By.SITE, By.TRUNK, By.EXTENSION)
WEEKDAYS: Final = (
    later("Monday"),
    later("Tuesday"),
    later("Wednesday"),
    later("Thursday"),
    later("Friday"),
    later("Saturday"),
    later("Sunday"),
)


def statistics() -> Blueprint:
    """The page."""
    pages = Blueprint("statistics", __name__)
    pages.get("/statistics")(show)
    closed_with(pages)
    return pages


@dataclass(frozen=True, slots=True)
class Period:
    """From a day to a day, both whole."""

    first: datetime.date
    last: datetime.date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``name`` is what its bar is called too."""

    name: str
    key: str
    figures: Figures


def show() -> Answer:
    """The statistics of a time, by something."""
    history = seen()
    zone = ZoneInfo(history.zone)
    today = datetime.datetime.now(zone).date()
    period, fault = _period(today)
    by = next((each for each in CHOICES if each.value == request.args.get("by")), By.DAY)
    if by is By.DAY and period.days > DAYS_MAX:
        by = By.MONTH
    texts = {name: request.args.get(name, "").strip()[:TEXT_MAX] for name in ("site", "trunk", "extension")}
    only = next(((name, text) for name, text in texts.items() if text and by not in KINDS and "\0" not in text), None)
    direction = next((each for each in Direction if each.value == request.args.get("direction")), None)
    wanted = Wanted(
        start_of(period.first, zone), start_of(period.last + DAY, zone), history.zone, by, direction,
        **(dict([only]) if only is not None else {}),
    )  # fmt: skip
    found = history.statistics(wanted)
    given = words(history.zone)
    names: Names = given["names"]
    rows = _rows(found, by, period, names)
    drawn = rows[:DRAWN] if by in KINDS else rows
    page = render_template(
        "calls/statistics.html",
        by=by.value,
        choices=[(each.value, heading(each)) for each in CHOICES],
        directions=[(each.value, direction_text(each.value)) for each in Direction],
        direction=direction.value if direction is not None else "",
        only=only or ("", ""),
        by_time=by in TIMES,
        period=period,
        fault=fault,
        periods=list(periods(today)),
        total=found.total,
        charts=charts(drawn, by) if found.total.calls else [],
        left_out=max(0, len(rows) - len(drawn)),
        drawn=len(drawn),
        rows=rows[:ROWS],
        rows_left_out=max(0, len(rows) - ROWS),
        heading=heading(by),
        cells=cells,
        tiles=tiles(found.total),
        **given,
    )
    return (page, BAD) if fault else page


@dataclass(frozen=True, slots=True)
class Volume:
    """Calls of today by hour, for the dashboard. ``chart`` None: they can't be read now."""

    total: int
    chart: Chart | None
    legend: Sequence[tuple[str, str]] = ()
    day: str = ""


def volume_today() -> Volume | None:
    """The calls of today that the reader may see, as they were within the last half minute; None: it may see none at all."""
    asks, document = subject(), services().store.document()
    try:
        visible = visible_calls(asks, document)
    except RefusedError:
        return None
    key = (visible, zone_of_reader(asks, document), language())
    return services().past.remembered(key, _volume)


def _volume() -> Volume:
    try:
        history = seen()
        zone = ZoneInfo(history.zone)
        today = datetime.datetime.now(zone).date()
        begin, end = start_of(today, zone), start_of(today + DAY, zone)
        found = history.statistics(Wanted(begin, end, history.zone, By.HOUR))
    except CentralinoError:
        return Volume(0, None)
    _title, chart, legend = charts(_rows(found, By.HOUR, Period(today, today), Names(guarded())), By.HOUR)[0]
    return Volume(found.total.calls, chart, legend, today.isoformat())


def _period(today: datetime.date) -> tuple[Period, str]:
    """The days asked for; and what is wrong with them, in which case the last 30 are taken."""
    usual = Period(today - (DAYS - 1) * DAY, today)
    texts = [request.args.get(name, "").strip() for name in ("from", "to")]
    first, last = (day_of(text) for text in texts)
    if any(text and day is None for text, day in zip(texts, (first, last), strict=True)):
        return usual, _("It is not a day such as {example}.").format(example="2026-11-23")
    made = Period(first or min(usual.first, last or today), last or max(today, first or today))
    if made.first > made.last:
        return usual, _("The end is before the beginning.")
    return made, ""


def _rows(found: Statistics, by: By, period: Period, names: Names) -> list[Row]:
    """The table's lines: of times all, also those without calls; of other things those with the most calls first."""
    if by in KINDS:
        kind = by.value
        named = [
            Row(f"{key} {names.number(key)}".strip() if by is By.EXTENSION else names.of(kind, key), key, figures)
            for key, figures in found.rows.items()
        ]
        return sorted(named, key=lambda row: (-row.figures.calls, row.name.casefold()))
    return [Row(_time_name(by, key), key, found.rows.get(key, Figures())) for key in _keys(by, period, found)]


def _keys(by: By, period: Period, found: Statistics) -> Sequence[str]:
    match by:
        case By.HOUR:
            return [f"{hour:02}" for hour in range(24)]
        case By.WEEKDAY:
            return [str(day) for day in range(1, 8)]
        case By.DAY:
            return [(period.first + number * DAY).isoformat() for number in range(period.days)]
    months = (period.last.year - period.first.year) * 12 + period.last.month - period.first.month + 1
    if months > DAYS_MAX:  # of a thousand years those that have calls
        return list(found.rows)
    start = period.first.year * 12 + period.first.month - 1
    return [f"{number // 12:04}-{number % 12 + 1:02}" for number in range(start, start + months)]


def _time_name(by: By, key: str) -> str:
    match by:
        case By.WEEKDAY:
            return _(WEEKDAYS[int(key) - 1])
        case By.HOUR:
            return f"{key}:00"
        case By.DAY:
            return day(datetime.date.fromisoformat(key))
    return month(datetime.date.fromisoformat(f"{key}-01"))


def heading(by: By) -> str:
    """What the rows are, in a word."""
    return {
        By.SITE: _("Site"),
        By.TRUNK: _("Trunk"),
        By.EXTENSION: _("Extension"),
        By.HOUR: _("Hour of the day"),
        By.WEEKDAY: _("Day of the week"),
        By.DAY: _("Day"),
        By.MONTH: _("Month"),
        By.TOTAL: "",
    }[by]


def charts(rows: Sequence[Row], by: By) -> list[tuple[str, Chart, list[tuple[str, str]]]]:
    """Title, drawing, and what its colours mean."""
    figures = [row.figures for row in rows]
    labels = [_short_label(by, row) for row in rows]
    volume = [
        Series(_("answered calls"), "answered", [each.answered for each in figures]),
        Series(_("busy or missed"), "missed", [each.busy + each.no_answer + each.cancelled for each in figures]),
        Series(_("failed calls"), "failed", [each.failed for each in figures]),
    ]
    rate = [Series(_("answered calls"), "answered", [100 * (each.answer_rate or 0) for each in figures])]
    length = [Series(_("mean duration"), "plain", [(each.mean_talk_ms or 0) / 1000 for each in figures])]
    legend = [(one.name, one.style) for one in volume]
    if by in TIMES:
        drawn = (upright(labels, volume), upright(labels, rate, " %", 100), upright(labels, length, " s"))
    else:
        drawn = (
            lying(labels, volume, [figure(each.calls) for each in figures]),
            lying(labels, rate, [percent(each.answer_rate) for each in figures], 100),
            lying(labels, length, [clock(round(each.mean_talk_ms or 0)) for each in figures]),
        )
    titles = (_("Calls"), _("Share of calls that were answered"), _("Mean duration of answered calls"))
    return [
        (title, chart, legend if at == 0 else []) for at, (title, chart) in enumerate(zip(titles, drawn, strict=True))
    ]


def _short_label(by: By, row: Row) -> str:
    """What stands below a bar: a day without its year, an hour without its minutes."""
    if by is By.DAY:
        return day_of_year(datetime.date.fromisoformat(row.key))
    if by is By.WEEKDAY:
        return row.name[:3]
    return row.key if by is By.HOUR else row.name


def percent(share: float | None) -> str:
    """A share as people read it."""
    return "–" if share is None else f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def tiles(figures: Figures) -> list[tuple[str, str]]:
    """What stands large above the charts: of all calls."""
    return [
        (_("calls"), figure(figures.calls)),
        (_("share answered"), percent(figures.answer_rate)),
        (_("talked for"), clock(figures.talk_ms)),
        (_("mean duration"), _mean(figures.mean_talk_ms)),
        (_("mean wait for the answer"), _mean(figures.mean_wait_ms)),
    ]


def _mean(value: float | None) -> str:
    return "–" if value is None else clock(round(value))


def cells(figures: Figures) -> list[tuple[str, str]]:
    """A line of the table: heading and figure of each column."""
    return [
        (_("calls"), figure(figures.calls)),
        (_("answered calls"), figure(figures.answered)),
        (_("share answered"), percent(figures.answer_rate)),
        (_("busy calls"), figure(figures.busy)),
        (_("missed calls"), figure(figures.no_answer + figures.cancelled)),
        (_("failed calls"), figure(figures.failed)),
        (_("talked for"), clock(figures.talk_ms)),
        (_("mean"), _mean(figures.mean_talk_ms)),
        (_("waited"), _mean(figures.mean_wait_ms)),
    ]
