"""What happens now: the dashboard, the operator's panel, and calling from the browser.

Pages are whole without scripts, as things were when they were asked for. With scripts they follow the hub's socket (live.js):
regions that came from the server are fetched again when something in them changed, lamps change in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.access.calls import GuardedCalls
from appliance.access.live import may_handle, own_extensions
from appliance.access.seen_calls import zone_of_reader
from appliance.access.seen_firewall import may as may_see_firewall
from appliance.console.api.requests import document, services, subject
from appliance.console.portal.calls import Names
from appliance.console.portal.statistics import volume_today
from appliance.console.portal.writing import moments
from appliance.core.errors import CentralinoError, InvalidError, UnavailableError
from appliance.engine.place import has_firewall
from appliance.hub.rooms import OBJECTS
from appliance.i18n import _
from appliance.organisation.model import Site
from appliance.pbx.extensions.model import Extension

Answer = str | Response | tuple[str, int]
BAD: Final = 422
LAMPS_MAX: Final = 400
"""Lamps of one page; with more extensions one filters."""
BUSY: Final = frozenset({"busy", "ringing", "hold"})
SEPARATORS: Final = str.maketrans("", "", " ()./-")


def live() -> Blueprint:
    """The pages."""
    pages = Blueprint("live", __name__)
    pages.get("/dashboard")(dashboard)
    pages.get("/panel")(panel)
    pages.get("/call")(call)
    pages.post("/call")(place)
    pages.post("/call/<id>/end")(end)
    pages.post("/call/<id>/transfer")(transfer)
    pages.post("/call/<id>/consult")(consult)
    pages.post("/call/<id>/complete")(complete)
    pages.post("/call/<id>/takeback")(take_back)
    pages.app_template_filter("clock")(_clock)
    pages.app_context_processor(
        lambda: {
            "state_word": state_word,
            "registration_word": registration_word,
            "consultation_word": consultation_word,
            "trunk_name": lambda trunk: Names(document()).of("trunk", trunk),
        }
    )
    return pages


def state_word(state: str) -> str:
    """How people call a state of an extension, a call or a party."""
    return {
        "idle": _("free"), "busy": _("busy"), "ringing": _("rings"), "hold": _("has put on hold"), "dnd": _("do not disturb"),
        "unreachable": _("no phone registered"), "up": _("talking"), "held": _("on hold"), "holding": _("has put on hold"),
        "calling": _("calls"), "dialing": _("is being called"),
    }.get(state, state)  # fmt: skip


def consultation_word(state: str) -> str:
    """How people call it that a consultation has ended so; empty: it goes on, or was ended by whoever began it."""
    return {
        "busy": _("Whom you asked is busy."), "no_answer": _("Whom you asked doesn't answer."),
        "unreachable": _("Whom you asked can't be reached."), "ended": _("Whom you asked has hung up."),
    }.get(state, "")  # fmt: skip


def registration_word(trunk: Mapping[str, Any]) -> str:
    """How a trunk is, in words."""
    if trunk["reachable"] is False:
        return _("doesn't answer")
    state = str(trunk["registration"])
    return {
        "registered": _("registered"), "unregistered": _("not registered"), "rejected": _("refused by the provider"),
        "stopped": _("stopped"), "none": _("reachable") if trunk["reachable"] else _("ready"),
    }.get(state, state)  # fmt: skip


def _clock(ms: int) -> str:
    """A moment as a number of seconds that have passed, for the element's text without scripts: ``4:07``."""
    seconds = max(0, int(time.time() - ms / 1000))
    return f"{seconds // 60}:{seconds % 60:02}"


def calls() -> GuardedCalls:
    """As the asker may see and handle them."""
    return services().calls(subject())


class Now:
    """The live state for one page; what can't be had is empty, and ``trouble`` says why."""

    def __init__(self) -> None:
        self.calls, self.trouble, self.stale = calls(), "", ""

    def all(self, type: str) -> list[Mapping[str, Any]] | None:
        """Objects of a type; None: the asker may see none of that type, or the hub doesn't answer."""
        try:
            found = self.calls.live(type)
        except UnavailableError as error:
            self.trouble = error.message
            return None
        except CentralinoError:
            return None
        self.stale = found["reason"]
        return list(found["items"])


def dashboard() -> Answer:
    """Calls, extensions, trunks, links and alarms now."""
    now = Now()
    found = {OBJECTS[type]: now.all(type) for type in ("call", "extension", "trunk", "link", "branch", "alarm")}
    return render_template(
        "live/dashboard.html",
        now=now,
        volume=volume_today(),
        bans=_bans(),
        may_end=_may_end,
        sites=_by_site(found["extensions"]),
        site_name=_site_names(),
        moment=moments(zone_of_reader(subject(), services().store.document()), seconds=False),
        **found,
    )


_BANS_S: Final = 10.0
"""The dashboard is fetched again at each call: the judge of bans is asked no more often than this."""
_bans_known: tuple[float, int | None] = (float("-inf"), None)


