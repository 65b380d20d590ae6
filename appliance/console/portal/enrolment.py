"""Enrolling a branch's router: its invitation is made here, shown once, and ended.

What is secret stands in the answer to the POST that made it, and nowhere else: not in an address, so in no history or log; nothing is kept. The
file is downloaded by sending it back in a form, which answers it as a file. That POST sent again (the page loaded anew) makes no second one: its field
``former`` isn't so any more.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Final

import segno
from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.access.branches import GuardedBranches
from appliance.access.seen_calls import zone_of_reader
from appliance.console.api.requests import services, subject
from appliance.console.portal.writing import moments
from appliance.core.errors import CentralinoError, Fault, InvalidError, RefusedError
from appliance.edge.words import role
from appliance.failover.model import DhcpAccess, WanLine
from appliance.failover.plan import lines
from appliance.i18n import _, later
from appliance.organisation.model import Site
from appliance.vpn.asking import Made, Standing
from appliance.vpn.enrolment.invitation import FILE_MAX, read_file
from appliance.vpn.model import Branch, Router

Answer = str | Response | tuple[str, int]
LASTS: Final[Mapping[str, tuple[float, str]]] = {
    "1h": (1, later("1 hour")), "24h": (24, later("24 hours")), "7d": (168, later("7 days")),
}  # fmt: skip
"""What may be chosen: hours, and how people say it."""
DEFAULT: Final = "24h"
BAD: Final = 409
WRONG: Final = 422
NO_MORE: Final = frozenset({"not_found", "forbidden"})
"""Told as everywhere, not on a page of the branch."""


def add_to(pages: Blueprint) -> None:
    """Add these pages."""
    pages.get("/branches/<id>/enrol", endpoint="enrol")(ask)
    pages.post("/branches/<id>/enrol", endpoint="invite")(invite)
    pages.post("/branches/<id>/enrol/file", endpoint="invitation_file")(file)
    pages.post("/branches/<id>/withdraw", endpoint="withdraw")(withdraw)


def waiting(guarded: GuardedBranches) -> dict[str, tuple[Standing, str]] | None:
    """By branch, invitations that somebody may still come in by, each with the time left; None: they can't be read now."""
    try:
        found = guarded.invitations()
    except CentralinoError:
        return None
    return {id: (each, time_left(each.until)) for id, each in found.items() if each.standing == "waiting"}


def time_left(until: str) -> str:
    """From now to a time (ISO 8601), as people say it: rounded up, so it is never too little."""
    left = datetime.datetime.fromisoformat(until) - datetime.datetime.now(datetime.UTC)
    minutes = max(1, math.ceil(left.total_seconds() / 60))
    if minutes < 120:
        return _("{count} min left").format(count=minutes)
    if minutes < 48 * 60:
        return _("{count} h left").format(count=math.ceil(minutes / 60))
    return _("{count} days left").format(count=math.ceil(minutes / (24 * 60)))


def name_of(branch: Branch) -> str:
    """What people call it: its site's name."""
    site = services().store.document().find(Site, branch.site)
    return site.name if site is not None else branch.site


def ask(id: str, status: int = 200, error: CentralinoError | None = None, made: Made | None = None) -> Answer:
    """What it does, and the choices; or what was made, this once."""
    guarded = services().branches(subject())
    branch = guarded.get(id)
    if not guarded.may_revoke(id):
        raise RefusedError("this needs the permission branch:edit", "ask an administrator", error_id="forbidden")
    if made is not None:
        return render_template(
            "branches/invited.html", branch=branch, name=name_of(branch), made=made, picture=_picture(made.file),
            until=_moment(made.until), where=_where(made), cables=_cables(branch),
        )  # fmt: skip
    former: Standing | None = None
    if error is None or error.error_id != "vpn_not_running":
        try:
            former = guarded.invitation(id)
        except CentralinoError as found:
            status, error = BAD, found
    page = render_template(
        "branches/enrol.html", branch=branch, name=name_of(branch), former=former, error=error, lasts=LASTS,
        chosen=request.form.get("lasts", DEFAULT), replace="replace" in request.form, left=time_left,
        ours=branch.router is Router.OURS,
    )  # fmt: skip
    return page if status == 200 else (page, status)


def _cables(branch: Branch) -> list[tuple[WanLine, str, str]]:
    """Which line goes into which interface of the router: the line, what it is there for, and where its addresses are from."""
    found = lines(services().store.document()).get(branch.site, ())
    return [(each, role({"role": each.role}), _addresses(each)) for each in found]


def _addresses(line: WanLine) -> str:
    if line.access is None:
        return _("set up by the router's own system")
    if isinstance(line.access, DhcpAccess):
        return _("by DHCP")
    routers = ", ".join(line.access.gateways)
    return _("{addresses}, router {router}").format(addresses=", ".join(line.access.addresses), router=routers)


def invite(id: str) -> Answer:
    """Make one, and show it."""
    guarded = services().branches(subject())
    try:
        hours = _hours(request.form.get("lasts", ""))
        made = guarded.invite(
            id, request.remote_addr or "", hours=hours, replace="replace" in request.form,
            former=request.form.get("former", "")[:100],
        )  # fmt: skip
    except CentralinoError as error:
        if error.error_id in NO_MORE:
            raise
        return ask(id, WRONG if isinstance(error, InvalidError) else BAD, error)
    return ask(id, made=made)


def file(id: str) -> Answer:
    """The file that was shown, back as a file: nothing of it is here but in this request."""
    guarded = services().branches(subject())
    branch = guarded.get(id)
    if not guarded.may_revoke(id):
        raise RefusedError("this needs the permission branch:edit", "ask an administrator", error_id="forbidden")
    try:
        content = read_file(request.form.get("file", "")[: FILE_MAX + 1].encode()).file()
    except CentralinoError as error:
        return ask(id, WRONG, error)
    answer = Response(content, mimetype="application/octet-stream")
    answer.headers["Content-Disposition"] = f'attachment; filename="{branch.site}.json"'
    return answer


def withdraw(id: str) -> Answer:
    """End the branch's invitation."""
    try:
        services().branches(subject()).withdraw(id, request.remote_addr or "")
    except CentralinoError as error:
        if error.error_id in NO_MORE:
            raise
        return ask(id, BAD, error)
    return redirect(url_for("branches.listed", ended=id), 303)


def _hours(lasts: str) -> float:
    if lasts not in LASTS:
        raise InvalidError([Fault("lasts", "is no time that an invitation may wait", "1h, 24h or 7d", "bad_hours")])
    return LASTS[lasts][0]


def _picture(content: str) -> str:
    """The QR code: an image of its own, so nothing in it is a script or a style of the page."""
    return segno.make(content.strip(), error="l", micro=False).svg_data_uri(scale=4, border=4, light="#fff")


def _moment(iso: str) -> str:
    at = datetime.datetime.fromisoformat(iso)
    return moments(zone_of_reader(subject(), services().store.document()), seconds=False)(int(at.timestamp() * 1000))


def _where(made: Made) -> list[str]:
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in made.centres]
