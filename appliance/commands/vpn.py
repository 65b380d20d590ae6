"""``centralino vpn``: which branches are in, and shutting one out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape

from appliance.commands import enrolment, vpn_drill, vpn_events, vpn_root
from appliance.commands.common import Json, author, out, print_json, print_table
from appliance.commands.completion import ids_of
from appliance.commands.notifications import when
from appliance.i18n import _, fault_text, translated
from appliance.paths import Paths
from appliance.vpn.asking import told

Site = Annotated[str, typer.Argument(metavar="SITE", autocompletion=ids_of("site"))]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("The voice VPN: which branches are in"), no_args_is_help=True)
    sub.command("status", help=_("Every branch: connected since when, from where, how much passes"))(status)
    sub.command("drill", help=_("What each line would have done by itself, month by month"))(vpn_drill.drill)
    sub.command("events", help=_("What happened at a branch, as its edge told it"))(vpn_events.events)
    sub.command("revoke", help=_("Revoke a branch's certificates: it is cut off and can't come in again"))(revoke)
    enrolment.add_to(sub)
    vpn_root.add_to(sub)
    sub.command("trust-clock", help=_("Say that this machine's clock is right, whatever time was seen before"))(
        trust_clock
    )
    app.add_typer(sub, name="vpn", rich_help_panel=_("The running system"))


def status(json: Json = False) -> None:
    """Branches, and what isn't well."""
    found = told(Paths.default().vpn_socket)
    if json:
        print_json(found)
        return
    for fault in (*found["faults"], *(each["alarm"] for each in found["daemons"] if each["alarm"])):
        out.print(f"[red]{escape(fault_text(fault))}[/]")
    for alarm in found["alarms"]:
        colour = "red" if alarm["severity"] == "error" else "yellow"
        out.print(f"[{colour}]{escape(translated(alarm['message']))}[/]\n  {escape(translated(alarm['hint']))}")
    columns = (
        _("site"), _("since"), _("address"), _("within the tunnel"), _("round trip"), _("lost"), _("from it"), _("to it"), "OpenVPN", _("certificate until"),
        _("configuration"), _("came in by"),
    )  # fmt: skip
    empty = _("No branch is in use. Add one: centralino branch add ID site=SITE number=1")
    print_table(_("Branches"), columns, map(_row, found["branches"]), empty=empty)
    if any(each.get("lines") for each in found["branches"]):
        about = (_("site"), _("line"), _("state"), _("address"), _("round trip"), _("lost from it"), _("lost to it"))
        print_table(_("Lines"), about, [row for each in found["branches"] for row in _lines(each)], empty="")
    for each in found["addresses"] if found["branches"] else ():
        out.print(_("{host}: {count} of {all} branches have come in by it").format(
            host=each["host"], count=len(each["proven_by"]), all=len(found["branches"])
        ))  # fmt: skip


def _row(branch: dict[str, Any]) -> list[str]:
    if not branch["connected"]:
        return [branch["site"], _("not connected"), *["–"] * 8, *_edge(branch)]
    return [
        branch["site"],
        when(1000 * branch["since"]),
        branch["address"],
        ", ".join(branch["inside"]) or "–",
        "–" if branch["rtt_median_ms"] is None else f"{branch['rtt_median_ms']:.0f} ms",
        _("unknown") if branch["loss"] is None else f"{100 * branch['loss']:.0f} %",
        _rate(branch["received_rate"]),
        _rate(branch["sent_rate"]),
        branch["version"] or "–",
        (branch["certificate_ends"] or "–")[:10],
        *_edge(branch),
    ]


def _lines(branch: dict[str, Any]) -> Iterator[list[str]]:
    words = {True: _("works"), False: _("is down"), None: _("not known")}
    for line in branch.get("lines", ()):
        state = words[line["up"]] + (", " + _("held back: used where no other works") if line["capped"] else "")
        losses = ("–" if each is None else f"{100 * each:.1f} %" for each in (line["loss_up"], line["loss_down"]))
        trip = "–" if line["rtt_ms"] is None else f"{line['rtt_ms']:.0f} ms"
        yield [branch["site"], line["name"], state, line["address"] or "–", trip, *losses]


def _edge(branch: dict[str, Any]) -> tuple[str, str]:
    """What its edge says: how it stands with its part of the document, and by which of our addresses it came in last."""
    said = branch.get("edge") or {}
    revision, way = said.get("revision"), said.get("way") or {}
    match said.get("standing"):
        case "confirmed":
            text = _("revision {number}").format(number=revision)
        case "trial":
            text = _("revision {number}, on trial").format(number=revision)
        case "rolled_back":
            text = _("revision {number} undone").format(number=revision)
        case _:
            text = "–"
    return text, str(way.get("host") or "–")


def _rate(bits: float | None) -> str:
    return "–" if bits is None else f"{bits / 1000:.0f} kbit/s"


def revoke(site: Site) -> None:
    """All certificates of a site. The VPN's process cuts its connections within a second."""
    from appliance.access.branches import note_revocation
    from appliance.commands.access import CONSOLE, access
    from appliance.vpn.pki import Authority

    with access() as opened:
        note_revocation(opened, site, author(), CONSOLE)
    ended = Authority(Paths.default().vpn).revoke_site(site)
    if ended:
        out.print(_("Revoked: {names}. The branch is let in again when it is enrolled anew.").format(
            names=", ".join(each.name for each in ended)
        ))  # fmt: skip
    else:
        out.print(_("Nothing to revoke: {site} has no certificate that is good.").format(site=site))


def trust_clock() -> None:
    """Certificates are issued again. Refused where the clock can't be right."""
    from appliance.vpn.pki import Authority

    now = Authority(Paths.default().vpn).trust_clock()
    out.print(_("It is {time}: certificates are issued again.").format(time=f"{now:%Y-%m-%d %H:%M} UTC"))
