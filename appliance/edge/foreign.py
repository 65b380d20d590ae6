"""A branch's lines to an OpenVPN server of another maker: calls go over all of them (:mod:`appliance.failover.relay.stock`).

For OpenVPN's client beside it there is one server, on the loopback. Neither the client's configuration nor its keys are ours.

What happens when…

* the relay is killed: it is back within a tenth of a second, and what came meanwhile waited; when this process is, the relay goes on, and the next one finds it;
* the server's name can't be looked up, or somebody lies: see :mod:`.lookups`; an address from which answers come is proven;
* a line's device isn't there, or OpenVPN doesn't run: it waits for them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import Fault, InvalidError
from appliance.edge.lookups import Lookups
from appliance.edge.paths import EdgePaths
from appliance.edge.unit import narrowed
from appliance.failover.kept import KeptRelay
from appliance.failover.model import Copies, LineRole

_log = logging.getLogger("centralino.edge")

LINES_MAX: Final = 8
LATELY_S: Final = 30.0
_DEVICE: Final = re.compile(r"[^\s/:]{1,15}")
"""What the kernel takes for an interface's name (``dev_valid_name``)."""


@dataclass(frozen=True, slots=True)
class ForeignLine:
    """One line. ``device``: its network interface."""

    device: str
    role: LineRole


def place() -> Path:
    """The directory of this machine's."""
    return EdgePaths.default().top / "foreign"


def socket_of(place: Path) -> Path:
    """Where whoever asks is told how its lines stand."""
    return place / "relay.sock"


def lines_of(said: Sequence[str]) -> tuple[ForeignLine, ...]:
    """From ``eth0``, ``eth1:backup``, ``wwan0:metered``; the first without a role is the primary, others are backups. :raises InvalidError: ``bad_line``."""
    found: list[ForeignLine] = []
    for each in said:
        device, _colon, role = each.partition(":")
        if not _DEVICE.fullmatch(device) or device in {line.device for line in found}:
            raise _bad(f"{each!r} is no line, or is named twice", "an interface, and what it is: eth0, wwan0:metered")
        try:
            found.append(ForeignLine(device, LineRole(role or ("backup" if found else "primary"))))
        except ValueError:
            raise _bad(f"{role!r} is nothing that a line can be", "primary, backup or metered") from None
    if not 1 < len(found) <= LINES_MAX:
        raise _bad(f"{len(found)} of two to eight lines are named", "--line eth0 --line eth1:backup")
    return tuple(found)


def _bad(message: str, hint: str) -> InvalidError:
    return InvalidError([Fault("--line", message, hint, "bad_line")])


class Foreign:
    """See this module.

    :param place: a directory of its own. :param host: the server's name or address. :param listen: where OpenVPN's client finds it, on the loopback.
    """

    def __init__(
        self, place: Path, host: str, port: int, lines: Sequence[ForeignLine], copies: Copies, listen: tuple[str, int]
    ) -> None:
        self._kept = KeptRelay(
            "stock", place / "relay", place / "run", place / "relay.log", name="edge.relay", inside=narrowed()
        )
        self._lookups = Lookups(place / "names.json")
        self._host, self._port, self._lines, self._copies, self._listen = host, port, tuple(lines), copies, listen
        self._said: dict[str, str] = {}

    def tend(self) -> None:
        """One round. :raises OSError: what it is to go by can't be written; it goes on with what it has."""
        standing = self._kept.standing()
        paths = _paths(standing)
        answering = {each["host"] for each in paths if each["heard_s"] is not None and each["heard_s"] < LATELY_S}
        for each in answering:
            self._lookups.prove(self._host, each)
        address = self._lookups.address(self._host, answering)
        self._tell("server", "" if address else f"{self._host}: no address is known of it")
        if address is not None:
            self._kept.tend(self._config(address))
        self._tell_paths(paths, standing.get("troubles"))

    def stop(self) -> None:
        """End it."""
        self._kept.stop()

    def told(self) -> list[dict[str, Any]]:
        """How each line stands, as its relay says; nothing: it doesn't."""
        return _paths(self._kept.standing())

    def _config(self, address: str) -> dict[str, Any]:
        return {
            "listen": list(self._listen), "copying": self._copies.value,
            "lines": [
                {"path": path, "role": line.role.value, "device": line.device, "host": address, "port": self._port}
                for path, line in enumerate(self._lines)
            ],
        }  # fmt: skip

    def _tell_paths(self, paths: list[dict[str, Any]], troubles: object) -> None:
        for each in paths:
            device = each["device"]
            if each["followed"]:
                self._tell("followed", f"the server answers by {device}")
            self._tell(device, f"{device}: left, nothing comes by it" if each["left_s"] else "")
        for name, text in (troubles if isinstance(troubles, dict) else {}).items():
            self._tell(f"trouble {name}", str(text))

    def _tell(self, about: str, text: str) -> None:
        """Once, until it is another."""
        if self._said.get(about, "") != text:
            self._said[about] = text
            if text:
                _log.info("%s", text)


def _paths(standing: dict[str, Any]) -> list[dict[str, Any]]:
    found = standing.get("paths")
    return [each for each in found if _sound(each)] if isinstance(found, list) else []


def _sound(path: Any) -> bool:
    """Whether it is in the form that a relay of ours tells: one that was broken into may say anything."""
    try:
        numbers = (path["heard_s"] or 0.0, path["left_s"])
        texts = (path["device"], path["host"])
        return (
            all(isinstance(each, int | float) for each in numbers)
            and isinstance(path["followed"], bool)
            and all(isinstance(each, str) for each in texts)
        )
    except (KeyError, TypeError):
        return False
