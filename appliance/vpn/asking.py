"""Asks the voice VPN's process: how branches stand, to revoke one, for invitations, what lines would have done, and what happened at branches. The other end: :mod:`appliance.vpn.service`, ``orders``."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import UnavailableError
from appliance.core.errors_json import error_from
from appliance.engine.unix import connect
from appliance.failover.drill import Row

ASK_S: Final = 5.0
ORDER_S: Final = 30.0
"""Seconds that whoever orders waits: somebody else's certificate may be being issued."""


def told(path: Path) -> dict[str, Any]:
    """What the voice VPN's process says. :raises UnavailableError: ``vpn_not_running``."""
    return _asked(path, b"", ASK_S)


def revoke(path: Path, site: str, author: str) -> list[str]:
    """Have all certificates of a site revoked; their names. The site is cut off within a second.

    :param path: the process's socket for orders.
    :raises UnavailableError: ``vpn_not_running``.
    """
    done: Any = _done(path, {"do": "revoke", "site": site, "author": author}, ORDER_S)
    return list(map(str, done or ()))


@dataclass(frozen=True, slots=True)
class Made:
    """An invitation that was made; the last time that anybody is told ``file`` and ``code``, which are secret.

    :param centres: host and TCP port of the gate.
    :param until: ISO 8601. :param revoked: names of certificates that were revoked at once.
    """

    site: str
    file: str
    code: str
    centres: tuple[tuple[str, int], ...]
    until: str
    revoked: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Made {self.site}>"


@dataclass(frozen=True, slots=True)
class Standing:
    """An invitation as it stands, without its secret. ``standing``: waiting, used, burned, over; ``until``: ISO 8601."""

    site: str
    standing: str
    until: str
    tries: int
    key: str


class Orders:
    """Orders to the voice VPN's process. ``path``: its socket for them. Everything raises UnavailableError: ``vpn_not_running``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def revoke(self, site: str, author: str) -> list[str]:
        """See :func:`revoke`."""
        return revoke(self._path, site, author)

    def invite(self, site: str, author: str, hours: float, *, replace: bool, former: str | None) -> Made:
        """See :meth:`appliance.vpn.enrolment.ordered.Invitations.invite`."""
        order = {"do": "invite", "site": site, "author": author, "hours": hours, "replace": replace, "former": former}
        done: Any = _done(self._path, order, ORDER_S)
        centres = tuple((str(host), int(port)) for host, port in done["centres"])
        return Made(site, done["file"], done["code"], centres, done["until"], tuple(done["revoked"]))

    def invitations(self) -> list[Standing]:
        """Of every site the last one."""
        done: Any = _done(self._path, {"do": "invitations"}, ASK_S)
        return [Standing(**each) for each in done]

    def drill(self, month: str = "") -> DrillReport:
        """Of a month such as ``2026-11``, or the newest. :raises InvalidError: ``month``. :raises CorruptError: ``drill_broken``."""
        done: Any = _done(self._path, {"do": "drill", "month": month}, ASK_S)
        return DrillReport(done["month"], tuple(done["months"]), tuple(Row(**each) for each in done["lines"]))

    def events(self, site: str) -> list[dict[str, Any]]:
        """What happened at a branch, as its edge told it, the newest first (:class:`~.inside.events.Told`)."""
        done: Any = _done(self._path, {"do": "events", "site": site}, ASK_S)
        return list(done)

    def withdraw(self, site: str, author: str) -> bool:
        """End a site's; whether there was one."""
        return bool(_done(self._path, {"do": "withdraw", "site": site, "author": author}, ORDER_S))


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What each line would have done by itself in a month, worst first. ``months``: of which there is a report, newest first; ``month``: empty: there is none."""

    month: str
    months: tuple[str, ...]
    lines: tuple[Row, ...]


def _done(path: Path, order: dict[str, Any], timeout_s: float) -> object:
    answer = _asked(path, json.dumps(order).encode() + b"\n", timeout_s)
    if "error" in answer:
        raise error_from(answer["error"])
    return answer.get("done")


def _asked(path: Path, said: bytes, timeout_s: float) -> dict[str, Any]:
    heard = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connect(connection, path)
            if said:  # even nothing can't be sent to who has answered and gone
                connection.sendall(said)
            while chunk := connection.recv(65536):
                heard += chunk
        return dict(json.loads(heard))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UnavailableError(
            "the voice VPN isn't running here",
            "it runs where CENTRALINO_VPN=on: centralino status",
            error_id="vpn_not_running",
        ) from error
