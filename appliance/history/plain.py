"""Calls and figures as plain data, for programs (pure): the same by command and by the API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from appliance.history.hours import Figures
from appliance.history.model import Call

MEANS = ("answer_rate", "mean_talk_ms", "mean_wait_ms", "mean_lost_wait_ms")


def plain_call(id: int, call: Call) -> dict[str, Any]:
    """A call with its id: times in milliseconds since the epoch, as in the history itself."""
    worked_out = {name: getattr(call, name) for name in ("ring_ms", "talk_ms", "loss_percent", "jitter_ms")}
    return {"id": id, **asdict(call), **worked_out}


def plain_figures(figures: Figures) -> dict[str, Any]:
    """Sums, times in milliseconds; rates as shares of 1, and None where there is nothing to divide by."""
    return asdict(figures) | {name: getattr(figures, name) for name in MEANS}
