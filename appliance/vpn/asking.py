"""Asks the voice VPN's process: how branches stand, and to revoke one. The other end: :mod:`appliance.vpn.service`, ``orders``."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final

from appliance.applier.protocol import error_from
from appliance.core.errors import UnavailableError
from appliance.engine.unix import connect

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
    order = json.dumps({"do": "revoke", "site": site, "author": author}).encode() + b"\n"
    answer = _asked(path, order, ORDER_S)
    if "error" in answer:
        raise error_from(answer["error"])
    return list(map(str, answer.get("done", ())))


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
