"""``centralino vpn drill``: what each line of a branch would have done by itself, month by month."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.commands.common import Json, out, print_json, print_table
from appliance.i18n import _, later
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.failover.drill import Row

Month = Annotated[str, typer.Argument(metavar="[MONTH]", help=later("Such as 2026-11; the newest when left out"))]


def drill(month: Month = "", json: Json = False) -> None:
    """Worst first."""
    from appliance.vpn.asking import Orders

    found = Orders(Paths.default().vpn_orders_socket).drill(month)
    if json:
        print_json({"month": found.month, "months": found.months, "lines": [asdict(each) for each in found.lines]})
        return
    columns = (
        _("site"), _("line"), _("would have carried calls well"), _("fairly or badly"), _("was down"), _("outages"), _("the longest"), _("was the only one"),
    )  # fmt: skip
    title = _("Lines by themselves, {month}").format(month=found.month or "–")
    print_table(
        title,
        columns,
        map(_row, found.lines),
        empty=_("Nothing is known of that month: lines are watched while their branch is in."),
    )
    if len(found.months) > 1:
        out.print(
            _("Other months: {months}").format(months=", ".join(each for each in found.months if each != found.month))
        )


def _row(row: Row) -> list[str]:
    from appliance.failover.drill import lasted

    share = "–" if row.share is None else f"{100 * row.share:.2f} %"
    mark = share if row.enough else f"[red]{share}[/]"
    return [
        row.site,
        row.name,
        mark,
        lasted(row.fair_s + row.poor_s),
        lasted(row.down_s),
        str(row.outages),
        lasted(row.longest_s),
        lasted(row.alone_s),
    ]
