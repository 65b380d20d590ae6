"""``centralino bans``: who is kept out and why, and lifting it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from appliance.commands.access import CONSOLE, access, when
from appliance.commands.common import Json, author, out, print_json, print_table
from appliance.i18n import _, translated
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.commands.findings import Finding
    from appliance.firewall.bans.asking import Standing
    from appliance.firewall.bans.model import Evidence


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("Who is kept out after failed attempts, and why"), no_args_is_help=True)
    sub.command("list", help=_("Bans that stand: why, for how long, and what was seen"))(list_)
    sub.command("lift", help=_("Let an address or a network in again, and forgive it"))(lift)
    sub.command("shared", help=_("The bans as branches are given them: JSON, without reasons"))(shared)
    app.add_typer(sub, name="bans", rich_help_panel=_("The running system"))


def list_(
    search: Annotated[str, typer.Argument(help=_("Only those that hit this address or network"))] = "",
    json: Json = False,
) -> None:
    """The newest first."""
    from appliance.firewall.bans import asking

    found = asking.told(Paths.default(), search, asking.LIMIT_MAX if json else asking.LIMIT)
    if json:
        print_json(asdict(found))
        return
    for trouble in found.troubles:
        out.print(f"[red]{escape(translated(trouble.message))}[/] [dim]({escape(translated(trouble.hint))})[/]")
    columns = (_("network"), _("since"), _("left"), _("kind"), _("why"), _("last attempt"))
    print_table(_("Bans"), columns, map(_row, found.bans), empty=_("Nobody is kept out."))
    if found.count > len(found.bans):
        out.print(_("{count} in all; look for one: centralino bans list ADDRESS").format(count=found.count))
    if found.spared:
        rows = ([*_row(ban)[:2], "–", _("protected"), *_row(ban)[4:]] for ban in found.spared)
        print_table(_("Protected, but misbehaving"), columns, rows, empty="")


def lift(network: Annotated[str, typer.Argument(metavar="NETWORK")], json: Json = False) -> None:
    """Strikes are forgotten too: the next ban of it is as short as a first one."""
    from appliance.access.bans import lift as lift_by

    with access() as opened:
        lifted = lift_by(opened, Paths.default(), network, author=author(), address=CONSOLE)
    if json:
        print_json({"lifted": list(lifted)})
    elif lifted:
        out.print(_("Lifted: {networks}").format(networks=", ".join(lifted)))
    else:
        out.print(_("No ban hits it. What it had on its account is forgiven all the same."))


def shared() -> None:
    """For edges."""
    from appliance.firewall.bans import asking

    print(asking.shared(Paths.default()).decode())  # noqa: T201


def _row(ban: Standing) -> list[str]:
    return [ban.network, when(ban.since), left_text(ban.left), _kind(ban), translated(ban.words), _seen(ban.evidence)]


def _kind(ban: Standing) -> str:
    if ban.quarantine:
        return _("quarantine")
    return _("brief ban") if ban.brief else _("ban")


def _seen(evidence: tuple[Evidence, ...]) -> str:
    if not evidence:
        return "–"
    from appliance.firewall.words import TRIED

    last = evidence[-1]
    where = _(TRIED.get(last.service, last.service.value))
    return ", ".join(part for part in (where, last.account, translated(last.detail)) if part)


def left_text(seconds: int) -> str:
    """A duration in its two largest units."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, _("d")), (hours, _("h")), (minutes, _("min")), (seconds, _("s"))]
    first = next((place for place, (count, _unit) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])


def judge(paths: Paths) -> Iterator[Finding]:
    """For the doctor: the judge of bans runs, and everything does that it needs. Nothing to say where the firewall isn't ours."""
    from appliance.commands.findings import Finding, Grade
    from appliance.engine.place import has_firewall
    from appliance.firewall.bans import asking

    if not has_firewall():
        return
    found = asking.told(paths, limit=1)
    for trouble in found.troubles:
        yield Finding("bans", Grade.FAULT, translated(trouble.message), translated(trouble.hint))
    for ban in found.spared[:3]:
        yield Finding(
            "bans", Grade.WARNING,
            _("{network} is protected, but would be banned: {why}").format(network=ban.network, why=translated(ban.words)),
            "centralino bans list",
        )  # fmt: skip
    if not found.troubles and not found.spared:
        yield Finding("bans", Grade.OK, _("{count} bans stand").format(count=found.count))
