"""``centralino edge use``: one line by hand, for a time."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from appliance.commands.common import out
from appliance.core.errors import Fault, InvalidError
from appliance.i18n import _

AUTO: Final = "auto"


def use(
    line: Annotated[str, typer.Argument(metavar="LINE", help=_("Number of the line, or auto: as lines are judged"))],
    minutes: Annotated[int, typer.Option(min=1, max=1440, help=_("For how many minutes"))] = 30,
) -> None:
    """The others are used only where it doesn't work. Calls are then not sent twice; it ends by itself."""
    from appliance.edge.asking import Edge
    from appliance.edge.paths import EdgePaths

    edge = Edge(EdgePaths.default().orders)
    if line == AUTO:
        edge.choose(None)
        out.print(_("Lines are used as they are judged."))
        return
    if not line.isascii() or not line.isdigit():
        raise InvalidError([Fault("line", f"is {line!r}", f"1, 2 …, or {AUTO}", "number")])
    edge.choose(int(line), 60 * minutes)
    out.print(
        _("Line {line} alone is used, as long as it works, for {minutes} min.").format(line=line, minutes=minutes)
    )
