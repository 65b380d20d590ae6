"""The lab's page: who is connected with whom, and how it goes. Shows only; what harms goes by the command."""

from __future__ import annotations

import threading
from typing import Any, Final

from flask import Flask, Response, render_template, request, send_from_directory
from werkzeug.serving import make_server

from appliance.failover.quality import FAIR_MOS, GOOD_MOS
from appliance.i18n import LANGUAGES, _, language, speaking
from appliance.paths import CHECKOUT
from lab.plan import ISPS
from lab.watch import Watch

HERE: Final = "127.0.0.1"
PORT: Final = 8099
PORTAL: Final = CHECKOUT / "appliance" / "console" / "portal" / "static"
TAKEN: Final = ("tokens.css", "icon.svg", "vendor/htmx.js")
ROLES: Final = {"primary": lambda: _("first line"), "backup": lambda: _("second line"), "metered": lambda: _("paid by volume")}  # fmt: skip
STATES: Final = {
    "waiting": lambda: _("is about to begin"), "dialling": lambda: _("rings"), "talking": lambda: _("talk"), "over": lambda: _("is over"),
    "cut off": lambda: _("was cut off"), "failed": lambda: _("couldn't be made"),
}  # fmt: skip


def make_app(watch: Watch) -> Flask:
    """The pages."""
    app = Flask("lab")

    @app.before_request
    def _language() -> None:
        speaking(request.accept_languages.best_match(LANGUAGES) or "en")

    @app.after_request
    def _policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'; style-src 'self' 'unsafe-inline'"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/")
    def _page() -> str:
        return render_template("page.html", **_shown(watch.now))

    @app.get("/now")
    def _now() -> str:
        return render_template("now.html", **_shown(watch.now))

    @app.get("/portal/<path:name>")
    def _taken(name: str) -> Response:
        return send_from_directory(PORTAL, name) if name in TAKEN else Response(status=404)

    return app


def _shown(now: dict[str, Any]) -> dict[str, Any]:
    places = {isp.name: 80 + 130 * index for index, isp in enumerate(ISPS)}
    branches = []
    for index, branch in enumerate(now["branches"]):
        y = 30 + 210 * index
        lines = [
            {**line, "y": y + 30 + 55 * at, "isp_y": places[line["isp"]] - 14 + 28 * index}
            for at, line in enumerate(branch["lines"])
        ]
        branches.append({**branch, "y": y, "lines": lines})
    return {
        "_": _, "lang": language(), "branches": branches, "isps": places, "calls": now["calls"], "centre": now["centre"],
        "line_class": line_class, "line_state": line_state, "mos_class": mos_class, "roles": ROLES, "states": STATES,
    }  # fmt: skip


def line_class(line: dict[str, Any]) -> str:
    """How a line is drawn."""
    if line["up"] is False:
        return "bad"
    if line["up"] is None:
        return "unknown"
    return "poor" if max(line[way]["lost"] for way in ("up_now", "down_now")) > 0.005 else "good"


def line_state(line: dict[str, Any]) -> str:
    """The same in a word."""
    words = {"bad": _("is down"), "unknown": _("not known"), "poor": _("loses packets"), "good": _("works")}
    return words[line_class(line)]


def mos_class(value: float) -> str:
    """How a MOS is drawn."""
    return "good" if value >= GOOD_MOS else "poor" if value >= FAIR_MOS else "bad"


class Served:
    """The page at a port of this machine, while the ``with`` lasts. :raises OSError: the port is taken."""

    def __init__(self, watch: Watch, port: int = PORT) -> None:
        self._server = make_server(HERE, port, make_app(watch), threaded=True)
        self.url = f"http://{HERE}:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Served:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
