"""``centralino vpn events``: what happened at a branch, as its edge told it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from appliance.commands.common import Json, out, print_json, print_table
from appliance.commands.completion import ids_of
from appliance.i18n import _, later
from appliance.paths import Paths

Site = Annotated[
    str, typer.Argument(metavar="SITE", help=later("Of the branch, such as torino"), autocompletion=ids_of("site"))
]


def events(site: Site, json: Json = False) -> None:
    """The newest last, as one reads."""
    from appliance.vpn.asking import Orders

    found = Orders(Paths.default().vpn_orders_socket).events(site)
    if json:
        print_json({"events": found})
        return
    title = _("What happened at {site}").format(site=site)
    print_table(title, (_("when"), _("what")), map(_row, reversed(found)), empty=_("Its edge has told of nothing yet."))
    if any(not each["sure"] for each in found):
        out.print(_("*: the edge's clock wasn't sure. The order is right all the same."))


def _row(event: dict[str, Any]) -> list[str]:
    from appliance.failover.happened import text

    try:
        at = f"{datetime.fromtimestamp(event['at'] / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):  # of a clock that no calendar knows
        at = "–"
    return [f"{at}{'' if event['sure'] else ' *'}", text(event)]
