"""One's own account: second factors, password, sessions, API keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import segno
from flask import Blueprint, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.access.directories import enabled
from appliance.access.factors import Enrolled, Factors
from appliance.access.permissions import Subject, subject_of
from appliance.access.providers import enabled as enabled_providers
from appliance.access.seen_calls import zone_of_reader
from appliance.access.sessions import Session, Stage
from appliance.console.portal.browser import address, kept, must_have_session, services
from appliance.console.portal.writing import moments
from appliance.core.errors import InvalidError, NotFoundError, RefusedError
from appliance.i18n import _

Answer = str | Response | tuple[str, int]
BAD = 422
SIGNED_IN = (Stage.FULL, Stage.ENROL)
AGENT_MAX = 60
BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
"""What stands in a line ``User-Agent``, and whose it is: the first that fits, for most name others too."""
SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


def account() -> Blueprint:
    """The pages."""
    pages = Blueprint("account", __name__)
    pages.get("/account")(show)
    pages.post("/account/app")(begin_app)
    pages.post("/account/app/confirm")(confirm_app)
    pages.post("/account/app/remove")(remove_app)
    pages.post("/account/passkeys/options")(passkey_options)
    pages.post("/account/passkeys")(add_passkey)
    pages.post("/account/passkeys/<id>/remove")(remove_passkey)
    pages.post("/account/recovery")(new_recovery_codes)
    pages.post("/account/password")(change_password)
    pages.post("/account/again")(again)
    pages.post("/account/sessions/<id>/end")(end_session)
    pages.post("/account/keys")(make_key)
    pages.post("/account/keys/<id>/revoke")(revoke_key)
    return pages


def factors() -> Factors:
    """Of this installation."""
    return Factors(services().access, services().store.document)


def show() -> Answer:
    """All of it on one page; whoever must still enrol a second factor sees that alone."""
    return _page(must_have_session(*SIGNED_IN))


def _page(held: Session, *, status: int = 200, **more: Any) -> Answer:
    access, document = services().access, services().store.document()
    page = render_template(
        "account/account.html",
        held=factors().of(held.person),
        session=held,
        sessions=access.sessions.listed(held.person),
        keys=[key for key in access.keys.listed(held.person) if key.is_good(access.clock())],
        must_enrol=held.stage is Stage.ENROL,
        providers=enabled_providers(document) if services().providers is not None else [],
        directory=bool(enabled(document)),
        moment=moments(_zone(held.person), seconds=False),
        browser_of=browser_of,
        **more,
    )
    return (page, status) if status != 200 else page


def _zone(person: str) -> str:
    """The time zone in which somebody reads times."""
    document = services().store.document()
    return zone_of_reader(subject_of(document, person) or Subject(person, person), document)


def browser_of(agent: str) -> str:
    """What people call a browser and its system, of the line that it sends; a line that says neither comes back shortened."""
    browser = next((name for mark, name in BROWSERS if mark in agent), "")
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    if browser and system:
        return _("{browser} on {system}").format(browser=browser, system=system)
    return browser or system or agent[:AGENT_MAX] or _("Unknown browser")


def _tried(held: Session, act: Callable[[], Answer]) -> Answer:
    """The page again, with what was wrong; when the last proof is too old, with the question for it."""
    try:
        return act()
    except (InvalidError, RefusedError, NotFoundError) as error:
        if error.error_id == "unauthenticated":
            raise
        return _page(held, status=BAD, error=error, prove_again=error.error_id == "prove_again")


# -- authenticator app ------------------------------------------------------------------------------------------------


def begin_app() -> Answer:
    """Show a new seed, as a picture and as text."""
    held = must_have_session(*SIGNED_IN)

    def act() -> Answer:
        seed = factors().begin_totp(held)
        picture = segno.make(seed.uri, error="m").svg_data_uri(scale=5, border=2, light="#fff")
        return render_template("account/app.html", picture=picture, secret=seed.secret)

    return _tried(held, act)


def confirm_app() -> Answer:
    """The app shows the right code: it counts from now on."""
    held = must_have_session(*SIGNED_IN)
    return _tried(held, lambda: _enrolled(factors().confirm_totp(held, request.form.get("code", "")[:20], address())))


def remove_app() -> Answer:
    """Do without it."""
    held = must_have_session(Stage.FULL)

    def act() -> Answer:
        factors().remove_totp(held, address())
        return _back()

    return _tried(held, act)


def _enrolled(done: Enrolled) -> Response:
    """What to keep, where there are new recovery codes; else back."""
    if not done.recovery_codes:
        return kept(_back(), done.outcome)
    page = render_template("account/recovery.html", codes=done.recovery_codes)
    return kept(Response(page, mimetype="text/html"), done.outcome)


# -- passkeys ---------------------------------------------------------------------------------------------------------


def passkey_options() -> Response:
    """What the browser needs to make one."""
    ceremony = factors().begin_passkey(must_have_session(*SIGNED_IN))
    return jsonify({"options": ceremony.options, "ceremony": ceremony.token})


def add_passkey() -> Response:
    """Keep the one that the browser made. New recovery codes are shown when asked for: `new_recovery_codes`."""
    held = must_have_session(*SIGNED_IN)
    sent: Any = request.get_json(silent=True)
    fields = sent if isinstance(sent, dict) else {}
    done = factors().add_passkey(
        held,
        str(fields.get("ceremony", "")),
        str(fields.get("response", "")),
        str(fields.get("name", ""))[:100],
        address(),
    )
    return kept(jsonify({"next": url_for("account.show")}), done.outcome)


def remove_passkey(id: str) -> Answer:
    """Do without it."""
    held = must_have_session(Stage.FULL)

    def act() -> Answer:
        factors().remove_passkey(held, id, address())
        return _back()

    return _tried(held, act)


def new_recovery_codes() -> Answer:
    """Ten new ones; the old ones end."""
    held = must_have_session(Stage.FULL)
    return _tried(
        held, lambda: render_template("account/recovery.html", codes=factors().new_recovery_codes(held, address()))
    )


# -- password, sessions, keys -----------------------------------------------------------------------------------------


def again() -> Answer:
    """A fresh proof, before something that matters is changed."""
    held = must_have_session(Stage.FULL)
    password = request.form.get("password", "")[:1000]
    return _tried(held, lambda: kept(_back(), services().signin.again(held, password, address())))


def change_password() -> Answer:
    """Another password: all other sessions end."""
    held = must_have_session(Stage.FULL)
    old, new = request.form.get("old", "")[:1000], request.form.get("password", "")[:1000]
    if new != request.form.get("again", ""):
        return _page(held, status=BAD, problem=_("The two passwords differ."))
    return _tried(held, lambda: kept(_back(), services().signin.change_password(held, old, new, address())))


def end_session(id: str) -> Answer:
    """End one of one's own sessions."""
    held = must_have_session(*SIGNED_IN)

    def act() -> Answer:
        if id not in {each.id for each in services().access.sessions.listed(held.person)}:
            raise NotFoundError("there is no such session", error_id="not_found")
        services().access.sessions.end(id, author=held.person, address=address())
        return _back() if id != held.id else redirect(url_for("entry.show"), 303)

    return _tried(held, act)


def make_key() -> Answer:
    """A key for a program: its text is shown this once."""
    held = must_have_session(Stage.FULL)

    def act() -> Answer:
        scopes = request.form.get("scopes", "").replace(",", " ").split()
        days = request.form.get("days", "")
        key, text = services().access.keys.make(
            held.person, request.form.get("name", "")[:100], scopes, days=int(days) if days.isdigit() else None,
            author=held.person, address=address(),
        )  # fmt: skip
        return render_template("account/key.html", key=key, text=text)

    return _tried(held, act)


def revoke_key(id: str) -> Answer:
    """End one of one's own keys, and its tokens."""
    held = must_have_session(Stage.FULL)

    def act() -> Answer:
        if services().access.keys.get(id).owner != held.person:
            raise NotFoundError("there is no such key", error_id="not_found")
        services().access.keys.revoke(id, author=held.person, address=address())
        return _back()

    return _tried(held, act)


def _back() -> Response:
    return redirect(url_for("account.show"), 303)
