"""``centralino calls``: the call history, a page at a time, and one call with its legs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.commands.common import Json, err, out, print_json, print_table, store
from appliance.core.errors import Fault, InvalidError
from appliance.history.model import Call, Direction, Leg, Outcome
from appliance.i18n import _
from appliance.paths import Paths
from appliance.pbx.extensions.model import Extension
from appliance.pbx.numbers.model import NumberPlan

if TYPE_CHECKING:
    from appliance.history.service import Gap, History, Page, StoredCall

OUTSIDE_DIGITS = 6
"""From so many digits on, a number that no extension has is taken for an outside one."""


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("Calls that have ended, newest first"))
    sub.callback(invoke_without_command=True)(calls)
    sub.command("show", help=_("One call with its legs, transfers and voice quality"))(show)
    app.add_typer(sub, name="calls", rich_help_panel=_("The running system"))


def calls(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option(help=_("Began then or later: today, 2h, 7d, 08:30, 2030-01-31, 2030-01-31T08:30"))
    ] = None,
    until: Annotated[str | None, typer.Option(help=_("Began before; written as for --since"))] = None,
    number: Annotated[str, typer.Option(help=_("Took part in any role: an extension, or an outside number"))] = "",
    direction: Annotated[Direction | None, typer.Option(help=_("Only this direction"))] = None,
    outcome: Annotated[Outcome | None, typer.Option(help=_("Only this outcome"))] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help=_("Calls on a page"))] = 30,
    after: Annotated[str | None, typer.Option(help=_("The next page: what the page before ends with"))] = None,
    json: Json = False,
) -> None:
    """One page of the history."""
    if context.invoked_subcommand is not None:
        return
    from appliance.history.service import CallFilter

    wanted = CallFilter(
        since=begin(since, "--since") if since else None,
        until=begin(until, "--until") if until else None,
        number=recorded(number) if number else "",
        direction=direction,
        outcome=outcome,
    )
    with history() as opened:
        page = opened.calls(wanted, limit=limit, after=after)
        gaps = opened.gaps(wanted.since, wanted.until)
    if json:
        found = [as_json(item) for item in page.calls]
        print_json({"calls": found, "next": page.next, "gaps": [asdict(gap) for gap in gaps]})
    else:
        show_page(page, gaps)


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


@contextmanager
def history() -> Iterator[History]:
    """The history of this installation."""
    from appliance.history.service import History
    from appliance.store.history import open_history

    database = open_history(paths=Paths.default())
    try:
        yield History(database)
    finally:
        database.close()


def as_json(item: StoredCall) -> dict[str, Any]:
    """A call as plain data: times in milliseconds since the epoch, as in the history itself."""
    return {"id": item.id, **asdict(item.call), "ring_ms": item.call.ring_ms, "talk_ms": item.call.talk_ms}


def begin(text: str, option: str, now: datetime | None = None) -> datetime:
    """A moment in the past, in the machine's time zone: ``today``, ``2h`` or ``7d`` ago, a time of today, a date, both."""
    now = now or datetime.now().astimezone()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if text in ("today", _("today")):
            return midnight
        if match := re.fullmatch(r"(\d{1,5})([mhd])", text):
            unit = {"m": "minutes", "h": "hours", "d": "days"}[match[2]]
            return now - timedelta(**{unit: int(match[1])})
        if match := re.fullmatch(r"(\d{1,2}):(\d{2})", text):
            return midnight.replace(hour=int(match[1]), minute=int(match[2]))
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidError(
            [
                Fault(
                    option,
                    _("is not a time"),
                    _("for example today, 2h, 7d, 08:30, 2030-01-31 or 2030-01-31T08:30"),
                    "time",
                )
            ]
        ) from None
    return found if found.tzinfo else found.astimezone()


def recorded(number: str) -> str:
    """A number as the history has it: extensions as they are, outside numbers in E.164 form."""
    digits = re.sub(r"[\s./()-]", "", number)
    if not re.fullmatch(r"\+?[0-9*#]{1,32}", digits):
        raise InvalidError([Fault("--number", _("is not a number"), _("for example 201 or +390200000200"), "number")])
    if digits.startswith("+") or len(digits) < OUTSIDE_DIGITS or not digits.isdecimal():
        return digits
    with store() as opened:
        document = opened.document()
    if any(item.number == digits for item in document.all(Extension).values()):
        return digits
    return e164(digits, next((plan.country for plan in document.all(NumberPlan).values()), "IT"))


def e164(digits: str, country: str) -> str:
    """An outside number as one dials it in a country, in E.164 form; as it is when it can't be one."""
    import phonenumbers

    try:
        found = phonenumbers.parse(digits, country)
    except phonenumbers.NumberParseException:
        return digits
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)


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


def local(millis: int) -> str:
    """A time of the history in the machine's time zone."""
    return datetime.fromtimestamp(millis / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(millis: int) -> str:
    """A duration as minutes and seconds; with hours when there are any."""
    minutes, seconds = divmod(round(millis / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def direction_text(direction: str) -> str:
    """A direction in words."""
    return {
        "internal": _("internal"),
        "inbound": _("inbound"),
        "outbound": _("outbound"),
        "emergency": _("emergency"),
    }.get(direction, direction)


def outcome_text(outcome: str) -> str:
    """An outcome in words."""
    return {
        "answered": _("answered"),
        "busy": _("busy"),
        "no_answer": _("no answer"),
        "cancelled": _("cancelled by the caller"),
        "failed": _("failed"),
        "engine_failure": _("the engine died"),
    }.get(outcome, outcome)


def result_text(result: str) -> str:
    """How a leg ended, in words."""
    words = {"elsewhere": _("elsewhere"), "cancelled": _("cancelled"), "open": _("unknown")}
    return words.get(result) or outcome_text(result)
