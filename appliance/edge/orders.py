"""What may be ordered of an edge's agent, by ``run/orders.sock``: one JSON line each way (:mod:`appliance.edge.asking` is the other end).

Who may open the socket is who the edge belongs to, and who is of its group: the technician's console.

==================  ==================================================================
``status``          how it stands (:meth:`appliance.edge.agent.Agent.told`)
``measure``         ``seconds``: a test call; with ``line``: the drill
``measurement``     how that goes, or went; null: there was none
``end``             end it now
``choose``          ``line``, ``seconds``: that line alone, as long as it works; ``line`` null: as they are judged
``network``         ``device``, ``access``: set an interface up so, on trial; null: as the document says
``keep``            what is on trial is right
``events``          ``count``: what happened of late, the newest first
``logs``            ``name``, ``lines``: the end of a log, without secrets, and which there are
``bundle``          the support bundle, base64
==================  ==================================================================

What happens when an order isn't understood, comes too slowly or too long: an error is answered, nothing is done.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from appliance.clock import system_clock
from appliance.core.errors import CentralinoError, Fault, InvalidError
from appliance.core.errors_json import error_json
from appliance.edge import bundle, logs
from appliance.edge.journal import Journal
from appliance.edge.links.network import Network
from appliance.edge.measuring import Measuring
from appliance.edge.paths import EdgePaths
from appliance.edge.relay import EdgeRelay

_log = logging.getLogger("centralino.edge")

ORDER_S: Final = 5.0
ORDER_MAX: Final = 4096
DEEDS: Final = ("status", "measure", "measurement", "end", "choose", "network", "keep", "events", "logs", "bundle")
EVENTS_MAX: Final = 500
LINES_MAX: Final = 2000


class Orders:
    """See this module. ``told``: what ``status`` answers."""

    def __init__(
        self,
        paths: EdgePaths,
        told: Callable[[], dict[str, Any]],
        journal: Journal,
        measuring: Measuring,
        relay: EdgeRelay,
        network: Network,
    ) -> None:
        self._paths, self._told, self._journal = paths, told, journal
        self._measuring, self._relay = measuring, relay
        self._network = network

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one order, carry it out, answer, and close the connection."""
        answer: dict[str, Any]
        try:
            answer = {"done": await self._carried_out(await _order(reader))}
        except CentralinoError as error:
            answer = {"error": error_json(error)}
        except Exception as error:  # noqa: BLE001 (a fault of ours ends no tunnel)
            _log.exception("an order failed")
            answer = {
                "error": error_json(
                    CentralinoError(
                        f"something went wrong inside: {type(error).__name__}",
                        "see the edge's log",
                        error_id="internal",
                    )
                )
            }
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(json.dumps(answer).encode() + b"\n")
            async with asyncio.timeout(ORDER_S):
                await writer.drain()
        writer.close()

    async def _carried_out(self, order: dict[str, Any]) -> object:
        match order["do"]:
            case "status":
                return self._told()
            case "measure":
                line = order.get("line")
                return self._measuring.begin(
                    _number(order, "seconds", 10), None if line is None else int(_number(order, "line"))
                ).told()
            case "measurement":
                last = self._measuring.last
                return None if last is None else last.told()
            case "end":
                await self._measuring.end()
                return None
            case "choose":
                line = order.get("line")
                return await asyncio.to_thread(
                    self._relay.choose,
                    None if line is None else int(_number(order, "line")),
                    _number(order, "seconds", 0),
                )
            case "network":
                return await asyncio.to_thread(
                    self._network.set_up, str(order.get("device") or ""), order.get("access")
                )
            case "keep":
                return await asyncio.to_thread(self._network.keep)
            case "events":
                count = int(min(EVENTS_MAX, max(1, _number(order, "count", 50))))
                return [asdict(each) for each in await asyncio.to_thread(self._journal.recent, count)]
            case "logs":
                lines = int(min(LINES_MAX, max(1, _number(order, "lines", 200))))
                return await asyncio.to_thread(self._logs, str(order.get("name") or ""), lines)
        told, now = self._told(), system_clock()
        made = await asyncio.to_thread(lambda: bundle.made(self._paths, told, now=now))
        return base64.b64encode(made).decode()

    def _logs(self, name: str, lines: int) -> dict[str, Any]:
        known = logs.names(self._paths)
        shown = name or next(iter(known), "")
        return {"names": known, "name": shown, "lines": logs.tail(self._paths, shown, lines) if shown else []}


async def _order(reader: asyncio.StreamReader) -> dict[str, Any]:
    try:
        async with asyncio.timeout(ORDER_S):
            line = await reader.readline()
        found = json.loads(line) if len(line) <= ORDER_MAX else None
    except (OSError, TimeoutError, ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and found.get("do") in DEEDS:
        return found
    raise InvalidError([Fault("order", "is not understood", f"one JSON line: do ({', '.join(DEEDS)})", "order")])


def _number(order: dict[str, Any], name: str, otherwise: float | None = None) -> float:
    found = order.get(name, otherwise)
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < 1e6:
        raise InvalidError([Fault(name, "is no number", f"{name}: 10", "number")])
    return found
