"""The console's pages: lines, tests, what happened, help from elsewhere."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from flask import Blueprint, Response, current_app, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as ResponseBase

from appliance.console.technician.graphs import HEIGHT, WIDTH, graph
from appliance.console.technician.samples import best_ways
from appliance.core.errors import CentralinoError, Fault, InvalidError, NotFoundError, RefusedError
from appliance.edge import words
from appliance.edge.asking import access_of
from appliance.failover.happened import text
from appliance.failover.reasons import reason
from appliance.i18n import LANGUAGES

if TYPE_CHECKING:
    from appliance.console.technician.app import Services

Answer = str | ResponseBase | tuple[str, int]
COOKIE: Final = "__Host-technician"
EVENTS: Final = 100
LOG_LINES: Final = 200
CHANGES: Final = 5


def pages() -> Blueprint:
    """All of them."""
    made = Blueprint("pages", __name__)
    made.get("/")(lines)
    made.get("/live")(live)
    made.post("/use")(choose)
    made.route("/sign-in", methods=["GET", "POST"])(sign_in)
    made.post("/sign-out")(sign_out)
    made.post("/language")(in_language)
    made.get("/network")(network)
    made.post("/network/set")(set_up)
    made.post("/network/keep")(keep)
    made.get("/phones")(phones)
    made.get("/tests")(tests)
    made.get("/tests/going")(going)
    made.get("/tests/found")(found)
    made.post("/tests/try")(begin_try)
    made.post("/tests/call")(call)
    made.post("/tests/drill")(drill)
    made.post("/tests/end")(end)
    made.get("/events")(events)
    made.get("/logs")(logs)
    made.get("/support")(support)
    made.post("/support/bundle")(bundle)
    return made


def services() -> Services:
    """Of this edge."""
    return cast("Services", current_app.extensions["centralino"])


# Ways in and out


def sign_in() -> Answer:
    """By the technician's code."""
    door = services().door
    if request.method == "GET":
        return (
            redirect(url_for("pages.lines"), 303)
            if g.session is not None
            else render_template("sign_in.html", has_code=door.has_code)
        )
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise RefusedError(
            "this page is too old, or the request came from elsewhere", "load the page again", error_id="csrf"
        )
    try:
        session = door.sign_in(request.form.get("code", "")[:100])
    except RefusedError as error:
        return render_template(
            "sign_in.html", has_code=door.has_code, error=error
        ), 429 if error.error_id == "wait" else 401
    response = redirect(url_for("pages.lines"), 303)
    response.set_cookie(COOKIE, session.token, path="/", secure=True, httponly=True, samesite="Strict")
    return response


def sign_out() -> Answer:
    """On this device."""
    services().door.sign_out(request.cookies.get(COOKIE, ""))
    response = redirect(url_for("pages.sign_in"), 303)
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
    return response


