"""Words and figures of the call history for people."""

from __future__ import annotations

from datetime import datetime

from appliance.i18n import _


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
