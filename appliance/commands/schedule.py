"""``centralino schedule``: revisions that wait for their time."""

from __future__ import annotations

from typing import Annotated

import typer

from appliance.commands.common import Json, local_time, print_json, print_table, store
from appliance.commands.completion import completed
from appliance.commands.configuration import report
from appliance.core.errors import NotFoundError
from appliance.i18n import _
from appliance.paths import Paths


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("Revisions that wait for their time: commit --at, rollback --at"), no_args_is_help=True)
    sub.command("list", help=_("Show them"))(list_)
    sub.command("cancel", help=_("Take one off; its changes are staged again"))(cancel)
    app.add_typer(sub, name="schedule", rich_help_panel=_("The configuration document"))


def list_(json: Json = False) -> None:
    """What waits, the next first."""
    from appliance.applier.client import ApplierClient

    waiting = sorted(ApplierClient(Paths.default().applier_socket).state()["scheduled"], key=lambda each: each["at"])
    found = []
    with store() as opened:
        for each in waiting:
            try:
                revision = opened.revision(each["revision"])
            except NotFoundError:
                continue
            found.append({**each, "author": revision.author, "message": revision.message})
    if json:
        print_json(found)
        return
    rows = ([str(each["revision"]), local_time(each["at"]), each["author"], each["message"]] for each in found)
    columns = (_("revision"), _("time"), _("author"), _("message"))
    print_table(_("Schedule"), columns, rows, empty=_("Nothing is scheduled."))


def waiting() -> list[str]:
    """Numbers of proposed revisions, for the shell's completion."""
    return completed(lambda opened: [str(each.number) for each in opened.open_proposals()])


def cancel(
    revision: Annotated[int, typer.Argument(help=_("Its number: centralino schedule list"), autocompletion=waiting)],
    json: Json = False,
) -> None:
    """It isn't applied."""
    from appliance.applier.client import ApplierClient

    report(ApplierClient(Paths.default().applier_socket).unschedule(revision), json=json)