def in_language() -> Answer:
    """Of the pages, for a year; back to where the reader was."""
    wanted = request.form.get("language", "")
    if wanted not in LANGUAGES:
        raise InvalidError([Fault("language", "is none of ours", ", ".join(LANGUAGES), "choice")])
    back = request.form.get("next", "/")
    response = redirect(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/", 303)
    response.set_cookie("language", wanted, max_age=31536000, path="/", secure=True, httponly=True, samesite="Strict")
    return response


# Lines


def lines() -> Answer:
    """How everything stands."""
    return render_template("lines.html", **_standing())


def live() -> Answer:
    """The part of it that changes."""
    return render_template("standing.html", **_standing())


def choose() -> Answer:
    """One line by hand, for a time; none: as they are judged."""
    line = request.form.get("line", "")
    if line and not line.isdecimal():
        raise InvalidError([Fault("line", "is no line's number", "1", "number")])
    services().edge.choose(int(line) if line else None, 60 * _number("minutes") if line else 0)
    return redirect(url_for("pages.lines"), 303)


def _standing() -> dict[str, Any]:
    """An edge that doesn't run is shown as such, and is no fault of the page."""
    try:
        told = services().edge.status()
    except CentralinoError as error:
        return {"away": error}
    now, samples = time.monotonic(), services().samples
    ways = best_ways(told)
    changes = [(words.ago(each["ago_s"]), each["taken"], reason(each)) for each in told["changes"][:CHANGES]]
    return {
        "away": None, "told": told, "lines": list(ways.values()), "links": told.get("links", ()), "graphs": {line: graph(samples.of(line), now) for line in ways},
        "changes": changes, "words": words, "size": (WIDTH, HEIGHT),
    }  # fmt: skip


# Interfaces of lines


def network() -> Answer:
    """How each is set up, and another setting of one."""
    told = services().edge.status()
    links = {each["device"]: each for each in told["links"]}
    settings = {each["device"]: each for each in told["network"]["settings"]}
    devices = {each["device"]: each["line"] for each in (*told["links"], *told["lines"])}
    return render_template(
        "network.html", told=told, links=links, settings=settings, devices=sorted(devices.items(), key=lambda each: each[1]), words=words
    )  # fmt: skip


def set_up() -> Answer:
    """One of them, on trial."""
    form = request.form
    how, access = form.get("how", ""), None
    if how not in ("dhcp", "static", "given"):
        raise InvalidError([Fault("how", "is no way to get addresses", "dhcp", "one_of")])
    if how != "given":
        addresses, routers, names = (
            form.get(name, "")[:300].replace(",", " ").split() for name in ("address", "router", "names")
        )
        access = access_of(dhcp=how == "dhcp", addresses=addresses, routers=routers, names=names)
    services().edge.set_up(form.get("device", "")[:20], access)
    return redirect(url_for("pages.network"), 303)


def keep() -> Answer:
    """What is on trial is right; it may have proven itself since the page was made, or been undone, which the next one shows."""
    try:
        services().edge.keep()
    except NotFoundError as error:
        if error.error_id != "no_trial":
            raise
    return redirect(url_for("pages.network"), 303)


# Who is there


def phones() -> Answer:
    """Who has been heard in the branch's networks."""
    from appliance.edge.reach.seen import seen  # small until somebody looks

    networks = services().edge.status()["networks"]
    return render_template("phones.html", seen=seen(networks), networks=networks, words=words)


# Tests


def tests() -> Answer:
    """What can be tried."""
    return render_template("tests.html", **_tried())


def going() -> Answer:
    """How the measurement goes."""
    return render_template("measurement.html", **_tried())


def _tried() -> dict[str, Any]:
    edge = services().edge
    told = edge.status()
    return {
        "told": told, "numbers": sorted({each["line"] for each in told["lines"]}), "measurement": edge.measurement(), "words": words,
        "tried": services().trying.last, "centre": next((each["centre"] for each in told["lines"]), ""),
    }  # fmt: skip


def found() -> Answer:
    """What is found by what is tried."""
    return render_template("found.html", tried=services().trying.last)


def begin_try() -> Answer:
    """Ping, trace, name servers, or a check of all lines."""
    kind, line = request.form.get("kind", ""), request.form.get("line", "")
    services().trying.begin(kind, request.form.get("host", "").strip()[:300], int(line) if line.isdecimal() else None)
    return redirect(url_for("pages.tests", _anchor="found"), 303)


def call() -> Answer:
    """A test call."""
    services().edge.measure(_number("seconds"))
    return redirect(url_for("pages.tests", _anchor="measurement"), 303)


def drill() -> Answer:
    """The same, while a line is cut."""
    line = request.form.get("line", "")
    if not line.isdecimal():
        raise InvalidError([Fault("line", "is no line's number", "1", "number")])
    services().edge.measure(_number("seconds"), int(line))
    return redirect(url_for("pages.tests", _anchor="measurement"), 303)


def end() -> Answer:
    """Now."""
    services().edge.end()
    return redirect(url_for("pages.tests", _anchor="measurement"), 303)


def _number(name: str) -> float:
    given = request.form.get(name, "")
    try:
        return float(given[:10])
    except ValueError as error:
        raise InvalidError([Fault(name, "is no number", "30", "number")]) from error


# What happened


def events() -> Answer:
    """The newest first."""
    found = [(_moment(each), text(each)) for each in services().edge.events(EVENTS)]
    return render_template("events.html", events=found)


def _moment(event: dict[str, Any]) -> tuple[str, bool]:
    """UTC, and whether the clock was sure."""
    try:
        at = datetime.fromtimestamp(event["at"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # of a clock that no calendar knows
        at = "–"
    return at, bool(event["sure"])


def logs() -> Answer:
    """The ends of logs."""
    return render_template("logs.html", **services().edge.logs(request.args.get("name", "")[:100], LOG_LINES))


# Help from elsewhere


def support() -> Answer:
    """What to send to whom, and how this router is replaced."""
    try:
        site = services().edge.status()["site"]
    except CentralinoError:
        site = None
    return render_template("support.html", site=site)


def bundle() -> Answer:
    """All that somebody elsewhere needs to see, without secrets."""
    made = services().edge.bundle()
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    headers = {"Content-Disposition": f'attachment; filename="centralino-edge-{stamp}.tar.gz"'}
    return Response(made, mimetype="application/gzip", headers=headers)
