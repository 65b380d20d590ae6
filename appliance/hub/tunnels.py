"""Branches of the document and what the voice VPN's process says → what the room ``branches`` shows, and alarms (pure).

Numbers are rounded here, so that nobody is told of a change that nobody sees. When the process says nothing, branches are
``unknown``: what was known before is not repeated.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from appliance.core.errors import UnavailableError
from appliance.hub.directory import BranchEntry
from appliance.i18n import later

STATES: Final = ("connected", "away", "unknown", "off")
"""``unknown``: the voice VPN's process doesn't say. ``off``: the document has it switched off."""
SILENT: Final = later("the voice VPN's process doesn't answer: how branches stand can't be shown")
CRITICAL, WARNING = "critical", "warning"
SEVERITIES: Final = {"error": CRITICAL, "warning": WARNING}
"""Of faults of the authority → of alarms."""
_NOTHING: Final[dict[str, Any]] = {
    "since": None, "address": "", "inside": [], "received": None, "sent": None, "received_rate": None, "sent_rate": None,
    "rtt_ms": None, "rtt_last_ms": None, "loss": None, "version": None, "certificate": "", "certificate_ends": None,
    "lines": [],
}  # fmt: skip

Told = Mapping[str, Any]


def checked(told: Told) -> Told:
    """What is in the form that we know. :raises UnavailableError: ``vpn_garbled``: of another version, it may be."""
    try:
        branches([BranchEntry("", row["site"], "") for row in told["branches"]], told)
        faults(told)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnavailableError(
            "the voice VPN's process says something that isn't understood", "centralino doctor", error_id="vpn_garbled"
        ) from error
    return told


def branches(entries: Iterable[BranchEntry], told: Told | None) -> dict[str, dict[str, Any]]:
    """Every branch of the document by id. ``told``: :meth:`appliance.vpn.service.Service.told`; None: it says nothing."""
    rows = {row["site"]: row for row in told["branches"]} if told is not None else {}
    return {entry.id: _branch(entry, rows.get(entry.site)) for entry in entries}


def _branch(entry: BranchEntry, row: Mapping[str, Any] | None) -> dict[str, Any]:
    about = {"id": entry.id, "site": entry.site, "name": entry.name}
    if not entry.enabled or row is None or not row["connected"]:
        state = "off" if not entry.enabled else "unknown" if row is None else "away"
        return {**about, "state": state, **_NOTHING}
    return {
        **about,
        "state": "connected",
        "since": 1000 * row["since"],
        "address": row["address"],
        "inside": row["inside"],
        "received": rounded(row["received"], 3),
        "sent": rounded(row["sent"], 3),
        "received_rate": rounded(row["received_rate"], 2),
        "sent_rate": rounded(row["sent_rate"], 2),
        "rtt_ms": rounded(row["rtt_median_ms"], 2),
        "rtt_last_ms": rounded(row["rtt_ms"], 2),
        "loss": None if row["loss"] is None else round(row["loss"], 2),
        "version": row["version"],
        "certificate": row["certificate"],
        "certificate_ends": row["certificate_ends"],
        "lines": [_line(each) for each in row.get("lines", ())],
    }


def _line(told: Mapping[str, Any]) -> dict[str, Any]:
    """What changes rarely: of the losses both ways the worse, in hundredths."""
    known = [each for each in (told["loss_up"], told["loss_down"]) if each is not None]
    return {
        "id": told["id"], "name": told["name"], "role": told["role"], "up": told["up"], "capped": told["capped"],
        "loss": round(max(known), 2) if known else None,
    }  # fmt: skip


def rounded(value: float | None, digits: int) -> float | None:
    """To so many digits that count: 123456 with 2 is 120000."""
    if value is None or not value:
        return value
    found = round(value, digits - 1 - math.floor(math.log10(abs(value))))
    return int(found) if found == int(found) else found


def faults(told: Told | None) -> dict[str, str]:
    """What isn't well: English sentences → how bad (``critical``, ``warning``)."""
    if told is None:
        return {SILENT: CRITICAL}
    found = {
        f"{each['message']} ({each['hint']})": SEVERITIES.get(each["severity"], WARNING) for each in told["alarms"]
    }
    found |= {each["alarm"]: CRITICAL for each in told["daemons"] if each["alarm"]}
    return found | dict.fromkeys(told["faults"], CRITICAL)


class Alarms:
    """Faults as alarms, which last as long as they do."""

    def __init__(self) -> None:
        self._raised: dict[str, int] = {}

    def of(self, found: Mapping[str, str], now: int) -> list[dict[str, Any]]:
        """As the room ``alarms`` shows them. ``now``: ms since 1970."""
        self._raised = {text: self._raised.get(text, now) for text in found}
        return [
            {"id": f"vpn-{_digest(text)}", "severity": found[text], "message": text, "raised": raised}
            for text, raised in self._raised.items()
        ]


def _digest(text: str) -> str:
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()