def _bans() -> int | None:
    """How many bans stand; None: the asker may not see it, the firewall isn't ours, or it can't be told."""
    global _bans_known  # noqa: PLW0603 (a number that all threads may know)
    if not has_firewall() or not may_see_firewall(subject()):
        return None
    if time.monotonic() - _bans_known[0] >= _BANS_S:
        try:
            found: int | None = services().firewall(subject()).told(limit=1).count
        except UnavailableError:
            found = None
        _bans_known = (time.monotonic(), found)
    return _bans_known[1]


def _by_site(extensions: Iterable[Mapping[str, Any]] | None) -> dict[str, dict[str, int]]:
    """Site → how many extensions it has, how many of them are reachable, how many busy."""
    made: dict[str, dict[str, int]] = {}
    for each in extensions or ():
        of_site = made.setdefault(each["site"], {"all": 0, "reachable": 0, "busy": 0})
        of_site["all"] += 1
        of_site["reachable"] += each["state"] != "unreachable"
        of_site["busy"] += each["state"] in BUSY
    return dict(sorted(made.items()))


def _site_names() -> Callable[[str], str]:
    document = services().store.document()

    def name(id: str) -> str:
        site = document.find(Site, id)
        return site.name if site is not None else id

    return name


def _may_end(call: Mapping[str, Any]) -> bool:
    """Whether the asker may handle a party of this call."""
    document, asks = services().store.document(), subject()
    return any(may_handle(asks, document, party["extension"], party["site"]) for party in call["parties"])


def panel() -> Answer:
    """Lamps of extensions, calls of one's own, and the way to call somebody."""
    now, text = Now(), request.args.get("q", "").strip()[:100]
    lamps = now.all("extension")
    wanted = [each for each in lamps or () if _matches(each, text)]
    shown = sorted(wanted, key=lambda each: (each["number"], each["id"]))
    own = own_extensions(services().store.document(), subject().person)
    active = now.all("call")
    mine = [each for each in active or () if any(party["extension"] in own for party in each["parties"])]
    return render_template(
        "live/panel.html", now=now, lamps=None if lamps is None else shown[:LAMPS_MAX], more=max(0, len(shown) - LAMPS_MAX),
        text=text, mine=mine, own=own, devices=now.calls.devices(), site_name=_site_names(), may_end=_may_end,
    )  # fmt: skip


def _matches(extension: Mapping[str, Any], text: str) -> bool:
    words = text.casefold().split()
    return all(word in f"{extension['number']} {extension['name']}".casefold() for word in words)


def call(status: int = 200, error: CentralinoError | None = None) -> Answer:
    """The form for a call; ``to`` may be a link: ``tel:+39 02 0000 0200`` (RFC 3966) or ``callto:…``."""
    asked = calls()
    wanted = request.form.get("number") or number_of(request.args.get("to", ""))
    page = render_template(
        "live/call.html", number=wanted, devices=asked.devices(), extension=_extension_names(), error=error,
        chosen=request.form.get("device", ""), placed="placed" in request.args,
    )  # fmt: skip
    return page if status == 200 else (page, status)


def number_of(link: str) -> str:
    """The number in a link of telephone number's; what isn't one comes back as it is, for the reader to mend."""
    scheme, colon, rest = link.partition(":")
    number = rest if colon and scheme.lower() in ("tel", "callto") else link
    return number.partition(";")[0].translate(SEPARATORS)[:40]


def place() -> Answer:
    """Place the call: the chosen phone rings first."""
    number = number_of(request.form.get("number", ""))
    try:
        id = calls().place(request.form.get("device", ""), number, {})
    except (InvalidError, CentralinoError) as error:
        return call(BAD, error)
    return redirect(url_for("live.call", placed=id, to=number), 303)


def end(id: str) -> Answer:
    """End a call."""
    calls().hang_up(id)
    return redirect(_back(), 303)


def transfer(id: str) -> Answer:
    """Hand on whom one talks to."""
    calls().transfer(id, request.form.get("party", ""), number_of(request.form.get("number", "")))
    return redirect(_back(), 303)


def consult(id: str) -> Answer:
    """Let whom one talks to wait, and call somebody."""
    calls().consult(id, request.form.get("party", ""), number_of(request.form.get("number", "")))
    return redirect(_back(), 303)


def complete(id: str) -> Answer:
    """Join whom one lets wait with whom one has called."""
    calls().complete(id, request.form.get("party", ""))
    return redirect(_back(), 303)


def take_back(id: str) -> Answer:
    """Talk to the first one again."""
    calls().take_back(id, request.form.get("party", ""))
    return redirect(_back(), 303)


def _back() -> str:
    return url_for("live.panel" if request.form.get("page") == "panel" else "live.dashboard")


def _extension_names() -> Callable[[str], str]:
    document = services().store.document()
    return lambda extension: document.get(Extension, extension).number
