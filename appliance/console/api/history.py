"""Calls that have ended, and statistics: ``/history``, ``/history.csv``, ``/history/<id>``, ``/statistics``.

What may be asked stands in one table, :data:`PARAMETERS`: requests are read by it, and the API's description is made of it. A
parameter that isn't in it is refused, for a filter that is misspelt would find everything.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from flask import Blueprint, Response, jsonify, request, url_for

from appliance.console.api.openapi_parts import Schema
from appliance.console.api.requests import services, subject
from appliance.console.past import SeenHistory
from appliance.core.errors import Fault, InvalidError
from appliance.history.export import Format
from appliance.history.filter import TEXT_MAX, CallFilter, Range
from appliance.history.model import Direction, Outcome
from appliance.history.periods import By
from appliance.history.plain import plain_call, plain_figures
from appliance.history.service import PAGE_MAX, StoredCall
from appliance.history.statistics import Wanted

PAGE: Final = 50
DAYS: Final = 30
"""What statistics are of when nothing else is said."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One that may stand in a query. ``read`` raises ValueError, whose text says what would be right."""

    schema: Schema
    about: str
    read: Callable[[str], Any]


def _moment(text: str) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError("a time with its zone: 2026-11-23T08:00:00+01:00")
    return found


def _figure(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,6})?", text, re.ASCII):
        raise ValueError("a number from 0 on")
    return float(text)


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _number(text: str) -> str:
    # A plus that wasn't written as %2B arrives as a blank.
    return re.sub(r"[\s./()-]", "", re.sub(r"^ ", "+", text))


def _one_of(values: Iterable[str], made: Callable[[str], T]) -> Callable[[str], T]:
    known = tuple(values)

    def read(text: str) -> T:
        if text not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return made(text)

    return read


def _choice(about: str, kind: Any) -> Parameter:
    values = [each.value for each in kind]
    return Parameter({"enum": values}, about, _one_of(values, kind))


_TEXT: Final[Schema] = {"type": "string", "maxLength": TEXT_MAX}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_COUNT: Final[Schema] = {"type": "number", "minimum": 0}
_SWITCH: Final[Schema] = {"type": "boolean"}
_RANGES: Final = {
    "talk_ms": "milliseconds from the answer to the end",
    "ring_ms": "milliseconds of ringing",
    "loss_percent": "the worst leg's loss",
    "jitter_ms": "the worst leg's jitter",
}

PARAMETERS: Final[dict[str, Parameter]] = {
    "since": Parameter(_TIME, "Began then or later (RFC 3339)", _moment),
    "until": Parameter(_TIME, "Began before", _moment),
    "number": Parameter(
        _TEXT, "This number took part in any role, as recorded: an extension, or E.164 (%2B39…)", _number
    ),
    "number_prefix": Parameter(_TEXT, "A number that begins so took part", _number),
    "number_part": Parameter(_TEXT, "A number with these digits in it took part", _number),
    "name": Parameter(_TEXT, "Part of the caller's name; case doesn't matter", str),
    "extension": Parameter(_TEXT, "A device of the extension with this number took part", str),
    "device": Parameter(_TEXT, "This device took part: its id", str),
    "trunk": Parameter(_TEXT, "By this trunk, at least tried: its id", str),
    "site": Parameter(_TEXT, "Somebody who was at this site took part: its id", str),
    "direction": _choice("Only this direction", Direction),
    "outcome": _choice("Only this outcome", Outcome),
    **{
        f"{name}_{end}": Parameter(_COUNT, f"At {word}: {about}", _figure)
        for name, about in _RANGES.items()
        for end, word in (("min", "least"), ("max", "most"))
    },
    "linked_id": Parameter(_TEXT, "The engine's id of the call", str),
}
"""Which calls."""
PAGING: Final[dict[str, Parameter]] = {
    "limit": Parameter({"type": "integer", "minimum": 1, "maximum": PAGE_MAX}, f"Calls on a page; {PAGE}", int),
    "after": Parameter({"type": "string", "maxLength": 40}, "What the page before had as next", str),
    "total": Parameter(_SWITCH, "Also say how many there are: counted up to 1,000, estimated beyond", _switch),
}
FORMAT: Final[dict[str, Parameter]] = {
    "zone": Parameter(_TEXT, "Time zone of the times, such as Europe/Rome; without it that of your site", str),
    "bom": Parameter(_SWITCH, "Begin with a byte order mark, by which spreadsheets know UTF-8", _switch),
    "separator": Parameter(
        {"enum": ["comma", "semicolon"]},
        "Between cells; with semicolons the decimal sign is a comma",
        _one_of(("comma", "semicolon"), {"comma": ",", "semicolon": ";"}.__getitem__),
    ),
}
STATISTICS: Final[dict[str, Parameter]] = {
    **{name: PARAMETERS[name] for name in ("since", "until", "direction", "site", "trunk", "extension")},
    "by": _choice("What the rows are", By),
    "zone": Parameter(_TEXT, "Time zone whose hours and days count; without it that of your site", str),
}
"""Without ``since``: the last 30 days. At most one of site, trunk, extension, and then only rows by time."""


