"""``centralino edge``: what runs at a branch."""

from __future__ import annotations

import typer

from appliance.commands.edge_enrol import enrol
from appliance.i18n import _


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("At a branch: its edge"), no_args_is_help=True)
    sub.command("enrol", help=_("Become a branch: by the invitation's file, or by the code that was read out"))(enrol)
    app.add_typer(sub, name="edge", rich_help_panel=_("The running system"))
