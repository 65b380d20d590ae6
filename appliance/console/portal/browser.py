"""The browser's session: its cookie, what it has proved so far, and where to send it."""

from __future__ import annotations

from flask import current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response

from appliance.access.sessions import COOKIE, Session, Stage
from appliance.access.signin import Outcome
from appliance.console.portal.page_context import safe_next
from appliance.console.services import Services
from appliance.core.errors import RefusedError


def services() -> Services:
    """Of this process."""
    found: Services = current_app.extensions["centralino"]
    return found


def address() -> str:
    """Where the request comes from."""
    return request.remote_addr or ""


def agent() -> str:
    """What the browser calls itself."""
    return request.headers.get("User-Agent", "")


def session() -> Session | None:
    """The browser's session, whatever it has proved; None: none that is good."""
    if "browser_session" not in g:
        token = request.cookies.get(COOKIE, "")
        found = services().signin.session_of(token, address()) if token else None
        g.browser_session = None if found is None else found[0]
    held: Session | None = g.browser_session
    return held


def must_have_session(*stages: Stage) -> Session:
    """The browser's session.

    :raises RefusedError: ``unauthenticated``: there is none, or it has proved something else than one of ``stages``.
    """
    held = session()
    if held is None or (stages and held.stage not in stages):
        raise RefusedError("sign in first", error_id="unauthenticated")
    return held


def go_on(outcome: Outcome, wanted: str = "") -> Response:
    """Keep the session's new token in the browser, and go where its stage leads: to the second factor, to enrol one, or on."""
    match outcome.session.stage:
        case Stage.PASSWORD:
            target = url_for("entry.code", next=wanted or None)
        case Stage.ENROL:
            target = url_for("account.show")
        case Stage.FULL:
            target = safe_next(wanted)
    return kept(redirect(target, 303), outcome)


def kept(response: Response, outcome: Outcome) -> Response:
    """The answer with the session's token as a cookie that scripts can't read and other sites can't have sent."""
    response.set_cookie(COOKIE, outcome.token, path="/", secure=True, httponly=True, samesite="Lax")
    return response
