"""The call history: search, one call with its legs drawn as a ladder, CSV. Translates requests, decides nothing."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, g, render_template, request, url_for

from appliance.access.guarded import GuardedDocument
from appliance.commands.calls_text import clock, direction_text, outcome_text, result_text
from appliance.console.api.requests import document, services, subject
from appliance.console.past import SeenHistory
from appliance.console.portal.calls_form import FIRST, MORE, Asked, asked, periods
from appliance.console.portal.ladder import heard, ladder, quality_lines, transfer_text
from appliance.console.portal.writing import figure, moments, times_of_day
from appliance.core.errors import CentralinoError, CorruptError, InvalidError, UnavailableError
from appliance.history.export import Format
from appliance.history.model import Call, Direction, Leg, Outcome
from appliance.history.service import Gap, Page, Total
from appliance.i18n import _, language

Answer = str | Response | tuple[str, int]
PAGE: Final = 50
BAD: Final = 422
LEGS_SHOWN: Final = 300
"""Legs that a table has."""


def calls() -> Blueprint:
    """The pages."""
    pages = Blueprint("calls", __name__)
    pages.get("/calls")(listed)
    pages.get("/calls.csv")(csv)
    pages.get("/calls/<int:id>")(one)
    closed_with(pages)
    return pages


def closed_with(pages: Blueprint) -> None:
    """What these pages show while the history can't be read: the rest of the portal goes on."""
    for kind in (UnavailableError, CorruptError):
        pages.register_error_handler(kind, _closed)


def _closed(error: CentralinoError) -> Answer:
    why = {
        "database_missing": _("There is no call history yet: its process makes it when it first starts."),
        "database_updating": _("The call history is being brought up to date after an update of the system."),
        "database_busy": _("Another process keeps the call history locked."),
        "too_slow": _("This takes too long. Ask for a shorter time, or for something rarer."),
        "corrupt": _("The database of the call history is damaged."),
    }.get(error.error_id, _("The database of the call history doesn't answer."))
    details = f"{error.message} ({error.error_id})" if subject().may("system") else ""
    page = render_template("calls/closed.html", why=why, details=details, slow=error.error_id == "too_slow")
    return page, 503


def seen() -> SeenHistory:
    """The history as the reader may see it. Raises RefusedError, UnavailableError."""
    return services().history(subject())


def listed() -> Answer:
    """Calls found, newest first, a page at a time."""
    history = seen()
    wanted = asked(request.args, history.zone)
    page, total, gaps = Page((), None), None, list[Gap]()
    after = request.args.get("after") or None
    if not wanted.faults:
        try:
            page = history.calls(wanted.filter, limit=PAGE, after=after)
        except InvalidError:  # the page's key, which nobody types
            after, page = None, history.calls(wanted.filter, limit=PAGE)
        total = history.total(wanted.filter) if after is None else None
        gaps = _gaps(history, page, wanted)
    shown = render_template(
        "calls/list.html",
        wanted=wanted,
        page=page,
        total=total,
        count=None if total is None else counted(total),
        gaps=gaps,
        after=after,
        directions=[(each.value, direction_text(each.value)) for each in Direction],
        outcomes=[(each.value, outcome_text(each.value)) for each in Outcome],
        periods=list(periods(datetime.datetime.now(ZoneInfo(history.zone)).date())),
        fields={"first": FIRST, "more": MORE},
        **words(history.zone),
    )
    return (shown, BAD) if wanted.faults else shown


def _gaps(history: SeenHistory, page: Page, wanted: Asked) -> list[Gap]:
    """Times in which calls may be missing, as far as they lie in what the page shows."""
    if not page.calls:
        return []
    oldest = datetime.datetime.fromtimestamp(page.calls[-1].call.started / 1000, datetime.UTC)
    since = max(oldest, wanted.filter.since) if wanted.filter.since is not None else oldest
    newest = datetime.datetime.fromtimestamp(page.calls[0].call.started / 1000 + 1, datetime.UTC)
    return history.whole.gaps(since, newest)[-3:]


def counted(total: Total) -> str:
    """How many calls, in words."""
    if total.exact:
        return _("1 call") if total.calls == 1 else _("{count} calls").format(count=figure(total.calls))
    return _("About {count} calls").format(count=figure(total.calls))


def csv() -> Response:
    """What a search finds, as a file for spreadsheets in the reader's language."""
    history = seen()
    wanted = asked(request.args, history.zone)
    if wanted.faults:
        query: dict[str, Any] = wanted.given
        return Response(status=303, headers={"Location": url_for("calls.listed", **query)})
    today = datetime.datetime.now(ZoneInfo(history.zone)).date()
    separator = ";" if language() == "it" else ","
    return history.csv(wanted.filter, Format(history.zone, True, separator), f"calls-{today}.csv")


def one(id: int) -> Answer:
    """One call: what is known of it, its legs as a ladder and as a table."""
    history = seen()
    found = history.call(id)
    given = words(history.zone)
    names: Names = given["names"]
    return render_template(
        "calls/call.html",
        id=found.id,
        call=found.call,
        ladder=ladder(found.call, names.leg),
        legs=found.call.legs[:LEGS_SHOWN],
        more_legs=max(0, len(found.call.legs) - LEGS_SHOWN),
        quality_lines=quality_lines,
        transfer_text=transfer_text,
        **given,
    )


class Names:
    """What things of the document are called, as far as the reader may see them; others keep their numbers and ids."""

    def __init__(self, of: GuardedDocument) -> None:
        self._document = of

    def _of(self, kind: str) -> Mapping[str, str]:
        known: dict[str, dict[str, str]] = g.setdefault("names_of_calls", {})
        if kind not in known:
            found = {id: label for _kind, id, label in self._document.choices([kind])}
            if kind == "extension":  # its label begins with its number, by which calls know it
                found = dict(label.partition(" ")[::2] for label in found.values())
            known[kind] = dict(sorted(found.items(), key=lambda pair: pair[1].casefold()))
        return known[kind]

    def choices(self, kind: str) -> list[tuple[str, str]]:
        """Id (number, of extensions) and name of everything of a kind."""
        return list(self._of(kind).items())

    def of(self, kind: str, id: str) -> str:
        """A site's, trunk's or device's name; its id when there is none."""
        return self._of(kind).get(id, "") or id

    def number(self, number: str) -> str:
        """The name of the extension with this number; empty: there is none."""
        return self._of("extension").get(number, "")

    def party(self, number: str, name: str = "") -> tuple[str, str]:
        """A number, and whose it is."""
        return number, self.number(number) or name

    def leg(self, leg: Leg) -> tuple[str, str]:
        """What a leg is called: the extension or number, and where that is."""
        if leg.extension:
            return f"{leg.extension} {self.number(leg.extension)}".strip(), self.of("device", leg.device)
        where = self.of("trunk", leg.trunk) if leg.trunk else self.of("device", leg.device)
        number = "" if leg.caller else leg.number
        return (number, where) if number else (where or "–", "")


def words(zone: str) -> dict[str, Any]:
    """What templates of calls say things with."""
    made: dict[str, Callable[..., Any]] = {
        "moment": moments(zone), "time_of_day": times_of_day(zone), "clock": clock, "direction_text": direction_text,
        "outcome_text": outcome_text, "result_text": result_text, "heard": heard, "bad": sounded_bad,
    }  # fmt: skip
    return {**made, "names": Names(document()), "zone": zone, "Outcome": Outcome}


def sounded_bad(call: Call) -> bool:
    """Whether people heard that the audio of one of the legs was bad."""
    return any(leg.quality is not None and heard(leg.quality) for leg in call.legs)
