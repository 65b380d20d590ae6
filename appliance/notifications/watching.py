"""What isn't well with the voice VPN, as alarms that notifications tell of: the process that knows can't write the history.

An alarm of an endpoint's means a message to somebody, so what is over within half a minute (a daemon that comes back) isn't one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from appliance.core.errors import UnavailableError
from appliance.history.alarms import Alarms
from appliance.i18n import later

VPN: Final = "vpn_"
"""How the codes of these alarms begin. The hub and the doctor are told the same by the VPN itself."""
LASTING_S: Final = 30.0
SILENT: Final = later(
    "the voice VPN's process doesn't answer: which branches are in can't be told (centralino doctor; tunnels go on without it)"
)
Told = Mapping[str, Any]


def alarms_of(told: Told | None) -> dict[str, tuple[str, str]]:
    """By code: severity and message, with what to do. ``told``: :meth:`appliance.vpn.service.Service.told`; None: it says nothing."""
    if told is None:
        return {f"{VPN}silent": ("critical", SILENT)}
    found: dict[str, tuple[str, list[str]]] = {}
    for each in told["alarms"]:
        severity = "critical" if each["severity"] == "error" else "warning"
        text = f"{each['message']} ({each['hint']})" if each["hint"] else str(each["message"])
        found.setdefault(f"{VPN}{each['id']}", (severity, []))[1].append(text)
    for each in told["daemons"]:
        if each["alarm"]:
            found.setdefault(f"{VPN}daemon", ("critical", []))[1].append(str(each["alarm"]))
    for text in told["faults"]:
        found.setdefault(f"{VPN}fault", ("critical", []))[1].append(str(text))
    return {code: (severity, _first(texts)) for code, (severity, texts) in found.items()}


def _first(texts: Iterable[str]) -> str:
    first, *others = texts
    return f"{first} and {len(others)} more" if others else first


class Watching:
    """Raises and clears them. ``ask``: what the VPN's process says; None: it doesn't run here."""

    def __init__(
        self, alarms: Alarms, ask: Callable[[], Told] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._alarms, self._ask, self._clock = alarms, ask, clock
        self._since: dict[str, float] = {}

    def look(self) -> None:
        """Once every few seconds. :raises UnavailableError: the history can't be written; it is tried again."""
        found, now = self._found(), self._clock()
        self._since = {code: self._since.get(code, now) for code in found}
        for code, (severity, message) in found.items():
            if now - self._since[code] >= LASTING_S:
                self._alarms.set(code, severity, message, True)
        for code in {each for each in self._alarms.raised if each.startswith(VPN)} - found.keys():
            self._alarms.set(code, "", "", False)

    def _found(self) -> dict[str, tuple[str, str]]:
        if self._ask is None:
            return {}
        try:
            return alarms_of(self._ask())
        except (UnavailableError, KeyError, TypeError, AttributeError):  # nobody there, or of another release
            return alarms_of(None)
