"""What happened at a branch (:mod:`appliance.vpn.inside.events`), in words. An edge of another release may tell what we have no words for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.failover.reasons import reason
from appliance.i18n import _, translated


def text(event: Mapping[str, Any]) -> str:
    """Of one event."""
    try:
        return _text(str(event["what"]), event["about"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return str(event["what"])


def _text(what: str, about: Mapping[str, Any]) -> str:
    if "line" in about or what == "best":
        return _of_line(what, about)
    match what:
        case "started":
            return _("the router was started") if about["machine"] else _("the edge's agent was started")
        case "set_here" if about["how"]:
            return _("interface {device} was set up at the router: {how}").format(
                device=about["device"], how=about["how"]
            )
        case "set_here":
            return _("interface {device} is as the configuration says again").format(device=about["device"])
        case "centre_reached":
            return _("the centre is reached")
        case "centre_away":
            return _("the centre isn't reached any more: {why}").format(why=translated(about["why"]))
        case "revision":
            return _("revision {revision} is in force").format(revision=about["revision"])
        case "certificate":
            return _("the certificate is {name}").format(name=about["certificate"])
        case "undone":
            return _("revision {revision} was undone: {why}").format(
                revision=about["revision"], why=translated(about["why"])
            )
        case "fault":
            return translated(about["text"])
        case "thinned":
            counts = ", ".join(f"{count} × {name}" for name, count in sorted(about["of"].items()))
            return _("{count} older events were too many to be kept: {of}").format(
                count=sum(about["of"].values()), of=counts
            )
        case "journal_lost":
            return _("events before this one were lost: their file was garbage")
    return what


def _of_line(what: str, about: Mapping[str, Any]) -> str:
    match what:
        case "line_up":
            return _("line {line} works again").format(line=about["line"])
        case "line_down":
            return _("line {line} is down").format(line=about["line"])
        case "chosen":
            return _("line {line} was chosen by hand").format(line=about["line"])
        case "chosen_over":
            return _("line {line} is no longer chosen by hand").format(line=about["line"])
        case "best":
            return _("line {line} is the best, because {why}").format(line=about["taken"], why=reason(about))
        case "addresses" if about["addresses"]:
            return _("line {line} has the addresses {addresses}").format(
                line=about["line"], addresses=", ".join(map(str, about["addresses"]))
            )
        case "addresses":
            return _("line {line} has no address any more").format(line=about["line"])
        case "put_back":
            return _("line {line}: somebody changed its settings at the router; put back: {what}").format(
                line=about["line"], what=about["what"]
            )
    return what
