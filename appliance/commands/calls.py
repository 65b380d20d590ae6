"""``centralino calls``: the call history, a page at a time, and one call with its legs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.commands import calls_more as more
from appliance.commands.calls_filter import (
    Device,
    ExtensionNumber,
    Jitter,
    LinkedId,
    Loss,
    Name,
    Number,
    NumberPart,
    OfDirection,
    OfOutcome,
    Prefix,
    Rang,
    Since,
    Site,
    Talked,
    Trunk,
    Until,
    wanted,
)  # fmt: skip
from appliance.commands.calls_text import clock, direction_text, local, outcome_text, result_text
from appliance.commands.common import Json, err, history, out, print_json, print_table
from appliance.history.model import Call, Leg, Outcome
from appliance.history.plain import plain_call
from appliance.i18n import _

if TYPE_CHECKING:
    from appliance.history.service import Gap, Page, StoredCall


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("Calls that have ended, newest first"))
    sub.callback(invoke_without_command=True)(calls)
    more.add_to(sub)
    sub.command("show", help=_("One call with its legs, transfers and voice quality"))(show)
    app.add_typer(sub, name="calls", rich_help_panel=_("The running system"))


def calls(
    context: typer.Context,
    since: Since = None, until: Until = None, number: Number = "", prefix: Prefix = "", number_part: NumberPart = "",
    name: Name = "", extension: ExtensionNumber = "", device: Device = "", trunk: Trunk = "", site: Site = "",
    direction: OfDirection = None, outcome: OfOutcome = None, talked: Talked = "", rang: Rang = "", loss: Loss = "",
    jitter: Jitter = "", linked_id: LinkedId = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help=_("Calls on a page"))] = 30,
    after: Annotated[str | None, typer.Option(help=_("The next page: what the page before ends with"))] = None,
    total: Annotated[bool, typer.Option("--total", help=_("Also say how many there are, at least about"))] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """One page of the history."""
    if context.invoked_subcommand is not None:
        return
    asked = wanted(
        since, until, number, prefix, number_part, name, extension, device, trunk, site, direction, outcome, talked, rang,
        loss, jitter, linked_id,
    )  # fmt: skip
    with history() as opened:
        page = opened.calls(asked, limit=limit, after=after)
        gaps = opened.gaps(asked.since, asked.until)
        counted = opened.total(asked) if total else None
    if json:
        found = [as_json(item) for item in page.calls]
        sum_ = {"total": asdict(counted)} if counted else {}
        print_json({"calls": found, "next": page.next, "gaps": [asdict(gap) for gap in gaps], **sum_})
    else:
        show_page(page, gaps)
        if counted:
            text = _("{number} calls in all") if counted.exact else _("About {number} calls in all")
            out.print(text.format(number=counted.calls))


def show_page(page: Page, gaps: Iterable[Gap]) -> None:
    """A page for people."""
    columns = ("id", _("began"), _("from"), _("to"), _("answered by"), _("outcome"), _("length"))
    rows = (
        [str(item.id), local(item.call.started), caller(item.call), item.call.dialled or "–", answered_by(item.call),
         outcome_text(item.call.outcome), clock(item.call.talk_ms)] for item in page.calls
    )  # fmt: skip
    print_table(_("Calls"), columns, rows, empty=_("No call found."))
    if page.next:
        out.print(_("More: the same with --after {key}").format(key=page.next))
    for gap in gaps:
        err.print(
            _("Calls may be missing from {since} to {until}: {reason}").format(
                since=local(gap.since), until=local(gap.until), reason=gap.reason
            )
        )


def show(id: Annotated[int, typer.Argument(min=1, help=_("As centralino calls shows it"))], json: Json = False) -> None:
    """One call."""
    with history() as opened:
        found = opened.call(id)
    if json:
        print_json(as_json(found))
        return
    call = found.call
    rows = [
        [_("direction"), direction_text(call.direction)],
        [_("from"), f"{caller(call)} {call.from_name}".strip()],
        [_("dialled"), call.dialled or "–"],
        [_("outcome"), outcome_text(call.outcome)],
        [_("answered by"), answered_by(call)],
        [_("began"), local(call.started)],
        [_("rang for"), clock(call.ring_ms)],
        [_("talked for"), clock(call.talk_ms)],
        [_("ended"), local(call.ended)],
    ]
    rows += [[_("forwarded to"), number] for number in call.forwards]
    rows += [
        [_("transferred"), _("{by} passed {of} to {to}").format(by=t.by, of=t.of, to=t.to)] for t in call.transfers
    ]
    if call.incomplete:
        rows.append([_("incomplete"), _("events of this call were lost")])
    print_table(_("Call {id}").format(id=id), ("", ""), rows, empty="", header=False)
    out.print()
    columns = (
        _("leg"),
        _("number"),
        _("result"),
        _("began"),
        _("length"),
        _("codec"),
        _("lost in/out %"),
        _("jitter"),
        "RTT",
    )
    print_table(_("Legs"), columns, (leg_row(leg) for leg in call.legs), empty=_("No leg."))


def as_json(item: StoredCall) -> dict[str, Any]:
    """A call as plain data."""
    return plain_call(item.id, item.call)


def caller(call: Call) -> str:
    """Who called: an extension, or the number that was shown."""
    return call.from_extension or call.from_number or _("withheld")


def answered_by(call: Call) -> str:
    """The number that answered, and the device or line if it tells more."""
    number, via = call.reached_number, call.reached_device or call.reached_trunk
    if number and via:
        return f"{number} ({via})"
    return number or via or (_("a service") if call.outcome is Outcome.ANSWERED else "–")


def leg_row(leg: Leg) -> list[str]:
    """A leg for people. Losses in percent of packets, times in milliseconds."""
    quality = leg.quality
    arrow = "→" if leg.caller else "←"
    lost = jitter = round_trip = "–"
    if quality is not None:
        lost = f"{share(quality.lost_received, quality.received + quality.lost_received)}/{share(quality.lost_sent, quality.sent)}"
        jitter = f"{quality.jitter_received_ms:.0f} ms"
        round_trip = "–" if quality.round_trip_ms is None else f"{quality.round_trip_ms:.0f} ms"
    length = clock(max(0, (leg.ended or leg.answered) - leg.answered)) if leg.answered else "–"
    return [
        f"{arrow} {leg.device or leg.trunk}", leg.number or leg.extension or "–", result_text(leg.result),
        local(leg.started)[11:], length, leg.codec or "–", lost, jitter, round_trip,
    ]  # fmt: skip


def share(part: int | None, whole: int) -> str:
    """``part`` of ``whole`` in percent; a dash when nobody knows."""
    if part is None:
        return "–"
    return f"{100 * part / whole:.1f}" if whole else "0.0"
