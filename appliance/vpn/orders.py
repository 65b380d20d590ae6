"""What may be ordered of the voice VPN's process, by ``run/vpn.sock``: one JSON line each way (:mod:`appliance.vpn.asking`
is the other end).

Only revoking, so far: who may ask for it, :mod:`appliance.access.branches` has looked at before. What happens when…

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

from appliance.applier.protocol import error_json
from appliance.core.errors import CentralinoError, Fault, InvalidError, UnavailableError
from appliance.core.fields import valid_id
from appliance.vpn.pki import Issued

_log = logging.getLogger("centralino.vpn")

ORDER_S: Final = 5.0
"""Seconds that an order may take to come."""
ORDER_MAX: Final = 4096


async def answer_order(
    revoke: Callable[[str], Iterable[Issued]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Take one order, carry it out, answer, and close the connection."""
    answer: dict[str, Any]
    try:
        answer = {"done": await _carry_out(revoke, await _order(reader))}
    except CentralinoError as error:
        answer = {"error": error_json(error)}
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(json.dumps(answer).encode() + b"\n")
        await asyncio.wait_for(writer.drain(), ORDER_S)
    writer.close()


async def _order(reader: asyncio.StreamReader) -> dict[str, str]:
    try:
        line = await asyncio.wait_for(reader.readline(), ORDER_S)
        found = json.loads(line) if len(line) <= ORDER_MAX else None
    except (OSError, TimeoutError, ValueError, RecursionError):
        found = None
    if (
        isinstance(found, dict)
        and found.get("do") == "revoke"
        and all(isinstance(each, str) for each in found.values())
    ):
        return found
    raise InvalidError([Fault("order", "is not understood", 'one JSON line: {"do": "revoke", "site": …}', "order")])


async def _carry_out(revoke: Callable[[str], Iterable[Issued]], order: dict[str, str]) -> list[str]:
    site = order.get("site", "")
    if not valid_id(site):
        raise InvalidError([Fault("order/site", "is no id of a site", "a-z, 0-9 and inner hyphens, at most 40", "id")])
    try:
        ended = [each.name for each in await asyncio.to_thread(revoke, site)]
    except OSError as error:
        raise UnavailableError(
            f"the certificates can't be revoked: {error.strerror}", "centralino doctor", error_id="vpn_revoke"
        ) from error
    _log.info("%s: certificates revoked by %r: %s", site, order.get("author", ""), ", ".join(ended) or "none")
    return ended
