"""The firewall in words and as a picture, what it has counted; who is kept out, and lifting a ban."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.access.seen_calls import zone_of_reader
from appliance.access.seen_firewall import SeenFirewall
from appliance.commands.bans import left_text
from appliance.commands.firewall import name_text
from appliance.console.api.requests import services, subject
from appliance.console.portal.firewall_view import Group, Picture, groups_of, picture_of
from appliance.console.portal.writing import Moment, figure, moments
from appliance.core.errors import CentralinoError, InvalidError, UnavailableError
from appliance.engine.place import has_firewall
from appliance.firewall.bans.asking import LIMIT, LIMIT_MAX, Counted, Told, network_of
from appliance.firewall.words import SERVICES, TRIED
from appliance.i18n import _
from appliance.organisation.model import Site
from appliance.vpn.addresses import neighbours

Answer = str | Response | tuple[str, int]
BAD: Final = 422
SEARCH_MAX: Final = 100
PAGE: Final = 50
"""Bans of one page: each may have eight attempts with it."""
NETWORKS_SHOWN: Final = 6


def firewall() -> Blueprint:
    """The pages."""
    pages = Blueprint("firewall", __name__)
    pages.get("/firewall")(shown)
    pages.get("/firewall/bans")(bans)
    pages.get("/firewall/bans/lift", endpoint="ask")(ask)
    pages.post("/firewall/bans/lift")(lift)
    pages.add_app_template_filter(left_text, "time_left")
    pages.add_app_template_filter(figure, "figure")
    pages.add_app_template_filter(counted, "counted")
    return pages


def seen() -> SeenFirewall:
    """As the reader may see it."""
    return services().firewall(subject())


@dataclass(frozen=True, slots=True)
class Asked:
    """What the judge of bans said; None: nothing, and why."""

    told: Told | None
    trouble: str = ""


def asked(found: SeenFirewall, search: str = "", limit: int = LIMIT) -> Asked:
    """What the judge of bans says."""
    try:
        return Asked(found.told(search, limit))
    except UnavailableError as error:
        return Asked(None, error.message)


def shown() -> Answer:
    """The promise, what is loaded, what was counted."""
    found, document = seen(), services().store.document()
    promised = found.promise()
    groups: list[Group] = groups_of(promised, document)
    picture: Picture = picture_of(groups)
    standing = services().applier_state() if has_firewall() else None
    rules = standing and standing.get("firewall")
    return render_template(
        "firewall/show.html", groups=groups, picture=picture, promise=promised, ours=has_firewall(), rules=rules,
        checked=_checked(rules), asked=asked(found, limit=1), neighbours=_reaching(), shown=NETWORKS_SHOWN, service_words=SERVICES,
        names=standing["names"] if standing else (), name_words=name_text,
    )  # fmt: skip


def _checked(rules: dict[str, Any] | None) -> str:
    try:
        when = datetime.datetime.fromisoformat((rules or {})["checked"])
    except (KeyError, TypeError, ValueError):
        return ""
    return _moment()(int(when.timestamp() * 1000))


def _reaching() -> list[tuple[str, str]]:
    """Sites that reach each other through us, by name, each pair once."""
    document = services().store.document()
    sites = document.all(Site)
    return sorted((sites[one].name, sites[other].name) for one, other in neighbours(document) if one < other)


def _moment() -> Moment:
    return moments(zone_of_reader(subject(), services().store.document()))


def bans() -> Answer:
    """Who is kept out."""
    search = request.args.get("q", "").strip()[:SEARCH_MAX]
    found = seen()
    page = min(max(1, request.args.get("page", 1, type=int)), LIMIT_MAX // PAGE)
    answer = asked(found, search, PAGE * page)  # the judge has no other way to name a page, and what is in force is few
    count = answer.told.count if answer.told else 0
    return render_template(
        "firewall/bans.html", asked=answer, search=search, page=page, last=min(max(1, math.ceil(count / PAGE)), LIMIT_MAX // PAGE),
        first=PAGE * (page - 1), may_lift=found.may_lift, moment=_moment(), ours=has_firewall(),
        tried=TRIED, outcomes=OUTCOMES(), lifted=_lifted(request.args.get("lifted")), one=_is_one(search),
    )  # fmt: skip


def _is_one(search: str) -> str:
    """The network that was searched for, to be lifted whether a ban is shown or not; empty: it is none."""
    try:
        return str(network_of(search)) if search else ""
    except InvalidError:
        return ""


def _lifted(text: str | None) -> str:
    if text is None:
        return ""
    if text == "0":
        return _("No ban hit it. What it had on its account is forgiven all the same.")
    return _("Lifted: {networks}").format(networks=text[:200])


def OUTCOMES() -> dict[str, str]:  # noqa: N802 (a constant but for the language)
    """How an attempt ended, in words."""
    return {"DROPPED": _("dropped"), "FAILED": _("refused"), "SUCCEEDED": _("let in")}


def ask(status: int = 200, error: CentralinoError | None = None) -> Answer:
    """Whether it is really to be lifted, and why it stands."""
    found = seen()
    found.require_lift()
    wanted = request.values.get("network", "").strip()[:SEARCH_MAX]
    if error is None:
        try:
            wanted = str(network_of(wanted))
        except InvalidError as wrong:
            status, error = BAD, wrong
    answer = asked(found, wanted) if error is None else Asked(None)
    fault = error.faults[0] if isinstance(error, InvalidError) else None
    page = render_template(
        "firewall/lift.html", network=wanted, error=fault or error, wrong=fault is not None, asked=answer
    )
    return page if status == 200 else (page, status)


def lift() -> Answer:
    """Lift it."""
    found = seen()
    try:
        lifted = found.lift(request.form.get("network", ""), request.remote_addr or "")
    except (InvalidError, UnavailableError) as error:
        return ask(BAD, error)
    return redirect(url_for("firewall.bans", lifted=", ".join(lifted) or "0"), 303)


def counted(told: Told) -> list[Counted]:
    """Counters that have counted something, the greatest first."""
    return sorted((each for each in told.counters if each.packets), key=lambda each: -each.packets)
