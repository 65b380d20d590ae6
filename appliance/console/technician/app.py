"""The console's Flask application: who asks, in which language, how errors are answered."""

from __future__ import annotations

import hashlib
import hmac
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, g, redirect, render_template, request, send_from_directory, url_for
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response as ResponseBase

from appliance.console.headers import HEADERS
from appliance.console.technician.door import Door
from appliance.console.technician.pages import COOKIE, pages
from appliance.console.technician.samples import Samples
from appliance.console.technician.trying import Trying
from appliance.core.errors import CentralinoError, InvalidError, NotFoundError, RefusedError, UnavailableError
from appliance.edge.asking import Edge
from appliance.i18n import LANGUAGES, _, language, speaking, translated

_log = logging.getLogger("centralino.edge.console")

HERE: Final = Path(__file__).parent
STATIC: Final = (HERE / "static", HERE.parent / "portal" / "static")
"""The console's own style, and what it shares with the portal."""

OPEN: Final = frozenset({"pages.sign_in", "pages.in_language", "static_file"})
"""What needs no session."""
BODY_MAX: Final = 64 * 1024
NAMES: Final = {"en": "English", "it": "Italiano"}


@dataclass(frozen=True, slots=True)
class Services:
    """What the pages show, and who may see it."""

    edge: Edge
    door: Door
    samples: Samples
    trying: Trying


def create_app(of: Services) -> Flask:
    """The application of one edge."""
    app = Flask("appliance.console.technician", static_folder=None, template_folder=str(HERE / "templates"))
    app.config.update(MAX_CONTENT_LENGTH=BODY_MAX, MAX_FORM_PARTS=50)
    app.extensions["centralino"] = of

    @app.before_request
    def begin() -> ResponseBase | None:
        speaking(_language_asked())
        g.session = of.door.session(request.cookies.get(COOKIE, ""))
        if request.endpoint in OPEN:
            return None
        if g.session is None:
            return _to_the_door()
        if request.method == "POST" and not hmac.compare_digest(
            request.form.get("csrf_token", "").encode(), g.session.csrf.encode()
        ):
            raise RefusedError(
                "this page is too old, or the request came from elsewhere", "load the page again", error_id="csrf"
            )
        return None

    @app.after_request
    def end(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["Content-Language"] = language()
        return response

    @app.teardown_request
    def over(_error: BaseException | None) -> None:
        speaking("")  # the thread goes on to other work

    app.register_error_handler(CentralinoError, _answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unknown)
    app.register_blueprint(pages())
    app.get("/static/<path:name>")(static_file)
    app.context_processor(_everywhere)
    app.add_template_filter(_capital, "capital")
    return app


def static_file(name: str) -> ResponseBase:
    """A file of ours, or one that the portal has too."""
    for place in STATIC:
        if (place / name).is_file():
            response = send_from_directory(place, name, max_age=31536000 if "v" in request.args else 0)
            response.headers["Cache-Control"] = "max-age=31536000, immutable" if "v" in request.args else "no-cache"
            return response
    raise NotFound


def _everywhere() -> dict[str, Any]:
    return {
        "_": _, "t": translated, "language": language(), "languages": [(code, NAMES[code]) for code in LANGUAGES], "asset": _asset,
        "session": g.get("session"), "csrf": g.session.csrf if g.get("session") is not None else "",
    }  # fmt: skip


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _asset(name: str) -> str:
    return url_for("static_file", name=name, v=_version(name) or None)


@cache
def _version(name: str) -> str:
    file = next((place / name for place in STATIC if (place / name).is_file()), None)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file is not None else ""


def _language_asked() -> str:
    """The one of the cookie, else of the browser; English when neither is ours."""
    wanted = [request.cookies.get("language", ""), *request.accept_languages.values()]
    return next((lang[:2].lower() for lang in wanted if lang[:2].lower() in LANGUAGES), "en")


def _to_the_door() -> ResponseBase:
    target = url_for("pages.sign_in")
    if "HX-Request" in request.headers:  # a part of a page that was left open
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target, 303)


def _answer(error: CentralinoError) -> ResponseBase:
    page = render_template("error.html", error=error)
    return Response(page, _status(error), mimetype="text/html")


def _status(error: CentralinoError) -> int:
    for kind, status in ((InvalidError, 422), (NotFoundError, 404), (RefusedError, 409), (UnavailableError, 503)):
        if isinstance(error, kind):
            return status
    return 500


def _answer_http(error: HTTPException) -> ResponseBase:
    response = _answer(NotFoundError("this page isn't there", "", error_id="nothing_here"))
    response.status_code = error.code or 500
    return response


def _answer_unknown(error: Exception) -> ResponseBase:
    """A fault of ours: the details go into the log."""
    _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return _answer(CentralinoError("something went wrong inside", "see the console's log", error_id="internal"))
