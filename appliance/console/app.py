"""The Flask application: who asks, in which language, how errors are answered, and headers that every answer has."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any, Final

from flask import Flask, Request, Response, g, json, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.wrappers import Response as ResponseBase

from appliance.console.api import blueprint as api
from appliance.console.api.requests import document, transactions
from appliance.console.headers import HEADERS
from appliance.console.identify import Identity
from appliance.console.limits import Buckets, Verdict
from appliance.console.portal.account import account
from appliance.console.portal.branches import branches
from appliance.console.portal.browser import services, session
from appliance.console.portal.calls import calls
from appliance.console.portal.changes import changes
from appliance.console.portal.deliveries import deliveries
from appliance.console.portal.entry import entry
from appliance.console.portal.firewall import firewall
from appliance.console.portal.flow import flow_pages
from appliance.console.portal.live import live
from appliance.console.portal.pages import portal
from appliance.console.portal.reference import reference
from appliance.console.portal.statistics import statistics
from appliance.console.problems import MEDIA_TYPE, problem, status_of
from appliance.console.services import Services
from appliance.core.errors import CentralinoError, Fault, InvalidError, NotFoundError, RefusedError
from appliance.i18n import LANGUAGES, language, speaking, translated
from appliance.organisation.model import Person

_log = logging.getLogger("centralino.console")

BODY_MAX: Final = 8 * 1024 * 1024
"""Bytes of a request: an import of a whole document fits."""
PER_SECOND: Final = 50.0
BURST: Final = 200
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def create_app(of: Services, limits: Buckets | None = None) -> Flask:
    """The application over one installation.

    :param limits: how often one address may ask, and one person or key from wherever.
    """
    app = Flask("appliance.console", static_folder=None, template_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=BODY_MAX, MAX_FORM_PARTS=5000, JSON_SORT_KEYS=False)
    app.extensions["centralino"] = of
    buckets = limits or Buckets(PER_SECOND, BURST)

    @app.before_request
    def begin() -> None:
        g.trace = secrets.token_hex(8)
        g.identity = None
        speaking(_language_asked(request))
        _count(buckets, f"address {request.remote_addr}")
        g.identity = of.identify(request)
        if g.identity is not None:  # one program on many machines is still one
            _count(buckets, f"identity {g.identity.subject.id}")
        _check_csrf(g.identity)

    @app.after_request
    def end(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["Content-Language"] = language()
        response.headers["X-Request-Id"] = g.trace
        verdict = getattr(g, "verdict", None)
        if verdict is not None:
            response.headers["RateLimit-Limit"] = str(verdict.limit)
            response.headers["RateLimit-Remaining"] = str(verdict.left)
            response.headers["RateLimit-Reset"] = str(verdict.wait_s)
            if verdict.wait_s:
                response.headers["Retry-After"] = str(verdict.wait_s)
        return response

    @app.teardown_request
    def over(_error: BaseException | None) -> None:
        speaking("")  # the thread goes on to other work

    app.register_error_handler(CentralinoError, _answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unknown)
    app.register_blueprint(api, url_prefix="/api/v1")
    for pages in (
        portal(document), flow_pages(document, transactions), live(), branches(), firewall(), calls(), statistics(), changes(), entry(), account(),
        reference(), deliveries(),
    ):  # fmt: skip
        app.register_blueprint(pages)
    app.context_processor(_everywhere)
    app.get("/")(_start)
    return app


def _count(buckets: Buckets, who: str) -> None:
    """One request more. Of several verdicts the headers tell the tightest. Raises RefusedError (``too_many_requests``)."""
    verdict = buckets.take(who, time.monotonic())
    before: Verdict | None = g.get("verdict")
    if before is None or verdict.wait_s or verdict.left < before.left:
        g.verdict = verdict
    if verdict.wait_s:
        raise RefusedError("too many requests", f"wait {verdict.wait_s} s", error_id="too_many_requests")


def _start() -> ResponseBase:
    """Where people begin."""
    if g.identity is not None and g.identity.subject.may("calls"):
        return redirect(url_for("live.dashboard"), 303)
    return redirect(url_for("portal.listed", kind=next(iter(document().kinds()), "extension")), 303)


def _everywhere() -> dict[str, Any]:
    """What every template is given besides what the portal's pages need."""
    held = session()
    return {
        "csrf_token": lambda: (
            g.identity.csrf_token if g.identity is not None else held.csrf if held is not None else ""
        ),
        "signed_in": _name_of(held.person) if held is not None and g.identity is not None else "",
        "pending_count": _pending_count,
    }


