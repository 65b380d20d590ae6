"""``centralino edge``: what runs at a branch."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from appliance.commands.common import Json, out, print_json, program
from appliance.commands.edge_console import code, console
from appliance.commands.edge_enrol import enrol
from appliance.commands.edge_measure import call, drill
from appliance.commands.edge_network import network
from appliance.commands.edge_relay import relay
from appliance.commands.edge_support import bundle, events, logs
from appliance.commands.edge_tests import add_to as add_tests
from appliance.commands.edge_use import use
from appliance.core.errors import RefusedError, UnavailableError
from appliance.i18n import _, fault_text, translated

CHANGES: Final = 5
"""The last of them are shown; all that are kept are in the JSON."""


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("At a branch: its edge"), no_args_is_help=True)
    sub.command("enrol", help=_("Become a branch: by the invitation's file, or by the code that was read out"))(enrol)
    sub.command("run", help=_("Keep this edge: its tunnel, its configuration, its certificate, its clock"))(run)
    sub.command("relay", help=_("Several lines to an OpenVPN server of another maker: calls go over all of them"))(
        relay
    )
    sub.command("status", help=_("Whether this edge reaches the centre, and what isn't well"))(status)
    sub.command("call", help=_("A test call to the centre and back: what was lost each way, and how it was heard"))(
        call
    )
    sub.command("drill", help=_("Cut a line for some seconds, and prove that nothing is lost"))(drill)
    sub.command("use", help=_("Use one line by hand, for a time, or as they are judged again"))(use)
    sub.command("network", help=_("Interfaces of the lines: how they stand, and another setting of one, on trial"))(
        network
    )
    sub.command("console", help=_("The technician's console: pages for a telephone or laptop at the branch"))(console)
    sub.command("code", help=_("Make the technician's code, which opens the console"))(code)
    sub.command("events", help=_("What happened at this branch, the newest first"))(events)
    sub.command("logs", help=_("The ends of this edge's logs, without keys and passwords"))(logs)
    sub.command("bundle", help=_("One file for who helps from afar: status, events, logs, network; no key is in it"))(
        bundle
    )
    sub.command("unit", help=_("The unit by which systemd starts this edge, in a sandbox and as a user of its own"))(
        unit
    )
    add_tests(sub)
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
    from appliance.edge.owner import owner
    from appliance.edge.paths import EdgePaths

    if os.geteuid() != owner(EdgePaths.default())[0]:  # root's files in there would be none of its service's
        raise RefusedError(
            "this edge is another user's: that of its service", "systemctl start centralino-edge", error_id="not_ours"
        )
    words = [*(("--trial", f"{trial:g}") if trial is not None else ()), *(("--keep-clock",) if keep_clock else ())]
    # From here on another program: what a command needs besides would be a quarter of its memory.
    os.execv(sys.executable, [sys.executable, "-m", "appliance.edge", *words])  # noqa: S606


def told() -> dict[str, Any]:
    """What the agent says. :raises UnavailableError: ``edge_not_running``."""
    from appliance.edge.asking import said
    from appliance.edge.paths import EdgePaths

    return dict(said(EdgePaths.default().socket))


def foreign_told() -> list[dict[str, Any]] | None:
    """How lines to a server of another maker stand; None: ``centralino edge relay`` doesn't run."""
    from appliance.edge.asking import said
    from appliance.edge.foreign import place, socket_of

    try:
        return list(said(socket_of(place())))
    except UnavailableError:
        return None


def status(json: Json = False) -> None:
    """In a few lines."""
    foreign = foreign_told()
    try:
        found = told()
    except UnavailableError:
        if foreign is None:
            raise
        found = {}
    if json:
        print_json({**found, **({"foreign": foreign} if foreign is not None else {})})
        return
    if found:
        _show(found)
    for line in foreign or ():
        _show_foreign(line)


