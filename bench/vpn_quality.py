"""``python -m bench.vpn_quality NAMESPACE NUMBER SECONDS MODE``: what asking so many branches once a second costs; prints one line of JSON.

The branches are addresses 10.255.0.1 and on, which the namespace itself answers at: their kernel's share is in neither figure. ``MODE``: ``ours`` asks by
:class:`appliance.vpn.echoes.Echoes`; ``plain`` sends as many echoes at the same pace, reads what comes, and knows nothing of either.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any, Final

from appliance.engine.netns import socket_in
from appliance.vpn.echoes import EVERY_S, TICK_S, Echoes, echo

FIRST: Final = ipaddress.IPv4Address("10.255.0.1")
WARM_S: Final = 3.0
"""Until every branch was asked and has answered."""


def addresses(number: int) -> list[ipaddress.IPv4Address]:
    """Of so many branches."""
    return [FIRST + each for each in range(number)]


def main() -> None:
    namespace, number, seconds, mode = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    found = asyncio.run(ours(namespace, number, seconds)) if mode == "ours" else plain(namespace, number, seconds)
    print(json.dumps(found))


async def ours(namespace: str, number: int, seconds: float) -> dict[str, Any]:
    """As the voice VPN's process does."""
    echoes = Echoes(namespace)
    names = {str(each): each for each in addresses(number)}
    echoes.follow({name: (each, 0) for name, each in names.items()})
    asking = asyncio.create_task(echoes.run())
    await asyncio.sleep(WARM_S)
    before, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    share = (time.process_time() - before) / (time.monotonic() - began)
    known = [echoes.quality(name) for name in names]
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return {"share": share, "known": sum(each.loss is not None for each in known), "lost": _mean(known)}


def _mean(known: Iterable[Any]) -> float | None:
    losses = [each.loss for each in known if each.loss is not None]
    return sum(losses) / len(losses) if losses else None


def plain(namespace: str, number: int, seconds: float) -> dict[str, Any]:
    """The least that it can cost: a few packets at each wake-up."""
    targets, sent, received = [str(each) for each in addresses(number)], 0, 0
    with socket_in(namespace, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as way:
        way.setblocking(False)
        before, began = time.process_time(), time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            due = int((now - began) * number / EVERY_S)
            for each in range(sent, due):
                way.sendto(echo(8, 7, each & 0xFFFF, b"12345678"), (targets[each % number], 0))
            sent = max(sent, due)
            with contextlib.suppress(BlockingIOError):
                while True:
                    received += way.recv(256)[20] == 0  # its kernel's answers, not our own questions
            time.sleep(TICK_S)
        share = (time.process_time() - before) / (time.monotonic() - began)
    return {"share": share, "sent": sent, "received": received}


if __name__ == "__main__":
    main()
