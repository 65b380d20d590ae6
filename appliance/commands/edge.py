"""``centralino edge``: what runs at a branch."""

from __future__ import annotations

import asyncio
import json as plain_json
import logging
import socket
from typing import Annotated, Any, Final

import typer

from appliance.commands.common import Json, out, print_json
from appliance.commands.edge_enrol import enrol
from appliance.core.errors import UnavailableError
from appliance.i18n import _

ASK_S: Final = 5.0


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("At a branch: its edge"), no_args_is_help=True)
    sub.command("enrol", help=_("Become a branch: by the invitation's file, or by the code that was read out"))(enrol)
    sub.command("run", help=_("Keep this edge: its tunnel, its configuration, its certificate, its clock"))(run)
    sub.command("status", help=_("Whether this edge reaches the centre, and what isn't well"))(status)
    app.add_typer(sub, name="edge", rich_help_panel=_("The running system"))


def run(
    trial: Annotated[
        float | None,
        typer.Option(
            min=2, max=3600, help=_("Seconds that a change has to prove itself; else by the centre's addresses")
        ),
    ] = None,
    keep_clock: Annotated[
        bool, typer.Option("--keep-clock", help=_("Never set the clock: something else on this machine does"))
    ] = False,
) -> None:
    """Until SIGTERM or Ctrl-C; the tunnel ends with it. Killed otherwise, the tunnel stays."""
    from appliance.edge.agent import Agent
    from appliance.edge.clock import EdgeClock, keep_system_clock, set_system_clock
    from appliance.edge.paths import EdgePaths

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    paths = EdgePaths.default()
    clock = EdgeClock(paths.clock, keep_system_clock if keep_clock else set_system_clock)
    asyncio.run(Agent(paths, clock, trial_s=trial).run())


def told() -> dict[str, Any]:
    """What the agent says. :raises UnavailableError: ``edge_not_running``."""
    from appliance.edge.paths import EdgePaths
    from appliance.engine.unix import connect

    said = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ASK_S)
            connect(connection, EdgePaths.default().socket)
            while chunk := connection.recv(65536):
                said += chunk
        return dict(plain_json.loads(said))
    except (OSError, ValueError) as error:
        raise UnavailableError(
            "no edge runs here", "start it: centralino edge run", error_id="edge_not_running"
        ) from error


def status(json: Json = False) -> None:
    """In a few lines."""
    found = told()
    if json:
        print_json(found)
        return
    if not found["enrolled"]:
        out.print(_("This edge isn't enrolled: it belongs to no site yet."))
    else:
        reached = _("reached") if found["centre_reached"] else f"[red]{_('not reached')}[/]"
        out.print(_("Site {site}, revision {revision}. Centre: {reached}").format(
            site=found["site"], revision=found["revision"], reached=reached
        ))  # fmt: skip
        out.print(_("Addresses of the centre: {addresses}").format(addresses=", ".join(found["remotes"])))
        out.print(_("Certificate until {date}").format(date=found["certificate_ends"][:10]))
    if found["on_trial"]:
        out.print(_("A change is on trial: unless the centre is reached, it is undone by itself."))
    if found["refused"]:
        out.print(f"[red]{_('Revision {revision} was undone: {why}').format(**found['refused'])}[/]")
    for fault in found["faults"]:
        out.print(f"[red]{fault}[/]")