def add_to(blueprint: Blueprint) -> None:
    """Add these resources."""
    blueprint.get("/history")(list_calls)
    blueprint.get("/history.csv")(calls_csv)
    blueprint.get("/history/<int:id>")(show_call)
    blueprint.get("/statistics")(call_statistics)


def list_calls() -> Response:
    """A page of calls, newest first: ``?site=…&outcome=no_answer&limit=50&after=<next of the page before>``."""
    seen = _seen()
    asked = _asked(PARAMETERS | PAGING)
    filter, limit = _filter(asked), _limit()
    with _faults_of_query():
        page = seen.calls(filter, limit=limit, after=asked.get("after"))
        total = seen.total(filter) if asked.get("total") else None
    body: dict[str, Any] = {"items": [_plain(item) for item in page.calls], "next": page.next}
    if total is not None:
        body["total"] = {"calls": total.calls, "exact": total.exact}
    response = jsonify(body)
    if page.next is not None:
        query: dict[str, Any] = {**request.args.to_dict(), "after": page.next}
        following = url_for(".list_calls", **query)
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


def show_call(id: int) -> Response:
    """One call with its legs."""
    return jsonify(_plain(_seen().call(id)))


def calls_csv() -> Response:
    """All calls found, newest first, as CSV (RFC 4180), sent while it is made."""
    seen = _seen()
    asked = _asked(PARAMETERS | FORMAT)
    format = Format(asked.get("zone", seen.zone), asked.get("bom", False), asked.get("separator", ","))
    with _faults_of_query():
        return seen.csv(_filter(asked), format, "calls.csv")


def call_statistics() -> Response:
    """Volumes, answer rates, durations and waiting times."""
    seen = _seen()
    asked = _asked(STATISTICS)
    until = asked.get("until", datetime.datetime.now(datetime.UTC))
    wanted = Wanted(
        asked.get("since", until - datetime.timedelta(days=DAYS)), until, asked.get("zone", seen.zone),
        asked.get("by", By.TOTAL), asked.get("direction"),
        asked.get("site", ""), asked.get("trunk", ""), asked.get("extension", ""),
    )  # fmt: skip
    with _faults_of_query():
        found = seen.statistics(wanted)
    rows = [{"key": key, **plain_figures(figures)} for key, figures in found.rows.items()]
    return jsonify({
        "by": wanted.by.value, "zone": wanted.zone, "since": wanted.since.isoformat(), "until": wanted.until.isoformat(),
        "rows": rows, "total": plain_figures(found.total),
    })  # fmt: skip


def _seen() -> SeenHistory:
    return services().history(subject())


def _plain(item: StoredCall) -> dict[str, Any]:
    return plain_call(item.id, item.call)


def _limit() -> int:
    text = request.args.get("limit", str(PAGE))
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not 1 <= int(text) <= PAGE_MAX:
        raise InvalidError([Fault("query/limit", "is not a page size", f"1 to {PAGE_MAX}", "limit")])
    return int(text)


def _asked(known: dict[str, Parameter]) -> dict[str, Any]:
    """The query's parameters, read. Raises InvalidError with every fault."""
    found: dict[str, Any] = {}
    faults = []
    for name, values in request.args.lists():
        where = f"query/{name[:60]}"
        if name not in known:
            hint = f"there are {', '.join(known)}"
            faults.append(Fault(where, "is not a parameter here", hint, "unknown_parameter"))
        elif len(values) > 1:
            faults.append(Fault(where, "stands there more than once", "once", "twice"))
        elif name != "limit":
            try:
                found[name] = known[name].read(values[0])
            except ValueError as error:
                faults.append(Fault(where, "can't be read", str(error), name))
    if faults:
        raise InvalidError(faults)
    return found


def _filter(asked: dict[str, Any]) -> CallFilter:
    ranges = {name: Range(asked.get(f"{name}_min"), asked.get(f"{name}_max")) for name in _RANGES}
    fields = {name: value for name, value in asked.items() if name in CallFilter.__dataclass_fields__}
    fields |= {name: range for name, range in ranges.items() if (range.low, range.high) != (None, None)}
    return CallFilter(**fields)


@contextmanager
def _faults_of_query() -> Iterator[None]:
    """What is wrong with a filter, told of the query's parameters."""
    try:
        yield
    except InvalidError as error:
        names = [(fault, fault.path.removeprefix("history/")) for fault in error.faults]
        raise InvalidError([replace(fault, path=f"query/{name}", error_id=name) for fault, name in names]) from None