def _show_foreign(line: dict[str, Any]) -> None:
    if line["left_s"]:
        state = f"[red]{_('left, nothing came by it; again in {seconds} s').format(seconds=line['left_s'])}[/]"
    elif line["followed"]:
        state = _("the server answers by it")
    elif line["heard_s"] is None:
        state = _("the server has never answered by it")
    else:
        state = _("ready; the server last answered by it {seconds} s ago").format(seconds=round(line["heard_s"]))
    out.print(_("Line {device} to {server}: {state}").format(device=line["device"], server=line["host"], state=state))


def _show(found: dict[str, Any]) -> None:
    from appliance.edge.words import addresses, ago, by_hand, put_back
    from appliance.failover.reasons import reason

    if not found["enrolled"]:
        out.print(_("This edge isn't enrolled: it belongs to no site yet."))
    else:
        reached = _("reached") if found["centre_reached"] else f"[red]{_('not reached')}[/]"
        out.print(_("Site {site}, revision {revision}. Centre: {reached}").format(
            site=found["site"], revision=found["revision"], reached=reached
        ))  # fmt: skip
        out.print(_("Addresses of the centre: {addresses}").format(addresses=", ".join(found["remotes"])))
        out.print(_("Certificate until {date}").format(date=found["certificate_ends"][:10]))
    for line in found.get("lines", ()):
        out.print(_("Line {number} ({device}) to {centre}: {state}").format(
            number=line["line"], device=line["device"], centre=line["centre"], state=_state(line)
        ))  # fmt: skip
        if line["up"] and line["to_centre"] and line["from_centre"]:
            out.print("  " + _("to the centre {to}; from it {back}; {rtt} ms there and back").format(
                to=_voice(line["to_centre"]), back=_voice(line["from_centre"]), rtt=round(line["rtt_ms"])
            ))  # fmt: skip
    for link in found.get("links", ()):
        text = _("Line {number} at {device}: {addresses}").format(
            number=link["line"], device=link["device"], addresses=addresses(link)
        )
        out.print(escape(text))
        if link["put_back"]:
            out.print(f"  [yellow]{escape(put_back(link))}[/]")
    if found.get("chosen"):
        out.print(f"[yellow]{by_hand(found['chosen'])}[/]")
    for change in found.get("changes", ())[:CHANGES]:
        text = _("{ago}: line {line} is the best, because {why}").format(
            ago=ago(change["ago_s"]), line=change["taken"], why=reason(change)
        )
        out.print(f"  {escape(text)}")
    if found["on_trial"]:
        out.print(_("A change is on trial: unless the centre is reached, it is undone by itself."))
    if found["refused"]:
        why = translated(found["refused"]["why"])
        text = _("Revision {revision} was undone: {why}").format(revision=found["refused"]["revision"], why=why)
        out.print(f"[red]{escape(text)}[/]")
    for fault in found["faults"]:
        out.print(f"[red]{escape(fault_text(fault))}[/]")


def _voice(way: dict[str, Any]) -> str:
    """How voice would be heard that way."""
    return _("MOS {mos} ({percent} % lost, {late} ms late)").format(
        mos=f"{way['mos']:.1f}", percent=f"{100 * (way['loss'] or 0):.1f}", late=round(way["late_ms"])
    )


def _state(line: dict[str, Any]) -> str:
    if line.get("cut"):
        return f"[yellow]{_('cut for the drill')}[/]"
    if not line["up"]:
        return f"[red]{_('is down')}[/]"
    return _("works, and is the best now") if line["best"] else _("works")


def unit(
    user: Annotated[bool, typer.Option("--user", help=_("The user that it runs as, for sysusers.d"))] = False,
    console: Annotated[bool, typer.Option("--console", help=_("Those of the technician's console"))] = False,
) -> None:
    """On standard output."""
    from appliance.console.technician import unit as of_console
    from appliance.edge import unit as of_edge

    made = of_console if console else of_edge
    typer.echo(made.USERS if user else made.unit(program()), nl=False)
