"""What is worth an event at a branch: how the edge stands now against how it stood a moment ago (:meth:`appliance.edge.agent.Agent.told`, and ``away``: why the centre
isn't reached, which is none of its ``faults`` here)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from appliance.clock import Moment
from appliance.edge.journal import Event, Journal

SEEN: Final = "change"
"""By which the journal remembers the last change of the best line: whoever comes after us knows what was said."""
BOOT: Final = "boot"


class News:
    """See this module."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._before: Mapping[str, Any] | None = None
        self._seen: str | None = None

    def look(self, told: Mapping[str, Any], now: Moment) -> None:
        """How it stands now; events are those of a branch, so there are none before it is one."""
        if not told["enrolled"]:
            return
        if self._before is None:
            self._begin(told, now)
        else:
            for what, about in _differences(self._before, told):
                self._add(what, now, told, about)
        self._changes(told, now)
        self._before = told

    def _begin(self, told: Mapping[str, Any], now: Moment) -> None:
        self._seen = self._journal.remembered(SEEN)
        anew = self._journal.remembered(BOOT) != now.boot
        self._journal.remember(BOOT, now.boot)
        lines = {str(number): up for number, up in _ups(told).items()}
        self._add("started", now, told, {"machine": anew, "revision": told["revision"], "lines": lines})

    def _changes(self, told: Mapping[str, Any], now: Moment) -> None:
        """Another line became the best. The last one is told first, so that those are new which come before the one that we know."""
        fresh = []
        for change in told["changes"]:
            if change["id"] == self._seen:
                break
            fresh.append(change)
        for change in reversed(fresh):
            ago = int(1000 * change["ago_s"])
            about = {key: change[key] for key in ("left", "taken", "why", "hold_s", "seen")}
            self._journal.add(Event("best", now.wall - ago, told["clock_sure"], about))
        if fresh:
            self._seen = fresh[0]["id"]
            self._journal.remember(SEEN, fresh[0]["id"])

    def _add(self, what: str, now: Moment, told: Mapping[str, Any], about: dict[str, Any]) -> None:
        self._journal.add(Event(what, now.wall, told["clock_sure"], about))


def _differences(before: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    was, now = _ups(before), _ups(told)
    for number in sorted(now):
        if was.get(number, now[number]) is not now[number]:
            yield ("line_up" if now[number] else "line_down"), {"line": number}
    yield from _links(_by_line(before), _by_line(told))
    if before["centre_reached"] and not told["centre_reached"] and before["state"] == told["state"]:
        yield "centre_away", {"why": str(told["away"] or "")[:300]}
    if told["centre_reached"] and not before["centre_reached"]:
        yield "centre_reached", {}
    yield from _set_here(_settings(before), _settings(told))
    line, former = (each.get("chosen", None) and each["chosen"]["line"] for each in (told, before))
    if line != former:
        yield ("chosen", {"line": line}) if line else ("chosen_over", {"line": former})
    if told["revision"] != before["revision"]:
        yield "revision", {"revision": told["revision"], "before": before["revision"]}
    if told["certificate"] != before["certificate"]:
        yield "certificate", {"certificate": told["certificate"]}
    if told["refused"] and told["refused"] != before["refused"]:
        yield "undone", {"revision": told["refused"]["revision"], "why": str(told["refused"]["why"])[:300]}
    for fault in told["faults"]:
        if fault not in before["faults"]:
            yield "fault", {"text": str(fault)[:500]}


def _links(
    was: Mapping[int, Mapping[str, Any]], now: Mapping[int, Mapping[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Interfaces of lines: other addresses, and what somebody else had changed."""
    for number in sorted(now):
        former = was.get(number)
        if former is None:
            continue
        if now[number]["addresses"] != former["addresses"]:
            yield "addresses", {"line": number, "addresses": list(now[number]["addresses"])[:8]}
        if now[number]["put_back"] > former["put_back"]:
            yield "put_back", {"line": number, "what": str(now[number]["last"])[:200]}


def _set_here(was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Interfaces that somebody has set up at the edge itself."""
    for device in sorted(was.keys() | now.keys()):
        if was.get(device) != now.get(device):
            yield "set_here", {"device": device, "how": now.get(device, "")}


def _settings(told: Mapping[str, Any]) -> dict[str, str]:
    """By interface: its addresses, or how it gets them."""
    settings = told.get("network", {}).get("settings", ())
    return {
        each["device"]: ", ".join(each["access"].get("addresses", ())) or str(each["access"]["type"]).upper()
        for each in settings
    }


def _by_line(told: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    return {each["line"]: each for each in told.get("links", ())}


def _ups(told: Mapping[str, Any]) -> dict[int, bool]:
    """By line: whether it works by any of the centre's addresses."""
    found: dict[int, bool] = {}
    for each in told["lines"]:
        found[each["line"]] = found.get(each["line"], False) or each["up"]
    return found
