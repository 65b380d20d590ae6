"""What the search of the call history, and the choice of a time for its statistics, say: addresses of pages ↔ what is asked for."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from appliance.core.errors import Fault, InvalidError
from appliance.history.filter import TEXT_MAX, YEARS, CallFilter, Range
from appliance.history.model import Direction, Outcome
from appliance.i18n import _

E = TypeVar("E", Direction, Outcome)
DAY: Final = datetime.timedelta(days=1)
FIRST: Final = ("q", "from", "to", "direction", "outcome", "site", "trunk", "extension")
"""Fields that are always in sight; the others are folded up."""
MORE: Final = ("from_time", "to_time", "device", "talk", "ring", "loss", "jitter", "call")
_NUMBER: Final = re.compile(r"\+?[0-9*#]+")
_OF_ENGINE: Final = re.compile(r"[^ ]*\d{9,11}\.\d+")
_FIGURE: Final = re.compile(r"[0-9]{1,7}([.,][0-9]{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """A search as it was typed: ``texts`` by field, ``faults`` of fields, and the filter if there are none."""

    texts: Mapping[str, str]
    filter: CallFilter
    faults: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    @property
    def given(self) -> dict[str, str]:
        """What is not empty: an address's query."""
        return dict(self.texts)

    @property
    def more(self) -> bool:
        """Whether a field says something that would be folded up."""
        return any(self.texts.get(name) for name in MORE)


def asked(args: Mapping[str, str], zone: str) -> Asked:
    """The search that an address says. Times are those of the zone."""
    texts = {name: args[name].strip() for name in (*FIRST, *MORE) if args.get(name, "").strip()}
    reader = _Reader(texts, ZoneInfo(zone))
    found = reader.filter()
    if not reader.faults:
        try:
            found.check()
        except InvalidError as error:
            names = {"since": "from", "until": "to", "linked_id": "call", "id": "call", "name": "q", "number_part": "q",
                     "talk_ms": "talk", "ring_ms": "ring", "loss_percent": "loss", "jitter_ms": "jitter"}  # fmt: skip
            for fault in error.faults:
                name = fault.path.rpartition("/")[2]
                reader.faults[names.get(name, name)] = _said(fault)
    return Asked(texts, found, reader.faults)


@dataclass(slots=True)
class _Reader:
    texts: Mapping[str, str]
    zone: ZoneInfo
    faults: dict[str, str] = field(default_factory=dict)

    def filter(self) -> CallFilter:
        id, linked_id = self._call()
        number, name = self._anything()
        since, until = self._moment("from"), self._moment("to")
        if since is not None and until is not None and since > until:
            self.faults["to"] = _("The end is before the beginning.")
        return CallFilter(
            since=since, until=until, number_part=number, name=name, id=id, linked_id=linked_id,
            direction=self._one_of("direction", Direction), outcome=self._one_of("outcome", Outcome),
            site=self.texts.get("site", ""), trunk=self.texts.get("trunk", ""),
            extension=self.texts.get("extension", ""), device=self.texts.get("device", ""),
            talk_ms=self._at_least("talk", 1000), ring_ms=self._at_least("ring", 1000),
            loss_percent=self._at_least("loss"), jitter_ms=self._at_least("jitter"),
        )  # fmt: skip

    def _anything(self) -> tuple[str, str]:
        """What was typed is part of a number, or else of a name."""
        text = self.texts.get("q", "")
        digits = re.sub(r"[\s./()-]", "", text)
        if _NUMBER.fullmatch(digits):
            return re.sub(r"^00(?=[1-9])", "+", digits), ""
        return "", text

    def _call(self) -> tuple[int | None, str]:
        text = self.texts.get("call", "")
        if not text:
            return None, ""
        if re.fullmatch(r"[0-9]{1,15}", text, re.ASCII):
            return int(text), ""
        if not _OF_ENGINE.fullmatch(text):
            self.faults["call"] = _("It is the number of a call, or the engine's id with a point in it.")
        return None, text

    def _moment(self, name: str) -> datetime.datetime | None:
        """A day and perhaps a time of it. A day as the end is meant whole."""
        text, clock = self.texts.get(name, ""), self.texts.get(f"{name}_time", "")
        if not text:
            if clock:
                self.faults[f"{name}_time"] = _("A time needs its day.")
            return None
        day = day_of(text)
        if day is None:
            self.faults[name] = _("It is not a day such as {example}.").format(example="2026-11-23")
            return None
        if clock:
            if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?", clock, re.ASCII):
                self.faults[f"{name}_time"] = _("It is not a time such as {example}.").format(example="08:30")
                return None
            return datetime.datetime.combine(day, datetime.time.fromisoformat(clock), self.zone)
        return start_of(day + DAY if name == "to" else day, self.zone)

    def _one_of(self, name: str, kind: type[E]) -> E | None:
        text = self.texts.get(name, "")
        if text and text not in [each.value for each in kind]:
            self.faults[name] = _("It is none of those there are.")
            return None
        return kind(text) if text else None

    def _at_least(self, name: str, unit: int = 1) -> Range | None:
        text = self.texts.get(name, "")
        if text and not _FIGURE.fullmatch(text):
            self.faults[name] = _("It is not a number such as {example}.").format(example="30")
            return None
        return Range(low=float(text.replace(",", ".")) * unit) if text else None


def _said(fault: Fault) -> str:
    if fault.path.endswith(("since", "until")):
        return _("It is not a day such as {example}.").format(example="2026-11-23")
    return _("It is too long, or no text: at most {count} characters.").format(count=TEXT_MAX)


def day_of(text: str) -> datetime.date | None:
    """A day as browsers and people write it (ISO 8601); None: it is none."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        return None
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        return None
    return day if YEARS[0] < day.year < YEARS[1] else None


def start_of(day: datetime.date, zone: ZoneInfo) -> datetime.datetime:
    """A day's first moment."""
    return datetime.datetime.combine(day, datetime.time(), zone)


def periods(today: datetime.date) -> Iterable[tuple[str, datetime.date, datetime.date]]:
    """Times that are asked for often: what they are called, first and last day."""
    month = today.replace(day=1)
    last_month = (month - DAY).replace(day=1)
    return (
        (_("Today"), today, today),
        (_("Yesterday"), today - DAY, today - DAY),
        (_("7 days"), today - 6 * DAY, today),
        (_("30 days"), today - 29 * DAY, today),
        (_("This month"), month, today),
        (_("Last month"), last_month, month - DAY),
        (_("12 months"), (month - 334 * DAY).replace(day=1), today),
    )
