"""``centralino lab``: harms the lines of a lab that runs on this machine (``make lab``), and says how it stands."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from appliance.commands.common import Json, out, print_json, print_table
from appliance.core.errors import CorruptError, Fault, InvalidError, UnavailableError
from appliance.engine.unix import connect
from appliance.i18n import _, later

ANSWER_S: Final = 10.0
ARGUMENTS: Final = {"link": "LINK", "impairment": "NAME", "profile": "NAME"}


def place() -> Path:
    """Where a running lab takes orders, from root: ``CENTRALINO_LAB``, else one for the machine."""
    return Path(os.environ.get("CENTRALINO_LAB", "/run/centralino-lab.sock"))


Link = Annotated[str, typer.Argument(metavar="LINK", help=later("Such as torino-fibre; centre is all of the centre"))]
Name = Annotated[str, typer.Argument(metavar="NAME")]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(
        help=_("The lab on this machine (make lab): harm lines, and see what comes of it"), no_args_is_help=True
    )
    sub.command("impair", help=_("Harm a line: blackhole, loss3, jitter60…; well: no more"))(impair)
    sub.command("profile", help=_("Say what kind a line is: 10ms, 25ms-loss1, 700ms…"))(profile)
    sub.command("status", help=_("Lines and calls of the lab"))(status)
    app.add_typer(sub, name="lab", rich_help_panel=_("The running system"))


def impair(link: Link, name: Name) -> None:
    """From now on, until something else is said."""
    _asked({"do": "impair", "link": link, "name": name})
    out.print(_("{link}: {name}").format(link=link, name=name))


def profile(link: Link, name: Name) -> None:
    """What the line is like when nothing harms it."""
    _asked({"do": "profile", "link": link, "name": name})
    out.print(_("{link}: {name}").format(link=link, name=name))


def status(json: Json = False) -> None:
    """As the lab's page shows it."""
    found: dict[str, Any] = _asked({"do": "status"})
    if json:
        print_json(found)
        return
    words = {True: _("works"), False: _("is down"), None: _("not known")}
    rows = [
        [line["link"], words[line["up"]], "–" if line["rtt_ms"] is None else f"{line['rtt_ms']:.0f} ms",
         *(f"{100 * line[way]['lost']:.1f} %" for way in ("up_now", "down_now")), line["profile"], line["harmed"]]
        for branch in found["branches"] for line in branch["lines"]
    ]  # fmt: skip
    columns = (_("line"), _("state"), _("round trip"), _("lost from it"), _("lost to it"), _("kind"), _("harmed by"))
    print_table(_("Lines"), columns, rows, empty="")
    calls = [
        [call["caller"]["number"], call["callee"]["number"], call["state"], *(_heard(call[end]) for end in ("caller", "callee"))]
        for call in found["calls"]
    ]  # fmt: skip
    about = (_("who calls"), _("who is called"), _("state"), _("the caller hears"), _("the called hears"))
    print_table(_("Calls"), about, calls, empty=_("Nobody talks. Give the lab calls: make lab CALLS=3"))


def _heard(end: dict[str, Any]) -> str:
    heard = end["heard"]
    if heard is None:
        return "–"
    lost = _("{count} lost of {all}").format(count=heard["lost"], all=heard["lost"] + heard["packets"])
    return f"MOS {heard['mos']:.2f}, {lost}"


def _asked(order: dict[str, Any]) -> Any:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connect(connection, place())
            connection.sendall(json.dumps(order).encode() + b"\n")
            heard = b""
            while chunk := connection.recv(65536):
                heard += chunk
    except OSError as error:
        message = "no lab can be reached on this machine"
        raise UnavailableError(
            message, "start one by: make lab; orders to it are root's (sudo)", error_id="lab_not_running"
        ) from error
    try:
        answer = dict(json.loads(heard))
    except (ValueError, TypeError) as error:
        message = "the lab's answer can't be understood"
        raise CorruptError(
            message, "it was started by another release: start it anew", error_id="lab_answer"
        ) from error
    if "unknown" in answer:
        given, known = answer["given"], ", ".join(answer["known"])
        fault = Fault(
            ARGUMENTS.get(answer["unknown"], "order"),
            f"there is no {given!r} in the lab",
            f"one of: {known}",
            "lab_unknown",
        )
        raise InvalidError([fault])
    return answer.get("done")
