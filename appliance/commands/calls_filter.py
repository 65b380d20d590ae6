"""Options of ``centralino calls`` that say which calls, and what they mean to the history."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from appliance.commands.common import store
from appliance.core.errors import Fault, InvalidError
from appliance.history.filter import CallFilter, Range
from appliance.history.model import Direction, Outcome
from appliance.i18n import _
from appliance.pbx.extensions.model import Extension
from appliance.pbx.numbers.model import NumberPlan

OUTSIDE_DIGITS = 6
"""From so many digits on, a number that no extension has is taken for an outside one."""

Since = Annotated[
    str | None, typer.Option(help=_("Began then or later: today, 2h, 7d, 08:30, 2030-01-31, 2030-01-31T08:30"))
]
Until = Annotated[str | None, typer.Option(help=_("Began before; written as for --since"))]
Number = Annotated[str, typer.Option(help=_("Took part in any role: an extension, or an outside number"))]
Prefix = Annotated[str, typer.Option(help=_("A number that begins so took part, as recorded: +3902"))]
NumberPart = Annotated[str, typer.Option(help=_("A number with these digits in it took part"))]
Name = Annotated[str, typer.Option(help=_("Part of the caller's name; capital letters don't matter"))]
ExtensionNumber = Annotated[str, typer.Option(help=_("A device of this extension took part"))]
Device = Annotated[str, typer.Option(help=_("This device took part: its id"))]
Trunk = Annotated[str, typer.Option(help=_("By this trunk, at least tried: its id"))]
Site = Annotated[str, typer.Option(help=_("Somebody at this site took part: its id"))]
OfDirection = Annotated[Direction | None, typer.Option(help=_("Only this direction"))]
OfOutcome = Annotated[Outcome | None, typer.Option(help=_("Only this outcome"))]
Talked = Annotated[str, typer.Option(help=_("Talked for so many seconds: 60-, -5, 60-300"))]
Rang = Annotated[str, typer.Option(help=_("Rang for so many seconds: 20-, -5, 5-20"))]
Loss = Annotated[str, typer.Option(help=_("Worst loss of a leg in percent: 2-, 1-5"))]
Jitter = Annotated[str, typer.Option(help=_("Worst jitter of a leg in milliseconds: 30-"))]
LinkedId = Annotated[str, typer.Option(help=_("The engine's id of the call"))]
Zone = Annotated[str | None, typer.Option(help=_("Time zone, Europe/Rome; without it this machine's"))]


def wanted(
    since: str | None, until: str | None, number: str, prefix: str, number_part: str, name: str, extension: str,
    device: str, trunk: str, site: str, direction: Direction | None, outcome: Outcome | None, talked: str, rang: str,
    loss: str, jitter: str, linked_id: str,
) -> CallFilter:  # fmt: skip
    """The filter that the options say."""
    return CallFilter(
        since=begin(since, "--since") if since else None,
        until=begin(until, "--until") if until else None,
        number=recorded(number) if number else "",
        number_prefix=_bare(prefix),
        number_part=_bare(number_part),
        name=name,
        extension=extension,
        device=device,
        trunk=trunk,
        site=site,
        direction=direction,
        outcome=outcome,
        talk_ms=span(talked, "--talked", 1000),
        ring_ms=span(rang, "--rang", 1000),
        loss_percent=span(loss, "--loss"),
        jitter_ms=span(jitter, "--jitter"),
        linked_id=linked_id,
    )


def span(text: str, option: str, unit: int = 1) -> Range | None:
    """A range as people write it, in units of the history: ``60-``, ``-5``, ``1-5``, or one number alone."""
    if not text:
        return None
    number = r"\d{1,9}(?:\.\d{1,3})?"
    match = re.fullmatch(rf"({number})?(-)?({number})?", text, re.ASCII)
    if match is None or text == "-" or not (match[2] or match[1]) or (match[3] and not match[2]):
        raise InvalidError([Fault(option, _("is not a range"), _("for example 60-, -5 or 60-300"), "range")])
    low = float(match[1]) * unit if match[1] else None
    high = (float(match[3]) * unit if match[3] else None) if match[2] else low
    return Range(low, high)


def machine_zone() -> str:
    """Name of this machine's time zone."""
    if name := os.environ.get("TZ", "").removeprefix(":"):
        return name
    try:
        return str(Path("/etc/localtime").readlink()).partition("zoneinfo/")[2] or "UTC"
    except OSError:
        return "UTC"


def _bare(number: str) -> str:
    """Digits of a number without what people put between them."""
    return re.sub(r"[\s./()-]", "", number)


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
    digits = _bare(number)
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
