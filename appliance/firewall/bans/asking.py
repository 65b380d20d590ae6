"""Asking the judge of bans: who is kept out, what was dropped, and lifting. For commands, portal, API and doctor.

One question a connection, at ``run/bans.sock``: a line of JSON there, a JSON object back, and the connection is closed.

============ ================================================= ===================================================
question     more                                              answer
============ ================================================= ===================================================
``told``     ``search``: an address, a network, or a part of   :class:`Told`
             one; ``limit``: how many bans at most
``lift``     ``network``                                       ``lifted``: networks whose bans were lifted
``shared``   –                                                 what edges are given: see :func:`shared`
============ ================================================= ===================================================

What can't be done is ``error``: ``id``, ``message``, ``hint``.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import Fault, InvalidError, UnavailableError
from appliance.engine.unix import connect
from appliance.firewall.bans.model import Evidence, Network, Outcome, Reason, Service
from appliance.paths import Paths

ANSWER_S: Final = 5.0
"""Seconds for a whole answer."""
ANSWER_MAX: Final = 16 * 1024 * 1024
LIMIT: Final = 500
"""Bans that an answer holds, if nothing else is asked for."""
LIMIT_MAX: Final = 5000
QUESTION_MAX: Final = 4096
"""Bytes of a question."""
SHARED_FORMAT: Final = 1
SHARED_MAX: Final = 5000
"""Bans that edges are given, at most: those that last longest. A small router keeps them, over a thin line."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A ban that stands, or one that would if its network weren't protected (:attr:`Told.spared`).

    :param since: ms since the epoch, by the clock of that time; for people.
    :param left: seconds that it still lasts.
    :param words: why, in English; interfaces translate.
    :param strike: which ban of this network it is, 1 for the first.
    :param quarantine: a host of ours, which may call for help only; else a stranger, who may use the voice VPN's port only.
    :param brief: nothing proves that the packets were its own.
    :param evidence: the last attempts.
    """

    network: str
    since: int
    left: int
    reason: Reason
    words: str
    strike: int
    attempts: int
    quarantine: bool
    brief: bool
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """What a counter of the kernel has seen since the rules were loaded. ``label``: in words, English; ``bytes`` None: not counted."""

    name: str
    label: str
    packets: int
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What isn't well: where (``kernel``, ``database``, ``document``, ``engine``, …), and in words."""

    where: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Told:
    """What the judge says.

    :param bans: the newest first; ``count``: how many there are in all, of those that were searched for.
    :param spared: who would have been banned lately, but is protected.
    :param counters: of the firewall's rules and of the bans'; none while they aren't loaded.
    :param missed: attempts that nobody looked at because there were too many at a time.
    """

    bans: tuple[Standing, ...]
    count: int
    spared: tuple[Standing, ...]
    counters: tuple[Counted, ...]
    troubles: tuple[Trouble, ...]
    missed: int = 0


def told(paths: Paths, search: str = "", limit: int = LIMIT) -> Told:
    """Who is kept out, and what was dropped.

    :param search: bans that have an address in common with this network, or whose own begins like this; empty: all.
    :param limit: 1 to 5,000.
    :raises UnavailableError: ``bans_not_running``; ``forbidden``.
    """
    found = _ask(paths, {"ask": "told", "search": search[:100], "limit": limit})
    try:
        return Told(
            tuple(map(_standing, found["bans"])),
            int(found["count"]),
            tuple(map(_standing, found["spared"])),
            tuple(Counted(*row) for row in found["counters"]),
            tuple(Trouble(*row) for row in found["troubles"]),
            int(found["missed"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _away() from error


def lift(paths: Paths, network: str) -> tuple[str, ...]:
    """Lift every ban that hits any of a network, and forgive all of it. Returns their networks.

    Whoever has a person's order uses :func:`appliance.access.bans.lift`, which writes it into the audit.

    :raises InvalidError: ``bad_network``.
    :raises UnavailableError: ``bans_not_running``.
    """
    found = _ask(paths, {"ask": "lift", "network": str(network_of(network))})
    return tuple(map(str, found.get("lifted", ())))


def shared(paths: Paths) -> bytes:
    """The bans for edges, as canonical JSON (keys in order, no spaces, ASCII): equal bans give equal bytes.

    ``{"bans":[{"network":"203.0.113.7/32","until":1795780800}],"format":1}``, by network; ``until`` in seconds since the epoch, a whole
    minute. Strangers only, and not those who may be somebody else: an edge drops what comes from them. Nothing says why.

    :raises UnavailableError: ``bans_not_running``.
    """
    return canonical(_ask(paths, {"ask": "shared"}))


def canonical(value: Mapping[str, Any]) -> bytes:
    """JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def network_of(text: str) -> Network:
    """A network, or an address alone. :raises InvalidError: ``bad_network``."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise InvalidError(
            [
                Fault(
                    "bans/network", f"{text[:60]!r} is no network",
                    "an address like 203.0.113.7, or a network like 203.0.113.0/24 or 2001:db8::/56", "bad_network",
                )
            ]
        ) from None  # fmt: skip


def _ask(paths: Paths, question: Mapping[str, Any]) -> dict[str, Any]:
    deadline, said = time.monotonic() + ANSWER_S, bytearray()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connect(connection, paths.bans_socket)
            connection.sendall(json.dumps(question).encode() + b"\n")
            while chunk := connection.recv(1 << 16):
                said += chunk
                left = deadline - time.monotonic()
                if left <= 0 or len(said) > ANSWER_MAX:
                    raise TimeoutError
                connection.settimeout(left)
        found = dict(json.loads(said))
        error = found.pop("error", None)
        if error is None:
            return found
        message, hint, id = str(error["message"]), str(error["hint"]), str(error["id"])
    except PermissionError as error:
        raise UnavailableError(
            "you may not ask the judge of bans", "as root: sudo centralino bans list", error_id="forbidden"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _away() from error
    raise UnavailableError(message, hint, error_id=id)


def _away() -> UnavailableError:
    return UnavailableError(
        "the judge of bans isn't running here",
        "it runs where CENTRALINO_FIREWALL=on: centralino status",
        error_id="bans_not_running",
    )


def _standing(row: Mapping[str, Any]) -> Standing:
    evidence = tuple(
        Evidence(int(wall), str(address), Service(service), Outcome(outcome), str(account), str(detail))
        for wall, address, service, outcome, account, detail in row["evidence"]
    )
    return Standing(
        str(row["network"]), int(row["since"]), int(row["left"]), Reason(row["reason"]), str(row["words"]), int(row["strike"]),
        int(row["attempts"]), bool(row["quarantine"]), bool(row["brief"]), evidence,
    )  # fmt: skip