def _name_of(person: str) -> str:
    found = services().store.document().find(Person, person)
    return found.name if found is not None else person


def _pending_count() -> int:
    """How many objects the reader's pending changes touch; 0 also while it can't be told."""
    if g.identity is None:
        return 0
    try:
        return len(services().transactions(g.identity.subject).keys())
    except CentralinoError:
        return 0


def _language_asked(asked: Request) -> str:
    """The one of the cookie, else of the browser; English when neither is ours."""
    wanted = [asked.cookies.get("language", ""), *asked.accept_languages.values()]  # best first
    return next((lang[:2].lower() for lang in wanted if lang[:2].lower() in LANGUAGES), "en")


def _check_csrf(identity: Identity | None) -> None:
    """What a browser sends by itself proves nothing about who wanted it: changes must bring the session's token. Where there is
    no session yet, they must not come from another site's page."""
    if request.method in SAFE or (identity is not None and not identity.by_cookie):
        return
    held = None if identity is not None else session()
    wanted = identity.csrf_token if identity is not None else held.csrf if held is not None else ""
    given = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    origin = request.headers.get("Origin")
    elsewhere = origin is not None and origin.rstrip("/") != request.host_url.rstrip("/")
    if elsewhere or (wanted and not secrets.compare_digest(given.encode(), wanted.encode())):
        raise RefusedError(
            "this page is too old, or the request came from elsewhere", "load the page again", error_id="csrf"
        )


def _answer(error: CentralinoError) -> ResponseBase:
    """What went wrong, in the reader's language: a problem for programs, a page for people, who are first led to the sign-in."""
    if status_of(error) >= 500:
        _log.warning("%s %s: %s (%s)", request.method, request.path, error.error_id, g.trace)
    if request.path.startswith("/api/") or request.is_json:
        return _problem(error)
    if error.error_id == "unauthenticated":
        wanted = request.full_path.rstrip("?") if request.method == "GET" and request.path != "/" else None
        return redirect(url_for("entry.show", next=wanted), 303)
    page = render_template("portal/error.html", error=error, status=status_of(error))
    return Response(page, status_of(error), mimetype="text/html")


def _problem(error: CentralinoError) -> Response:
    body = problem(error)
    for name in ("detail", "hint"):
        body[name] = translated(body[name])
    for fault in body.get("faults", ()):
        fault["message"], fault["hint"] = translated(fault["message"]), translated(fault["hint"])
    response = Response(json.dumps(body), status_of(error), mimetype=MEDIA_TYPE)
    if status_of(error) == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _answer_http(error: HTTPException) -> ResponseBase:
    """What the framework itself found wrong, in the same form."""
    allow = error.get_response().headers.get("Allow") if error.code == 405 else None
    response = _answer(_of_http(error))
    response.status_code = error.code or 500
    if allow:
        response.headers["Allow"] = allow
    return response


def _of_http(error: HTTPException) -> CentralinoError:
    if isinstance(error, RequestEntityTooLarge):
        return RefusedError(
            "the request is too large", f"send at most {BODY_MAX // 1024 // 1024} MiB", error_id="too_large"
        )
    if isinstance(error, UnsupportedMediaType):
        return RefusedError(
            "the request's body is not JSON", "send Content-Type: application/json", error_id="media_type"
        )
    if error.code == 404:
        return NotFoundError("there is nothing at this address", "the API is described at /api/v1/openapi.json")
    if error.code == 405:
        return RefusedError("this can't be done here", "the Allow header says what can", error_id="method")
    return InvalidError([Fault("request", error.description or error.name, "", "request")])


def _answer_unknown(error: Exception) -> ResponseBase:
    """A fault of ours: the details go into the log, its number to the reader."""
    _log.error("%s %s failed (%s)", request.method, request.path, g.trace, exc_info=error)
    return _answer(
        CentralinoError("something went wrong inside", f"report it with this number: {g.trace}", error_id="internal")
    )
