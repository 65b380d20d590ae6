"""Branches of the voice VPN as they stand now, and shutting one out. Inviting their routers: :mod:`.enrolment`.

Like the other live pages it is whole without scripts; with them figures change in place, and what else has changed is fetched again.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.access.branches import GuardedBranches
from appliance.access.seen_calls import zone_of_reader
from appliance.console.api.requests import services, subject
from appliance.console.portal import enrolment
from appliance.console.portal.live import Now
from appliance.console.portal.writing import bit_rate, day, decimal, milliseconds, moments, month, size
from appliance.core.errors import CentralinoError, NotFoundError, RefusedError, UnavailableError
from appliance.engine.place import has_vpn
from appliance.failover.drill import ENOUGH, lasted
from appliance.failover.happened import text
from appliance.i18n import _, fault_text
from appliance.organisation.model import Site
from appliance.vpn.model import Concentrator

Answer = str | Response | tuple[str, int]
POOR: Final = 0.02
"""Share of lost packets from which on voice suffers (ITU-T G.113, Bpl of G.711 with concealment)."""
SOON_DAYS: Final = 30
PAGE: Final = 50
"""Branches of one page: each has a dozen figures, and the page is fetched again when one of them comes or goes."""
FEW: Final = 10
"""With more branches than this one may search."""
SEARCH_MAX: Final = 100
BAD: Final = 409
ORDER: Final = {"away": 0, "unknown": 1, "connected": 2, "off": 3}


def branches() -> Blueprint:
    """The pages."""
    pages = Blueprint("branches", __name__)
    pages.get("/branches")(listed)
    pages.get("/branches/drill")(drill)
    pages.get("/branches/<id>/events")(events)
    pages.get("/branches/<id>/revoke", endpoint="ask")(ask)
    pages.post("/branches/<id>/revoke")(revoke)
    enrolment.add_to(pages)
    pages.add_app_template_filter(bit_rate)
    pages.add_app_template_filter(size)
    pages.add_app_template_filter(milliseconds)
    pages.add_app_template_filter(fault_text)
    return pages


def listed() -> Answer:
    """How every branch stands that the reader may see."""
    now = Now()
    found = now.all("branch")
    if found is None and not now.trouble:
        raise RefusedError("this needs the permission branch:view", "ask an administrator", error_id="forbidden")
    rows = sorted(found or (), key=lambda each: (ORDER[each["state"]], each["name"].casefold(), each["id"]))
    search, state = request.args.get("q", "").strip()[:SEARCH_MAX], request.args.get("state", "")
    wanted = [each for each in rows if _matches(each, search, state)]
    last = max(1, math.ceil(len(wanted) / PAGE))
    page = min(max(1, request.args.get("page", 1, type=int)), last)
    first = PAGE * (page - 1)
    alarms = [each for each in now.all("alarm") or () if each["id"].startswith("vpn-")]
    guarded = services().branches(subject())
    invites = has_vpn() and any(guarded.may_revoke(each["id"]) for each in rows)
    return render_template(
        "branches/list.html", invites=invites, waiting=enrolment.waiting(guarded) if invites else {}, ended=_named(guarded, "ended"),
        now=now, branches=None if found is None else rows, alarms=alarms, runs=has_vpn(), poor=POOR, may_revoke=guarded.may_revoke,
        moment=moments(_zone(), seconds=False), state_words=state_words(), ends=_ends, has_concentrator=bool(services().store.document().all(Concentrator)),
        line_words=line_words(), revoked=_named(guarded, "revoked"), shown=wanted[first : first + PAGE], found=len(wanted), first=first + 1, page=page,
        last=last, search=search, state=state, few=FEW,
    )  # fmt: skip


def drill() -> Answer:
    """What each line would have done by itself, month by month."""
    guarded, trouble, found = services().branches(subject()), None, None
    try:
        found = guarded.drill(request.args.get("month", "").strip()[:SEARCH_MAX])
    except UnavailableError as error:
        trouble = error
    names = {each.id: each.name for each in services().store.document().all(Site).values()}
    return render_template(
        "branches/drill.html", found=found, trouble=trouble, names=names, lasted=lasted, percent=percent, enough=ENOUGH,
        month_name=lambda text: month(datetime.date.fromisoformat(f"{text}-01")), fault_text=fault_text,
    )  # fmt: skip


def events(id: str) -> Answer:
    """What happened at one, as its edge told it."""
    guarded, trouble, found = services().branches(subject()), None, []
    branch = guarded.get(id)
    try:
        found = guarded.events(id)
    except UnavailableError as error:
        trouble = error
    at = moments(_zone())
    told = [(at(each["at"]), each["sure"], text(each)) for each in found]
    return render_template(
        "branches/events.html", branch=branch, name=enrolment.name_of(branch), events=told, trouble=trouble
    )


def percent(share: float | None) -> str:
    """A share with as many digits as matter when it is close to all."""
    return "–" if share is None else decimal(100 * share, 2) + " %"


def _named(guarded: GuardedBranches, argument: str) -> str:
    """Name of the branch that something was just done to; empty: none was, or none that the reader may see."""
    try:
        return enrolment.name_of(guarded.get(request.args.get(argument, "")))
    except NotFoundError:
        return ""


def _matches(branch: Mapping[str, Any], search: str, state: str) -> bool:
    """Whether it is among those that were asked for: every word in its name, id or one of its addresses, and its state."""
    text = " ".join((branch["name"], branch["id"], branch["address"], *branch["inside"])).casefold()
    return state in ("", branch["state"]) and all(word in text for word in search.casefold().split())


def _zone() -> str:
    return zone_of_reader(subject(), services().store.document())


def state_words() -> dict[str, str]:
    """How people call the states of a branch."""
    return {
        "connected": _("connected"), "away": _("not connected now"), "unknown": _("not known"), "off": _("switched off"),
    }  # fmt: skip


def line_words() -> dict[bool | None, str]:
    """How people call the states of a line."""
    return {True: _("works"), False: _("is down"), None: _("not known")}


def _ends(branch: Mapping[str, Any]) -> tuple[str, bool]:
    """Until when its certificate is good, and whether that is soon."""
    try:
        ends = datetime.datetime.fromisoformat(branch["certificate_ends"] or "")
    except ValueError:
        return "–", False
    left = ends - datetime.datetime.now(datetime.UTC)
    return day(ends.date()), left < datetime.timedelta(days=SOON_DAYS)


def ask(id: str, status: int = 200, error: CentralinoError | None = None) -> Answer:
    """Whether it is really to be shut out, and what that means."""
    guarded = services().branches(subject())
    branch = guarded.get(id)
    if not guarded.may_revoke(id):
        raise RefusedError("this needs the permission branch:edit", "ask an administrator", error_id="forbidden")
    page = render_template("branches/revoke.html", branch=branch, name=enrolment.name_of(branch), error=error)
    return page if status == 200 else (page, status)


def revoke(id: str) -> Answer:
    """Shut it out."""
    guarded = services().branches(subject())
    try:
        guarded.revoke(id, request.remote_addr or "")
    except CentralinoError as error:
        if error.error_id in ("not_found", "forbidden"):
            raise
        return ask(id, BAD, error)
    return redirect(url_for("branches.listed", revoked=id), 303)
