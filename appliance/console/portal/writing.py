"""Days, times and figures as the reader's language writes them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo

from appliance.i18n import language

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""In English the month is a word: of 02/03 nobody knows which is the month."""
Moment = Callable[[int | None], str]


def day(value: datetime.date) -> str:
    """A day: ``02/03/2026``, in English ``2 Mar 2026``."""
    return f"{value:%d/%m/%Y}" if language() == "it" else f"{value.day} {MONTHS[value.month - 1]} {value.year}"


def day_of_year(value: datetime.date) -> str:
    """A day without its year, below a bar."""
    return f"{value:%d/%m}" if language() == "it" else f"{value.day} {MONTHS[value.month - 1]}"


def month(value: datetime.date) -> str:
    """A month: ``03/2026``, in English ``Mar 2026``."""
    return f"{value:%m/%Y}" if language() == "it" else f"{MONTHS[value.month - 1]} {value.year}"


def moments(zone: str, *, seconds: bool = True) -> Moment:
    """What writes moments, in milliseconds since 1970, with the time of a zone; none, or one that no calendar has: a dash."""
    place = ZoneInfo(zone)

    def moment(millis: int | None) -> str:
        if millis is None:
            return "–"
        try:
            there = datetime.datetime.fromtimestamp(millis / 1000, place)
        except (ValueError, OverflowError, OSError):
            return "–"
        return f"{day(there)} {there:%H:%M:%S}" if seconds else f"{day(there)} {there:%H:%M}"

    return moment


def times_of_day(zone: str) -> Callable[[int], str]:
    """The same without the day."""
    place = ZoneInfo(zone)
    return lambda millis: f"{datetime.datetime.fromtimestamp(millis / 1000, place):%H:%M:%S}"


def figure(number: float) -> str:
    """A whole number, in groups of three digits."""
    return f"{number:,.0f}".replace(",", "." if language() == "it" else ",")


def bit_rate(bits: float | None) -> str:
    """``84 kbit/s``; None: a dash. As live.js writes it."""
    return _scaled(bits if bits is None else bits / 1000, ("kbit/s", "Mbit/s", "Gbit/s"))


def size(octets: float | None) -> str:
    """``12.3 MB``; None: a dash. As live.js writes it."""
    return _scaled(octets if octets is None else octets / 1000, ("kB", "MB", "GB", "TB"))


def _scaled(value: float | None, units: tuple[str, ...]) -> str:
    if value is None:
        return "–"
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    text = f"{value:.3g}" if value < 999.5 else f"{value:.0f}"
    return f"{text.replace('.', ',') if language() == 'it' else text} {units[power]}"


def milliseconds(value: float | None) -> str:
    """``12 ms``; None: a dash."""
    text = "–" if value is None else f"{value:.3g} ms"
    return text.replace(".", ",") if language() == "it" else text


def decimal(number: float, places: int = 1) -> str:
    """A number with so many places behind its point."""
    text = f"{number:.{places}f}"
    return text.replace(".", ",") if language() == "it" else text
