"""``centralino edge call`` and ``drill``: a call's packets to the centre and back; and the same while a line is cut."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from appliance.commands.common import Json, out, print_json, print_table
from appliance.i18n import _, translated

LOOK_S: Final = 0.3
BAD: Final = 1
"""Exit status when packets were lost, or it couldn't be measured."""


def call(
    seconds: Annotated[int, typer.Option(min=3, max=60, help=_("For how many seconds"))] = 10, json: Json = False
) -> None:
    """Exit status 1: more than 1 % was lost, or nothing could be measured."""
    _measure(seconds, None, json=json)


def drill(
    line: Annotated[int, typer.Argument(metavar="LINE", help=_("Number of the line to cut"))],
    seconds: Annotated[int, typer.Option(min=5, max=60, help=_("For how many seconds"))] = 30,
    json: Json = False,
) -> None:
    """As if it were unplugged; it is joined again by itself. Exit status 1: anything was lost, or it couldn't be cut."""
    _measure(seconds, line, json=json)


def _measure(seconds: int, line: int | None, *, json: bool) -> None:
    from rich.progress import Progress

    from appliance.edge.asking import Edge
    from appliance.edge.paths import EdgePaths
    from appliance.edge.words import outcome

    edge = Edge(EdgePaths.default().orders)
    found = edge.measure(seconds, line)
    try:
        with Progress(console=out, transient=True, disable=json) as progress:
            title = _("Test call") if line is None else _("Drill of line {line}").format(line=line)
            task = progress.add_task(title, total=1.0)
            while not found["over"]:
                time.sleep(LOOK_S)
                found = edge.measurement() or {**found, "over": True}
                progress.update(task, completed=found["share"])
    except KeyboardInterrupt:
        edge.end()
        raise
    if json:
        print_json(found)
        raise typer.Exit(0 if found["result"] and outcome(found)[1] else BAD)
    _show(found)


def _show(found: dict[str, Any]) -> None:
    from appliance.edge.words import outcome

    if found["fault"] or not found["result"]:
        fault = found["fault"] or {"message": _("it was ended before it was over"), "hint": ""}
        hint = f" ({translated(fault['hint'])})" if fault["hint"] else ""
        out.print(f"[red]{translated(fault['message'])}{hint}[/]")
        raise typer.Exit(BAD)
    result = found["result"]
    columns = (_("Way"), _("Lost"), _("Longest silence"), _("Jitter"), "MOS")
    rows = [
        [name, f"{way['lost']} / {sent}", f"{way['gap_ms']:.0f} ms", f"{way['jitter_ms']:.1f} ms", f"{way['mos']:.1f}"]
        for name, way, sent in (
            (_("to the centre"), result["up"], result["sent"]), (_("from the centre"), result["down"], result["reached"]),
        )
    ]  # fmt: skip
    print_table(_("Test call"), columns, rows, empty="")
    sentence, good = outcome(found)
    out.print(sentence if good else f"[red]{sentence}[/]")
    if not good:
        raise typer.Exit(BAD)
