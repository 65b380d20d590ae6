"""What is said of what an edge tells (pure): by its command and by the technician's console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.failover.quality import FAIR_MOS, GOOD_MOS
from appliance.i18n import _


def role(line: Mapping[str, Any]) -> str:
    """What a line is there for."""
    words = {"primary": _("primary line"), "backup": _("backup line"), "metered": _("metered line")}
    return words.get(str(line["role"]), str(line["role"]))


def by_hand(chosen: Mapping[str, Any]) -> str:
    """A line that somebody has chosen."""
    return _("Line {line} alone is used by hand, as long as it works, for {minutes} min more.").format(
        line=chosen["line"], minutes=max(1, round(chosen["left_s"] / 60))
    )


def state(line: Mapping[str, Any], chosen: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """How it stands: in a word, and the style of its mark. ``chosen``: by hand."""
    if line["cut"]:
        return _("cut for the drill"), ""
    if not line["up"]:
        return _("down"), "removed"
    if chosen and line["line"] != chosen["line"]:
        return _("held back by hand"), ""
    if line["capped"]:
        return _("its volume is used up"), ""
    return _("works"), "added"


def addresses(link: Mapping[str, Any]) -> str:
    """Where a line's interface is in the internet: its addresses, where they are from, and the provider's router."""
    own = ", ".join(link["addresses"]) or _("no address")
    source = _("by DHCP of {server}").format(server=link["server"]) if link["server"] else _("as entered")
    router = ", ".join(link["gateways"]) or _("none")
    if link["access"] == "dhcp" and not link["server"]:
        source = _("by DHCP")
    return _("{addresses} ({source}), router {router}").format(addresses=own, source=source, router=router)


def on_trial(network: Mapping[str, Any]) -> str:
    """Settings that were made here, and may be undone."""
    return _(
        "The setting of {device} is on trial: unless the centre is reached by it, or you keep it, it is undone in {seconds} s."
    ).format(device=", ".join(network["devices"]), seconds=network["trial_s"])


def put_back(link: Mapping[str, Any]) -> str:
    """What somebody else changed at it; empty: nothing."""
    if not link["put_back"]:
        return ""
    return _("Changed from outside and put back {count} times, the last time: {what}").format(
        count=link["put_back"], what=link["last"]
    )


def quality(mos: float | None) -> tuple[str, str]:
    """How voice is heard: in a word, and its style."""
    if mos is None:
        return _("not known"), ""
    if mos >= GOOD_MOS:
        return _("good voice"), "added"
    if mos >= FAIR_MOS:
        return _("fair voice"), ""
    return _("poor voice"), "removed"


def percent(share: float | None) -> str:
    """Such as ``0.3 %``."""
    return "–" if share is None else f"{100 * share:.1f} %"


def ago(seconds: float) -> str:
    """Such as ``5 min ago``."""
    if seconds < 120:
        return _("{count} s ago").format(count=round(seconds))
    if seconds < 7200:
        return _("{count} min ago").format(count=round(seconds / 60))
    return _("{count} h ago").format(count=round(seconds / 3600))


def outcome(measurement: Mapping[str, Any]) -> tuple[str, bool]:
    """What a measurement has shown, in a sentence; and whether that is good."""
    result = measurement["result"]
    lost = result["up"]["lost"] + result["down"]["lost"]
    if measurement["cut"] is not None and measurement["cut_s"] == 0:
        return _(
            "The line wasn't cut, so nothing is proven: another line failed meanwhile, or it was ended before."
        ), False
    if not result["returned"]:
        return _("Nothing came back from the centre."), False
    if measurement["cut"] is not None:
        values = {
            "line": measurement["cut"],
            "seconds": round(measurement["cut_s"]),
            "packets": result["sent"],
            "lost": lost,
        }
        if not lost:
            return _("Line {line} was cut for {seconds} s: of {packets} packets each way none was lost.").format(
                **values
            ), True
        return _("Line {line} was cut for {seconds} s: {lost} packets were lost.").format(**values), False
    if not lost:
        return _("Of {packets} packets each way none was lost.").format(packets=result["sent"]), True
    return _("{lost} of {packets} packets were lost.").format(lost=lost, packets=result["sent"]), lost <= result[
        "sent"
    ] // 100
