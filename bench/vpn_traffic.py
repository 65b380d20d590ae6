"""``python -m bench.vpn_traffic JSON``: one end of streams of voice-sized packets; prints one line of JSON when it is over.

``ends``: what each socket is bound to (address, port, device or nothing), and addresses where its packets go, to the same port. ``rate``: packets a second of all ends together;
0: as fast as they go; null: none. ``seconds``: how long. It says ``ready``, and waits for a line before it begins.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import Any, Final

PAYLOAD: Final = b"v" * 200
BATCH: Final = 16
SO_RCVBUFFORCE: Final = 33
"""socket(7); Python has no name for it."""
TAIL_S: Final = 0.3
"""How long it goes on listening: what is under way arrives."""


def main() -> None:
    told = json.loads(sys.argv[1])
    sockets = [opened(one) for one in told["ends"]]
    ways = [(found, (to, one["port"])) for found, one in zip(sockets, told["ends"], strict=True) for to in one["to"]]
    print("ready", flush=True)
    sys.stdin.readline()
    began, rate, seconds = time.monotonic(), told["rate"], told["seconds"]
    sent, refused, received, arrived = 0, 0, 0, began
    while (now := time.monotonic()) < began + seconds:
        due = sent + BATCH if rate == 0 else int((now - began) * (rate or 0))
        for _ in range(min(due - sent, 4 * BATCH)):
            outbox, target = ways[sent % len(ways)]
            try:
                outbox.sendto(PAYLOAD, target)
            except BlockingIOError:
                refused += 1
            sent += 1
        if came := drained(sockets):
            received, arrived = received + came, time.monotonic()
        elif rate != 0:
            time.sleep(0.0005)
    tail = time.monotonic() + TAIL_S
    while time.monotonic() < tail:
        if came := drained(sockets):
            received, arrived = received + came, time.monotonic()
        time.sleep(0.001)
    print(json.dumps({"sent": sent - refused, "received": received, "took": round(arrived - began, 3)}))


def opened(one: dict[str, Any]) -> socket.socket:
    found = socket.socket(type=socket.SOCK_DGRAM)
    if one["device"]:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, one["device"].encode())
    found.bind((one["at"], one["port"]))
    found.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
    found.setblocking(False)
    return found


def drained(sockets: list[socket.socket]) -> int:
    """Packets that were there."""
    came = 0
    for inbox in sockets:
        try:
            for _ in range(4 * BATCH):
                inbox.recv(300)
                came += 1
        except BlockingIOError:
            pass
    return came


if __name__ == "__main__":
    main()
