"""What may be ordered of the voice VPN's process, by ``run/vpn.sock``: one JSON line each way (:mod:`appliance.vpn.asking`
is the other end).

Revoking, invitations (:mod:`appliance.vpn.enrolment.ordered`), what lines would have done (:mod:`appliance.failover.drill`), and what happened at branches (:mod:`.inside.events`): who may ask for it, :mod:`appliance.access.branches` has looked at
before. An answer may hold a secret; our log never does. What happens when…

* an order isn't understood, or comes too slowly or too long: an error is answered, nothing is done;
* whoever ordered is gone before the answer: it is done all the same, and our log says for whom.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from appliance.core.errors import CentralinoError, Fault, InvalidError, UnavailableError
from appliance.core.errors_json import error_json
from appliance.core.fields import valid_id
from appliance.failover.drill import Drill
from appliance.vpn.enrolment.ordered import Invitations
from appliance.vpn.inside.events import Events
from appliance.vpn.pki import Issued

_log = logging.getLogger("centralino.vpn")

ORDER_S: Final = 5.0
"""Seconds that an order may take to come."""
ORDER_MAX: Final = 4096


DEEDS: Final = ("revoke", "invite", "invitations", "withdraw", "drill", "events")


async def answer_order(
    revoke: Callable[[str], Iterable[Issued]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    invitations: Invitations | None = None,
    drill: Drill | None = None,
    events: Events | None = None,
) -> None:
    """Take one order, carry it out, answer, and close the connection. ``invitations``: None: this process makes none. ``drill``: None: it watches no lines.
    ``events``: None: it hears of none."""
    answer: dict[str, Any]
    try:
        answer = {"done": await _carry_out(revoke, invitations, drill, events, await _order(reader))}
    except CentralinoError as error:
        answer = {"error": error_json(error)}
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(json.dumps(answer).encode() + b"\n")
        async with asyncio.timeout(ORDER_S):
            await writer.drain()
    writer.close()


async def _order(reader: asyncio.StreamReader) -> dict[str, Any]:
    try:
        async with asyncio.timeout(ORDER_S):
            line = await reader.readline()
        found = json.loads(line) if len(line) <= ORDER_MAX else None
    except (OSError, TimeoutError, ValueError, RecursionError):
        found = None
    if (
        isinstance(found, dict)
        and found.get("do") in DEEDS
        and all(isinstance(found.get(name, ""), str) for name in ("site", "author", "month"))
    ):
        return found
    raise _not_understood()


def _not_understood() -> InvalidError:
    hint = "one JSON line: do (revoke, invite, invitations, withdraw, drill or events), site, author"
    return InvalidError([Fault("order", "is not understood", hint, "order")])


async def _carry_out(
    revoke: Callable[[str], Iterable[Issued]],
    invitations: Invitations | None,
    drill: Drill | None,
    events: Events | None,
    order: dict[str, Any],
) -> object:
    if order["do"] == "revoke":
        return await _revoke(revoke, order)
    if order["do"] == "drill":
        return (
            await asyncio.to_thread(drill.told, order.get("month", ""))
            if drill
            else {"month": "", "months": [], "lines": []}
        )
    if order["do"] == "events":
        return await asyncio.to_thread(events.of, _site(order)) if events else []
    if invitations is None:
        raise _not_understood()
    try:
        match order["do"]:
            case "invite":
                return await asyncio.to_thread(invitations.invite, order)
            case "withdraw":
                return await asyncio.to_thread(invitations.withdraw, order)
        return await asyncio.to_thread(invitations.listed)
    except OSError as error:
        raise UnavailableError(
            f"invitations can't be read or written: {error.strerror}", "centralino doctor", error_id="vpn_invite"
        ) from error


async def _revoke(revoke: Callable[[str], Iterable[Issued]], order: dict[str, Any]) -> list[str]:
    site = _site(order)
    try:
        ended = [each.name for each in await asyncio.to_thread(revoke, site)]
    except OSError as error:
        raise UnavailableError(
            f"the certificates can't be revoked: {error.strerror}", "centralino doctor", error_id="vpn_revoke"
        ) from error
    _log.info("%s: certificates revoked by %r: %s", site, order.get("author", ""), ", ".join(ended) or "none")
    return ended


def _site(order: dict[str, Any]) -> str:
    site = str(order.get("site", ""))
    if not valid_id(site):
        raise InvalidError([Fault("order/site", "is no id of a site", "a-z, 0-9 and inner hyphens, at most 40", "id")])
    return site
