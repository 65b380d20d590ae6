"""Ways in: password, second factor, passkey, one-time link, providers of single sign-on; and the way out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.access.directories import enabled
from appliance.access.passkeys import portal_url
from appliance.access.providers import LASTS, Providers
from appliance.access.providers import enabled as enabled_providers
from appliance.access.sessions import COOKIE, Stage
from appliance.console.portal.browser import address, agent, go_on, kept, must_have_session, services, session
from appliance.console.portal.page_context import safe_next
from appliance.core.errors import CentralinoError, InvalidError, NotFoundError, RefusedError, UnavailableError
from appliance.i18n import _

Answer = str | Response | tuple[str, int]
PROVIDER_COOKIE = "__Host-provider"
"""Binds a provider's answer to the browser that asked."""
ANSWER_MAX = 5000
BAD = 422
"""Status of a page that shows what was wrong with its form."""


def entry() -> Blueprint:
    """The pages."""
    pages = Blueprint("entry", __name__)
    pages.get("/sign-in")(show)
    pages.post("/sign-in")(password)
    pages.route("/sign-in/code", methods=["GET", "POST"])(code)
    pages.route("/sign-in/link", methods=["GET", "POST"])(link)
    pages.post("/sign-in/passkey/options")(passkey_options)
    pages.post("/sign-in/passkey")(passkey)
    pages.get("/sign-in/with/<id>")(begin)
    pages.get("/sign-in/with/<id>/callback")(callback)
    pages.post("/sign-out")(sign_out)
    return pages


def show() -> Answer:
    """Where somebody who isn't signed in lands."""
    held = session()
    if held is not None and held.stage is Stage.FULL:
        return redirect(safe_next(request.args.get("next", "")), 303)
    return _page(_wanted())


def _page(wanted: str, **more: Any) -> str:
    """The sign-in page, with the ways in that the document has."""
    document = services().store.document()
    providers = enabled_providers(document) if services().providers is not None else []
    return render_template(
        "entry/sign_in.html", wanted=wanted, providers=providers, directory=bool(enabled(document)), **more
    )


def password() -> Answer:
    """Name and password."""
    name, given = request.form.get("name", "")[:400], request.form.get("password", "")[:1000]
    try:
        return go_on(services().signin.password(name, given, address(), agent()), _wanted())
    except RefusedError as error:
        return _page(_wanted(), name=name, error=error), 401


def code() -> Answer:
    """The second factor: an app's code, or a recovery code."""
    held = must_have_session(Stage.PASSWORD)
    if request.method == "GET":
        return render_template("entry/code.html", wanted=_wanted())
    try:
        outcome = services().signin.code(held, request.form.get("code", "")[:100], address())
    except RefusedError as error:
        return render_template("entry/code.html", wanted=_wanted(), error=error), 401
    return go_on(outcome, _wanted())


def link() -> Answer:
    """A one-time link: its token stands behind the ``#``, which no browser sends; a script puts it into the form."""
    if request.method == "GET":
        return render_template("entry/link.html")
    token = request.form.get("token", "").strip().rpartition("#")[2][:200]
    new, again = request.form.get("password", "")[:1000], request.form.get("again", "")[:1000]
    if new != again:
        return render_template("entry/link.html", token=token, problem=_("The two passwords differ.")), BAD
    try:
        return go_on(services().signin.link(token, new, address(), agent()))
    except (InvalidError, RefusedError) as error:
        return render_template("entry/link.html", token=token, error=error), BAD


def passkey_options() -> Response:
    """What the browser needs to ask for a passkey."""
    ceremony = services().signin.passkey_options()
    return jsonify({"options": ceremony.options, "ceremony": ceremony.token})


def passkey() -> Response:
    """A passkey's answer: the way in, or the second factor of a session that waits for it."""
    sent: Any = request.get_json(silent=True)
    fields = sent if isinstance(sent, dict) else {}
    held = session()
    waiting = held if held is not None and held.stage is Stage.PASSWORD else None
    outcome = services().signin.passkey(
        str(fields.get("ceremony", "")), str(fields.get("response", "")), address(), agent(), waiting
    )
    target = url_for("account.show") if outcome.session.stage is Stage.ENROL else safe_next(str(fields.get("next", "")))
    return kept(jsonify({"next": target}), outcome)


def begin(id: str) -> Answer:
    """To a provider of single sign-on. A form couldn't lead there: the policy of our pages keeps forms on this site."""
    wanted, fresh = _wanted(), "fresh" in request.args
    held = session()
    if held is not None and held.stage is Stage.FULL and not fresh:
        return redirect(wanted, 303)
    home = portal_url()
    if request.host_url.rstrip("/") != home:  # the provider leads back there, and that is where the cookie must be
        return redirect(home + url_for("entry.begin", id=id, next=wanted, fresh="1" if fresh else None), 303)
    if request.headers.get("Sec-Fetch-Site") == "cross-site":  # people begin here, not other sites for them
        return redirect(url_for("entry.show", next=wanted), 303)
    try:
        begun = _providers().begin(id, wanted, address(), fresh=fresh)
    except (RefusedError, UnavailableError) as error:
        return _page(wanted, error=error), _status(error)
    response = redirect(begun.url, 303)
    response.set_cookie(
        PROVIDER_COOKIE, begun.secret, max_age=LASTS // 1000, path="/", secure=True, httponly=True, samesite="Lax"
    )
    return response


def callback(id: str) -> Answer:
    """Back from a provider, with its answer in the address: the browser leaves that address at once."""
    secret = request.cookies.get(PROVIDER_COOKIE, "")[:100]
    answer = {
        name: request.args[name][:ANSWER_MAX] for name in ("code", "state", "iss", "error") if name in request.args
    }
    try:
        done = _providers().finish(id, secret, answer, address(), agent())
    except (RefusedError, UnavailableError) as error:
        return _page("/", error=error), _status(error)
    held = session()
    if held is not None and held.person == done.outcome.session.person:
        services().access.sessions.end(held.id, author=held.person, address=address())
    response = go_on(done.outcome, safe_next(done.wanted))
    response.delete_cookie(PROVIDER_COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def _providers() -> Providers:
    found = services().providers
    if found is None:
        raise NotFoundError("there is no such way to sign in", "go back to the sign-in page")
    return found


def _status(error: CentralinoError) -> int:
    return 503 if isinstance(error, UnavailableError) else 401


def sign_out() -> Answer:
    """End the session."""
    held = session()
    if held is not None:
        services().access.sessions.end(held.id, author=held.person, address=address())
    response = redirect(url_for("entry.show"), 303)
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def _wanted() -> str:
    """Where the reader wanted to go."""
    return safe_next(request.values.get("next", ""))
