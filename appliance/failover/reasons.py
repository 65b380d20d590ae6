"""Why a branch's voice goes by another line than before, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.failover.relay.best import Why
from appliance.i18n import _


def reason(change: Mapping[str, Any]) -> str:
    """Of a change as an edge tells it (``changes`` of its status)."""
    why = Why(change["why"])
    if why is Why.FIRST:
        return _("it is the first that worked")
    left = change["seen"][0]
    values = {
        "line": change["left"], "percent": f"{100 * (left['loss'] or 0):.1f}", "late": round(left["late_ms"]), "mos": f"{left['mos']:.1f}",
        "seconds": round(change["hold_s"]),
    }  # fmt: skip
    words = {
        Why.GONE: _("line {line} is no longer there"),
        Why.SILENT: _("nothing came through by line {line} any more"),
        Why.LOSS: _("line {line} lost {percent} % of the packets"),
        Why.LATE: _("packets by line {line} came {late} ms late on average"),
        Why.QUALITY: _("voice by line {line} would have been hard to understand (MOS {mos})"),
        Why.CAPPED: _("line {line} has carried its month's volume"),
        Why.BACK: _("the better line has been good for {seconds} s"),
    }
    return words[why].format(**values)
