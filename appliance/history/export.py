"""Calls as CSV (RFC 4180), as a stream: a page is in memory, never the whole.

A spreadsheet takes a cell that begins like a formula for one, whoever wrote it, and a caller's name is anybody's text. So such a
cell gets an apostrophe in front, which spreadsheets show as the beginning of a text (docs/decisions/0020). In the columns of
numbers, what is a plain number (``+39…``, ``*21``) stays as it is: it can't be a formula. The same holds behind what somebody's
spreadsheet may take for the end of a cell: a comma, a semicolon, a quotation mark, a tab.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
import zoneinfo
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import Fault, InvalidError
from appliance.history.filter import EVERY_CALL, CallFilter, Visible
from appliance.history.model import Call
from appliance.history.periods import zone_of
from appliance.history.service import PAGE_MAX, History, StoredCall

BOM: Final = "\ufeff"
SEPARATORS: Final = (",", ";")
"""RFC 4180's, and the one that spreadsheets expect where the comma is the decimal sign: figures have a comma then, too."""
FORMULA: Final = frozenset("=+-@\t\r\n＝＋－＠")
"""First characters by which a spreadsheet takes a text for a formula, wide forms included."""
_NUMBER: Final = re.compile(r"\+?[0-9*#]+", re.ASCII)
_INNER: Final = re.compile(r"""([,;"\t]\s*)(?=[=+\-@＝＋－＠])""")

COLUMNS: Final = (
    "id", "started", "answered", "ended", "direction", "outcome", "from_number", "from_name", "from_extension",
    "from_device", "from_site", "from_trunk", "dialled", "reached_number", "reached_extension", "reached_device",
    "reached_site", "trunk", "failovers", "ring_s", "talk_s", "loss_percent", "jitter_ms", "cause", "transfers",
    "forwards", "incomplete", "linked_id",
)  # fmt: skip
_NUMBERS: Final = frozenset(
    {"from_number", "from_extension", "dialled", "reached_number", "reached_extension"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Format:
    """How the file is written.

    :param zone: time zone of the times, which are ISO 8601 with their offset.
    :param bom: begin with a byte order mark, by which spreadsheets know UTF-8.
    :param separator: one of :data:`SEPARATORS`.
    """

    zone: str = "Europe/Rome"
    bom: bool = False
    separator: str = ","

    @property
    def decimal(self) -> str:
        """The decimal sign of figures: the comma where it doesn't separate cells."""
        return "," if self.separator == ";" else "."


PLAIN: Final = Format()


def rows(
    history: History,
    filter: CallFilter = EVERY_CALL,
    format: Format = PLAIN,
    *,
    visible_to: Visible | None = None,
) -> Iterator[str]:
    """The file in pieces, newest call first. Calls that end meanwhile may be missing; none comes twice.

    :raises InvalidError: a filter, time zone or separator that can't be, before the first piece.
    """
    filter.check()
    zone = zone_of(format.zone)
    if format.separator not in SEPARATORS:
        raise InvalidError([Fault("history/separator", "is not a separator", "a comma or a semicolon")])
    return _pieces(history, filter, format, zone, visible_to)


def _pieces(
    history: History, filter: CallFilter, format: Format, zone: zoneinfo.ZoneInfo, visible_to: Visible | None
) -> Iterator[str]:
    yield (BOM if format.bom else "") + _lines([COLUMNS], format)
    after: str | None = None
    while True:
        page = history.calls(filter, limit=PAGE_MAX, after=after, visible_to=visible_to)
        if page.calls:
            yield _lines([_cells(stored, zone, format.decimal) for stored in page.calls], format)
        after = page.next
        if after is None:
            return


def between(
    history: History,
    first: int,
    last: int,
    format: Format = PLAIN,
    *,
    columns: Sequence[str] = COLUMNS,
    keep: Callable[[Call], bool] = lambda _: True,
) -> Iterator[str]:
    """The calls with these numbers in the history, both ends included, in the order in which they were recorded. Asked again, it gives
    the same: calls don't change.

    :param columns: of :data:`COLUMNS`, in the order wanted.
    :param keep: which of them.
    """
    zone = zone_of(format.zone)
    order = [COLUMNS.index(name) for name in columns]
    yield (BOM if format.bom else "") + _lines([columns], format)
    while first <= last:
        calls = history.recorded(first, min(last, first + PAGE_MAX - 1))
        lines = [_cells(stored, zone, format.decimal) for stored in calls if keep(stored.call)]
        if lines:
            yield _lines([[cells[position] for position in order] for cells in lines], format)
        first += PAGE_MAX


def _lines(lines: list[Any], format: Format) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=format.separator, lineterminator="\r\n").writerows(lines)
    return out.getvalue()


def _cells(stored: StoredCall, zone: zoneinfo.ZoneInfo, decimal: str) -> list[str]:
    call = stored.call

    def figure(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}".replace(".", decimal)

    made: dict[str, str] = {
        "id": str(stored.id),
        "started": _time(call.started, zone),
        "answered": _time(call.answered, zone),
        "ended": _time(call.ended, zone),
        "ring_s": figure(call.ring_ms / 1000),
        "talk_s": figure(call.talk_ms / 1000),
        "loss_percent": figure(call.loss_percent),
        "jitter_ms": figure(call.jitter_ms),
        "transfers": cell("; ".join(f"{t.kind} {t.by} {t.of} > {t.to}" for t in call.transfers)),
        "forwards": cell(" ".join(call.forwards), number=len(call.forwards) == 1),
        "incomplete": str(int(call.incomplete)),
    }
    return [made[name] if name in made else cell(str(getattr(call, name)), number=name in _NUMBERS) for name in COLUMNS]


def cell(text: str, *, number: bool = False) -> str:
    """The text so that no spreadsheet takes it for a formula. ``number``: a plain number is left alone."""
    if number and _NUMBER.fullmatch(text):
        return text
    text = _INNER.sub(r"\1'", text)
    return f"'{text}" if text[:1] in FORMULA and text else text


def _time(millis: int | None, zone: zoneinfo.ZoneInfo) -> str:
    if millis is None:
        return ""
    return datetime.datetime.fromtimestamp(millis / 1000, zone).isoformat(timespec="milliseconds")
