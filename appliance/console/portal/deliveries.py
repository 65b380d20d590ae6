"""Pages about what was sent: endpoints, deliveries, dead letters, files of exports. Translates requests, decides nothing."""

from __future__ import annotations

import json
import re
from typing import Final

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.access.seen_calls import zone_of_reader
from appliance.access.seen_deliveries import SeenDeliveries
from appliance.console.api.requests import document, services, subject
from appliance.console.portal.calls import Names, closed_with
from appliance.console.portal.writing import Moment, moments
from appliance.core.fields import valid_id
from appliance.i18n import _, later
from appliance.labels import of_choice
from appliance.notifications.service import TEST
from appliance.notifications.state import State

Answer = str | Response
PAGE: Final = 50
FILES: Final = 20


def deliveries() -> Blueprint:
    """The pages."""
    pages = Blueprint("deliveries", __name__)
    pages.get("/deliveries")(listed)
    pages.get("/deliveries/<id>")(shown)
    pages.post("/deliveries/<id>/replay")(replay)
    pages.post("/deliveries/<id>/discard")(discard)
    pages.post("/deliveries/replay")(replay_dead)
    pages.post("/deliveries/test")(test)
    pages.post("/deliveries/retry")(retry)
    closed_with(pages)
    return pages


def _seen(*, edit: bool = False) -> SeenDeliveries:
    return services().deliveries(subject(), edit=edit)


def listed() -> Answer:
    """How endpoints and exports do, and a page of deliveries."""
    seen = _seen()
    state, endpoint = request.args.get("state", ""), request.args.get("to", "")
    before = request.args.get("before", "")
    found = seen.listed(
        state=State(state) if state in list(State) else None,
        endpoint=endpoint if valid_id(endpoint) else None,
        limit=PAGE + 1,
        before=int(before) if re.fullmatch(r"[1-9][0-9]{0,17}", before) else None,
    )
    return render_template(
        "deliveries/list.html",
        endpoints=seen.endpoints(),
        files=seen.files(limit=FILES),
        deliveries=found[:PAGE],
        older=found[PAGE - 1].number if len(found) > PAGE else None,
        state=state if state in list(State) else "",
        endpoint=endpoint if valid_id(endpoint) else "",
        before=before,
        may_edit=seen.may_edit,
        said=_said(),
        moment=_moments(),
        states=STATES(),
        event=event_text,
        names=Names(document()),
    )


def shown(id: str) -> Answer:
    """One delivery with what is sent."""
    seen = _seen()
    found = seen.get(id)
    body = json.dumps(json.loads(found.body), ensure_ascii=False, indent=2) if found.body else ""
    return render_template(
        "deliveries/delivery.html", delivery=found, body=body, may_edit=seen.may_edit, moment=_moments(), states=STATES(),
        event=event_text, said=_said(), names=Names(document()),
    )  # fmt: skip


def replay(id: str) -> Answer:
    """Send one again."""
    _seen(edit=True).replay(id)
    return redirect(url_for("deliveries.shown", id=id, again=1), 303)


def discard(id: str) -> Answer:
    """Forget a dead letter."""
    _seen(edit=True).discard(id)
    return redirect(url_for("deliveries.listed", state=State.DEAD.value, forgotten=1), 303)


def replay_dead() -> Answer:
    """Send dead letters again, of one endpoint or of all."""
    endpoint = request.form.get("endpoint", "")
    count = _seen(edit=True).replay_dead(endpoint or None)
    return redirect(url_for("deliveries.listed", to=endpoint or None, again=count), 303)


def test() -> Answer:
    """Send an endpoint an event that says nothing."""
    sent = _seen(edit=True).test(request.form.get("endpoint", ""))
    return redirect(url_for("deliveries.shown", id=sent.id), 303)


def retry() -> Answer:
    """Try an export's file now."""
    count = _seen(edit=True).retry(request.form.get("export", ""))
    return redirect(url_for("deliveries.listed", again=count), 303)


def _said() -> str:
    """What was done by the request that led here."""
    again = request.args.get("again", "")
    if re.fullmatch(r"[0-9]{1,9}", again):
        return _("{count} will be sent again.").format(count=again)
    return _("{count} forgotten.").format(count=1) if request.args.get("forgotten") == "1" else ""


def _moments() -> Moment:
    """Times in the reader's zone."""
    return moments(zone_of_reader(subject(), services().store.document()))


def STATES() -> dict[str, str]:  # noqa: N802 (a constant but for the language)
    """States in words; of deliveries, and of files."""
    return {
        State.WAITING.value: _("waiting"),
        State.DELIVERED.value: _("delivered"),
        State.DEAD.value: _("dead letter"),
    }


def event_text(type: str) -> str:
    """What an event is called, as an English message id."""
    return later("Test event") if type == TEST else of_choice("EventType", type)
